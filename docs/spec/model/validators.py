"""An executable reading of ../ledger.md §3, validators, and of epochs: §6 and ../pbft.md §11."""

from __future__ import annotations

from typing import Any

from .books import Books
from .records import CANDIDATES, COMMITTEE, MILLION, UNBONDINGS, Committee, Refusal, Roster, Unbonding, Validator


class Validators(Books):
    # ---- §3: transactions. Refusals in the order of the table ---------------------------------

    def on_RegisterValidator(self, said: Any) -> Refusal | None:
        found, onion, amount = self.get("validator", said.sender), said.body.onion, said.body.amount
        epoch = self.committee.epoch
        if found is None and onion is None:
            return "NOT_REGISTERED"
        if found is not None and found.slashed:
            return "SLASHED"
        if (found is None and amount < self.rules.validator_bond) or (onion is None and amount == 0):
            return "BOND_TOO_LOW"
        if found is not None and onion is not None and found.next_onion is not None and epoch < found.next_epoch:
            return "ALREADY_DONE"
        if self.account(said.sender).balance < amount:
            return "BALANCE_TOO_LOW"
        bond = amount if found is None else found.bond + amount
        candidates = self._candidates(said.sender, bond)
        if found is None and said.sender not in candidates:
            return "TOO_MANY"
        self.give(said.sender, -amount)
        self.change("roster", candidates=candidates)
        if found is None:
            self.put(Validator(onion, bond), "validator", said.sender)
            return None
        if onion is not None:
            if found.next_onion is not None:  # it acts by now
                found = found._replace(onion=found.next_onion)
            found = found._replace(next_onion=onion, next_epoch=epoch + 2)
        self.put(found._replace(bond=bond), "validator", said.sender)
        return None

    def _candidates(self, key: bytes, bond: int) -> tuple[bytes, ...]:
        """Those with the 256 largest bonds, *key* having *bond*."""
        bonds = {k: self.get("validator", k).bond for k in self.get("roster").candidates}
        bonds[key] = bond
        enough = [k for k in bonds if bonds[k] >= self.rules.validator_bond]
        return tuple(sorted(sorted(enough, key=lambda k: (-bonds[k], k))[:CANDIDATES]))

    def on_UnbondValidator(self, said: Any) -> Refusal | None:
        found, roster, amount = self.get("validator", said.sender), self.get("roster"), said.body.amount
        if found is None:
            return "NOT_REGISTERED"
        if amount == 0 or found.bond < amount:
            return "BOND_TOO_LOW"
        own = [u for u in roster.unbondings if u.validator == said.sender]
        if len(own) >= 4 or len(roster.unbondings) >= UNBONDINGS:
            return "TOO_MANY"
        free = self.chain.time_ms + self.rules.unbonding_ms
        leaving = Unbonding(said.sender, amount, free, self.committee.epoch + 4)
        candidates = self._candidates(said.sender, found.bond - amount)
        self.put(Roster(candidates, (*roster.unbondings, leaving)), "roster")
        self.change("validator", said.sender, bond=found.bond - amount, unbonding=found.unbonding + amount)
        return None

    def on_Evidence(self, said: Any) -> Refusal | None:
        proof, roster = said.body, self.get("roster")
        guilty = self.get("validator", proof.validator)
        if guilty is None:
            return "NOT_VALIDATOR"
        if guilty.slashed:
            return "ALREADY_DONE"
        halves = (proof.first, proof.second)
        kinds = {half.purpose for half in halves}
        one_kind = any(kinds <= kind for kind in ({1, 2}, {3}, {6}))
        both = all(self.facts.spoken(proof, half) for half in halves)
        if not one_kind or not both or proof.first.digest == proof.second.digest:
            return "BAD_EVIDENCE"
        lost = guilty.bond + guilty.unbonding
        reward = lost * self.rules.reporter_share_ppm // MILLION
        self.change("validator", proof.validator, bond=0, unbonding=0, slashed=True)
        self.put(
            Roster(
                tuple(k for k in roster.candidates if k != proof.validator),
                tuple(u for u in roster.unbondings if u.validator != proof.validator),
            ),
            "roster",
        )
        self.give(said.sender, reward)
        self.change("chain", burnt=self.chain.burnt + lost - reward)
        if proof.validator in self.committee.members:
            self.put(self.committee.skip([self.committee.members.index(proof.validator)]), "committee")
        return None

    # ---- §6 and pbft.md §11: epochs -----------------------------------------------------------

    def _end_epoch(self) -> None:
        coming, roster = self.get("following"), self.get("roster")
        slashed = [seat for seat, key in enumerate(coming.members) if self.get("validator", key).slashed]
        self.put(coming.skip(slashed), "committee")
        self.put(self._elect(coming), "following")
        kept = []
        for leaving in roster.unbondings:
            if leaving.time_ms > self.chain.time_ms or leaving.epoch > coming.epoch:
                kept.append(leaving)
                continue
            held = self.get("validator", leaving.validator)
            self.change("validator", leaving.validator, unbonding=held.unbonding - leaving.amount)
            self.give(leaving.validator, leaving.amount)
        self.change("roster", unbondings=tuple(kept))

    def _elect(self, before: Committee) -> Committee:
        bonds = {key: self.get("validator", key).bond for key in self.get("roster").candidates}
        members = sorted(bonds, key=lambda key: (-bonds[key], key))[:COMMITTEE]
        if not members:
            return Committee(before.epoch + 1, before.members, before.powers)
        least = min(4, len(before.members))
        if len(members) < least:
            staying = [key for key in before.members if key not in members]
            members += [key for key in staying if not self.get("validator", key).slashed]
            members += [key for key in staying if self.get("validator", key).slashed][: max(0, least - len(members))]
            members = members[:COMMITTEE]
        powers = [max(1, bonds.get(key, 0) // self.rules.validator_bond) for key in members]
        for most in range(100, 0, -1):
            capped = [min(power, most) for power in powers]
            if 3 * max(capped) < sum(capped):
                return Committee(before.epoch + 1, tuple(members), tuple(capped))
        return Committee(before.epoch + 1, tuple(members), (1,) * len(members))
