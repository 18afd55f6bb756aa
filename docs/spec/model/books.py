"""An executable reading of ../ledger.md §1: where records lie, and the sum of all money."""

from __future__ import annotations

from typing import Any

from .records import Account, Chain, Committee, Facts, Key, Roster, Validator


class Books:
    """*records* is the whole state."""

    def __init__(self, genesis: Any, facts: Facts) -> None:
        self.facts, self.rules = facts, facts.parameters
        people, seats = genesis.accounts, genesis.validators
        supply = sum(a.balance for a in people) + sum(v.bond for v in seats)
        members, powers = tuple(v.key for v in seats), tuple(v.power for v in seats)
        candidates = tuple(sorted(v.key for v in seats if v.bond >= self.rules.validator_bond))
        self.records: dict[Key, Any] = {
            **{("account", a.key): Account(a.balance) for a in people},
            **{("validator", v.key): Validator(v.onion, v.bond) for v in seats},
            ("chain",): Chain(0, genesis.time_ms, genesis.seed, supply),
            ("committee",): Committee(0, members, powers),
            ("following",): Committee(1, members, powers),
            ("roster",): Roster(candidates),
        }

    # ---- reading and writing ----------------------------------------------------------------

    def get(self, *key: object) -> Any:
        return self.records.get(key)

    def put(self, value: Any, *key: object) -> None:
        self.records[key] = value

    def drop(self, *key: object) -> None:
        self.records.pop(key, None)

    def change(self, *key: object, **fields: Any) -> None:
        self.put(self.records[key]._replace(**fields), *key)

    @property
    def chain(self) -> Chain:
        return self.records["chain",]

    @property
    def committee(self) -> Committee:
        return self.records["committee",]

    def account(self, key: bytes) -> Account:
        return self.get("account", key) or Account()

    def give(self, key: bytes, grains: int) -> None:
        held = self.account(key)
        self.put(held._replace(balance=held.balance + grains), "account", key)

    def money(self) -> int:
        """§1: where it lies, and nowhere else."""
        total = self.chain.burnt
        for (table, *_), record in self.records.items():
            if table == "account":
                total += record.balance
            elif table in ("trainer", "validator"):
                total += record.bond + record.unbonding
            elif table == "task":
                total += record.escrow
            elif table == "held":
                total += record.amount
            elif table == "evaluation":
                total += record.purse
            elif table == "pending":
                total += sum(share.amount for share in record.shares)
        return total
