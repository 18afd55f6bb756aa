"""A ledger to write on: keys, a genesis, and blocks proposed in turn. No consensus, no sockets."""

from __future__ import annotations

from functools import lru_cache
from random import Random
from typing import Any

from msgspec.structs import replace

from potminer.base.digest import Domain, digest
from potminer.core import trie
from potminer.core.committee import committee_of
from potminer.core.ledger.apply import Applied, InvalidBlock, apply_block
from potminer.core.ledger.beacon import Onion
from potminer.core.ledger.event import Event
from potminer.core.ledger.refusal import Refusal
from potminer.core.ledger.state import State, genesis_state, supply
from potminer.wire import record as records
from potminer.wire.block import Block, Header, block_digest, transactions_root
from potminer.wire.codec import encode
from potminer.wire.genesis import Genesis, GenesisAccount, GenesisValidator, Parameters, chain_id, genesis_supply
from potminer.wire.model import Mlp
from potminer.wire.record import Calibration, Phase, RoundRecord, SeenDevice, TaskRecord, UnitRecord, Validator
from potminer.wire.residue import SEGMENT_BYTES, leaf_number, leaf_path, leaves_of, residue_root
from potminer.wire.seal import Purpose, SigningKey, statement
from potminer.wire.task import AuditSpec, DataSpec, Deadlines, Reward, TaskSpec
from potminer.wire.tx import (
    AggregateResult,
    AuditVerdict,
    Body,
    CommitWork,
    Evidence,
    Finding,
    JoinTask,
    OpenResidue,
    RegisterTrainer,
    RevealWork,
    SignedTransaction,
    Spoken,
    SubmitTask,
    Transaction,
    commitment,
    sign_transaction,
)

RICH = 10**12
SMALLEST_BOND = 1_000
LENGTH = 30_000
"""How long everybody's updates are said to be."""


@lru_cache
def key(name: str) -> SigningKey:
    return SigningKey(digest(Domain.DRAW, name.encode()))


@lru_cache
def residues(*labels: object) -> bytes:
    """Residues of a unit of four segments."""
    return Random(repr(labels)).randbytes(4 * SEGMENT_BYTES)


@lru_cache
def root(*labels: object) -> bytes:
    return residue_root(residues(*labels))


@lru_cache
def onion(name: str) -> Onion:
    return Onion(digest(Domain.ONION, name.encode()), layers=2_048)


def blob(*labels: object) -> bytes:
    return digest(Domain.MESSAGE, repr(labels).encode())


def spec(**changes: Any) -> TaskSpec:
    fields: dict[str, Any] = {
        "name": "digits",
        "model": Mlp(64, (8,), 10),
        "data": DataSpec(blob("train"), blob("validation"), 100, 50, (1, 8, 8)),
        "objective": "classification",
        "mode": "gradient",
        "initial_model": blob("theta", 0),
        "rounds": 3,
        "units_per_trainer": 2,
        "segments": 4,
        "batches_per_segment": 1,
        "micro_batch": 8,
        "outer_rate_nano": 10**8,
        "audit": AuditSpec(1_000_000, 1_000),
        "deadlines": Deadlines(10_000, 10_000, 10_000, 10_000, 10_000),
        "reward": Reward(10**9, 1_000_003),
        "min_trainers": 2,
        "max_trainers": 8,
    }
    return TaskSpec(**{**fields, **changes})


def true_evidence(world: World, name: str, *, purpose: Purpose = Purpose.PREPARE) -> Evidence:
    """Two values that *name* signed for one place."""
    place = {"epoch": 0, "height": 9, "view": 1}
    said = tuple(
        Spoken(
            purpose,
            blob(word),
            key(name).sign(
                statement(purpose, chain=world.chain, signer=key(name).public, digest=blob(word), **place)
            ),
        )
        for word in ("one", "other")
    )
    return Evidence(key(name).public, 0, 9, 1, *said)


CALIBRATION = Calibration(1_000, 100, 44_000, (SeenDevice("", 100),))


