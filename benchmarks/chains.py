"""Keys, a genesis with many accounts, and blocks of transfers: what several benchmarks write on."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

from potminer.base.digest import Domain, digest, number
from potminer.core.ledger.beacon import Onion
from potminer.core.ledger.state import State, genesis_state
from potminer.wire.block import Block, Header, transactions_root
from potminer.wire.genesis import Genesis, GenesisAccount, GenesisValidator, Parameters, chain_id
from potminer.wire.seal import SigningKey
from potminer.wire.tx import SignedTransaction, Transaction, Transfer, sign_transaction

GRAINS = 10**9
FEE = 1_000


def key(label: str, index: int = 0) -> SigningKey:
    return SigningKey(digest(Domain.DRAW, b"benchmark", label.encode(), number(index)))


def transfer(chain: bytes, sender: SigningKey, to: bytes, *, nonce: int = 0) -> SignedTransaction:
    return sign_transaction(Transaction(chain, sender.public, nonce, FEE, 2**32, Transfer(to=to, amount=1)), sender)


@dataclass(frozen=True)
class Chain:
    """One validator and *accounts* funded accounts."""

    accounts: int

    @cached_property
    def keys(self) -> list[SigningKey]:
        return [key("account", index) for index in range(self.accounts)]

    @cached_property
    def onion(self) -> Onion:
        return Onion(digest(Domain.ONION, b"benchmark"), layers=2_048)

    @cached_property
    def genesis(self) -> Genesis:
        return Genesis(
            "benchmark",
            1_000_000,
            Parameters(),
            (GenesisValidator(key("validator").public, 1, self.onion.outside),),
            tuple(GenesisAccount(each.public, GRAINS) for each in self.keys),
            bytes(32),
        )

    @cached_property
    def state(self) -> State:
        return genesis_state(self.genesis, chain=chain_id(self.genesis))

    def block(self, transactions: tuple[SignedTransaction, ...]) -> Block:
        """The first block on the genesis."""
        preimage = self.onion.inside(self.onion.outside)
        if preimage is None:
            raise AssertionError("a fresh onion has an inside")
        root, proposer = transactions_root(transactions), key("validator").public
        header = Header(chain_id(self.genesis), 1, 0, root, self.state.root, proposer, 1_000_001, preimage)
        return Block(header, transactions)

    def transfers(self, count: int) -> tuple[SignedTransaction, ...]:
        """From *count* different senders, spread over all accounts, to other accounts."""
        step = max(1, self.accounts // count)
        chosen = [index * step % self.accounts for index in range(count)]
        chain = self.state.chain
        return tuple(
            transfer(chain, self.keys[at], self.keys[(at * 7 + 3) % self.accounts].public) for at in chosen
        )
