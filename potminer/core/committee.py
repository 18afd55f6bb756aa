"""The committee of an epoch, and whether a certificate is its word.

Shared by PBFT, sync and light clients: whether a certificate holds is a pure function of
certificate, committee and chain, never of what a node happened to see.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from potminer.base.quorum import is_quorum, is_weak_quorum
from potminer.wire.block import Certificate
from potminer.wire.seal import Purpose, statement, verify


@dataclass(frozen=True, slots=True)
class Committee:
    """Replicas of one epoch in their fixed order, with their voting power."""

    epoch: int
    members: tuple[bytes, ...]
    powers: tuple[int, ...]

    def __post_init__(self) -> None:
        if not self.members or len(self.members) != len(self.powers) or len(set(self.members)) != len(self.members):
            raise AssertionError("a committee has distinct members, each with a power")
        if min(self.powers) < 1:
            raise AssertionError("every member of a committee has power")

    @property
    def total(self) -> int:
        return sum(self.powers)

    def index_of(self, key: bytes) -> int | None:
        return self.members.index(key) if key in self.members else None

    def primary(self, *, height: int, view: int) -> int:
        """Index of the replica whose turn it is: the turn passes on with every block and every view."""
        return (height + view) % len(self.members)

    def power_of(self, indices: Iterable[int]) -> int:
        return sum(self.powers[i] for i in set(indices))

    def is_quorum(self, indices: Iterable[int]) -> bool:
        return is_quorum(self.power_of(indices), self.total)

    def is_weak_quorum(self, indices: Iterable[int]) -> bool:
        return is_weak_quorum(self.power_of(indices), self.total)

    def signed_by(self, index: int, message: bytes, signature: bytes) -> bool:
        """Whether *signature* is member *index*'s over *message*: all of consensus asks here."""
        return verify(self.members[index], message, signature)


def certificate_holds(certificate: Certificate, committee: Committee, *, chain: bytes) -> bool:
    """Whether *certificate* carries a quorum of valid signatures of *committee*.

    Indices must rise strictly (no signer counts twice). In a prepared certificate (purpose
    PREPARE) the primary of its view signs PRE_PREPARE instead, and must be among the signers.
    """
    indices = [index for index, _ in certificate.signatures]
    if certificate.epoch != committee.epoch or certificate.purpose not in (Purpose.PREPARE, Purpose.COMMIT):
        return False
    if indices != sorted(set(indices)) or any(i >= len(committee.members) for i in indices):
        return False
    if not committee.is_quorum(indices):
        return False
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
