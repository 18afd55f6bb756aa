"""A proposal on its way to a whole block: its transactions, gathered from the own mempool and from members.

A proposal carries leaves, and its header proves them (``wire.block.leaves_root``); each transaction
then proves itself by its leaf. So whoever sends one can only send the right one, and a proposer
that withholds some loses its turn and nothing else.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from potminer.core.machine import Offence, Penalize, Send
from potminer.wire.block import Block, block_digest
from potminer.wire.pbft import PrePrepare, Transactions, TransactionsWanted
from potminer.wire.tx import SignedTransaction


class Gathering:
    """The transactions of *proposal*. Holds at most what its leaves name, and asks one member at a time."""

    __slots__ = ("_found", "_places", "asked", "digest", "fresh", "proposal")

    def __init__(
        self, proposal: PrePrepare, *, fresh: bool, known: Sequence[SignedTransaction | None]
    ) -> None:
        self.proposal = proposal
        self.fresh = fresh
        self.digest = block_digest(proposal.header)
        self._found: list[SignedTransaction | None] = [None] * len(proposal.leaves)
        self._places = {leaf: place for place, leaf in enumerate(proposal.leaves)}
        self.asked = 0
        """How many questions were put."""
        self.take([signed for signed in known if signed is not None])

    def take(self, transactions: Iterable[SignedTransaction]) -> bool:
        """Keeps what belongs to the block; False where something does not."""
        sound = True
        for signed in transactions:
            place = self._places.get(signed.leaf)
            if place is None:
                sound = False
            else:
                self._found[place] = signed
        return sound

    def missing(self) -> list[bytes]:
        """The leaves of what is not here yet."""
        return [leaf for leaf, signed in zip(self.proposal.leaves, self._found, strict=True) if signed is None]

    def block(self) -> Block | None:
        """The whole block, once nothing is missing."""
        whole = tuple(signed for signed in self._found if signed is not None)
        return Block(header=self.proposal.header, transactions=whole) if len(whole) == len(self._found) else None

    def ask(self, holders: Sequence[bytes]) -> list[Send]:
        """The question for what is missing, to the next of *holders*; they answer once per status period."""
        places = tuple(place for place, signed in enumerate(self._found) if signed is None)
        if not places or not holders:
            return []
        peer = holders[self.asked % len(holders)]
        self.asked += 1
        return [Send(peer, TransactionsWanted(height=self.proposal.header.height, digest=self.digest, places=places))]

    def size(self) -> int:
        return 1 + sum(signed is not None for signed in self._found)


def answer(peer: bytes, wanted: TransactionsWanted, block: Block) -> Send | Penalize:
    """What *peer* asked for. Places rise, or one transaction could be asked for a thousand times."""
    if list(wanted.places) != sorted(set(wanted.places)) or wanted.places[-1] >= len(block.transactions):
        return Penalize(peer, Offence.MALFORMED, "places that the block does not have")
    chosen = tuple(block.transactions[place] for place in wanted.places)
    return Send(peer, Transactions(digest=wanted.digest, transactions=chosen))
