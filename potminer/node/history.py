"""History: what the ledger's events add up to, for people. Nothing decides by it.

Events are kept as facts in the store, so ``why`` and ``earnings`` survive a restart.
"""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Iterable
from dataclasses import dataclass, field

import msgspec
from msgspec.structs import replace

from potminer.base.address import encode_address
from potminer.core.ledger import event as events
from potminer.core.ledger.event import Event
from potminer.wire.control import HISTORY, LossPoint, Outcome, RoundView, UnitCounts, UnitOutcome
from potminer.wire.record import Calibration, Share
from potminer.wire.record import Outcome as Verdict

UNITS_KEPT = 4_096
DAYS_KEPT = 400
DAY_MS = 24 * 3_600_000

Fact = tuple[int, str, str]
"""(block time in ms, kind, JSON)."""

_KINDS: dict[str, type[Event]] = {
    kind.__name__: kind
    for kind in (
        events.TaskOpened,
        events.TaskCalibrated,
        events.RoundOpened,
        events.PhaseEntered,
        events.UnitEnded,
        events.RoundClosed,
        events.RoundFailed,
        events.Rewarded,
        events.Paid,
        events.Expelled,
        events.ModelEvaluated,
        events.TaskEnded,
    )
}


@dataclass(slots=True)
class OpenRound:
    number: int
    attempt: int
    opened_ms: int
    units: int
    phase: str = "commit"
    entered_ms: int = 0
    phases_ms: Counter[str] = field(default_factory=Counter)

    def enter(self, phase: str, now: int) -> None:
        self.phases_ms[self.phase] += max(0, now - self.entered_ms)
        self.phase, self.entered_ms = phase, now


@dataclass(slots=True)
class TaskHistory:
    name: str
    requester: bytes
    opened_ms: int
    rounds: deque[RoundView] = field(default_factory=lambda: deque(maxlen=HISTORY))
    losses: deque[LossPoint] = field(default_factory=lambda: deque(maxlen=HISTORY))
    open: OpenRound | None = None
    accepted: int = 0
    rejected: Counter[str] = field(default_factory=Counter)
    my_accepted: int = 0
    my_pending: int = 0
    my_paid: int = 0
    my_rejected: Counter[str] = field(default_factory=Counter)
    expelled: dict[bytes, str] = field(default_factory=dict)
    calibration: Calibration | None = None
    base: bytes = b""
    score_ppm: int | None = None
    """The newest on the ledger."""
    ended: str | None = None
    ended_ms: int = 0


    def score(self, closed: int, score_ppm: int) -> None:
        """Write the score of the model after *closed* rounds beside its loss and its round."""
        self.score_ppm = score_ppm
        for at, point in enumerate(self.losses):
            if point.round == closed:
                self.losses[at] = replace(point, accuracy_ppm=score_ppm)
        for at, view in enumerate(self.rounds):
            if view.round == closed - 1:
                self.rounds[at] = replace(view, accuracy_ppm=score_ppm)


