"""An executable reading of ../rounds.md §1 to §5, §11 and §12: how a task moves from model to model.

Written from the text, on top of ledger.py; see there for what is left out. Section numbers are those of rounds.md.
"""

from __future__ import annotations

from typing import Any, NamedTuple

from .ledger import (
    AGGREGATE,
    AUDIT,
    CANCELLED,
    COMMIT,
    DISPUTE,
    DRAW,
    EXPELLED,
    INACTIVE,
    MILLION,
    OPENING,
    REVEAL,
    Ledger,
    Refusal,
    Task,
    Words,
    digest,
)

MEASURED, MALFORMED, UNAVAILABLE = range(3)
BAD = ("out-of-tolerance", "malformed")
BIND, SHOW, JUDGE = range(3)
CLASSES = 16
PIECE_BYTES = 2**20


class Judgement(NamedTuple):
    outcome: str
    measured_ppm: int | None
    allowed_ppm: int


class Verdict(NamedTuple):
    judge: bytes
    segment: int
    finding: int
    error_ppm: int
    sketch: bytes
    cheat_ppm: int


class Opening(NamedTuple):
    segment: int
    leaf: int
    residues: bytes


class Unit(NamedTuple):
    trainer: bytes
    commitment: bytes | None = None
    loss_micro: int = 0
    snapshots: tuple[bytes, ...] = ()
    verdicts: tuple[Verdict, ...] = ()
    judges: tuple[Verdict, ...] = ()
    judgement: Judgement | None = None
    stake: int = 0
    allowed_ppm: int | None = None
    device: str = ""
    calibrating: bool = False
    arrived_ms: int | None = None
    residues: bytes | None = None
    openings: tuple[Opening, ...] = ()

    def passes(self, said: Verdict | None) -> bool:
        """§4."""
        return said is not None and said.finding == MEASURED and said.error_ppm <= (self.allowed_ppm or 0)


class Audit(NamedTuple):
    slot: int
    segment: int
    auditor: bytes | None
    leaf: int
    disputed: bool = False
    ruling: str | None = None


class Attestation(NamedTuple):
    validator: bytes
    model: bytes
    malformed: tuple[int, ...]


class Round(NamedTuple):
    number: int
    attempt: int
    seed: bytes
    base: bytes
    phase: int
    opened_ms: int
    deadline_ms: int
    slots: tuple[bytes, ...]
    witnesses: tuple[bytes, ...] = ()
    audits: tuple[Audit, ...] = ()
    attestations: tuple[Attestation, ...] = ()
    slices: int = 1


class PartAttestation(NamedTuple):
    validator: bytes
    part: bytes
    malformed: tuple[int, ...]


class Slice(NamedTuple):
    attestations: tuple[PartAttestation, ...]


class Share(NamedTuple):
    earner: bytes
    account: bytes
    amount: int


class Pending(NamedTuple):
    shares: tuple[Share, ...]
    updates: tuple[bytes, ...]


class Update(NamedTuple):
    round: int
    trainer: bytes


class Bound(NamedTuple):
    evaluator: bytes
    commitment: bytes


class Score(NamedTuple):
    scorer: bytes
    score_ppm: int
    loss_micro: int
    trial_micro: int

    def off(self, truth: Score) -> int:
        """How many times what is paid it is off, 11 for anything beyond ten."""
        for times in (1, 10):
            if (
                abs(self.score_ppm - truth.score_ppm) <= 5_000 * times
                and abs(self.trial_micro - truth.trial_micro) <= 1_000 * times
                and 200 * abs(self.loss_micro - truth.loss_micro) <= times * (truth.loss_micro + 200)
            ):
                return times
        return 11


class Evaluation(NamedTuple):
    closed: int
    model: bytes
    deadline_ms: int
    evaluators: tuple[bytes, ...]
    purse: int
    seed: bytes
    phase: int = 0
    bound: tuple[Bound, ...] = ()
    scores: tuple[Score, ...] = ()
    judges: tuple[Score, ...] = ()

    def most(self, count: int) -> bool:
        return 2 * count > len(self.evaluators)


