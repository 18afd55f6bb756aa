"""An executable reading of ../rounds.md §5, evaluation: evaluators are drawn, bound, show their scores and are judged.
"""

from __future__ import annotations

from typing import Any

from .facts import BIND, JUDGE, SHOW, Bound, Evaluation, Metric, Score, Share, median
from .ledger import Ledger
from .records import MILLION, Refusal, Words, digest


class Scores(Ledger):
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
        seated = tuple(each for each in current.judges if each.scorer in self.committee.members)
        more = {"scores": (*current.scores, score)} if shows else {"judges": (*seated, score)}
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
