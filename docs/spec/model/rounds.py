"""An executable reading of ../rounds.md §1 to §5, §11 and §12: how a task moves from model to model.

Written from the text, on top of ledger.py; see there for what is left out. Section numbers are those of rounds.md.
Here are phases and overlap; below it verdicts.py, closing.py and scores.py, with the records of facts.py.
"""

from __future__ import annotations

from typing import Any

from .facts import PIECE_BYTES, Judgement, Round, Unit, median, refused, shows
from .records import AGGREGATE, AUDIT, CANCELLED, COMMIT, DISPUTE, DRAW, INACTIVE, OPENING, REVEAL, Task, Words, digest
from .verdicts import Verdicts


class Rounds(Verdicts):
    # ---- §1: phases ---------------------------------------------------------------------------

    def move_on(self, proposer: bytes) -> None:
        for task in self.chain.open_tasks:
            for current in [self.get("round", task, place) for place in (0, 1)]:
                if current is not None and current.phase == DRAW and proposer not in current.witnesses:
                    seated = tuple(w for w in current.witnesses if w in self.committee.members)
                    self.change("round", task, current.number % 2, witnesses=(*seated, proposer))
            self._settle_evaluation(task, now=False)
            while self._step(task):
                pass
        self._shows_end()

    def _step(self, task: bytes) -> bool:
        if task not in self.chain.open_tasks:
            return False
        current = self.at(task, self.get("task", task).round)
        return self._begin(task) if current is None else self._phase_ends(task, current) or self._ahead(task)

    def _phase_ends(self, task: bytes, current: Round) -> bool:
        steps = {
            COMMIT: self._commits_end, REVEAL: self._reveals_end, DRAW: self._audits_drawn, AUDIT: self._audits_end,
            OPENING: self._openings_end, DISPUTE: self._disputes_end, AGGREGATE: self._round_ends,
        }  # fmt: skip
        return steps[current.phase](task, current)

    def at(self, task: bytes, number: int) -> Round | None:
        """Round *number*, if it is in progress."""
        found: Round | None = self.get("round", task, number % 2)
        return found if found is not None and found.number == number else None

    def _begin(self, task: bytes) -> bool:
        found = self.get("task", task)
        spec, price = found.spec, found.spec.reward.price_per_unit
        unfit = found.calibration is not None and found.calibration.refused
        reached = found.metric is not None and 0 < spec.evaluation.target_ppm <= found.metric.score_ppm
        spent = found.escrow < spec.min_trainers * spec.units_per_trainer * price
        if found.status == CANCELLED:
            self.end(task)
            return False
        if unfit or reached or found.round >= spec.rounds or spent:
            if self.get("evaluation", task) is None:
                self.end(task)
            return False
        if len(found.active()) < spec.min_trainers:
            return False
        self._open(task, found.round, found.attempt, found.model, found.escrow)
        return True

    def _open(self, task: bytes, number: int, attempt: int, base: bytes, funds: int) -> None:
        found, chain = self.get("task", task), self.chain
        seed = digest("draw", chain.beacon, task, number, attempt)
        slots: list[bytes] = []
        capacity = {m.trainer: m.capacity or found.spec.units_per_trainer for m in found.members}
        for trainer in Words(seed, b"slots").order(found.active()):
            if (len(slots) + capacity[trainer]) * found.spec.reward.price_per_unit > funds:
                break
            slots += [trainer] * capacity[trainer]
        ends = chain.time_ms + self._pace(found)
        made = Round(number, attempt, seed, base, COMMIT, chain.time_ms, ends, tuple(slots))
        made = made._replace(slices=self._slices(found.spec, len(slots)))
        self.put(made, "round", task, number % 2)
        for slot, trainer in enumerate(slots):
            self.put(Unit(trainer), "unit", task, number % 2, slot)

    # ---- §12: overlap -------------------------------------------------------------------------

    def _ahead(self, task: bytes) -> bool:
        """The round after the one that is audited opens, or moves on as far as it may."""
        found = self.get("task", task)
        current, ahead = self.at(task, found.round), self.at(task, found.round + 1)
        if current is None:
            return False
        if ahead is not None:
            return ahead.phase < DRAW and self._phase_ends(task, ahead)
        base, funds = self._early(task, found, current), self._funds(task, found, current)
        if base is None:
            return False
        self._open(task, found.round + 1, found.voided, base, funds)
        return True

    def _funds(self, task: bytes, found: Task, current: Round) -> int:
        spec = found.spec
        purse = spec.evaluation.evaluators * (spec.reward.price_per_unit // 10)
        shown = [unit for unit in self.units(task, current) if shows(unit)]
        scored = self._is_scored(found, found.round + 1)
        return int(found.escrow - len(shown) * spec.reward.price_per_unit - (purse if scored else 0))

    def _early(self, task: bytes, found: Task, current: Round) -> bytes | None:
        """The model that the next round may begin with."""
        spec, price = found.spec, found.spec.reward.price_per_unit
        agreed = self._agreed(current)
        if not spec.audit.overlap or current.phase not in (AUDIT, OPENING, DISPUTE) or found.status == CANCELLED:
            return None
        if found.round + 1 >= spec.rounds or agreed is None or agreed[1]:
            return None
        if spec.evaluation.target_ppm:
            reached = found.metric is not None and spec.evaluation.target_ppm <= found.metric.score_ppm
            if reached or self.get("evaluation", task) is not None or self._is_scored(found, found.round + 1):
                return None
        fewest = spec.min_trainers * spec.units_per_trainer * price
        if len(found.active()) < spec.min_trainers or self._funds(task, found, current) < fewest:
            return None
        shown = [unit for unit in self.units(task, current) if shows(unit)]
        if any(refused(unit) or self._is_calibrating(found, unit.device) for unit in shown):
            return None
        trusted = {unit.trainer for unit in shown}
        if any(member.trainer in trusted and member.doubted > found.round for member in found.members):
            return None
        for trainer in trusted:
            stake = self._at_stake(task, trainer)
            mine = self.rules.audit_factor * price * current.slots.count(trainer)
            if stake < max(mine, self.need(trainer)[0]):
                return None
        return agreed[0]

    @staticmethod
    def _is_scored(found: Task, closed: int) -> bool:
        every = found.spec.evaluation.every_rounds
        return bool(every) and (closed % every == 0 or closed == found.spec.rounds)

    @staticmethod
    def _pace(task: Task) -> int:
        most, arrivals = task.spec.deadlines.commit_ms, task.arrivals
        if len(arrivals) < 8:
            return int(most)
        middle = median(arrivals)
        spread = median([abs(arrival - middle) for arrival in arrivals])
        return int(max(most // 4, min(most, max(middle + 3 * spread, 3 * middle))))

    def units(self, task: bytes, current: Round) -> list[Unit]:
        return [self.get("unit", task, current.number % 2, slot) for slot in range(len(current.slots))]

    def _undecided(self, task: bytes, current: Round) -> bool:
        return any(unit.judgement is None for unit in self.units(task, current))

    def _over(self, current: Round) -> bool:
        return self.chain.time_ms > current.deadline_ms

    def _enter(self, task: bytes, current: Round, phase: int, lasting: int) -> bool:
        self.change("round", task, current.number % 2, phase=phase, deadline_ms=self.chain.time_ms + lasting)
        return True

    def _judge(
        self, task: bytes, current: Round, slot: int, outcome: str, measured: int | None = None
    ) -> None:
        unit = self.get("unit", task, current.number % 2, slot)
        if unit.judgement is not None:
            raise AssertionError("§2: exactly one outcome")
        allowed = self._allowed(task, calibrating=False) if unit.allowed_ppm is None else unit.allowed_ppm
        self.change("unit", task, current.number % 2, slot, judgement=Judgement(outcome, measured, allowed))

    def _inactive(self, task: bytes, trainer: bytes) -> None:
        """Until it joins again."""
        found = self.get("task", task)
        if trainer in found.active():
            self.put(found.standing(trainer, INACTIVE), "task", task)

    def _commits_end(self, task: bytes, current: Round) -> bool:
        units = self.units(task, current)
        if any(unit.commitment is None for unit in units) and not self._over(current):
            return False
        found = self.get("task", task)
        arrivals: dict[bytes, int] = {}
        for unit in units:
            here = found.spec.deadlines.commit_ms if unit.arrived_ms is None else unit.arrived_ms
            arrivals[unit.trainer] = max(here, arrivals.get(unit.trainer, 0))
        self.change("task", task, arrivals=(*found.arrivals, *arrivals.values())[-64:])
        for slot, unit in enumerate(units):
            if unit.commitment is None:
                self._judge(task, current, slot, "late")
                self._inactive(task, unit.trainer)
        if not self._undecided(task, current):
            self._adapt(task, current)
            return self._fail(task, current)
        return self._enter(task, current, REVEAL, found.spec.deadlines.reveal_ms)

    def _reveals_end(self, task: bytes, current: Round) -> bool:
        missing = [s for s, u in enumerate(self.units(task, current)) if u.judgement is None and not u.snapshots]
        if missing and not self._over(current):
            return False
        for slot in missing:
            self._judge(task, current, slot, "not-revealed")
            self._inactive(task, current.slots[slot])
        self._adapt(task, current)
        if not self._undecided(task, current):
            return self._fail(task, current)
        for slot, unit in enumerate(self.units(task, current)):
            if unit.judgement is None:
                self.change("unit", task, current.number % 2, slot, stake=self._at_stake(task, unit.trainer))
        return self._enter(task, current, DRAW, 0)

    def _adapt(self, task: bytes, current: Round) -> None:
        """A trainer's capacity, once all was shown or too late."""
        found = self.get("task", task)
        outcomes = [(u.trainer, u.judgement.outcome) for u in self.units(task, current) if u.judgement is not None]
        members = []
        for member in found.members:
            had = current.slots.count(member.trainer)
            if had and any((member.trainer, missed) in outcomes for missed in ("late", "not-revealed")):
                member = member._replace(capacity=max(1, had // 2))
            elif had:
                member = member._replace(capacity=min(found.spec.units_per_trainer, had + 1))
            members.append(member)
        self.change("task", task, members=tuple(members))

    def _slices(self, spec: Any, units: int) -> int:
        """§6: one where the updates together are small enough."""
        size = self.facts.update_bytes(spec)
        whole = self.rules.whole_bytes and max(self.rules.whole_bytes, 2 * self.facts.model_bytes(spec))
        if units * size <= whole:
            return 1
        return min(len(self.committee.members), -(-size // PIECE_BYTES))

    def _forget_slices(self, task: bytes, current: Round) -> None:
        for index in range(current.slices if current.slices > 1 else 0):
            self.drop("slice", task, index)
            self.drop("lengths", task, index)

    def _fail(self, task: bytes, current: Round) -> bool:
        for slot, unit in enumerate(self.units(task, current)):
            for update in unit.snapshots[-1:]:
                owner = self.get("update", task, update)
                if owner is not None and owner.round == current.number:
                    self.drop("update", task, update)
            self.drop("unit", task, current.number % 2, slot)
        self.drop("round", task, current.number % 2)
        self._forget_slices(task, current)
        if current.number == self.get("task", task).round:
            self.change("task", task, attempt=current.attempt + 1)
        else:
            self.change("task", task, voided=current.attempt + 1)
        ahead = self.at(task, current.number + 1)
        if ahead is not None:
            self._fail(task, ahead)
        return False