class World:
    """A chain of blocks, each proposed by the next validator, a second apart unless told otherwise. Its tasks
    stand after their calibration, unless they are to go through it."""

    def __init__(
        self, *, validators: int = 4, escrow_rounds: int = 2, bond: int = 0, epoch_blocks: int = 100,
        second_audit_ppm: int = 0, calibrated: bool = True, whole_bytes: int = 2**40,
    ) -> None:
        self.validators = [f"validator-{i}" for i in range(validators)]
        genesis = Genesis(
            "testnet",
            1_000_000,
            Parameters(
                escrow_rounds=escrow_rounds, minimum_fee=10, unbonding_ms=5_000, epoch_blocks=epoch_blocks,
                validator_bond=SMALLEST_BOND, second_audit_ppm=second_audit_ppm, whole_bytes=whole_bytes,
            ),
            tuple(GenesisValidator(key(v).public, 1, onion(v).outside, bond) for v in self.validators),
            (GenesisAccount(key("requester").public, RICH), GenesisAccount(key("rich").public, RICH)),
            blob("seed"),
        )
        self.chain = chain_id(genesis)
        self.genesis = genesis
        self.state: State = genesis_state(genesis, chain=self.chain)
        self.head = b"\0" * 32
        self.events: list[Event] = []
        self.nonces: dict[bytes, int] = {}
        self.task = b""
        self.absent: set[bytes] = set()
        """Who never proposes."""
        self.blocks: list[Block] = []
        self.calibrated = calibrated
        self.lengths: dict[int, int] = {}
        """How long the updates of some slots are said to be."""
        self.ahead = 0
        """1 where what is said is about the round ahead."""

    def sign(self, name: str, body: Body, *, fee: int = 10, nonce: int | None = None) -> SignedTransaction:
        sender = key(name)
        if name in self.validators or self.state.account(sender.public).balance < fee:
            fee = 0
        if nonce is None:
            nonce = self.nonces.get(sender.public, self.state.account(sender.public).nonce)
            self.nonces[sender.public] = nonce + 1
        return sign_transaction(Transaction(self.chain, sender.public, nonce, fee, 10**9, body), sender)

    def block(self, *transactions: SignedTransaction, after_ms: int = 1_000, view: int = 0) -> Block:
        """The block of *view*'s primary on our head, or of the first after it that is not absent."""
        head, committee = self.state.head, committee_of(self.state.committee)
        turns = (committee.primary(height=head.height + 1, view=view + late) for late in range(len(committee.members)))
        proposer = next(committee.members[turn] for turn in turns if committee.members[turn] not in self.absent)
        revealed = self.state.need(Validator, records.validator_key(proposer)).onion_in(committee.epoch)
        layers = (onion(self.name_of(proposer) + new).inside(revealed) for new in ("", "-renewed"))
        preimage = next(layer for layer in layers if layer is not None)
        header = Header(
            self.head, head.height + 1, committee.epoch, transactions_root(transactions), self.state.root, proposer,
            head.time_ms + after_ms, preimage,
        )
        return Block(header, transactions)

    def step(self, *bodies: tuple[str, Body], after_ms: int = 1_000, view: int = 0) -> list[Refusal | None]:
        """Apply one block with these transactions; the supply is counted one by one after it."""
        block = self.block(*(self.sign(name, body) for name, body in bodies), after_ms=after_ms, view=view)
        applied = apply_block(self.state, block)
        assert isinstance(applied, Applied), applied
        assert isinstance(apply_block(self.state, block), Applied)
        self.state, self.head = applied.state, block_digest(block.header)
        self.events += applied.events
        self.blocks.append(block)
        if self.calibrated:
            self._calibrate()
        assert supply(self.state) == self.state.head.supply == genesis_supply(self.genesis)
        return [receipt.refusal for receipt in applied.receipts]

    def _calibrate(self) -> None:
        fresh = []
        for task in self.state.head.open_tasks:
            found = self.state.need(TaskRecord, records.task_key(task))
            if found.calibration is None:
                fresh.append((records.task_key(task), encode(replace(found, calibration=CALIBRATION))))
        if fresh:
            self.state = State(self.chain, self.state.parameters, trie.update(self.state.tree, fresh))

    def refused_block(self, block: Block) -> str:
        applied = apply_block(self.state, block)
        assert isinstance(applied, InvalidBlock)
        return applied.reason

    # ---- a task ---------------------------------------------------------------------------

    def submit(self, task: TaskSpec | None = None, trainers: tuple[str, ...] = ("ann", "ben", "cy")) -> None:
        """Submit a task, register and join *trainers*; the first round opens in the same block."""
        assert self.step(("requester", SubmitTask(task or spec()))) == [None]
        self.task = self.state.head.open_tasks[0]
        registered = [(name, RegisterTrainer(key(name + "-wallet").public)) for name in trainers]
        joined = [(name, JoinTask(self.task)) for name in trainers]
        assert set(self.step(*registered, *joined)) == {None}

    @property
    def record(self) -> TaskRecord:
        return self.state.need(TaskRecord, records.task_key(self.task))

    @property
    def round(self) -> RoundRecord:
        """The round in progress; the one ahead of it where *ahead* is set."""
        found = self.state.need(RoundRecord, records.round_key(self.task, self.record.round + self.ahead))
        assert found.number == self.record.round + self.ahead
        return found

    def unit(self, slot: int) -> UnitRecord:
        return self.state.need(UnitRecord, records.unit_key(self.task, self.round.number, slot))

    def name_of(self, public: bytes) -> str:
        return next(n for n in ("ann", "ben", "cy", "dee", "rich", *self.validators) if key(n).public == public)

    def reveal_of(self, slot: int, *, snapshots: tuple[bytes, ...] | None = None) -> RevealWork:
        current = self.round
        count = self.record.spec.segments
        made = snapshots or tuple(
            blob(self.task, current.number, current.attempt, slot, segment) for segment in range(count)
        )
        bound, lengths = root(*self.place(slot)), (self.lengths.get(slot, LENGTH),) * current.slices
        return RevealWork(*self.place(slot), blob("salt", slot), 500_000, made, bound, lengths)

    def place(self, slot: int) -> tuple[bytes, int, int, int]:
        return self.task, self.round.number, self.round.attempt, slot

    def sketch_of(self, slot: int, segment: int, leaf: int) -> bytes:
        """What whoever recomputes the segment finds in that leaf."""
        return leaves_of(residues(*self.place(slot)))[leaf_number(segment, leaf)]

    def opening_of(self, slot: int, segment: int, leaf: int) -> OpenResidue:
        siblings = leaf_path(residues(*self.place(slot)), leaf_number(segment, leaf))
        return OpenResidue(*self.place(slot), segment, leaf, self.sketch_of(slot, segment, leaf), siblings)

    def open_all(self, *, but: tuple[int, ...] = ()) -> None:
        """Every trainer opens what its auditors have spoken for."""
        bodies = []
        for audit in self.round.audits:
            unit = self.unit(audit.slot)
            spoken = any(v.judge == audit.auditor and v.segment == audit.segment and v.sketch for v in unit.verdicts)
            if spoken and audit.slot not in but and unit.judgement is None:
                opening = self.opening_of(audit.slot, audit.segment, audit.leaf)
                bodies.append((self.name_of(unit.trainer), opening))
        if bodies:
            assert set(self.step(*bodies)) == {None}

    def commit_of(self, slot: int, reveal: RevealWork | None = None, base: bytes | None = None) -> CommitWork:
        current = self.round
        bound = commitment(reveal or self.reveal_of(slot), trainer=current.slots[slot])
        return CommitWork(self.task, current.number, current.attempt, slot, base or current.base, bound)

    def commit_all(self, *, but: tuple[int, ...] = ()) -> None:
        slots = [s for s in range(len(self.round.slots)) if s not in but]
        bodies = [(self.name_of(self.round.slots[s]), self.commit_of(s)) for s in slots]
        assert set(self.step(*bodies)) == {None}

    def reveal_all(self, *, but: tuple[int, ...] = ()) -> None:
        slots = [s for s in range(len(self.round.slots)) if s not in but]
        bodies = [(self.name_of(self.round.slots[s]), self.reveal_of(s)) for s in slots]
        assert set(self.step(*bodies)) == {None}

    def until(self, phase: Phase) -> None:
        for _ in range(40):
            if self.round.phase == phase:
                return
            self.step()
        raise AssertionError(f"never reached {phase!r}")

    def pass_deadline(self) -> None:
        """A block just after the phase's deadline."""
        self.step(after_ms=max(1, self.round.deadline_ms - self.state.head.time_ms + 1))

    def audit_all(
        self, *, bad: tuple[int, ...] = (), silent: tuple[int, ...] = (), unopened: tuple[int, ...] = (),
    ) -> None:
        """Every auditor speaks and every trainer opens, but those of *unopened* slots. Of a *bad* slot the first
        audit is bad, of a *silent* one it is missing."""
        while self.round.phase < Phase.AUDIT:
            self.step()
        if self.round.phase > Phase.AUDIT:
            return  # nothing was drawn
        bodies: list[tuple[str, Body]] = []
        seen: set[int] = set()
        for audit in self.round.audits:
            first = audit.slot not in seen
            seen.add(audit.slot)
            if audit.auditor is None or (first and audit.slot in silent):
                continue
            ppm = 900_000 if first and audit.slot in bad else 3
            bodies.append((self.name_of(audit.auditor), self.verdict_of(audit.slot, ppm, segment=audit.segment)))
        number = self.round.number
        assert set(self.step(*bodies)) <= {None}
        if self.state.get(RoundRecord, records.round_key(self.task, number)) is not None:
            self.open_all(but=unopened)

    def verdict_of(
        self, slot: int, ppm: int, finding: Finding = Finding.MEASURED, *, segment: int | None = None
    ) -> AuditVerdict:
        """Of the slot's first audit, unless another *segment* is named."""
        audit = next(a for a in self.round.audits if a.slot == slot and segment in (None, a.segment))
        sketch = self.sketch_of(slot, audit.segment, audit.leaf) if finding == Finding.MEASURED else b""
        return AuditVerdict(*self.place(slot), audit.segment, finding, ppm, sketch)

    def judge(self, slot: int, ppm: int, *, judges: int = 4, finding: Finding = Finding.MEASURED) -> None:
        """The committee's word on everything that is disputed of *slot*."""
        segments = [a.segment for a in self.round.audits if a.slot == slot and a.disputed]
        bodies = [self.verdict_of(slot, ppm, finding, segment=segment) for segment in dict.fromkeys(segments)]
        self.step(*[(v, body) for body in bodies for v in self.validators[:judges]])

    def attest(self, count: int = 2, *, model: bytes | None = None, malformed: tuple[int, ...] = ()) -> None:
        current = self.round
        result = AggregateResult(
            self.task, current.number, current.attempt, model or blob("theta", current.number + 1), malformed
        )
        self.step(*[(v, result) for v in self.validators[:count]])

    def whole_round(self) -> None:
        self.commit_all()
        self.reveal_all()
        self.audit_all()
        self.attest()

    def balance(self, name: str) -> int:
        return self.state.account(key(name).public).balance

    def happened(self, kind: type) -> list[Any]:
        return [e for e in self.events if isinstance(e, kind)]
