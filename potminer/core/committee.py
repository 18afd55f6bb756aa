"""The committee of an epoch, whose turn it is, and whether a certificate is its word.

Shared by PBFT, sync and light clients: whether a certificate holds is a pure function of
certificate, committee and chain, never of what a node happened to see.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from functools import lru_cache

from potminer.base.quorum import is_quorum, is_weak_quorum
from potminer.wire.block import Certificate
from potminer.wire.record import CommitteeRecord
from potminer.wire.seal import Purpose, statement, verify

_DISTINCT = frozenset({dict, set, frozenset})
"""What holds nothing twice."""


@dataclass(frozen=True, slots=True)
class Committee:
    """Replicas of one epoch in their fixed order, with their voting power.

    *skipped* are the seats that have no turn to propose at a height: what the blocks below it say of
    turns that were missed, so it is the same for whoever has executed them. They vote like all others.
    """

    epoch: int
    members: tuple[bytes, ...]
    powers: tuple[int, ...]
    skipped: tuple[int, ...] = ()
    total: int = field(init=False, repr=False, compare=False)
    turns: tuple[int, ...] = field(init=False, repr=False, compare=False)
    """The seats that propose, in their order."""
    even: int = field(init=False, repr=False, compare=False)
    """The power of each member where all have the same; else 0."""
    seats: Mapping[bytes, int] = field(init=False, repr=False, compare=False)
    """The members' places, by their keys."""

    def __post_init__(self) -> None:
        if not self.members or len(self.members) != len(self.powers) or len(set(self.members)) != len(self.members):
            raise AssertionError("a committee has distinct members, each with a power")
        if min(self.powers) < 1:
            raise AssertionError("every member of a committee has power")
        if not set(self.skipped) < set(range(len(self.members))):
            raise AssertionError("somebody of a committee has a turn")
        object.__setattr__(self, "total", sum(self.powers))
        seats = tuple(range(len(self.members)))
        turns = tuple(seat for seat in seats if seat not in self.skipped) if self.skipped else seats
        object.__setattr__(self, "turns", turns)
        object.__setattr__(self, "even", self.powers[0] if len(set(self.powers)) == 1 else 0)
        object.__setattr__(self, "seats", {key: seat for seat, key in enumerate(self.members)})

    def index_of(self, key: bytes) -> int | None:
        return self.seats.get(key)

    def primary(self, *, height: int, view: int) -> int:
        """Index of the replica whose turn it is: the turn passes on with every block and every view."""
        turns = self.turns
        return turns[(height + view) % len(turns)]

    def missed(self, *, height: int, proposer: bytes) -> tuple[int, ...]:
        """The seats whose turns passed before *proposer* had made the block that was decided at *height*.

        By the proposer, not by a certificate's view: a block that is proposed again keeps its proposer, and
        replicas hold certificates of different views. A proposer without a turn shows nothing.
        """
        turns, seat = self.turns, self.members.index(proposer)
        if seat not in turns:
            return ()
        late = (turns.index(seat) - height) % len(turns)
        return tuple(turns[(height + view) % len(turns)] for view in range(late))

    def skipping(self, seats: Iterable[int]) -> tuple[int, ...]:
        """The skipped seats once *seats*, in this order, join them: less than a third of the power ever is."""
        skipped = set(self.skipped)
        for seat in seats:
            if 3 * self.power_of(skipped | {seat}) < self.total:
                skipped.add(seat)
        return tuple(sorted(skipped))

    def power_of(self, indices: Iterable[int]) -> int:
        distinct = indices if type(indices) in _DISTINCT else set(indices)
        if self.even:
            return self.even * len(distinct)  # type: ignore[arg-type]
        return sum([self.powers[i] for i in distinct])

    def is_quorum(self, indices: Iterable[int]) -> bool:
        return is_quorum(self.power_of(indices), self.total)

    def is_weak_quorum(self, indices: Iterable[int]) -> bool:
        return is_weak_quorum(self.power_of(indices), self.total)

    def signed_by(self, index: int, message: bytes, signature: bytes) -> bool:
        """Whether *signature* is member *index*'s over *message*: all of consensus asks here."""
        return verify(self.members[index], message, signature)


def epoch_of(height: int, *, blocks: int) -> int:
    """Epoch e decides the heights e * blocks + 1 to (e + 1) * blocks. The genesis counts to the first."""
    return max(height - 1, 0) // blocks


@lru_cache(maxsize=16)
def committee_of(record: CommitteeRecord) -> Committee:
    """The committee that the ledger's *record* names."""
    return Committee(record.epoch, record.members, record.powers, record.skipped)


def certificate_holds(
    certificate: Certificate, committee: Committee, *, chain: bytes, primary: int | None = None
) -> bool:
    """Whether *certificate* carries a quorum of valid signatures of *committee*.

    Indices must rise strictly (no signer counts twice). In a prepared certificate (purpose
    PREPARE) the primary of its view signs PRE_PREPARE instead, and must be among the signers.
    *primary* is for who does not know whose turns were skipped at that height.
    """
    indices = [index for index, _ in certificate.signatures]
    if certificate.epoch != committee.epoch or certificate.purpose not in (Purpose.PREPARE, Purpose.COMMIT):
        return False
    if indices != sorted(set(indices)) or any(i >= len(committee.members) for i in indices):
        return False
    if not committee.is_quorum(indices):
        return False
    if primary is None:
        primary = committee.primary(height=certificate.height, view=certificate.view)
    prepared = certificate.purpose == Purpose.PREPARE
    if prepared and primary not in indices:
        return False
    return all(
        committee.signed_by(
            index,
            statement(
                Purpose.PRE_PREPARE if prepared and index == primary else Purpose(certificate.purpose),
                chain=chain,
                signer=committee.members[index],
                digest=certificate.digest,
                epoch=certificate.epoch,
                height=certificate.height,
                view=certificate.view,
            ),
            signature,
        )
        for index, signature in certificate.signatures
    )
