"""An executable reading of ../rounds.md §10, hiding: a stake is held until what was hidden is shown."""

from __future__ import annotations

from typing import Any, NamedTuple

from .facts import MEASURED, UNAVAILABLE, Round, Share, Unit, Verdict
from .records import AUDIT, HIDDEN_UNITS, SHOWING, Refusal
from .scores import Scores


class Part(NamedTuple):
    segment: int
    before: bytes | None
    after: bytes


class Hidden(NamedTuple):
    task: bytes
    round: int
    attempt: int
    slot: int
    seed: bytes
    base: bytes
    allowed_ppm: int
    segments: tuple[Part, ...]
    tries: int = 0
    again_ms: int = 0

    def is_of(self, body: Any) -> bool:
        return (self.task, self.round, self.attempt, self.slot) == (body.task, body.round, body.attempt, body.slot)


class HeldRound(NamedTuple):
    task: bytes
    round: int
    attempt: int


class Showing(NamedTuple):
    index: int
    deadline_ms: int
    judges: tuple[Verdict, ...] = ()


class Held(NamedTuple):
    amount: int
    units: tuple[Hidden, ...]
    rounds: tuple[HeldRound, ...] = ()
    showing: Showing | None = None
    sealed: bool = False


class Hiding(Scores):
    # ---- holding ------------------------------------------------------------------------------

    def _is_hidden(self, unit: Unit, judges: list[Verdict]) -> bool:
        good = {said.judge for said in judges if unit.passes(said)}
        absent = {said.judge for said in judges if said.finding == UNAVAILABLE}
        bad = {said.judge for said in judges} - good - absent
        seen = self.committee.is_weak_quorum(good) or self.committee.is_quorum(bad)
        return not seen and self.committee.is_weak_quorum(bad | absent)

    def _hold(self, task: bytes, current: Round, slot: int, hidden: set[int]) -> None:
        unit = self.get("unit", task, current.number % 2, slot)
        trainer, key = self.get("trainer", unit.trainer), unit.trainer
        if not hidden or unit.calibrating or unit.stake == 0 or trainer.expelled:
            return
        taken = trainer.bond + trainer.unbonding
        self.change("trainer", key, bond=0, unbonding=0)
        self.change("chain", releases=tuple(r for r in self.chain.releases if r.trainer != key))
        for each in self.chain.open_tasks:
            taken += self._strike(each, key)
        shots: tuple[Any, ...] = (None, *unit.snapshots)
        parts = tuple(Part(at, shots[at - 1], shots[at]) for at in sorted(hidden))
        place = task, current.number, current.attempt, slot
        found = self.get("held", key) or Held(0, ())
        units = (*found.units, Hidden(*place, current.seed, current.base, unit.allowed_ppm, parts))
        if found.sealed or len(units) > HIDDEN_UNITS:
            found, units = found._replace(sealed=True), found.units
        drawn = []
        for each in self.chain.open_tasks:
            number = self.get("task", each).round
            going = [self.at(each, number), self.at(each, number + 1)]
            drawn += [HeldRound(each, r.number, r.attempt) for r in going if r and r.phase >= AUDIT and key in r.slots]
        self.put(found._replace(amount=found.amount + taken, units=units, rounds=tuple(drawn)), "held", key)
        self._inactive(task, key)

    def _strike(self, task: bytes, trainer: bytes) -> int:
        """What a task owes for rounds in the dispute window, taken out."""
        struck = 0
        for number in self._window(task):
            pending = self.get("pending", task, number)
            if pending is not None:
                struck += sum(share.amount for share in pending.shares if share.earner == trainer)
                kept = tuple(share for share in pending.shares if share.earner != trainer)
                self.change("pending", task, number, shares=kept)
        return struck

    def _free(self, task: bytes, current: Round, shares: tuple[Share, ...]) -> tuple[Share, ...]:
        """Of the pay of a round that closes, what is not held."""
        free = []
        for share in shares:
            held = self.get("held", share.earner)
            if held is not None and (task, current.number, current.attempt) in held.rounds:
                self.change("held", share.earner, amount=held.amount + share.amount)
            else:
                free.append(share)
        return tuple(free)

    # ---- showing ------------------------------------------------------------------------------

    def _looking_ms(self, unit: Hidden) -> int:
        return int(self.get("task", unit.task).spec.deadlines.dispute_ms) * len(unit.segments)

    def on_ShowSnapshots(self, said: Any) -> Refusal | None:
        held, now = self.get("held", said.sender), self.chain.time_ms
        at = [i for i, unit in enumerate(held.units) if unit.is_of(said.body)] if held is not None else []
        if not at:
            return "NOT_HELD"
        if held.showing is not None:
            return "ALREADY_DONE"
        unit = held.units[at[0]]
        if now < unit.again_ms:
            return "TOO_SOON"
        if len(self.chain.showing) == SHOWING:
            least = min(self.chain.showing, key=lambda who: self.get("held", who).amount)
            if self.get("held", least).amount >= held.amount:
                return "TOO_MANY"
            self._show_settles(least, late=True)
        self.change("held", said.sender, showing=Showing(at[0], now + self._looking_ms(unit)))
        self.change("chain", showing=(*self.chain.showing, said.sender))
        return None

    def _shown_by(self, body: Any) -> bytes | None:
        for trainer in self.chain.showing:
            held = self.get("held", trainer)
            if held.units[held.showing.index].is_of(body):
                return trainer
        return None

    def _judge_shown(self, said: Any, trainer: bytes) -> Refusal | None:
        """An AuditVerdict about what is being shown."""
        body, held, members = said.body, self.get("held", trainer), self.committee.members
        showing = held.showing
        if self.chain.time_ms > showing.deadline_ms:
            return "LATE"
        if len(body.sketch) != (64 if body.finding == MEASURED else 0):
            return "WRONG_SKETCH"
        if body.segment not in [part.segment for part in held.units[showing.index].segments]:
            return "NOT_AUDITOR"
        if said.sender not in members:
            return "NOT_VALIDATOR"
        if any((v.judge, v.segment) == (said.sender, body.segment) for v in showing.judges):
            return "ALREADY_DONE"
        word = Verdict(said.sender, body.segment, int(body.finding), body.error_ppm, b"", 0)
        seated = tuple(v for v in showing.judges if v.judge in members)
        self.change("held", trainer, showing=showing._replace(judges=(*seated, word)))
        return None

    def _shows_end(self) -> None:
        for trainer in self.chain.showing:
            self._show_settles(trainer, late=self.chain.time_ms > self.get("held", trainer).showing.deadline_ms)

    def _show_settles(self, trainer: bytes, *, late: bool) -> None:
        held = self.get("held", trainer)
        unit = held.units[held.showing.index]
        task, left, waiting, proven = self.get("task", unit.task), [], False, False
        for part in unit.segments:
            judges = [v for v in held.showing.judges if v.segment == part.segment]
            judges = [v for v in judges if v.judge in self.committee.members]
            shown = Unit(trainer, allowed_ppm=unit.allowed_ppm)
            ruling = self._quorum(shown, judges)
            if ruling is None and not late and len(judges) < len(self.committee.members):
                waiting = True
            elif ruling is None or ruling[0] == "unavailable":
                if not self.committee.is_weak_quorum({v.judge for v in judges if shown.passes(v)}):
                    left.append(part)
            elif ruling[0] == "malformed" or self._proves(task, Unit(trainer), ruling[1]):
                proven = True
        if proven:
            self._expel(unit.task, trainer)
        elif not waiting:
            self._show_ends(trainer, held, tuple(left))

    def _show_ends(self, trainer: bytes, held: Held, left: tuple[Part, ...]) -> None:
        index = held.showing.index if held.showing else 0
        unit = held.units[index]
        rests = self.chain.time_ms + self._looking_ms(unit) * 2 ** min(6, unit.tries)
        rest = unit._replace(segments=left, tries=min(255, unit.tries + 1), again_ms=rests)
        units = (*held.units[:index], *((rest,) if left else ()), *held.units[index + 1 :])
        self.change("chain", showing=tuple(each for each in self.chain.showing if each != trainer))
        self.change("held", trainer, units=units, showing=None)
        if not units and not held.sealed:
            self.change("trainer", trainer, bond=self.get("trainer", trainer).bond + held.amount)
            self.drop("held", trainer)
