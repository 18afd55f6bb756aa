"""An executable reading of ../rounds.md §5, money: a round that ends, who is paid and how much."""

from __future__ import annotations

from typing import Any

from .facts import BAD, UNAVAILABLE, Pending, Round, Share, Unit
from .hiding import Hiding
from .records import MILLION


class Closing(Hiding):
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
        shares = self._free(task, current, shares)
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
