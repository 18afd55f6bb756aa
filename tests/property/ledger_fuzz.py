"""Races under extreme rules, with transactions that nobody would send: every kind, with every number at its bounds and
beside what would be right. Whatever is in a block, both say the same of it, and all that is written can be read again.

    nice -n 15 python -m tests.property.ledger_fuzz 100 --first 1000
"""

from __future__ import annotations

from typing import Any, get_args, get_origin, get_type_hints

import click
from msgspec import Meta
from msgspec.structs import replace

from potminer.core.ledger.state import supply
from potminer.wire import record as records
from potminer.wire import tx
from potminer.wire.record import RoundRecord, TaskRecord
from potminer.wire.task import AuditSpec, Deadlines, Evaluation, Reward, TaskSpec
from potminer.wire.tx import Bond, Evidence, SubmitTask
from tests.property.ledger_race import PEOPLE, Act, Race, facts_of
from tests.unit.ledger_world import blob, key, spec

KINDS = tuple(kind for kind in get_args(tx.Body) if kind not in (SubmitTask, Evidence))
BOUNDS = {kind: get_type_hints(kind, include_extras=True) for kind in KINDS}
MOST = 2**63 - 1


class Fuzz(Race):
    """A race whose genesis, tasks and senders know no measure."""

    def __init__(self, seed: int, *, blocks: int = 80) -> None:
        super().__init__(seed, blocks=blocks)
        chance, rules = self.random, self.state.parameters
        shares = chance.choice(((850_000, 100_000, 50_000), (1_000_000, 0, 0), (1, 999_999, 0), (333_333, 0, 666_667)))
        rules = replace(
            rules, trainer_share_ppm=shares[0], auditor_share_ppm=shares[1], validator_share_ppm=shares[2],
            audit_factor=chance.choice((1, 2, 3, 10, 1_000)), keep_ppm=chance.choice((0, 250_000, 1_000_000)),
            second_audit_ppm=chance.choice((0, 300_000, 1_000_000)), unbonding_ms=chance.choice((0, 5_000, 10**12)),
            escrow_rounds=chance.choice((0, 1, 3, 1_000)), minimum_fee=chance.choice((0, 10)),
            reporter_share_ppm=chance.choice((0, 50_000, 1_000_000)),
        )  # fmt: skip
        self.state = self.core.state(self.world.chain, rules, self.state.tree)
        genesis = replace(self.world.genesis, parameters=rules)
        self.model = self.ideal(genesis, facts_of(self.state))

    def reckless(self) -> list[Act]:
        chance = self.random
        said = [(self._somebody(), self.anything()) for _ in range(chance.choice((0, 0, 2, 8)))]
        if chance.randrange(25) == 0:
            said.append((chance.choice(("rich", "requester")), SubmitTask(self._wild_task())))
        return super().reckless() + said  # type: ignore[return-value]

    def _somebody(self) -> str:
        return self.random.choice((*PEOPLE, *self.world.validators))

    def anything(self) -> Any:
        kind = self.random.choice(KINDS)
        if kind is Bond and self.random.randrange(2):
            return Bond(self.random.choice((1, 10**6, 10**9)))
        task, current = self._place()
        return kind(**{name: self._value(name, hint, task, current) for name, hint in BOUNDS[kind].items()})

    def _place(self) -> tuple[bytes, RoundRecord | None]:
        tasks = self.state.head.open_tasks
        if not tasks or self.random.randrange(20) == 0:
            return blob("no task"), None
        task = self.random.choice(tasks)
        number = self.state.need(TaskRecord, records.task_key(task)).round
        return task, self.state.get(RoundRecord, records.round_key(task, number + self.random.randrange(2)))

    def _value(self, name: str, hint: Any, task: bytes, current: RoundRecord | None) -> Any:
        """Of what fits a place that there is, or of the type's bounds."""
        chance = self.random
        here = {} if current is None else {
            "round": current.number, "attempt": current.attempt, "slot": chance.randrange(len(current.slots) + 1),
            "base": current.base, "closed": current.number, "model": current.base,
        }  # fmt: skip
        if name == "task":
            return task
        if name in here and chance.randrange(12):
            return here[name]
        return self._of(hint)

    def _of(self, hint: Any) -> Any:
        """A value of the type *hint*, at one of its ends mostly."""
        chance, bounds = self.random, Meta()
        if get_origin(hint) is None and isinstance(hint, type) and issubclass(hint, bool):
            return chance.random() < 0.5
        for each in getattr(hint, "__metadata__", ()):
            bounds = each if isinstance(each, Meta) else bounds
        plain = getattr(hint, "__origin__", hint)
        if get_origin(hint) is not None and type(None) in get_args(hint):
            inner = next(each for each in get_args(hint) if each is not type(None))
            return None if chance.random() < 0.3 else self._of(inner)
        if get_origin(plain) is tuple:
            least, most = bounds.min_length or 0, min(bounds.max_length or 0, 40)
            count = chance.choice((least, min(most, max(least, 1)), min(most, 4), most))
            inner = get_args(plain)[0]
            return tuple(self._of(inner) for _ in range(count))
        if plain is bytes:
            size = chance.choice((bounds.min_length or 0, bounds.max_length or 0))
            if size == 32 and chance.randrange(2):
                return key(self._somebody()).public
            return chance.randbytes(size)
        if plain is str:
            return chance.choice(("", "cpu", f"toaster-{chance.randrange(40)}"))
        if isinstance(plain, type) and issubclass(plain, tx.Finding):
            return chance.choice(list(tx.Finding))
        low = bounds.ge if bounds.ge is not None else 0
        high = bounds.le if bounds.le is not None else (bounds.lt or MOST + 1) - 1
        around = (low, low + 1, high, high - 1, chance.randrange(int(low), int(high) + 1), 3, 1_000, 10**6)
        return int(min(high, max(low, chance.choice(around))))

    def _wild_task(self) -> TaskSpec:
        chance = self.random
        least, most = chance.choice(((1, 1), (1, 2), (1, 8), (1, 1_024), (2, 3)))
        price = chance.choice((1, 2, 9, 10, 11, 999_983, 2**40, 2**53))
        made = spec(
            name="wild", rounds=chance.choice((1, 2, 1_000_000)), units_per_trainer=chance.choice((1, 3, 64)),
            segments=chance.choice((1, 2, 64)), min_trainers=least, max_trainers=most,
            deadlines=Deadlines(*(chance.choice((100, 4_000, 24 * 3_600_000)) for _ in range(5))),
            audit=AuditSpec(chance.choice((30_000, 1_000_000)), chance.choice((10, 20_000)), chance.random() < 0.5),
            evaluation=chance.choice((Evaluation(), Evaluation(1, 7, 1), Evaluation(1, 1, 1_000_000))),
        )  # fmt: skip
        units = made.rounds * made.min_trainers * made.units_per_trainer
        budget = min(MOST, chance.choice((units * price, units * price * 2, 10**9, 10**12)))
        return replace(made, reward=Reward(budget, price))

    def run(self) -> str | None:
        found = super().run()
        if found is None and supply(self.state) != self.state.head.supply:
            return "grains were made or lost"
        return found


@click.command()
@click.argument("histories", type=click.IntRange(1), default=20)
@click.option("--first", default=0)
@click.option("--blocks", default=120)
def main(histories: int, first: int, blocks: int) -> None:
    """Fuzz so many histories; the first that differs or stops ends it."""
    for seed in range(first, first + histories):
        found = Fuzz(seed, blocks=blocks).run()
        if found is not None:
            raise click.ClickException(f"{seed}: {found}")
        if seed % 25 == 24:
            click.echo(f"{seed + 1 - first} histories from {first} on, no difference")


if __name__ == "__main__":
    main()
