"""Witnesses: they watch what is said and executed, and judge by their own arithmetic.

None of them asks a replica what it believes, and none uses the committee's quorum rule: a
mutant of the product's rules must not be able to bend the judge.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from potminer.base import limits
from potminer.base.digest import Domain, digest
from potminer.core.pbft.application import Head
from potminer.wire.block import Block, Certificate, block_digest, transactions_root
from potminer.wire.codec import Wire, decode, encode
from potminer.wire.pbft import NewView, PrePrepare, ViewChange, Vote, view_change_digest
from potminer.wire.seal import Purpose, statement, verify
from potminer.wire.tx import transaction_digest


@dataclass(frozen=True, slots=True)
class Members:
    """Who may vote, with which power, as the witnesses were told at the beginning."""

    chain: bytes
    epoch: int
    keys: tuple[bytes, ...]
    powers: tuple[int, ...]
    honest: frozenset[int]

    def enough(self, indices: set[int]) -> bool:
        return sum(self.powers[i] for i in indices) * 3 > sum(self.powers) * 2


def own_statement(message: Wire) -> tuple[Purpose, int, int, bytes, bytes] | None:
    """(purpose, height, view, digest, signature) of what the sender itself states in *message*."""
    match message:
        case PrePrepare():
            header = message.header
            return Purpose.PRE_PREPARE, header.height, message.view, block_digest(header), message.signature
        case NewView():
            return own_statement(message.proposal)
        case Vote():
            return Purpose(message.purpose), message.height, message.view, message.digest, message.signature
        case ViewChange():
            value = view_change_digest(prepared=message.prepared)
            return Purpose.VIEW_CHANGE, message.height, message.view, value, message.signature
        case _:
            return None


@dataclass(slots=True)
class Witnesses:
    members: Members
    genesis: Head
    check: Callable[[bytes, bytes, bytes], bool] = verify
    """Key, message, signature. Only a memory of the same answers may stand in."""
    violations: list[str] = field(default_factory=list)
    _final: dict[int, bytes] = field(default_factory=dict)
    _commits: dict[tuple[int, int, bytes], set[int]] = field(default_factory=dict)
    _stated: dict[tuple[int, int, int, int], bytes] = field(default_factory=dict)
    _sound: set[bytes] = field(default_factory=set)
    _whole: dict[bytes, bytes] = field(default_factory=dict)
    """Digests of the blocks in the records that were looked at."""
    _submitted: set[bytes] = field(default_factory=set)

    def submitted(self, transaction: bytes) -> None:
        self._submitted.add(transaction)

    def said(self, *, member: int, honest: bool, message: Wire, durable: Mapping[bytes, bytes]) -> None:
        """*member* put *message* on the network while *durable* was what it had written."""
        stated = own_statement(message)
        if stated is None:
            return
        purpose, height, view, value, signature = stated
        if purpose == Purpose.COMMIT:
            voters = self._commits.setdefault((height, view, value), set())
            voters.add(member)
            if self.members.enough(voters):
                self._finality(height, value, "a quorum of COMMITs")
        if not honest:
            return
        first = self._stated.setdefault((member, purpose, height, view), value)
        if first != value:
            self._report(f"double vote: member {member} signed two {purpose.name} at height {height}, view {view}")
        about_a_block = purpose in (Purpose.PRE_PREPARE, Purpose.PREPARE, Purpose.COMMIT)
        if about_a_block and not self._has_whole(value, durable):
            self._report(f"voted unseen: member {member}, a block it could not show at height {height}, view {view}")
        if not any(signature in record for record in durable.values()):
            self._report(f"spoke before writing: member {member}, {purpose.name} at height {height}, view {view}")

    def _has_whole(self, name: bytes, durable: Mapping[bytes, bytes]) -> bool:
        """Whether the block *name* is written, with all its transactions."""
        for record in (record for key, record in durable.items() if key.endswith(name)):
            if record not in self._whole:
                block = decode(Block, record, max_bytes=limits.BLOCK_MESSAGE_BYTES)
                sound = block.header.transactions_root == transactions_root(block.transactions)
                self._whole[record] = block_digest(block.header) if sound else b""
            if self._whole[record] == name:
                return True
        return False

    def executed(self, *, member: int, head: Head, block: Block, certificate: Certificate, known: set[bytes]) -> None:
        """An honest *member* executed *block* on *head*; *known* are the transactions executed before."""
        header, name = block.header, block_digest(block.header)
        where = f"member {member}, height {header.height}"
        self._finality(header.height, name, f"execution by member {member}")
        self._certificate(certificate, header.height, name, where)
        if (header.height, header.parent, header.state_root) != (head.height + 1, head.digest, head.state_root):
            self._report(f"validity: {where} does not follow the head")
        if header.time_ms <= head.time_ms or header.transactions_root != transactions_root(block.transactions):
            self._report(f"validity: {where} has a wrong time or transactions root")
        names = [transaction_digest(t.transaction) for t in block.transactions]
        if not self._submitted.issuperset(names):
            self._report(f"validity: {where} holds a transaction that nobody submitted")
        if len(set(names)) != len(names) or not known.isdisjoint(names):
            self._report(f"validity: {where} executes a transaction twice")

    def held(self, *, member: int, items: int, records: int) -> None:
        """How much *member* holds in memory and on disk."""
        n = len(self.members.keys)
        if items > 32 * n + 64 or records > 8:
            self._report(f"unbounded: member {member} holds {items} items and {records} records")

    def broke(self, *, member: int, error: AssertionError) -> None:
        self._report(f"assertion: member {member}: {error}")

    def starved(self, what: str) -> None:
        self._report(f"liveness: {what}")

    # ---- judgement -----------------------------------------------------------------------

    def _finality(self, height: int, name: bytes, by: str) -> None:
        first = self._final.setdefault(height, name)
        if first != name:
            self._report(f"agreement: height {height} is final as {first.hex()[:8]} and, by {by}, as {name.hex()[:8]}")

    def _certificate(self, certificate: Certificate, height: int, name: bytes, where: str) -> None:
        seen = digest(Domain.CERTIFICATE, encode(certificate))
        if seen in self._sound:
            return
        voters = {index for index, _ in certificate.signatures}
        named = (certificate.purpose, certificate.epoch, certificate.height, certificate.digest)
        sound = named == (Purpose.COMMIT, self.members.epoch, height, name) and all(
            self.check(
                self.members.keys[index],
                statement(
                    Purpose.COMMIT,
                    chain=self.members.chain,
                    signer=self.members.keys[index],
                    digest=name,
                    epoch=self.members.epoch,
                    height=height,
                    view=certificate.view,
                ),
                signature,
            )
            for index, signature in certificate.signatures
        )
        if not sound or len(voters) != len(certificate.signatures) or not self.members.enough(voters):
            self._report(f"certificate: {where} was executed on a certificate that proves nothing")
        self._sound.add(seen)

    def _report(self, violation: str) -> None:
        if violation not in self.violations and len(self.violations) < 32:
            self.violations.append(violation)
