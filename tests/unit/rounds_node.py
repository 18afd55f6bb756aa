"""A round machine with a memory of what it did, and the ledger views it is shown."""

from __future__ import annotations

from typing import Any

from msgspec.structs import replace

from potminer.core.machine import Persist
from potminer.core.rounds.conduct import conduct_of
from potminer.core.rounds.events import (
    BlobFetched,
    CancelJob,
    DutyChanged,
    Effect,
    Event,
    Fetch,
    Reported,
    StartJob,
    Submit,
    TaskSeen,
)
from potminer.core.rounds.machine import Rounds
from potminer.wire.record import (
    Judgement,
    Member,
    Outcome,
    Phase,
    RoundRecord,
    Standing,
    TaskRecord,
    TaskStatus,
    UnitRecord,
)
from potminer.wire.residue import SEGMENT_BYTES
from potminer.wire.trainer import Job, Trained
from potminer.wire.tx import (
    Body,
    CommitWork,
)
from tests.unit.ledger_world import blob, key, spec

SPEC = spec()
TASK = blob("task")
OWN, OTHER = key("ann").public, key("ben").public
BASE = blob("theta", 0)
START = 1_000_000
SNAPSHOTS = tuple(blob("own snapshot", i) for i in range(4))
THEIRS = tuple(blob("their snapshot", i) for i in range(4))
RESIDUES = bytes(range(256)) * (4 * SEGMENT_BYTES // 256)
LENGTH = 30_000
ACCEPTED = Judgement(Outcome.ACCEPTED, None, 1_000)
Submitted = list[Body]


class Node:
    """A machine with a memory of what it did. *own* is who it is; nothing is here unless said."""

    def __init__(
        self, *, payout: bool = True, validator: bool = False, persisted: dict[bytes, bytes] | None = None,
        conduct: str | None = None, have: tuple[bytes, ...] = (),
    ) -> None:
        self.machine = Rounds(
            key=OWN, payout=blob("payout") if payout else None, validator=validator, salt_secret=blob("salt"),
            persisted=persisted or {}, conduct=conduct_of(conduct, own=OWN),
        )
        self.now = START
        self.stored: dict[bytes, bytes] = dict(persisted or {})
        for each in have:
            self.machine.handle(BlobFetched(each, True), self.now)

    def tell(self, event: Event, *, after_ms: int = 0) -> list[Effect]:
        self.now += after_ms
        effects = self.machine.handle(event, self.now)
        for effect in effects:
            if isinstance(effect, Persist):
                if effect.value is None:
                    self.stored.pop(effect.key, None)
                else:
                    self.stored[effect.key] = effect.value
        return effects


def said(effects: list[Effect]) -> Submitted:
    return [effect.body for effect in effects if isinstance(effect, Submit)]


def jobs(effects: list[Effect]) -> list[Job]:
    return [effect.job for effect in effects if isinstance(effect, StartJob)]


def fetched(effects: list[Effect]) -> set[bytes]:
    return {effect.blob for effect in effects if isinstance(effect, Fetch)}


def cancelled(effects: list[Effect]) -> list[int]:
    return [effect.job for effect in effects if isinstance(effect, CancelJob)]


def current(phase: Phase = Phase.COMMIT, **changes: Any) -> RoundRecord:
    made = RoundRecord(0, 0, blob("seed"), BASE, phase, START, START + 10_000, (OWN, OTHER), (), (), ())
    return replace(made, **changes)


def seen(
    at: RoundRecord | None = None, units: tuple[UnitRecord, ...] | None = None, *,
    standing: Standing | None = Standing.ACTIVE, registered: bool = True, task: bytes = TASK, **record: Any,
) -> TaskSeen:
    members = () if standing is None else (Member(OWN, standing, None), Member(OTHER, Standing.ACTIVE, None))
    made = replace(TaskRecord(SPEC, blob("requester"), 10**9, TaskStatus.OPEN, 0, 0, BASE, members), **record)
    if units is None:
        units = () if at is None else tuple(UnitRecord(trainer) for trainer in at.slots)
    if at is not None:
        long = (LENGTH,) * at.slices
        units = tuple(replace(unit, lengths=unit.lengths or long) if unit.snapshots else unit for unit in units)
    return TaskSeen(task, made, at, units, registered, START)


def trained(job: Job, snapshots: tuple[bytes, ...] = SNAPSHOTS) -> Reported:
    return Reported(Trained(job.job, snapshots, 500_000, 32, 1, RESIDUES, (LENGTH,)))


def committed(node: Node) -> CommitWork:
    """Take *node* through training to its commitment."""
    node.tell(DutyChanged(True))
    (job,) = jobs(node.tell(seen(current())))
    (work,) = said(node.tell(trained(job)))
    assert isinstance(work, CommitWork)
    return work


DATA = (SPEC.data.train, BASE)
