"""After the end: what every member stored is opened and counted again, by nobody who took part.

Each ledger must have the root its head claims, the chains must agree wherever they overlap,
and the grains must sum to the genesis supply.
"""

from __future__ import annotations

from dataclasses import dataclass

from potminer.core.ledger.state import restored, supply
from potminer.devnet.plan import Member, Plan
from potminer.node.genesisfile import read_genesis
from potminer.wire.genesis import chain_id, genesis_supply
from potminer.wire.record import Validator, validator_key
from potminer.world.store.store import Store


@dataclass(frozen=True, slots=True)
class Verified:
    """*height* is the greatest that every member reached, *state_root* the root after it."""

    height: int
    state_root: bytes
    roots_agree: bool
    supply_ok: bool
    epoch: int
    slashed: tuple[bytes, ...]
    """Validators that lost their bonds, as the member with the longest chain has it."""


async def verify_members(plan: Plan) -> Verified:
    """The stored ledgers of all members of *plan*, none of which may be running."""
    chains = [await _chain(plan, member) for member in plan.members]
    common = min(chain.height for chain in chains)
    roots = {chain.roots[common] for chain in chains}
    agree = all(
        len({chain.roots[height] for chain in chains if height in chain.roots}) == 1 for height in range(1, common + 1)
    )
    longest = max(chains, key=lambda chain: chain.height)
    return Verified(
        common, next(iter(roots)), agree and len(roots) == 1, all(chain.holds for chain in chains), longest.epoch,
        longest.slashed,
    )


@dataclass(frozen=True, slots=True)
class _Chain:
    """One member's store. *holds*: its state has the root and the supply that it claims."""

    height: int
    roots: dict[int, bytes]
    holds: bool
    epoch: int
    slashed: tuple[bytes, ...]


async def _chain(plan: Plan, member: Member) -> _Chain:
    genesis = read_genesis(plan.genesis)
    expected = genesis_supply(genesis)
    async with Store.open(member.datadir / "potminer.sqlite") as store:
        head = await store.head()
        if head is None:
            return _Chain(0, {}, False, 0, ())
        state = restored(chain_id(genesis), genesis.parameters, (await store.load_state()).items())
        holds = state.root == head.state_root and supply(state) == expected
        slashed = tuple(
            v.key for v in genesis.validators if state.need(Validator, validator_key(v.key)).slashed
        )
        return _Chain(head.height, await store.state_roots(), holds, state.committee.epoch, slashed)
