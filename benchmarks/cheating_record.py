"""What ``cheating.py`` has put on record, and its tables."""

from __future__ import annotations

import json
import statistics
from collections.abc import Sequence
from typing import Any

from record import RESULTS, Figures


def records(part: str, cheating: int, seed: int) -> list[Figures]:
    """What was measured of *part*, the newest last; the honest do not ask who would have cheated, or in which throw."""
    every = [json.loads(line) for line in RESULTS.read_text(encoding="utf-8").splitlines()]
    return [
        each for each in every
        if each["name"] == "cheating" and part in each["figures"]
        and (part == "honest" or (each["figures"]["cheats"], each["figures"]["seed"]) == (cheating, seed))
    ]  # fmt: skip


def newest(part: str, cheating: int = 2, seed: int = 1) -> Figures:
    """What the records say of *part*, cell by cell: later ones over earlier ones."""
    found: Figures = {}
    for record in records(part, cheating, seed):
        for name, cells in record["figures"][part].items():
            found[name] = found.get(name, {}) | cells if part in ("honest", "unaudited") else cells
    return found


def seeds_of(honest: Figures, rule: str, kind: str) -> list[float]:
    return [each["accuracy"] for each in honest.get(rule, {}).get(kind, {}).values()]


def mean_of(honest: Figures, rule: str, kind: str) -> float | None:
    seeds = seeds_of(honest, rule, kind)
    return statistics.mean(seeds) if seeds else None


ABOUT = """# The matrix of cheats

Written by `benchmarks/cheating.py --table` from the newest records in `benchmarks/results.jsonl`; what it means stands
in [training-results.md](training-results.md). Accuracies are on 10,000 test images. *Less honest* is the distance in
points from the mean of three honest runs of ten trainers under the same rule, *less honest-8* from those of the eight
that are left where the cheats never join. Gained is the pay for what was false, forfeited or not; lost what expulsion
took; *expected* what a cheat had to reckon with, – where a catch was certain or what was false is no unit. Parts that
are missing here have not been run.
"""


def page(parts: Sequence[str], seed: int, rules: Sequence[str]) -> list[str]:
    """All tables, each under its name and its commits."""
    lines = [ABOUT]
    for part, cheating in ((part, cheating) for cheating in (2, 4) for part in parts):
        made = records(part, cheating, seed)
        if made and not (part == "honest" and cheating == 4):
            commits = ", ".join(dict.fromkeys(each["commit"].partition("+")[0][:7] for each in made))
            who = "nobody cheats" if part == "honest" else f"{cheating} of 10 cheat"
            lines += [f"## `{part}`: {who}", "", *table(part, cheating, seed, rules), "", f"Commit {commits}.", ""]
    return lines[:-1]


def table(part: str, cheating: int, seed: int, rules: Sequence[str]) -> list[str]:
    found, honest, fewer = newest(part, cheating, seed), newest("honest"), f"honest-{10 - cheating}"
    if part == "honest":
        rows = [
            f"| {rule} | {kind} | {' · '.join(map(percent, seeds_of(honest, rule, kind)))} "
            f"| {percent(mean_of(honest, rule, kind))} |"
            for rule, kinds in honest.items() for kind in kinds
        ]  # fmt: skip
        return ["| rule | trainers | accuracy by seed, % | mean |", "|---|---|---|---|", *rows]
    if part == "unaudited":
        cells = [[name, *(percent(of.get(rule)) for rule in rules)] for name, of in found.items()]
        return [line(["audits off", *rules]), "|---" * (1 + len(rules)) + "|", *map(line, cells)]
    rule = part.partition("-")[2] or "mean"
    beside = [mean_of(honest, rule, kind) for kind in ("honest", fewer)]
    return [line(HEAD).replace("honest-N", fewer), "|---" * len(HEAD) + "|", *(row(*e, beside) for e in found.items())]


HEAD = (
    "cheat", "accuracy, %", "less honest", "less honest-N", "caught after rounds", "gained, POT", "lost, POT",
    "expected: lost ÷ gained", "honest refused",
)  # fmt: skip


def line(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cells)} |"


def row(kind: str, of: Figures, beside: list[float | None]) -> str:
    away = ["–" if each is None else f"{100 * (of['accuracy'] - each):+.2f}" for each in beside]
    caught = ", ".join("not" if rounds is None else str(rounds) for rounds in of["caught_after"])
    ratio = "–" if of["expected_ratio"] is None else f"{of['expected_ratio']:,.1f}"
    refused = sum(of["honest_units_refused"].values()) + of["honest_expelled"]
    money = [f"{of['pot_gained']:.2f}", f"{of['pot_lost']:.2f}"]
    return line([kind, percent(of["accuracy"]), *away, caught, *money, ratio, str(refused)])


def percent(found: Any) -> str:
    return f"{100 * found:.2f}" if isinstance(found, float) else str(found)
