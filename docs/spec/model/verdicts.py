"""An executable reading of ../rounds.md §3 and §4: who audits what, what is said of it, and who pays for it."""

from __future__ import annotations

from typing import Any

from .closing import Closing
from .facts import BAD, MALFORMED, MEASURED, UNAVAILABLE, Audit, Round, Unit, Verdict, differ, median, per, refused
from .records import AGGREGATE, AUDIT, DISPUTE, EXPELLED, MILLION, OPENING, Words


class Verdicts(Closing):
    # ---- §3: draws ------------------------------------------------------------------------------

    def _audits_drawn(self, task: bytes, current: Round) -> bool:
        draw = self.chain.beacon, task, current.number, current.attempt
        if not current.draws_at:
            if not self.committee.is_weak_quorum(set(current.witnesses)):
                return False
            waits = Words(*draw, b"turn").below(len(self.committee.members))
            self.change("round", task, current.number % 2, draws_at=self.chain.height + waits)
            return self._audits_drawn(task, self.get("round", task, current.number % 2))
        if self.chain.height < current.draws_at:
            return False
        found, units = self.get("task", task), self.units(task, current)
        spec = found.spec
        playing = [slot for slot, unit in enumerate(units) if unit.judgement is None]
        in_play = sorted({units[slot].trainer for slot in playing})
        turns = [who for who in Words(*draw).order(in_play) if not self.get("trainer", who).expelled]
        claims = [units[slot].snapshots[-1] for slot in playing]
        proving = [units[slot].trainer for slot in playing if not self._is_calibrating(found, units[slot].device)]
        last = {member.trainer: member.last_auditor for member in found.members}
        shown = {who: median(units[s].square for s in playing if units[s].trainer == who) for who in in_play}
        usual = median(shown.values()) if shown else 0
        audits: list[Audit] = []
        for slot in playing:
            unit, words = units[slot], Words(*draw, slot)
            calibrating, outlier = self._is_calibrating(found, unit.device), unit.square > 9 * usual
            stake = min(unit.stake, self._at_stake(task, unit.trainer))
            allowed = self._allowed(task, calibrating)
            place = task, current.number % 2, slot
            self.change("unit", *place, stake=stake, calibrating=calibrating, allowed_ppm=allowed, outlier=outlier)
            price, factor, most = spec.reward.price_per_unit, self.rules.audit_factor, spec.segments * MILLION
            others = price * max(0, proving.count(unit.trainer) - 1)
            lost = stake + min(others, max(0, stake * (factor - 2) // 2))
            wanted = -(-factor * price * most // (lost + factor * price))
            wanted = min(most, max(wanted, spec.audit.rate_ppm))
            count = wanted // MILLION + (words.below(MILLION) < wanted % MILLION)
            drawn = words.order(list(range(1, spec.segments + 1)))[: spec.segments if calibrating or outlier else count]
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

    def _at_stake(self, task: bytes, trainer: bytes) -> int:
        return int(self.get("trainer", trainer).bond) + self._owed(task, trainer)

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
        agree: dict[Audit, bool] = {}
        for audit in current.audits:
            unit = self.get("unit", task, current.number % 2, audit.slot)
            second = words.below(MILLION) < self.rules.second_audit_ppm
            bad = not unit.passes(self._said(audit, unit))
            agrees = self._contradiction(task, audit, unit) is None
            doubt = bad or second or audit.disputed or not agrees
            audits.append(audit._replace(disputed=doubt and unit.judgement is None))
            agree[audits[-1]] = agrees
        audits.sort(key=lambda audit: (audit.slot, audit.segment, agree[audit]))
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
            outcome, measured, rulings, lazy, hidden = self._rule(task, unit, audits, self._over(current))
            if outcome is None:
                waiting = True
                continue
            if outcome == "accepted":
                self._accept(task, current, slot, measured, slot not in unopened)
            else:
                self._judge(task, current, slot, outcome, measured)
            self._losers(task, unit, audits, outcome, measured, rulings, lazy)
            self._hold(task, current, slot, hidden)
            ruled = tuple(
                a._replace(ruling=rulings.get(a.segment, (a.ruling, None))[0]) if a.slot == slot else a
                for a in self.get("round", task, current.number % 2).audits
            )
            self.change("round", task, current.number % 2, audits=ruled)
        return not waiting and self._to_aggregate(task, self.get("round", task, current.number % 2))

    def _rule(
        self, task: bytes, unit: Unit, audits: list[Audit], final: bool
    ) -> tuple[Any, Any, dict[int, Any], Any, set[int]]:
        """Outcome, measured, (ruling, number) of each segment that was ruled on, auditors that did not recompute, and
        segments that were hidden."""
        rulings: dict[int, tuple[str, int | None]] = {}
        lazy: list[bytes] = []
        numbers: list[int] = []
        waiting, seen, hidden = False, set[int](), set[int]()
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
            hidden |= {audit.segment} if self._is_hidden(unit, judges) else set()
            if ruling[0] in (*BAD, "false-residues"):
                return (*ruling, rulings, lazy, hidden)
            numbers += [ruling[1]] if ruling[1] is not None else []
        if waiting:
            return None, None, {}, [], set()
        if any(name == "unavailable" for name, _ in rulings.values()):
            return "unavailable", None, rulings, lazy, hidden
        return "accepted", max(numbers, default=None), rulings, lazy, hidden

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
        held = self.get("held", trainer)
        lost = found.bond + found.unbonding + (held.amount if held is not None else 0)
        self.drop("held", trainer)
        self.change("trainer", trainer, bond=0, unbonding=0, expelled=True)
        releases = tuple(release for release in chain.releases if release.trainer != trainer)
        showing = tuple(each for each in chain.showing if each != trainer)
        self.change("chain", burnt=chain.burnt + lost, releases=releases, showing=showing)
        self._refund(task, self._strike(task, trainer))
        for each in {task, *chain.open_tasks}:
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