class History:
    """Folds events in block order. *own* is this node's key: whose units and earnings are 'mine'."""

    def __init__(self, own: bytes) -> None:
        self._own = own
        self.tasks: dict[bytes, TaskHistory] = {}
        self.units: deque[UnitOutcome] = deque(maxlen=UNITS_KEPT)
        self.pending = self.kept = self.paid = self.total = 0
        self.days: dict[int, int] = {}
        """Grains earned by the start of the day (UTC, ms), oldest first; the newest ``DAYS_KEPT``."""

    # ---- folding --------------------------------------------------------------------------

    def fold(self, happened: Iterable[Event], *, height: int, time_ms: int) -> list[Fact]:
        """Take in the events of one block; the facts to keep."""
        facts = []
        for each in happened:
            self._take(each, height, time_ms)
            facts.append((time_ms, type(each).__name__, msgspec.json.encode((height, each)).decode()))
        return facts

    def recall(self, facts: Iterable[Fact]) -> None:
        """Take in facts kept by an earlier run, oldest first."""
        for time_ms, kind, text in facts:
            if kind in _KINDS:
                height, raw = msgspec.json.decode(text, type=tuple[int, msgspec.Raw])
                self._take(msgspec.json.decode(raw, type=_KINDS[kind]), height, time_ms)

    def _take(self, each: Event, height: int, time_ms: int) -> None:
        if isinstance(each, events.CommitteeEvent):
            return
        if isinstance(each, events.TaskOpened):
            self.tasks[each.task] = TaskHistory(each.name, each.requester, time_ms)
            return
        task = self.tasks.get(each.task)
        if task is None:
            return
        match each:
            case events.TaskCalibrated():
                task.calibration = each.calibration
            case events.RoundOpened():
                task.open = OpenRound(each.round, each.attempt, time_ms, each.units, entered_ms=time_ms)
            case events.PhaseEntered():
                if task.open is not None:
                    task.open.enter(each.phase.name.lower(), time_ms)
            case events.UnitEnded():
                self._unit_ended(task, each, height)
            case events.RoundClosed():
                self._round_closed(task, each, time_ms)
            case events.RoundFailed():
                task.open = None
            case events.Rewarded():
                self._rewarded(task, each, time_ms)
            case events.Paid():
                mine = sum(share.amount for share in each.shares if share.earner == self._own)
                self.pending -= mine
                task.my_pending -= mine
                task.my_paid += mine
                kept = sum(share.amount for share in each.kept if share.earner == self._own)
                self.kept += kept
                self.paid += mine - kept
            case events.Expelled():
                task.expelled[each.trainer] = each.reason
                if each.trainer == self._own:
                    self._lose_everything()
            case events.ModelEvaluated():
                task.score(each.closed, each.score_ppm)
                self._paid_at_once(task, each.shares, time_ms)
            case events.TaskEnded():
                task.ended, task.ended_ms, task.open = each.reason, time_ms, None

    def _lose_everything(self) -> None:
        """Expelled from one task is expelled from all: what is pending anywhere and the bond are gone."""
        self.total -= self.pending + self.kept
        self.pending = self.kept = 0
        for task in self.tasks.values():
            task.my_pending = 0

    def _unit_ended(self, task: TaskHistory, each: events.UnitEnded, height: int) -> None:
        accepted = each.judgement.outcome == Verdict.ACCEPTED
        mine = each.trainer == self._own
        if accepted:
            task.accepted += 1
            task.my_accepted += mine
        else:
            task.rejected[each.judgement.outcome] += 1
            if mine:
                task.my_rejected[each.judgement.outcome] += 1
        self.units.appendleft(
            UnitOutcome(
                task=each.task.hex(),
                task_name=task.name,
                round=each.round,
                attempt=each.attempt,
                slot=each.slot,
                trainer=encode_address(each.trainer),
                outcome=Outcome.ACCEPTED if accepted else Outcome.REJECTED,
                reason="" if accepted else each.judgement.outcome,
                measured_ppm=each.judgement.measured_ppm,
                allowed_ppm=each.judgement.allowed_ppm,
                paid=each.paid,
                height=height,
            )
        )

    def _round_closed(self, task: TaskHistory, each: events.RoundClosed, time_ms: int) -> None:
        opened, task.open = task.open, None
        if opened is not None:
            opened.enter("closed", time_ms)
        rejected = Counter(
            unit.reason
            for unit in self.units
            if (unit.task, unit.round, unit.attempt) == (each.task.hex(), each.round, each.attempt) and unit.reason
        )
        task.rounds.appendleft(
            RoundView(
                round=each.round,
                attempt=each.attempt,
                phase="closed",
                opened_ms=time_ms if opened is None else opened.opened_ms,
                closed_ms=time_ms,
                base=(task.base or each.model).hex(),
                model=each.model.hex(),
                units=UnitCounts(
                    assigned=each.accepted + each.refused, accepted=each.accepted, rejected=dict(rejected)
                ),
                loss_micro=each.loss_micro,
                phases_ms={} if opened is None else dict(opened.phases_ms),
            )
        )
        task.base = each.model
        task.losses.append(LossPoint(round=each.round + 1, loss_micro=each.loss_micro))

    def _rewarded(self, task: TaskHistory, each: events.Rewarded, time_ms: int) -> None:
        mine = sum(share.amount for share in each.shares if share.earner == self._own)
        task.my_pending += mine
        self.pending += mine
        self._earned(mine, time_ms)

    def _paid_at_once(self, task: TaskHistory, shares: tuple[Share, ...], time_ms: int) -> None:
        mine = sum(share.amount for share in shares if share.earner == self._own)
        task.my_paid += mine
        self.paid += mine
        self._earned(mine, time_ms)

    def _earned(self, mine: int, time_ms: int) -> None:
        self.total += mine
        if mine:
            day = time_ms - time_ms % DAY_MS
            self.days[day] = self.days.get(day, 0) + mine
            while len(self.days) > DAYS_KEPT:
                del self.days[next(iter(self.days))]

    # ---- looking --------------------------------------------------------------------------

    def earned_on(self, time_ms: int) -> int:
        """Grains earned on the day of *time_ms*."""
        return self.days.get(time_ms - time_ms % DAY_MS, 0)

    def my_units(self, task: bytes | None, last: int) -> tuple[UnitOutcome, ...]:
        own, wanted = encode_address(self._own), None if task is None else task.hex()
        mine = (u for u in self.units if u.trainer == own and wanted in (None, u.task))
        return tuple(unit for unit, _ in zip(mine, range(last), strict=False))

    def unit(self, task: bytes, *, round: int, slot: int) -> UnitOutcome | None:
        """Newest attempt of that unit."""
        place = (task.hex(), round, slot)
        return next((unit for unit in self.units if (unit.task, unit.round, unit.slot) == place), None)
