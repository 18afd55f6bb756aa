"""Checkers: each watches what is said and executed for one promise, and judges by its own arithmetic.

None of them asks a replica what it believes, and none uses the committee's quorum rule: a
mutant of the product's rules must not be able to bend the judge. ``Witnesses`` hands every
observation to all of them.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from potminer.base import limits
from potminer.base.digest import Domain, digest
from potminer.core.ledger.state import State
from potminer.core.ledger.state import supply as count_grains
from potminer.core.pbft.application import Head
from potminer.wire.block import Block, Certificate, block_digest, transactions_root
from potminer.wire.codec import Wire, decode, encode
from potminer.wire.pbft import NewView, PrePrepare, ViewChange, Vote, view_change_digest
from potminer.wire.seal import Purpose, statement, verify
from potminer.wire.tx import transaction_digest

MOST_RECORDS = 8
"""Of what a replica signed, at any moment (docs/spec/pbft.md §5)."""
MOST_VIOLATIONS = 32
_PURPOSES = {int(purpose): purpose for purpose in Purpose}
_OF_A_BLOCK = frozenset({Purpose.PRE_PREPARE, Purpose.PREPARE, Purpose.COMMIT})
Report = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class Members:
    """Who may vote, with which power, as the witnesses were told at the beginning."""

    chain: bytes
    epoch: int
    keys: tuple[bytes, ...]
    powers: tuple[int, ...]
    honest: frozenset[int]
    epoch_blocks: int = 2**62
    """After so many blocks the next epoch begins; the same members sit in it."""

    def epoch_at(self, height: int) -> int:
        return self.epoch + (height - 1) // self.epoch_blocks

    def enough(self, indices: set[int]) -> bool:
        return sum(self.powers[i] for i in indices) * 3 > sum(self.powers) * 2


def own_statement(message: Wire) -> tuple[Purpose, int, int, bytes, bytes] | None:
    """(purpose, height, view, digest, signature) of what the sender itself states in *message*."""
    match message:
        case Vote():
            return _PURPOSES[message.purpose], message.height, message.view, message.digest, message.signature
        case PrePrepare():
            header = message.header
            return Purpose.PRE_PREPARE, header.height, message.view, block_digest(header), message.signature
        case NewView():
            return own_statement(message.proposal)
        case ViewChange():
            value = view_change_digest(prepared=message.prepared)
            return Purpose.VIEW_CHANGE, message.height, message.view, value, message.signature
        case _:
            return None


class Agreement:
    """One block per height: of all that is executed, and of all that a quorum of COMMITs makes final."""

    __slots__ = ("_commits", "_enough", "_final")

    def __init__(self, members: Members) -> None:
        self._enough = members.enough
        self._final: dict[int, bytes] = {}
        self._commits: dict[tuple[int, int, bytes], set[int]] = {}

    def committed(self, member: int, height: int, view: int, name: bytes, report: Report) -> None:
        voters = self._commits.setdefault((height, view, name), set())
        voters.add(member)
        if self._enough(voters):
            self.final(height, name, "a quorum of COMMITs", report)

    def final(self, height: int, name: bytes, by: str, report: Report) -> None:
        first = self._final.setdefault(height, name)
        if first != name:
            report(f"agreement: height {height} is final as {first.hex()[:8]} and, by {by}, as {name.hex()[:8]}")


class DoubleVotes:
    """No honest member signs two statements for one purpose, height and view, over all its lives."""

    __slots__ = ("_stated",)

    def __init__(self) -> None:
        self._stated: dict[tuple[int, int, int, int], bytes] = {}

    def stated(self, member: int, purpose: Purpose, height: int, view: int, value: bytes, report: Report) -> None:
        first = self._stated.setdefault((member, purpose, height, view), value)
        if first != value:
            report(f"double vote: member {member} signed two {purpose.name} at height {height}, view {view}")


class Validity:
    """Blocks follow the head they are executed on, and hold what clients submitted, once."""

    __slots__ = ("_names", "_submitted")

    def __init__(self) -> None:
        self._names: dict[bytes, list[bytes]] = {}
        """The transactions of the blocks that were looked at, by their root: every member executes every block."""
        self._submitted: set[bytes] = set()

    def submitted(self, transaction: bytes) -> None:
        self._submitted.add(transaction)

    def executed(self, head: Head, block: Block, known: set[bytes], where: str, report: Report) -> None:
        header = block.header
        if (header.height, header.parent, header.state_root) != (head.height + 1, head.digest, head.state_root):
            report(f"validity: {where} does not follow the head")
        root = transactions_root(block.transactions)
        if header.time_ms <= head.time_ms or header.transactions_root != root:
            report(f"validity: {where} has a wrong time or transactions root")
        names = self._names.get(root)
        if names is None:
            names = self._names[root] = [transaction_digest(t.transaction) for t in block.transactions]
        if not self._submitted.issuperset(names):
            report(f"validity: {where} holds a transaction that nobody submitted")
        if len(set(names)) != len(names) or not known.isdisjoint(names):
            report(f"validity: {where} executes a transaction twice")


class Certificates:
    """Every executed block came with a quorum of COMMITs that its members signed."""

    __slots__ = ("_check", "_members", "_sound")

    def __init__(self, members: Members, check: Callable[[bytes, bytes, bytes], bool]) -> None:
        self._members = members
        self._check = check
        self._sound: set[bytes] = set()

    def executed(self, certificate: Certificate, height: int, name: bytes, where: str, report: Report) -> None:
        seen = digest(Domain.CERTIFICATE, encode(certificate))
        if seen in self._sound:
            return
        voters = {index for index, _ in certificate.signatures}
        named = (certificate.purpose, certificate.epoch, certificate.height, certificate.digest)
        sound = named == (Purpose.COMMIT, self._members.epoch_at(height), height, name) and all(
            self._signed(certificate, index, signature) for index, signature in certificate.signatures
        )
        if not sound or len(voters) != len(certificate.signatures) or not self._members.enough(voters):
            report(f"certificate: {where} was executed on a certificate that proves nothing")
        self._sound.add(seen)

    def _signed(self, certificate: Certificate, index: int, signature: bytes) -> bool:
        key = self._members.keys[index]
        said = statement(
            Purpose.COMMIT,
            chain=self._members.chain,
            signer=key,
            digest=certificate.digest,
            epoch=self._members.epoch_at(certificate.height),
            height=certificate.height,
            view=certificate.view,
        )
        return self._check(key, said, signature)


class Written:
    """What an honest member signs it has written before; a block that it votes for, whole."""

    __slots__ = ("_whole",)

    def __init__(self) -> None:
        self._whole: dict[bytes, bytes] = {}
        """Digests of the blocks in the records that were looked at."""

    def stated(
        self, member: int, about: tuple[Purpose, int, int, bytes, bytes], durable: dict[bytes, bytes], report: Report
    ) -> None:
        purpose, height, view, value, signature = about
        for record in reversed(durable.values()):  # it was mostly written last
            if signature in record:
                break
        else:
            report(f"spoke before writing: member {member}, {purpose.name} at height {height}, view {view}")
        if purpose in _OF_A_BLOCK and not self._has_whole(value, durable):
            report(f"voted unseen: member {member}, a block it could not show at height {height}, view {view}")

    def _has_whole(self, name: bytes, durable: dict[bytes, bytes]) -> bool:
        """Whether the block *name* is written, with all its transactions."""
        for key, record in durable.items():
            if not key.endswith(name):
                continue
            if record not in self._whole:
                block = decode(Block, record, max_bytes=limits.BLOCK_MESSAGE_BYTES)
                sound = block.header.transactions_root == transactions_root(block.transactions)
                self._whole[record] = block_digest(block.header) if sound else b""
            if self._whole[record] == name:
                return True
        return False


class States:
    """The state after a height is the same everywhere, to the byte."""

    __slots__ = ("_roots",)

    def __init__(self) -> None:
        self._roots: dict[int, bytes] = {}

    def reached(self, member: int, height: int, root: bytes, report: Report) -> None:
        first = self._roots.setdefault(height, root)
        if first != root:
            report(f"state: member {member} has {root.hex()[:8]} after height {height}, others {first.hex()[:8]}")


@dataclass(slots=True)
class Witnesses:
    members: Members
    genesis: Head
    check: Callable[[bytes, bytes, bytes], bool] = verify
    """Key, message, signature. Only a memory of the same answers may stand in."""
    violations: list[str] = field(default_factory=list)
    agreement: Agreement = field(init=False)
    double_votes: DoubleVotes = field(init=False)
    validity: Validity = field(init=False)
    certificates: Certificates = field(init=False)
    states: States = field(init=False)
    written: Written = field(init=False)
    authors: dict[bytes, int] = field(default_factory=dict)
    """Who was the first to say what bears a signature: nobody can pass on what was never said."""

    def __post_init__(self) -> None:
        self.agreement, self.double_votes = Agreement(self.members), DoubleVotes()
        self.validity, self.states, self.written = Validity(), States(), Written()
        self.certificates = Certificates(self.members, self.check)

    def submitted(self, transaction: bytes) -> None:
        self.validity.submitted(transaction)

    def said(
        self, *, member: int, honest: bool, message: Wire, durable: dict[bytes, bytes], bad_disk: bool = False
    ) -> None:
        """*member* put *message* on the network while *durable* was what it had written. Of a *bad_disk* only what was
        said counts: it may not hold what was written."""
        stated = own_statement(message)
        if stated is None:
            return
        purpose, height, view, value, signature = stated
        if self.authors.setdefault(signature, member) != member:
            return  # it passes on what another one said
        if purpose == Purpose.COMMIT:
            self.agreement.committed(member, height, view, value, self.report)
        if not honest:
            return
        self.double_votes.stated(member, purpose, height, view, value, self.report)
        if not bad_disk:
            self.written.stated(member, stated, durable, self.report)

    def executed(self, *, member: int, head: Head, block: Block, certificate: Certificate, known: set[bytes]) -> None:
        """An honest *member* executed *block* on *head*; *known* are the transactions executed before."""
        name, where = block_digest(block.header), f"member {member}, height {block.header.height}"
        self.agreement.final(block.header.height, name, f"execution by member {member}", self.report)
        self.certificates.executed(certificate, block.header.height, name, where, self.report)
        self.validity.executed(head, block, known, where, self.report)

    def reached(self, *, member: int, head: Head) -> None:
        """An honest *member* stands at *head*."""
        self.states.reached(member, head.height, head.state_root, self.report)

    def held(self, *, member: int, items: int, records: int, block: int) -> None:
        """How much *member* holds in memory and on disk; *block* transactions may be on their way to it."""
        n = len(self.members.keys)
        if items > 32 * n + 64 + block or records > MOST_RECORDS:
            self.report(f"unbounded: member {member} holds {items} items and {records} records")

    def counted(self, *, member: int, height: int, state: State, supply: int) -> None:
        """Every grain of the ledger, one by one: there are as many as in the beginning."""
        found = count_grains(state)
        if found != supply:
            self.report(f"supply: member {member} has {found} grains after height {height}, not {supply}")

    def broke(self, *, member: int, error: BaseException | str) -> None:
        kind = type(error).__name__ if isinstance(error, BaseException) else "error"
        self.report(f"assertion: member {member}: {kind} {error}")

    def starved(self, what: str) -> None:
        self.report(f"liveness: {what}")

    def report(self, violation: str) -> None:
        if violation not in self.violations and len(self.violations) < MOST_VIOLATIONS:
            self.violations.append(violation)
