"""The round machine: after every block it compares what the ledger says with what this node has
done, and does the next thing that is owed.

It keeps no phase of its own: the ledger is where a round stands, so a restart, a lost
transaction or a skipped block needs no special case. A transaction that has not shown its
effect after ``RESUBMIT_MS`` is submitted again.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import assert_never

from potminer.base.digest import Domain, digest
from potminer.core.rounds.attest import BEGINS, Attester
from potminer.core.rounds.bound import Bound
from potminer.core.rounds.conduct import Conduct
from potminer.core.rounds.events import (
    BlobFetched,
    CancelJob,
    DutyChanged,
    Effect,
    Event,
    ExcerptFetched,
    HeldSeen,
    Reported,
    SeatChanged,
    StartJob,
    TaskSeen,
)
from potminer.core.rounds.hidden import Presenter
from potminer.core.rounds.job import Apart, Attempt, Looking, Place, Remaking, Running, Scoring, Slicing
from potminer.core.rounds.look import disputed, drawn, stake_in_dispute, unit_of
from potminer.core.rounds.means import Means
from potminer.core.rounds.scoring import Scorer, is_timely
from potminer.wire.record import Audit, Phase, RoundRecord, Standing, TaskStatus
from potminer.wire.residue import residue_root
from potminer.wire.task import snapshot_bytes, unit_digest
from potminer.wire.trainer import (
    Aggregated,
    Audited,
    AuditJob,
    Evaluated,
    EvaluateJob,
    Failed,
    Report,
    Sliced,
    Trained,
    TrainJob,
)
from potminer.wire.tx import (
    AuditVerdict,
    CommitWork,
    Finding,
    JoinTask,
    LeaveTask,
    OpenResidue,
    RegisterTrainer,
    RevealWork,
    commitment,
)

SAFETY_MS = 1_500
"""How long before a deadline, at the least, an auditor that cannot fetch a snapshot says so."""
OPENINGS_AT_ONCE = 64


class Rounds:
    """*payout* is None where this node does not train. *salt_secret* never leaves the node."""

    def __init__(
        self,
        *,
        key: bytes,
        payout: bytes | None,
        validator: bool,
        salt_secret: bytes,
        persisted: Mapping[bytes, bytes],
        conduct: Conduct | None = None,
    ) -> None:
        self._key = key
        self._payout = payout
        self._validator = validator
        self._salt_secret = salt_secret
        self._conduct = conduct or Conduct()
        self._may_train = False
        self._seen: dict[bytes, TaskSeen] = {}
        self._means = Means()
        self._finishing = False
        self._bound = Bound(persisted)
        self._devices: dict[Place, str] = {}
        self._unfit: set[bytes] = set()
        """Tasks whose work this rig's device does not do well enough: another round would only cost its bond."""
        self._verdicts: dict[tuple[Place, int], AuditVerdict] = {}
        self._scorer = Scorer(key, secret=salt_secret, persisted=persisted, conduct=self._conduct)
        self._attester = Attester(key, self._means)
        self._presenter = Presenter(key, self._means)

    def handle(self, event: Event, now: int) -> list[Effect]:
        match event:
            case TaskSeen():
                return self._task_seen(event, now)
            case HeldSeen():
                self._presenter.look(event)
                return self._cancel_stale() + self._owed(now)
            case BlobFetched():
                return self._blob_fetched(event, now)
            case ExcerptFetched(update, index, excerpt):
                self._attester.excerpt_fetched(update, index, excerpt, now)
                return self._owed(now)
            case Reported():
                return self._reported(event.report, now)
            case DutyChanged():
                return self._duty_changed(event, now)
            case SeatChanged():
                self._validator = event.validator
                return self._owed(now)
            case _:
                assert_never(event)

    # ---- events ---------------------------------------------------------------------------

    def _task_seen(self, seen: TaskSeen, now: int) -> list[Effect]:
        effects: list[Effect] = []
        if seen.record.status != TaskStatus.OPEN and seen.round is None:
            self._seen.pop(seen.task, None)
        else:
            self._seen[seen.task] = seen
        for unit in (*seen.units, *(seen.ahead.units if seen.ahead is not None else ())):
            self._conduct.observe(unit)
            if unit.trainer == self._key and self._conduct.gives_up(unit):
                self._unfit.add(seen.task)
        effects += self._forget_finished(seen)
        effects += self._cancel_stale()
        return effects + self._owed(now)

    def _blob_fetched(self, event: BlobFetched, now: int) -> list[Effect]:
        self._means.fetched(event.blob, event.found, now)
        return self._owed(now)

    def _duty_changed(self, event: DutyChanged, now: int) -> list[Effect]:
        self._may_train, self._finishing = event.may_train, event.finishing
        self._means.jobs.workers = max(1, event.workers)
        return self._cancel_stale() + self._owed(now)

    def _cancel_stale(self) -> list[Effect]:
        """Give up jobs that duty no longer allows or whose phase is over: they would keep a device from
        what is owed now."""
        stale = [running.job for running in self._means.jobs.going() if not self._timely(running)]
        for job in stale:
            self._means.jobs.give_up(job)
        return [CancelJob(job) for job in stale]

    def _timely(self, running: Running) -> bool:
        if isinstance(running.purpose, Looking):
            return self._validator and self._presenter.is_timely(running.purpose)
        if isinstance(running.purpose, Remaking):
            return (self._may_train or self._finishing) and self._presenter.misses(running.purpose.place)
        if isinstance(running.purpose, Scoring):
            seen = self._seen.get(running.purpose.task)
            duty = self._may_train or self._finishing
            return is_timely(running.purpose, seen, duty=duty, validator=self._validator)
        seen = self._at(running.attempt)
        if seen is None or seen.round is None:
            return False
        if running.phase in BEGINS:
            return self._attester.is_timely(running, seen)
        allowed = self._may_train or self._finishing or running.phase != Phase.COMMIT
        return seen.round.phase == running.phase and allowed

    def _at(self, attempt: Attempt) -> TaskSeen | None:
        """The task with the round and attempt named, if it is in progress."""
        seen = self._seen.get(attempt[0])
        return None if seen is None else seen.at(*attempt[1:])

    def _reported(self, report: Report, now: int) -> list[Effect]:
        if not isinstance(report, Trained | Audited | Aggregated | Sliced | Evaluated | Failed):
            return []
        running = self._means.jobs.end(report.job)
        if running is None:
            return []
        effects: list[Effect] = []
        match report:
            case Trained():
                effects = self._trained(running, report)
            case Audited():
                self._audited(running, report)
            case Aggregated() | Sliced():
                self._attested(running, report)
            case Evaluated():
                effects = [*self._scorer.found(running, report)]
            case Failed():
                self._failed(running, report, now)
            case _:
                assert_never(report)
        return effects + self._owed(now)

    def _trained(self, running: Running, report: Trained) -> list[Effect]:
        place = running.purpose
        if isinstance(place, Remaking):
            return self._presenter.remade(place.place, report)
        if isinstance(place, Slicing | Apart) or len(place) != 4:
            raise AssertionError("a Trained report answers a training job")
        task, number_, attempt, slot = place
        seen = self._at((task, number_, attempt))
        if seen is None or seen.round is None:
            return []
        salt = digest(Domain.COMMITMENT, self._salt_secret, unit_digest(unit_of(seen.task, seen.round, slot)))
        root = residue_root(report.residues)
        found = report.loss_micro, report.snapshots, root, report.lengths
        honest = RevealWork(task, number_, attempt, slot, salt, *found)
        self._means.blobs.update(report.snapshots)
        self._devices[place] = report.device
        return [self._bound.bind(self._conduct.reveal(honest), report.residues)]

    def _audited(self, running: Running, report: Audited) -> None:
        purpose = running.purpose
        if isinstance(purpose, Looking):
            self._presenter.found(purpose, report)
            return
        if isinstance(purpose, Slicing | Apart) or len(purpose) != 2:
            raise AssertionError("an Audited report answers an audit")
        (task, number_, attempt, slot), segment = purpose
        self._verdicts[purpose] = AuditVerdict(
            task, number_, attempt, slot, segment, report.finding, report.error_ppm, report.sketch, report.cheat_ppm
        )

    def _attested(self, running: Running, report: Aggregated | Sliced) -> None:
        seen = self._at(running.attempt)
        if seen is None or seen.round is None:
            return
        if isinstance(report, Sliced):
            self._attester.sliced(running, report, seen.round)
        else:
            self._attester.aggregated(running, report, seen.round)

    def _failed(self, running: Running, report: Failed, now: int) -> None:
        """Let the job rest: a later block shows whether it is still owed. A blob that the child
        could not find after all is fetched again."""
        if not running.cancelled:
            self._means.jobs.rest(running.purpose, now)
            if isinstance(running.purpose, Remaking):
                self._presenter.not_remade(running.purpose.place, report.reason)
        if report.reason == "missing-blob":
            self._means.blobs.clear()
            self._attester.lost()

    # ---- what is owed ---------------------------------------------------------------------

    def _owed(self, now: int) -> list[Effect]:
        """Everything to do now, over all tasks; at most one job a worker. Disputes over the largest stakes come first:
        a crowd of keys with nothing to lose must not keep judges from work whose trainer has much."""
        effects: list[Effect] = []
        tasks = list(self._seen.values())
        if self._validator and len(tasks) > 1:
            tasks.sort(key=lambda seen: -stake_in_dispute(seen, self._key))
        for seen in tasks:
            effects += self._membership(seen, now)
            if seen.round is not None:
                effects += self._round(seen, seen.round, now)
            if seen.ahead is not None and seen.ahead.round is not None:
                effects += self._round(seen.ahead, seen.ahead.round, now, holds=self._owes_audits(seen))
            effects += self._score(seen, now)
        return effects + self._presenter.owed(now, validator=self._validator, may_train=self._may_train)

    def _membership(self, seen: TaskSeen, now: int) -> list[Effect]:
        """Join while duty allows, leave when it no longer does."""
        if self._payout is None or seen.record.status != TaskStatus.OPEN:
            return []
        member = next((m for m in seen.record.members if m.trainer == self._key), None)
        standing = member.standing if member is not None else Standing.LEFT
        if standing == Standing.EXPELLED:
            return []
        if not self._may_train or seen.task in self._unfit:
            return self._means.submit(LeaveTask(seen.task), now) if standing == Standing.ACTIVE else []
        effects = self._means.need(seen, now, ("train",))[1]
        if not seen.registered:
            return effects + self._means.submit(RegisterTrainer(self._payout), now)
        if standing == Standing.ACTIVE:
            return effects
        return effects + self._means.submit(JoinTask(seen.task), now)

    def _owes_audits(self, seen: TaskSeen) -> bool:
        """Whether audits of ours are not begun yet: they come before training on what they may refuse."""
        current = seen.round
        if current is None or current.phase != Phase.AUDIT:
            return False
        owed = (
            ((seen.task, current.number, current.attempt, audit.slot), audit.segment)
            for audit in drawn(seen, current, self._key)
        )
        return any(each not in self._verdicts and not self._means.jobs.does(each) for each in owed)

    def _round(self, seen: TaskSeen, current: RoundRecord, now: int, *, holds: bool = False) -> list[Effect]:
        """What *current* asks for; where it *holds*, no training is begun."""
        match current.phase:
            case Phase.COMMIT:
                return self._train_and_commit(seen, current, now, holds=holds)
            case Phase.REVEAL:
                return self._reveal(seen, current, now) + self._prefetch(seen, now)
            case Phase.DRAW:
                return self._prefetch(seen, now)
            case Phase.AUDIT:
                audits = self._audits(seen, current, drawn(seen, current, self._key), now)
                return self._open(seen, current, now) + audits + self._prefetch(seen, now)
            case Phase.OPEN:
                return self._open(seen, current, now) + self._prefetch(seen, now)
            case Phase.DISPUTE:
                judged = disputed(seen, current, self._key) if self._validator else []
                return self._prefetch(seen, now) + self._audits(seen, current, judged, now)
            case Phase.AGGREGATE:
                return self._attester.owed(seen, current, now) if self._validator else []
            case _:
                assert_never(current.phase)

    def _train_and_commit(self, seen: TaskSeen, current: RoundRecord, now: int, *, holds: bool) -> list[Effect]:
        effects: list[Effect] = []
        for slot, trainer in enumerate(current.slots):
            unit = seen.units[slot]
            if trainer != self._key or unit.commitment is not None or unit.judgement is not None:
                continue
            place = (seen.task, current.number, current.attempt, slot)
            work = self._bound.work(place)
            if work is not None:
                bound = commitment(work, trainer=self._key)
                commit = CommitWork(*place, current.base, bound, self._devices.get(place, ""))
                effects += self._means.submit(commit, now)
            elif self._may_train and self._means.jobs.free(place, now):
                ready, fetches = self._means.need(seen, now, ("base", "train"))
                effects += fetches
                if ready and not holds:
                    mine = unit_of(seen.task, current, slot)
                    job = TrainJob(self._means.jobs.next_id(), seen.record.spec, mine, current.base, current.slices)
                    effects += self._means.start(job, place, current)
        return effects

    def _reveal(self, seen: TaskSeen, current: RoundRecord, now: int) -> list[Effect]:
        effects: list[Effect] = []
        for slot, trainer in enumerate(current.slots):
            unit = seen.units[slot]
            work = self._bound.work((seen.task, current.number, current.attempt, slot))
            owed = trainer == self._key and unit.commitment is not None and unit.judgement is None
            if owed and not unit.snapshots and work is not None:
                effects += self._means.submit(work, now)
        return effects

    def _open(self, seen: TaskSeen, current: RoundRecord, now: int) -> list[Effect]:
        """Show the residues that auditors of our units have spoken for. It is owed like a reveal, without duty too."""
        owed: list[OpenResidue] = []
        for slot, unit in enumerate(seen.units):
            if unit.trainer == self._key and unit.judgement is None:
                audits = [audit for audit in current.audits if audit.slot == slot]
                owed += self._bound.openings((seen.task, current.number, current.attempt, slot), unit, audits)
        # A mempool takes so many of one sender; the next block shows which are in, and the others follow.
        return [effect for opening in owed[:OPENINGS_AT_ONCE] for effect in self._means.submit(opening, now)]

    def _prefetch(self, seen: TaskSeen, now: int) -> list[Effect]:
        """Validators fetch updates as soon as they are revealed: they will aggregate them."""
        if not self._validator or seen.round is None:
            return []
        return self._attester.early(seen, seen.round, now)

    def _audits(self, seen: TaskSeen, current: RoundRecord, audits: list[Audit], now: int) -> list[Effect]:
        if not (self._may_train or self._validator):
            return []
        effects: list[Effect] = []
        for audit in audits:
            place = (seen.task, current.number, current.attempt, audit.slot)
            verdict = self._verdicts.get((place, audit.segment)) or self._verdict_unseen(seen, current, audit, now)
            if verdict is not None:
                effects += self._means.submit(verdict, now)
                continue
            snapshots = seen.units[audit.slot].snapshots
            before = snapshots[audit.segment - 2] if audit.segment > 1 else None
            after = snapshots[audit.segment - 1]
            ready, fetches = self._means.need(seen, now, ("base", "train"))
            limit = snapshot_bytes(seen.record.spec)
            for blob in (before, after):
                if blob is not None and blob not in self._means.blobs:
                    ready, fetches = False, [*fetches, *self._means.fetch(blob, limit, now)]
            effects += fetches
            if ready and self._means.jobs.free((place, audit.segment), now):
                unit = unit_of(seen.task, current, audit.slot)
                job = AuditJob(
                    self._means.jobs.next_id(), seen.record.spec, unit, current.base, audit.segment, before, after,
                    audit.leaf, calibrate=seen.units[audit.slot].calibrating,
                )
                effects += self._means.start(job, (place, audit.segment), current)
        return effects

    def _verdict_unseen(self, seen: TaskSeen, current: RoundRecord, audit: Audit, now: int) -> AuditVerdict | None:
        """A verdict without recomputing: by conduct, or because the snapshot is nowhere to be had."""
        blank = AuditVerdict(
            seen.task, current.number, current.attempt, audit.slot, audit.segment, Finding.UNAVAILABLE, 0, b""
        )
        if current.phase == Phase.AUDIT:
            told = self._conduct.verdict(blank)
            if told is not None:
                return told
        needed = set(seen.units[audit.slot].snapshots[max(0, audit.segment - 2) : audit.segment])
        deadlines = seen.record.spec.deadlines
        lasting = deadlines.audit_ms if current.phase == Phase.AUDIT else deadlines.dispute_ms
        # Blocks are seconds apart: a moment before the deadline might pass without any event.
        late = max(SAFETY_MS, lasting // 4)
        soon = now > current.deadline_ms - late
        return blank if soon and any(self._means.in_vain(shot, now, late) for shot in needed) else None

    def _score(self, seen: TaskSeen, now: int) -> list[Effect]:
        """Score the newest model where the ledger has drawn us for it, when nothing of the round is to do."""
        effects: list[Effect] = [*self._scorer.unseen(seen)]
        asked = self._scorer.asked(seen, validator=self._validator)
        if asked is None:
            return effects
        if asked.said is not None:
            return effects + self._means.submit(asked.said, now)
        if not (self._may_train or asked.owed):
            return effects
        effects += [fetch for blob, limit in asked.blobs for fetch in self._means.fetch(blob, limit, now)]
        if all(blob in self._means.blobs for blob, _ in asked.blobs) and self._means.jobs.free(asked.purpose, now):
            job = EvaluateJob(self._means.jobs.next_id(), seen.record.spec, asked.blobs[0][0], asked.seed)
            self._means.jobs.start(Running(job.job, asked.purpose, None))
            effects = [*effects, StartJob(job)]
        return effects

    def _forget_finished(self, seen: TaskSeen) -> list[Effect]:
        """Drop what belongs to rounds of this task that are over, and old submission marks."""
        rounds = [each.round for each in (seen, seen.ahead) if each is not None and each.round is not None]
        now_at = {(current.number, current.attempt) for current in rounds}
        self._verdicts = {k: v for k, v in self._verdicts.items() if k[0][0] != seen.task or k[0][1:3] in now_at}
        self._devices = {k: v for k, v in self._devices.items() if k[0] != seen.task or k[1:3] in now_at}
        self._attester.forget(seen.task, but=now_at)
        self._means.forget()
        return [*self._scorer.forget(seen), *self._bound.forget(seen.task, but=now_at)]
