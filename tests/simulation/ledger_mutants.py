"""Faults that a ledger could have, each put into a copy of core/ledger's source, and raced against the executable spec.

The product has no switch: a copy of the package is written to a temporary folder with one line changed, and imported
under another name. ``python -m tests.simulation.ledger_mutants`` prints the matrix.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import lru_cache
from importlib import import_module
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec
from pathlib import Path
from types import CodeType, ModuleType

import click

from potminer.base.errors import Malformed
from potminer.core import ledger
from tests.property.ledger_race import Core, MoneyRace, Race
from tests.property.score_race import ScoreRace

SOURCE = Path(ledger.__file__).parent
HISTORIES = 60
BLOCKS = 120


@dataclass(frozen=True)
class Mutant:
    """*file*, the line as it is and as it is bent, and a history that is known to show it."""

    about: str
    file: str
    line: str
    bent: str
    seed: int = 0
    money: bool = False
    """Seen where nobody works."""
    scores: bool = False
    """Seen where much is evaluated."""


MUTANTS = (
    Mutant("a commitment in the last millisecond is late", "advance",
           "    if waiting and draft.head.time_ms <= current.deadline_ms:\n        return False\n    note",
           "    if waiting and draft.head.time_ms < current.deadline_ms:\n        return False\n    note", seed=2),
    Mutant("what is said in the last millisecond is late", "transact",
           "draft.head.time_ms > current.deadline_ms else", "draft.head.time_ms >= current.deadline_ms else"),
    Mutant("a bond is free a millisecond late", "stake",
           "release.time_ms <= now", "release.time_ms < now", money=True),
    Mutant("nothing keeps the bond of who is being judged from leaving", "stake",
           "if release.trainer not in busy", "if release.trainer", seed=3),
    Mutant("what a task owes is no part of the stake", "stake",
           "{trainer: bond + owed[trainer] for", "{trainer: bond for"),
    Mutant("pay that nobody would miss counts as what a cheat would lose", "rewards",
           "min((units - 1) * price, stake * max(0, factor - 2) // 2)", "(units - 1) * price * (factor > 2)", seed=1),
    Mutant("a stake that came after the reveals counts in the draw", "audits",
           "stake=min(units[slot].stake, at_stake[units[slot].trainer])", "stake=at_stake[units[slot].trainer]",
           seed=2),
    Mutant("the draw waits for nobody's turn", "advance",
           "draws_at=head.height + wait", "draws_at=head.height"),
    Mutant("what is left over goes to the smallest remainders", "rewards",
           "(-(total * weights[i] % whole), i)", "(total * weights[i] % whole, i)"),
    Mutant("a proven cheat is still paid what other tasks owe it", "stake",
           "if trainer is not None and trainer.expelled:", "if trainer is not None and not share.amount:", seed=20),
    Mutant("a proven cheat forfeits nothing that is pending", "penalty",
           "if share.earner != trainer)", "if share.earner)", seed=13),
    Mutant("a unit's pay is paid twice: a round's pending shares stay", "close",
           "    draft.put(key, None)\n    if forfeited", "    if forfeited"),
    Mutant("who audited more is paid no more", "close",
           "split(amount, [count for _, count in counts])", "split(amount, [1 for _ in counts])", seed=4),
    Mutant("pay goes to the trainer's own key", "close",
           "return earner if trainer is None else trainer.payout", "return earner"),
    Mutant("a round is paid one round early", "close",
           "current.number - draft.parameters.escrow_rounds",
           "current.number + 1 - max(1, draft.parameters.escrow_rounds)"),
    Mutant("what was kept as bond counts for what is kept of the rest", "stake",
           "rest = (amount - first) * keep_ppm // MILLION", "rest = amount * keep_ppm // MILLION", seed=4),
    Mutant("one validator's UNAVAILABLE holds a stake", "judge",
           "return is_weak_quorum(sum(power.get(said.judge, 0) for said in (*absent, *bad)), sum(committee.powers))",
           "return bool(absent or bad)", seed=43),
    Mutant("what is held returns when one unit of several was shown", "hidden",
           "if units or found.sealed:", "if found.sealed:", seed=61),
    Mutant("a proven cheat keeps what is held", "penalty",
           "draft.put(records.held_key(trainer), None)\n    head", "head", seed=68),
    Mutant("the pay of rounds that were drawn on a held stake is paid", "hidden",
           "if found is None or place not in found.rounds:", "if found is None or place in found.rounds:", seed=61),
    Mutant("what cannot be shown may be tried again at once", "hidden",
           "min(unit.tries, DOUBLINGS)", "0", seed=67),
    Mutant("the upper median", "judge",
           "ordered[(len(ordered) - 1) // 2]", "ordered[len(ordered) // 2]", seed=26),
    Mutant("a third of the evaluators is enough", "evaluate",
           "2 * count > len(current.evaluators)", "3 * count > len(current.evaluators)", scores=True, seed=2),
    Mutant("an evaluator's commitment is not opened", "evaluate",
           "elif BoundScore(sender, score_commitment(body, evaluator=sender)) not in current.bound:",
           "elif not current.bound:", scores=True, seed=1),
    Mutant("evaluators who contradict each other are believed", "evaluate",
           "return again or _contradicts(current.scores)", "return again", scores=True),
    Mutant("an evaluator is paid more than its stake answers for", "evaluate",
           "amount = min(fee, at_stake[evaluator] // factor)", "amount = fee", scores=True),
    Mutant("who lied about a score stays", "evaluate",
           "times=PROOF):\n", "times=1_000 * PROOF):\n", scores=True, seed=1),
    Mutant("an update may be repeated by its own trainer", "transact",
           "elif owner.round != body.round or owner.trainer == sender:", "elif owner.round != body.round:", seed=4),
    Mutant("a weak quorum of judges decides", "judge",
           "quorum import is_quorum", "quorum import is_weak_quorum as is_quorum"),
    Mutant("a miss costs one unit, not half", "pace",
           "max(1, count // 2)", "max(1, count - 1)", seed=1),
    Mutant("a failed attempt keeps its claims on updates", "advance",
           "if owner is not None and owner.round == current.number:\n                draft.put(key, None)",
           "if owner is not None and owner.round != current.number:\n                draft.put(key, None)"),
    Mutant("an onion acts one epoch after it was named", "bonds", "ACTING_DELAY = 2", "ACTING_DELAY = 1", money=True),
    Mutant("a validator's bond is out of reach an epoch early", "bonds", "REACH = 4", "REACH = 3", money=True),
    Mutant("a member may have exactly a third", "epoch",
           "if 3 * max(powers) < sum(powers):", "if 3 * max(powers) <= sum(powers):", money=True),
    Mutant("a slashed member keeps its turns", "bonds",
           "    _bench(draft, evidence.validator)\n    events", "    events", money=True, seed=2),
    Mutant("a reward for a report is a grain too much", "bonds",
           "draft.parameters.reporter_share_ppm // _MILLION", "draft.parameters.reporter_share_ppm // _MILLION + 1",
           money=True),
    Mutant("what the bond has to cover may be unbonded", "transact",
           "if trainer.bond - body.amount < needs", "if trainer.bond < needs", seed=23),
    Mutant("a refused unit leaves standing what was begun with it", "advance",
           "    if ahead is not None:\n        _fail(draft, task_id, ahead, \"a unit",
           "    if ahead is None:\n        _fail(draft, task_id, current, \"a unit", seed=50),
    Mutant("what was attested early counts after a refusal", "advance",
           "return replace(current, attestations=())", "return current", seed=53),
    Mutant("a round opens ahead of who has nothing to lose", "ahead",
           "        at_stake[trainer] >= max(", "        at_stake[trainer] >= 0 * max(", seed=8),
    Mutant("lengths and parts are one column", "slices",
           "(records.lengths_key if body.lengths else records.slice_key)", "(records.slice_key)", seed=67),
    Mutant("lengths outlive their round", "slices",
           "for key in (records.slice_key(task_id, index), records.lengths_key(task_id, index)):",
           "for key in (records.slice_key(task_id, index),):", seed=67),
    Mutant("another reason comes first", "bonds",
           "return Refusal.SLASHED", "return Refusal.SLASHED if body.amount else Refusal.BOND_TOO_LOW",
           money=True),
)  # fmt: skip


NAME = "bent_ledger"


@lru_cache(maxsize=256)
def compiled(name: str, text: str) -> CodeType:
    """All but one module of two mutants are the same."""
    return compile(text.replace("potminer.core.ledger", NAME), f"{name}.py", "exec")


class Copies(Loader, MetaPathFinder):
    """Imports core/ledger under another name, with *mutant* in it; a true copy for None."""

    def __init__(self, mutant: Mutant | None) -> None:
        self.mutant = mutant

    def find_spec(self, fullname: str, path: object, target: object = None) -> ModuleSpec | None:
        return ModuleSpec(fullname, self) if fullname.startswith(NAME + ".") else None

    def exec_module(self, module: ModuleType) -> None:
        name = module.__name__.partition(".")[2]
        text, mutant = (SOURCE / f"{name}.py").read_text(encoding="utf-8"), self.mutant
        if mutant is not None and name == mutant.file:
            if text.count(mutant.line) != 1:
                raise AssertionError(f"{name}.py has not exactly one of {mutant.line!r}")
            text = text.replace(mutant.line, mutant.bent)
        exec(compiled(module.__name__, text), module.__dict__)


@contextmanager
def bent_core(mutant: Mutant | None) -> Iterator[Core]:
    """A copy of core/ledger with *mutant* in it."""
    finder = Copies(mutant)
    package = sys.modules[NAME] = ModuleType(NAME)
    package.__path__ = []
    sys.meta_path.insert(0, finder)
    try:
        yield Core(import_module(f"{NAME}.apply").apply_block, import_module(f"{NAME}.state").State)
    finally:
        sys.meta_path.remove(finder)
        for module in [each for each in sys.modules if each.partition(".")[0] == NAME]:
            del sys.modules[module]


def shown(mutant: Mutant | None, core: Core, seed: int) -> str | None:
    """How history *seed* shows that *core* is bent."""
    kind: type[Race] = Race
    if mutant is not None and (mutant.money or mutant.scores):
        kind = MoneyRace if mutant.money else ScoreRace
    try:
        return kind(seed, blocks=BLOCKS, core=core).run()
    except (AssertionError, Malformed) as broken:
        return f"it stops by itself: {broken}"


def killed(mutant: Mutant, *, histories: int = HISTORIES) -> tuple[int, str] | None:
    """The first history that shows *mutant*, from its own on, and how."""
    with bent_core(mutant) as core:
        for seed in range(mutant.seed, mutant.seed + histories):
            found = shown(mutant, core, seed)
            if found is not None:
                return seed, found
    return None


def rows() -> Iterator[str]:
    for mutant in MUTANTS:
        found = killed(mutant)
        if found is None:
            yield f"| {mutant.about} | `{mutant.file}.py` | - ({HISTORIES}) | |"
        else:
            where, _, what = found[1].partition(": ")
            yield f"| {mutant.about} | `{mutant.file}.py` | history {found[0]}, {where} | {_words(what)} |"


def _words(what: str) -> str:
    """Which record, or which transaction, without the bytes."""
    if what.startswith("('"):
        return f"record {what.partition(',')[0][2:-1]}"
    return what.partition(", in the model")[0]


@click.command()
def main() -> None:
    """Race every mutant of the ledger and print the matrix as Markdown."""
    for row in rows():
        click.echo(row)


if __name__ == "__main__":
    main()
