"""History: what the ledger's events add up to, for people. Nothing decides by it.

Events are kept as facts in the store, so ``why`` and ``earnings`` survive a restart.
"""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

import msgspec
from msgspec.structs import replace

from potminer.base.address import encode_address
from potminer.core.ledger import event as events
from potminer.core.ledger.event import Event
from potminer.node.takings import DAY_MS, UNKNOWN_DAY, Takings
from potminer.wire.control import HISTORY, LossPoint, Outcome, RoundView, UnitCounts, UnitOutcome
from potminer.wire.length import length_nano
from potminer.wire.record import Calibration, Share
from potminer.wire.record import Outcome as Verdict
from potminer.wire.task import Unit

UNITS_KEPT = 4_096

Place = tuple[bytes, int, int, int]
"""Task, round, attempt and slot of a unit."""
_WORKED = "WorkedOn"
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
        events.StakeHeld,
        events.PayHeld,
        events.StakeReturned,
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
    open: dict[int, OpenRound] = field(default_factory=dict)
    """Rounds in progress, by number."""
    accepted: int = 0
    rejected: Counter[str] = field(default_factory=Counter)
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


def _place(each: events.UnitEnded) -> Place:
    return (each.task, each.round, each.attempt, each.slot)


class History:
    """Folds events in block order. *own* is this node's key: whose units and earnings are 'mine'."""

    def __init__(self, own: bytes) -> None:
        self._own = own
        self.tasks: dict[bytes, TaskHistory] = {}
        self.units: deque[UnitOutcome] = deque(maxlen=UNITS_KEPT)
        self.takings = Takings()
        self._worked_on: dict[Place, str] = {}
        self._begun: list[tuple[Place, str]] = []
        """Of these, what is not among the facts yet."""

    # ---- folding --------------------------------------------------------------------------

    def fold(self, happened: Iterable[Event], *, height: int, time_ms: int) -> list[Fact]:
        """Take in the events of one block; the facts to keep."""
        facts = [(time_ms, _WORKED, msgspec.json.encode(begun).decode()) for begun in self._begun]
        self._begun.clear()
        for each in happened:
            self._take(each, height, time_ms)
            facts.append((time_ms, type(each).__name__, msgspec.json.encode((height, each)).decode()))
        return facts

    def worked(self, unit: Unit, bus: str) -> None:
        """A device of ours computes *unit*. Kept with the next block, so that its verdict finds the device also after
        a restart."""
        place = (unit.task, unit.round, unit.attempt, unit.slot)
        if self._worked_on.get(place) == bus:
            return
        self._worked_on[place] = bus
        self._begun.append((place, bus))
        while len(self._worked_on) > UNITS_KEPT:
            del self._worked_on[next(iter(self._worked_on))]

    def recall(self, facts: Iterable[Fact]) -> None:
        """Take in facts kept by an earlier run, oldest first."""
        for time_ms, kind, text in facts:
            if kind == _WORKED:
                place, bus = msgspec.json.decode(text, type=tuple[Place, str])
                self._worked_on[place] = bus
            elif kind in _KINDS:
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
            # Its beginning is no longer among the facts; what it brings counts all the same.
            task = self.tasks[each.task] = TaskHistory(each.task.hex()[:8], b"", time_ms)
        match each:
            case events.TaskCalibrated():
                task.calibration = each.calibration
            case events.RoundOpened():
                task.open[each.round] = OpenRound(each.round, each.attempt, time_ms, each.units, entered_ms=time_ms)
            case events.PhaseEntered():
                if each.round in task.open:
                    task.open[each.round].enter(each.phase.name.lower(), time_ms)
            case events.UnitEnded():
                self._unit_ended(task, each, height, time_ms)
            case events.RoundClosed():
                self._round_closed(task, each, time_ms)
            case events.RoundFailed():
                task.open.pop(each.round, None)
            case events.Rewarded():
                self.takings.add(time_ms, each.task, earned=self._mine(each.shares))
            case events.Paid():
                self.takings.add(
                    time_ms, each.task, released=self._mine(each.shares), kept=self._mine(each.kept)
                )
                self._paid_out(each)
            case events.Expelled():
                task.expelled[each.trainer] = each.reason
                if each.trainer == self._own:
                    self._lose_everything(each.task, time_ms)
            case events.StakeHeld():
                if each.trainer == self._own:
                    self._hold_everything(time_ms)
            case events.PayHeld():
                pay = each.amount if each.trainer == self._own else 0
                self.takings.add(time_ms, each.task, earned=pay, released=pay, kept=pay)
            case events.StakeReturned():
                pass  # held or not, it counts as bond until it is lost
            case events.ModelEvaluated():
                task.score(each.closed, each.score_ppm)
                mine = self._mine(each.shares)
                self.takings.add(time_ms, each.task, earned=mine, released=mine)
            case events.TaskEnded():
                task.ended, task.ended_ms = each.reason, time_ms
                task.open.clear()

    def _lose_everything(self, task: bytes, time_ms: int) -> None:
        """Expelled from one task is expelled from all: what is pending anywhere and the bond are gone."""
        for each, sums in list(self.takings.tasks.items()):
            self.takings.add(time_ms, each, lost=sums.pending)
        self.takings.add(time_ms, task, forfeited=self.takings.all.bond)

    def _hold_everything(self, time_ms: int) -> None:
        """What is pending anywhere is held with the bond: it comes back as bond, or is lost with it."""
        for task, sums in list(self.takings.tasks.items()):
            self.takings.add(time_ms, task, released=sums.pending, kept=sums.pending)

    def _mine(self, shares: Iterable[Share]) -> int:
        return sum(share.amount for share in shares if share.earner == self._own)

    def _paid_out(self, each: events.Paid) -> None:
        """Note with its units what of a round's pay became bond: the same part of every unit of one earner."""
        released, kept = Counter[bytes](), Counter[bytes]()
        for sums, shares in ((released, each.shares), (kept, each.kept)):
            for share in shares:
                sums[share.earner] += share.amount
        parts = {encode_address(key): (kept[key], amount) for key, amount in released.items() if amount}
        for at, unit in enumerate(self.units):
            if (unit.task, unit.round) == (each.task.hex(), each.round) and unit.paid and unit.trainer in parts:
                part, whole = parts[unit.trainer]
                self.units[at] = replace(unit, kept=unit.paid * part // whole)

    def _unit_ended(self, task: TaskHistory, each: events.UnitEnded, height: int, time_ms: int) -> None:
        accepted = each.judgement.outcome == Verdict.ACCEPTED
        mine = each.trainer == self._own
        bus = self._worked_on.pop(_place(each), "") if mine else ""
        if accepted:
            task.accepted += 1
        else:
            task.rejected[each.judgement.outcome] += 1
            if mine:
                task.my_rejected[each.judgement.outcome] += 1
        if mine:
            paid = each.paid if accepted else 0
            self.takings.add(time_ms, each.task, bus, accepted=int(accepted), refused=int(not accepted), by_units=paid)
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
                noise_ppm=None if task.calibration is None else task.calibration.noise_ppm,
                cheat_ppm=None if task.calibration is None else task.calibration.cheat_ppm,
                measured_ppm=each.judgement.measured_ppm,
                allowed_ppm=each.judgement.allowed_ppm,
                paid=each.paid,
                length_nano=length_nano(each.lengths),
                outlier=each.outlier,
                height=height,
                device=bus,
            )
        )

    def _round_closed(self, task: TaskHistory, each: events.RoundClosed, time_ms: int) -> None:
        opened = task.open.pop(each.round, None)
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

    def settle(self, pending: Mapping[bytes, int], *, expelled: bool) -> None:
        """Blocks were leapt over: of each task so much is *pending* now. What changed meanwhile counts on no day, and
        what was paid as bond: at the most it was."""
        for task, now in pending.items():
            known = self.takings.task(task).pending
            gone = max(0, known - now)
            paid, lost = (0, gone) if expelled else (gone, 0)
            self.takings.add(UNKNOWN_DAY, task, earned=max(0, now - known), released=paid, kept=paid, lost=lost)
        if expelled:
            self.takings.add(UNKNOWN_DAY, b"", forfeited=self.takings.all.bond)

    # ---- looking --------------------------------------------------------------------------

    def earned_on(self, time_ms: int) -> int:
        """Grains earned on the day of *time_ms*."""
        return self.takings.day(time_ms - time_ms % DAY_MS).earned

    def my_units(self, task: bytes | None, last: int) -> tuple[UnitOutcome, ...]:
        own, wanted = encode_address(self._own), None if task is None else task.hex()
        mine = (u for u in self.units if u.trainer == own and wanted in (None, u.task))
        return tuple(unit for unit, _ in zip(mine, range(last), strict=False))

    def unit(self, task: bytes, *, round: int, slot: int) -> UnitOutcome | None:
        """Newest attempt of that unit."""
        place = (task.hex(), round, slot)
        return next((unit for unit in self.units if (unit.task, unit.round, unit.slot) == place), None)
