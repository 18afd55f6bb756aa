"""The genesis: what everybody must hold to verify everything else."""

from __future__ import annotations

from typing import Annotated

from msgspec import Meta

from potminer.base import limits
from potminer.base.bounded import GRAINS_PER_POT, Grains, Hash, Millis, Name, PublicKey
from potminer.base.digest import Domain, digest
from potminer.wire.codec import Wire, encode

GENESIS_BYTES = 16 * 1024 * 1024

Share = Annotated[int, Meta(ge=0, le=1_000_000)]


class Parameters(Wire, frozen=True):
    """The same for all, fixed by the genesis.

    Reward shares are ppm of a round's pot and sum to one million. *escrow_rounds* is how many
    later rounds must close before a reward is paid.
    """

    trainer_share_ppm: Annotated[int, Meta(ge=1, le=1_000_000)] = 850_000
    auditor_share_ppm: Share = 100_000
    validator_share_ppm: Share = 50_000
    escrow_rounds: Annotated[int, Meta(ge=0, le=1_000)] = 30
    audit_factor: Annotated[int, Meta(ge=1, le=1_000)] = 10
    """How many times the expected gain a cheat must expect to lose (kappa)."""
    keep_ppm: Share = 250_000
    """Share of a reward that still becomes bond once the bond is large enough to train, until it is full."""
    second_audit_ppm: Share = 50_000
    """Share of passing audits that the committee repeats."""
    minimum_fee: Grains = 1_000
    """For transactions that move money. Work is free: a newcomer has no coins."""
    unbonding_ms: Annotated[int, Meta(ge=0, le=10**12)] = 7 * 24 * 3_600_000
    trainers: Annotated[int, Meta(ge=1, le=10**7)] = 100_000
    """Most trainers that may register: registering is free, the state is not."""
    epoch_blocks: Annotated[int, Meta(ge=1, le=1_000_000)] = 100
    """Blocks that one committee decides."""
    validator_bond: Annotated[int, Meta(ge=1, le=2**53)] = 1_000 * GRAINS_PER_POT
    """The least bond of a validator that is elected, and the unit of its power."""
    whole_bytes: Annotated[int, Meta(ge=0, le=2**40)] = 256 * 1024 * 1024
    """Updates of a round that together are larger, and larger than two models, are aggregated in slices: no validator
    fetches all of them. 0 slices whatever has pieces."""
    block_transactions: Annotated[int, Meta(ge=1, le=limits.BLOCK_TRANSACTIONS)] = limits.BLOCK_TRANSACTIONS
    block_bytes: Annotated[int, Meta(ge=2 * limits.TRANSACTION_BYTES, le=limits.BLOCK_BYTES)] = limits.BLOCK_BYTES
    """Most transactions and bytes of a block: less where validators are slow or their links are."""
    reporter_share_ppm: Share = 50_000
    """Of a slashed validator's bond, to who proved its fault; the rest is burnt, or a cheat would report itself."""


class GenesisValidator(Wire, frozen=True):
    key: PublicKey
    power: Annotated[int, Meta(ge=1, le=2**31)]
    onion: Hash
    """Outermost layer of the validator's hash onion."""
    bond: Grains = 0


class GenesisAccount(Wire, frozen=True):
    key: PublicKey
    balance: Grains


class Genesis(Wire, frozen=True):
    network: Name
    time_ms: Millis
    parameters: Parameters
    validators: Annotated[tuple[GenesisValidator, ...], Meta(min_length=1, max_length=limits.COMMITTEE)]
    accounts: Annotated[tuple[GenesisAccount, ...], Meta(max_length=100_000)]
    seed: Hash
    """First value of the beacon."""


def genesis_supply(genesis: Genesis) -> int:
    """All grains there are, from the first block to the last."""
    return sum(account.balance for account in genesis.accounts) + sum(v.bond for v in genesis.validators)


def chain_id(genesis: Genesis) -> bytes:
    """Identity of the chain: bound into every signature and every handshake."""
    return digest(Domain.GENESIS, encode(genesis))