class Metric(NamedTuple):
    closed: int
    score_ppm: int
    loss_micro: int
    answers: int


class Device(NamedTuple):
    name: str
    noise_ppm: int | None


class Calibration(NamedTuple):
    tolerance_ppm: int
    noise_ppm: int
    cheat_ppm: int
    devices: tuple[Device, ...]
    refused: bool = False


def median(numbers: Any) -> int:
    """The lower one."""
    ordered = sorted(numbers)
    return ordered[(len(ordered) - 1) // 2]


def per(count: int, of: int) -> int:
    """How many times *of* goes into *count*, rounded up, at least once."""
    return max(1, -(-count // of))


def differ(one: bytes, other: bytes) -> bool:
    """training.md, Residues."""
    apart = []
    for a, b in zip(one, other, strict=True):
        for x, y in ((a % 16, b % 16), (a // 16, b // 16)):
            if (x, y) != (15, 15):
                apart.append(7 if 15 in (x, y) else min((x - y) % 15, (y - x) % 15))
    return len(apart) >= 32 and 3 * sum(apart) > 7 * len(apart)


def shows(unit: Unit) -> bool:
    """§12: it was revealed, and is no copy."""
    return bool(unit.snapshots) and (unit.judgement is None or unit.judgement.outcome != "duplicate")


def refused(unit: Unit) -> bool:
    return shows(unit) and unit.judgement is not None and unit.judgement.outcome != "accepted"


class Rounds(Ledger):
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
            stake = self.get("trainer", trainer).bond + self._owed(task, trainer)
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
        return self._enter(task, current, DRAW, 0) if self._undecided(task, current) else self._fail(task, current)

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
        """§6: one where the updates together are small enough, or the rule looks at whole updates."""
        size = self.facts.update_bytes(spec)
        whole = self.rules.whole_bytes and max(self.rules.whole_bytes, 2 * self.facts.model_bytes(spec))
        if hasattr(spec.aggregation, "bucket") or units * size <= whole:
            return 1
        return min(len(self.committee.members), -(-size // PIECE_BYTES))

    def _forget_slices(self, task: bytes, current: Round) -> None:
        for index in range(current.slices if current.slices > 1 else 0):
            self.drop("slice", task, index)

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

    # ---- §3: draws ------------------------------------------------------------------------------

    def _audits_drawn(self, task: bytes, current: Round) -> bool:
        if not self.committee.is_weak_quorum(set(current.witnesses)):
            return False
        found, units = self.get("task", task), self.units(task, current)
        spec = found.spec
        words = Words(self.chain.beacon, task, current.number, current.attempt)
        playing = [slot for slot, unit in enumerate(units) if unit.judgement is None]
        in_play = sorted({units[slot].trainer for slot in playing})
        turns = words.order([trainer for trainer in in_play if not self.get("trainer", trainer).expelled])
        claims = [units[slot].snapshots[-1] for slot in playing]
        last = {member.trainer: member.last_auditor for member in found.members}
        audits: list[Audit] = []
        for slot in playing:
            unit = units[slot]
            calibrating = self._is_calibrating(found, unit.device)
            stake = self.get("trainer", unit.trainer).bond + self._owed(task, unit.trainer)
            allowed = self._allowed(task, calibrating)
            place = task, current.number % 2, slot
            self.change("unit", *place, stake=stake, calibrating=calibrating, allowed_ppm=allowed)
            gain, most = self.rules.audit_factor * spec.reward.price_per_unit, spec.segments * MILLION
            wanted = -(-gain * most // (stake * spec.segments + gain))
            wanted = min(most, max(wanted, spec.audit.rate_ppm))
            count = wanted // MILLION + (words.below(MILLION) < wanted % MILLION)
            drawn = words.order(list(range(1, spec.segments + 1)))[: spec.segments if calibrating else count]
            if claims.count(unit.snapshots[-1]) > 1:
                drawn.append(spec.segments)
            several = words.below(spec.segments) + 1 if calibrating else 0
            few = sum(trainer != unit.trainer for trainer in turns) < 2
            for segment in sorted(set(drawn)):
                chosen: list[bytes] = []
                leaves = list(range(32))
                for _ in range(3 if segment == several else 1):
                    auditor = self._turn(turns, unit.trainer, last[unit.trainer], chosen)
                    if auditor is None and chosen:
                        break
                    leaf = leaves.pop(words.below(len(leaves)))
                    audits.append(Audit(slot, segment, auditor, leaf, disputed=few and segment == several))
                    if auditor is None:
                        break
                    chosen.append(auditor)
        pairs = {current.slots[audit.slot]: audit.auditor for audit in audits}
        members = tuple(m._replace(last_auditor=pairs.get(m.trainer, m.last_auditor)) for m in found.members)
        self.change("task", task, members=members)
        self.change("round", task, current.number % 2, audits=tuple(audits))
        load: dict[bytes | None, int] = {}
        for audit in audits:
            twice = self.get("unit", task, current.number % 2, audit.slot).calibrating
            load[audit.auditor] = load.get(audit.auditor, 0) + (2 if twice else 1)
        load.pop(None, None)
        busiest = max(load.values(), default=0)
        return self._enter(task, current, AUDIT, spec.deadlines.audit_ms * per(busiest, spec.units_per_trainer))

    @staticmethod
    def _turn(turns: list[bytes], trainer: bytes, last: bytes | None, chosen: list[bytes]) -> bytes | None:
        others = [auditor for auditor in turns if auditor != trainer and auditor not in chosen]
        others = [auditor for auditor in others if auditor != last] or others
        if not others:
            return None
        turns.remove(others[0])
        turns.append(others[0])
        return others[0]

    def _window(self, task: bytes) -> range:
        """Rounds that are closed and not paid."""
        number = self.get("task", task).round
        return range(max(0, number - self.rules.escrow_rounds), number)

    def _owed(self, task: bytes, trainer: bytes) -> int:
        pending = [self.get("pending", task, number) for number in self._window(task)]
        return sum(s.amount for each in pending if each is not None for s in each.shares if s.earner == trainer)

    # ---- §4: verdicts -----------------------------------------------------------------------------

    @staticmethod
    def _said(audit: Audit, unit: Unit) -> Verdict | None:
        said = [v for v in unit.verdicts if (v.judge, v.segment) == (audit.auditor, audit.segment)]
        return said[0] if said else None

    def _audits_end(self, task: bytes, current: Round) -> bool:
        units = self.units(task, current)
        silent = [a.auditor for a in current.audits if a.auditor and self._said(a, units[a.slot]) is None]
        if silent and not self._over(current):
            return False
        for auditor in silent:
            self._inactive(task, auditor)
        owed = self._unopened(task, current)
        if not owed:
            return self._decide(task, current)
        most = max(sum(current.slots[a.slot] == trainer for a in owed) for trainer in current.slots)
        return self._enter(task, current, OPENING, self.get("task", task).spec.deadlines.reveal_ms * per(most, 64))

    @staticmethod
    def _opened(audit: Audit, unit: Unit) -> bytes | None:
        shown = [o.residues for o in unit.openings if (o.segment, o.leaf) == (audit.segment, audit.leaf)]
        return shown[0] if shown else None

    def _unopened(self, task: bytes, current: Round) -> list[Audit]:
        owed = []
        for audit in current.audits:
            unit = self.get("unit", task, current.number % 2, audit.slot)
            passed = unit.passes(self._said(audit, unit))
            if passed and unit.judgement is None and self._opened(audit, unit) is None:
                owed.append(audit)
        return owed

    def _openings_end(self, task: bytes, current: Round) -> bool:
        if self._unopened(task, current) and not self._over(current):
            return False
        return self._decide(task, current)

    def _contradiction(self, task: bytes, audit: Audit, unit: Unit) -> tuple[bytes, bytes] | None:
        """Sketch and leaf that differ, where that proves anything."""
        spec, said, leaf = self.get("task", task).spec, self._said(audit, unit), self._opened(audit, unit)
        most = 300 if audit.segment == spec.segments and spec.compression == "wan2" else 5_000
        if said is None or not said.sketch or leaf is None or (unit.allowed_ppm or 0) > most:
            return None
        return (said.sketch, leaf) if differ(said.sketch, leaf) else None

    def _decide(self, task: bytes, current: Round) -> bool:
        words = Words(self.chain.beacon, task, current.number, current.attempt, b"second")
        audits = []
        for audit in current.audits:
            unit = self.get("unit", task, current.number % 2, audit.slot)
            second = words.below(MILLION) < self.rules.second_audit_ppm
            bad = not unit.passes(self._said(audit, unit))
            doubt = bad or second or audit.disputed or self._contradiction(task, audit, unit) is not None
            audits.append(audit._replace(disputed=doubt and unit.judgement is None))
        self.change("round", task, current.number % 2, audits=tuple(audits))
        disputed = [audit.slot for audit in audits if audit.disputed]
        unopened = {audit.slot for audit in self._unopened(task, current)}
        for slot, unit in enumerate(self.units(task, current)):
            if unit.judgement is None and slot not in disputed:
                errors = [v.error_ppm for a in audits if a.slot == slot and (v := self._said(a, unit)) is not None]
                self._accept(task, current, slot, max(errors, default=None), slot not in unopened)
        if not disputed:
            return self._to_aggregate(task, current)
        lasting = self.get("task", task).spec.deadlines.dispute_ms * per(len(disputed), len(current.slots))
        return self._enter(task, current, DISPUTE, lasting)

    def _accept(self, task: bytes, current: Round, slot: int, measured: int | None, opened: bool) -> None:
        self._judge(task, current, slot, "accepted" if opened else "not-opened", measured)
        if not opened:
            self._inactive(task, current.slots[slot])

    def _disputes_end(self, task: bytes, current: Round) -> bool:
        unopened = {audit.slot for audit in self._unopened(task, current)}
        waiting = False
        for slot in sorted({audit.slot for audit in current.audits if audit.disputed}):
            unit = self.get("unit", task, current.number % 2, slot)
            if unit.judgement is not None:
                continue
            audits = [audit for audit in current.audits if audit.slot == slot]
            outcome, measured, rulings, lazy = self._rule(task, unit, audits, self._over(current))
            if outcome is None:
                waiting = True
                continue
            if outcome == "accepted":
                self._accept(task, current, slot, measured, slot not in unopened)
            else:
                self._judge(task, current, slot, outcome, measured)
            self._losers(task, unit, audits, outcome, measured, rulings, lazy)
            ruled = tuple(
                a._replace(ruling=rulings.get(a.segment, (a.ruling, None))[0]) if a.slot == slot else a
                for a in self.get("round", task, current.number % 2).audits
            )
            self.change("round", task, current.number % 2, audits=ruled)
        return not waiting and self._to_aggregate(task, self.get("round", task, current.number % 2))

    def _rule(self, task: bytes, unit: Unit, audits: list[Audit], final: bool) -> tuple[Any, Any, dict[int, Any], Any]:
        """Outcome, measured, (ruling, number) of each segment that was ruled on, auditors that did not recompute."""
        rulings: dict[int, tuple[str, int | None]] = {}
        lazy: list[bytes] = []
        numbers: list[int] = []
        waiting, seen = False, set[int]()
        for audit in audits:
            said = self._said(audit, unit)
            if not audit.disputed:
                numbers += [said.error_ppm] if said is not None else []
                continue
            judges = [j for j in unit.judges if j.segment == audit.segment and j.judge in self.committee.members]
            all_spoke = len(judges) == len(self.committee.members)
            ruling = self._quorum(unit, judges)
            if ruling is None and (final or all_spoke):
                ruling = ("accepted", said.error_ppm) if said and unit.passes(said) else ("unavailable", None)
            sketched = audit.segment not in seen  # judges sketch the leaf of the first disputed audit of a segment
            seen.add(audit.segment)
            doubt = self._contradiction(task, audit, unit) if sketched else None
            if said is not None and doubt is not None and (ruling is None or ruling[0] == "accepted"):
                sketch, leaf = doubt
                good = [j for j in judges if unit.passes(j)]
                with_auditor = {j.judge for j in good if differ(j.sketch, leaf) and not differ(j.sketch, sketch)}
                with_trainer = {j.judge for j in good if differ(j.sketch, sketch) and not differ(j.sketch, leaf)}
                if self.committee.is_quorum(with_auditor):
                    ruling = ("false-residues", None)
                elif self.committee.is_quorum(with_trainer):
                    lazy.append(said.judge)
                elif not final and not all_spoke:
                    ruling = None
            if ruling is None:
                waiting = True
                continue
            rulings[audit.segment] = ruling
            if ruling[0] in (*BAD, "false-residues"):
                return (*ruling, rulings, lazy)
            numbers += [ruling[1]] if ruling[1] is not None else []
        if waiting:
            return None, None, {}, []
        if any(name == "unavailable" for name, _ in rulings.values()):
            return "unavailable", None, rulings, lazy
        return "accepted", max(numbers, default=None), rulings, lazy

    def _quorum(self, unit: Unit, judges: list[Verdict]) -> tuple[str, int | None] | None:
        def agreed(side: list[Verdict]) -> bool:
            return self.committee.is_quorum({said.judge for said in side})

        good = [j for j in judges if unit.passes(j)]
        over = [j for j in judges if j.finding == MEASURED and not unit.passes(j)]
        malformed = [j for j in judges if j.finding == MALFORMED]
        if agreed(good):
            return "accepted", median([j.error_ppm for j in good])
        if agreed(over + malformed):
            more = len(malformed) > len(over)
            return ("malformed", None) if more else ("out-of-tolerance", median([j.error_ppm for j in over]))
        return ("unavailable", None) if agreed([j for j in judges if j.finding == UNAVAILABLE]) else None

    def _losers(
        self, task: bytes, unit: Unit, audits: list[Audit], outcome: str, measured: int | None,
        rulings: dict[int, Any], lazy: list[bytes],
    ) -> None:  # fmt: skip
        found = self.get("task", task)

        def proof(ruling: str, number: int | None) -> bool:
            if ruling == "out-of-tolerance":
                return self._proves(found, unit, number)
            return ruling == "malformed" or (ruling == "false-residues" and not unit.calibrating)

        for auditor in [] if unit.calibrating else lazy:
            self._expel(task, auditor)
        if outcome != "accepted" and proof(outcome, measured):
            self._expel(task, unit.trainer)
        elif outcome == "unavailable" or (unit.calibrating and outcome != "accepted"):
            self._inactive(task, unit.trainer)
        for audit in audits:
            said = self._said(audit, unit)
            if said is None or said.finding == UNAVAILABLE or audit.segment not in rulings:
                continue
            ruling, number = rulings[audit.segment]
            claimed = said.finding == MALFORMED or self._proves(found, unit, said.error_ppm)
            false_pass = unit.passes(said) and ruling in BAD and proof(ruling, number)
            if (ruling == "accepted" and claimed) or false_pass:
                self._expel(task, said.judge)

    def _expel(self, task: bytes, trainer: bytes) -> None:
        """§4, Expelled."""
        found, chain = self.get("trainer", trainer), self.chain
        if found.expelled:
            return
        self.change("trainer", trainer, bond=0, unbonding=0, expelled=True)
        releases = tuple(release for release in chain.releases if release.trainer != trainer)
        self.change("chain", burnt=chain.burnt + found.bond + found.unbonding, releases=releases)
        for number in self._window(task):
            pending = self.get("pending", task, number)
            if pending is not None:
                self._refund(task, sum(share.amount for share in pending.shares if share.earner == trainer))
                kept = tuple(share for share in pending.shares if share.earner != trainer)
                self.change("pending", task, number, shares=kept)
        for each in chain.open_tasks:
            self.put(self.get("task", each).standing(trainer, EXPELLED), "task", each)

    def _refund(self, task: bytes, grains: int) -> None:
        self.change("task", task, escrow=self.get("task", task).escrow + grains)

    def _to_aggregate(self, task: bytes, current: Round) -> bool:
        self._calibrate(task, current)
        if not any(u.judgement.outcome == "accepted" for u in self.units(task, current) if u.judgement is not None):
            return self._fail(task, current)
        bad = {unit.trainer for unit in self.units(task, current) if refused(unit)}
        if bad and self.get("task", task).spec.audit.overlap:
            until = current.number + 1 + self.rules.escrow_rounds
            members = self.get("task", task).members
            doubted = tuple(m._replace(doubted=until) if m.trainer in bad else m for m in members)
            self.change("task", task, members=doubted)
            self.change("round", task, current.number % 2, attestations=())
            ahead = self.at(task, current.number + 1)
            if ahead is not None:
                self._fail(task, ahead)
        return self._enter(task, current, AGGREGATE, self.get("task", task).spec.deadlines.aggregate_ms)

    # ---- §5: money --------------------------------------------------------------------------------

    def _round_ends(self, task: bytes, current: Round) -> bool:
        agreed = self._agreed(current)
        if agreed is None:
            return self._fail(task, current) if self._over(current) else False
        closed = self._close(task, current, *agreed)
        ahead = self.at(task, current.number + 1)
        if closed and ahead is not None and ahead.base != agreed[0]:
            self._fail(task, ahead)
        return closed

    def _agreed(self, current: Round) -> tuple[bytes, tuple[int, ...], list[bytes]] | None:
        """Model, malformed slots and the members that attest both, where they have more than a third of the power."""
        sides: dict[tuple[bytes, tuple[int, ...]], list[bytes]] = {}
        for said in current.attestations:
            if said.validator in self.committee.members:
                sides.setdefault((said.model, said.malformed), []).append(said.validator)
        for (model, malformed), attesters in sides.items():
            if self.committee.is_weak_quorum(set(attesters)):
                return model, malformed, attesters
        return None

    def _close(
        self, task: bytes, current: Round, model: bytes, malformed: tuple[int, ...], attesters: list[bytes]
    ) -> bool:
        units = self.units(task, current)
        for slot in malformed:
            if slot < len(units):
                self._inactive(task, units[slot].trainer)
                if units[slot].judgement.outcome == "accepted":
                    units[slot] = units[slot]._replace(
                        judgement=units[slot].judgement._replace(outcome="malformed", measured_ppm=None)
                    )
        accepted = [unit.trainer for unit in units if unit.judgement.outcome == "accepted"]
        if not accepted:
            return self._fail(task, current)
        found = self.get("task", task)
        groups = [accepted, self._paid_auditors(task, current, units), attesters]
        groups = [[key for key in group if not self._is_expelled(key)] for group in groups]
        pot = found.spec.reward.price_per_unit * len(groups[0])
        shares = tuple(
            Share(key, self.get("trainer", key).payout if self.get("trainer", key) else key, grains)
            for key, grains in sorted(self._earned(pot, groups).items())
        )
        shown = [u.snapshots[-1] for u in units if u.snapshots and u.judgement.outcome != "duplicate"]
        self.put(Pending(shares, tuple(dict.fromkeys(shown))), "pending", task, current.number)
        self.change(
            "task", task, escrow=found.escrow - pot, round=found.round + 1, attempt=found.voided, voided=0, model=model
        )
        self.drop("round", task, current.number % 2)
        self._forget_slices(task, current)
        for slot in range(len(units)):
            self.drop("unit", task, current.number % 2, slot)
        self._pay(task, current.number - self.rules.escrow_rounds)
        self._begin_evaluation(task)
        return True

    def _is_expelled(self, key: bytes) -> bool:
        trainer = self.get("trainer", key)
        return trainer is not None and trainer.expelled

    def _paid_auditors(self, task: bytes, current: Round, units: list[Unit]) -> list[bytes]:
        """One entry for each audit that is paid."""
        paid = []
        proven = {audit.slot for audit in current.audits if audit.ruling in BAD}
        for audit in current.audits:
            unit = units[audit.slot]
            said, outcome = self._said(audit, unit), unit.judgement.outcome  # type: ignore[union-attr]
            if said is None or said.finding == UNAVAILABLE or audit.ruling == "unavailable":
                continue
            counts = outcome in ("accepted", "not-opened", "false-residues") or audit.slot in proven
            contradicted = self._contradiction(task, audit, unit) is not None and outcome != "false-residues"
            confirmed = unit.passes(said) != (audit.ruling in BAD)
            if counts and confirmed and not contradicted:
                paid.append(said.judge)
        return paid

    def _earned(self, pot: int, groups: list[list[bytes]]) -> dict[bytes, int]:
        rules = self.rules
        parts = (rules.trainer_share_ppm, rules.auditor_share_ppm, rules.validator_share_ppm)
        earned: dict[bytes, int] = {}
        if groups[0]:
            weights = [part if group else 0 for part, group in zip(parts, groups, strict=True)]
            for grains, group in zip(self._shared(pot, weights), groups, strict=True):
                keys = sorted(set(group))
                for key, part in zip(keys, self._shared(grains, [group.count(key) for key in keys]), strict=True):
                    earned[key] = earned.get(key, 0) + part
        return earned

    @staticmethod
    def _shared(grains: int, weights: list[int]) -> list[int]:
        """§5, Remainders."""
        whole = sum(weights)
        parts = [grains * weight // whole for weight in weights]
        rests = sorted(range(len(weights)), key=lambda place: -(grains * weights[place] % whole))
        for place in rests[: grains - sum(parts)]:
            parts[place] += 1
        return parts

    def _pay(self, task: bytes, number: int) -> None:
        pending = self.get("pending", task, number)
        if pending is None:
            return
        self._pay_out(task, pending.shares)
        for update in pending.updates:
            owner = self.get("update", task, update)
            if owner is not None and owner.round == number:
                self.drop("update", task, update)
        self.drop("pending", task, number)

    def _pay_out(self, task: bytes, shares: Any) -> None:
        for share in shares:
            trainer = self.get("trainer", share.earner)
            if trainer is None:
                self.give(share.account, share.amount)
            elif trainer.expelled:
                self._refund(task, share.amount)
            else:
                need, full = self.need(share.earner)
                kept = min(share.amount, max(0, need - trainer.bond))
                more = (share.amount - kept) * self.rules.keep_ppm // MILLION
                kept += min(more, max(0, full - trainer.bond - kept))
                self.change("trainer", share.earner, bond=trainer.bond + kept)
                self.give(share.account, share.amount - kept)

    def end(self, task: bytes) -> None:
        self._settle_evaluation(task, now=True)
        self.change("chain", open_tasks=tuple(t for t in self.chain.open_tasks if t != task))
        for number in self._window(task):
            self._pay(task, number)
        super().end(task)

    # ---- §5: evaluation ------------------------------------------------------------------------------

    def _begin_evaluation(self, task: bytes) -> None:
        found, older = self.get("task", task), self.get("evaluation", task)
        closed = found.round
        if not self._is_scored(found, closed):
            return
        if older is not None and older.most(len(older.bound)) and closed < found.spec.rounds:
            if older.phase == BIND:
                self._evaluation_enters(task, SHOW)
            return
        self._settle_evaluation(task, now=True)
        found = self.get("task", task)
        spec, present = found.spec, sorted(found.active())
        fee = spec.reward.price_per_unit // 10
        count = min(spec.evaluation.evaluators, len(present))
        while count * fee > found.escrow:
            count -= 1
        if count:
            chosen = tuple(Words(self.chain.beacon, task, closed, b"evaluators").order(present)[:count])
            deadline = self.chain.time_ms + spec.deadlines.audit_ms
            seed = digest("score", self.chain.beacon, task, closed)
            self.put(Evaluation(closed, found.model, deadline, chosen, count * fee, seed), "evaluation", task)
            self._refund(task, -count * fee)

    def on_EvaluateModel(self, said: Any) -> Refusal | None:
        body, current = said.body, self.get("evaluation", said.body.task)
        if current is None or current.closed != body.closed:
            return "WRONG_ROUND"
        if said.sender not in current.evaluators:
            return "NOT_ASSIGNED"
        if said.sender in [each.evaluator for each in current.bound]:
            return "ALREADY_DONE"
        if current.phase != BIND or self._over(current):
            return "LATE"
        self.change("evaluation", body.task, bound=(*current.bound, Bound(said.sender, body.commitment)))
        return None

    def on_ScoreModel(self, said: Any) -> Refusal | None:
        body, current = said.body, self.get("evaluation", said.body.task)
        if current is None or current.closed != body.closed:
            return "WRONG_ROUND"
        if current.phase == BIND:
            return "WRONG_PHASE"
        shows = current.phase == SHOW
        if said.sender not in (current.evaluators if shows else self.committee.members):
            return "NOT_ASSIGNED" if shows else "NOT_VALIDATOR"
        if said.sender in [each.scorer for each in (current.scores if shows else current.judges)]:
            return "ALREADY_DONE"
        if self._over(current):
            return "LATE"
        numbers = (body.closed, body.score_ppm, body.loss_micro, body.trial_micro)
        opens = digest("score", said.sender, body.task, *numbers, body.salt)
        if shows and Bound(said.sender, opens) not in current.bound:
            return "COMMITMENT_MISMATCH"
        score = Score(said.sender, *numbers[1:])
        more = {"scores": (*current.scores, score)} if shows else {"judges": (*current.judges, score)}
        self.change("evaluation", body.task, **more)
        return None

    def _settle_evaluation(self, task: bytes, *, now: bool) -> None:
        current = self.get("evaluation", task)
        if current is None:
            return
        over = self._over(current)
        truth = self._truth(current)
        if now or (current.phase == JUDGE and (truth or over or len(current.judges) == len(self.committee.members))):
            self._evaluation_ends(task, current, truth, cut=now)
        elif current.phase == BIND and (over or len(current.bound) == len(current.evaluators)):
            if current.most(len(current.bound)):
                self._evaluation_enters(task, SHOW)
            else:
                self._evaluation_ends(task, current, None)
        elif current.phase == SHOW and (over or len(current.scores) == len(current.bound)):
            words = Words(self.chain.beacon, task, current.closed, b"scores")
            again = words.below(MILLION) < self.rules.second_audit_ppm
            if current.most(len(current.scores)) and (again or not self._agree(current.scores)):
                self._evaluation_enters(task, JUDGE)
            else:
                self._evaluation_ends(task, current, None)

    def _evaluation_enters(self, task: bytes, phase: int) -> None:
        lasts = self.get("task", task).spec.deadlines
        ends = self.chain.time_ms + (lasts.reveal_ms if phase == SHOW else lasts.dispute_ms)
        self.change("evaluation", task, phase=phase, deadline_ms=ends)

    @staticmethod
    def _medians(scores: Any) -> Score:
        each = list(zip(*scores, strict=True))
        return Score(b"", median(each[1]), median(each[2]), median(each[3]))

    def _agree(self, scores: tuple[Score, ...]) -> bool:
        return all(score.off(self._medians(scores)) == 1 for score in scores)

    def _truth(self, current: Evaluation) -> Score | None:
        for judge in current.judges:
            near = [each for each in current.judges if each.scorer in self.committee.members and each.off(judge) == 1]
            if self.committee.is_quorum({each.scorer for each in near}):
                return self._medians(near)
        return None

    def _evaluation_ends(self, task: bytes, current: Evaluation, truth: Score | None, *, cut: bool = False) -> None:
        self.drop("evaluation", task)
        self._refund(task, current.purse)
        scores = current.scores
        if not current.most(len(scores)):
            return
        found = truth or self._medians(scores)
        metric = Metric(current.closed, found.score_ppm, found.loss_micro, len(scores))
        if truth is None and (cut or not self._agree(scores)):
            self.change("task", task, metric=metric)
            return
        for each in scores if truth is not None else ():
            if each.off(found) > 10:
                self._expel(task, each.scorer)
        price = self.get("task", task).spec.reward.price_per_unit
        shares = []
        for each in scores:
            trainer = self.get("trainer", each.scorer)
            most = (trainer.bond + self._owed(task, each.scorer)) // self.rules.audit_factor
            amount = min(price // 10, most)
            if each.off(found) == 1 and not trainer.expelled and amount:
                shares.append(Share(each.scorer, trainer.payout, amount))
        for share in shares:
            self._refund(task, -share.amount)
        self._pay_out(task, shares)
        self.change("task", task, metric=metric)
