"""What ``cheating.py`` has put on record, and its tables."""

from __future__ import annotations

import json
import statistics
from collections.abc import Sequence
from typing import Any

from record import RESULTS, Figures


def newest(part: str, cheating: int = 2) -> Figures:
    """What the records say of *part*, later ones over earlier ones; the honest do not ask who would have cheated."""
    found: Figures = {}
    for line in RESULTS.read_text(encoding="utf-8").splitlines():
        record = json.loads(line)
        figures = record["figures"]
        if record["name"] != "cheating" or part not in figures:
            continue
        if part == "honest":
            for rule, kinds in figures[part].items():
                found.setdefault(rule, {}).update(kinds)
        elif figures["cheats"] == cheating:
            found.update(figures[part])
    return found


def seeds_of(honest: Figures, rule: str, kind: str) -> list[float]:
    return [each["accuracy"] for each in honest.get(rule, {}).get(kind, {}).values()]


def mean_of(honest: Figures, rule: str, kind: str) -> float | None:
    seeds = seeds_of(honest, rule, kind)
    return statistics.mean(seeds) if seeds else None


def table(part: str, cheating: int, rules: Sequence[str]) -> list[str]:
    """*part* in Markdown; nothing where no record has it."""
    found, honest, fewer = newest(part, cheating), newest("honest"), f"honest-{10 - cheating}"
    if not found:
        return []
    if part == "honest":
        rows = [
            f"| {rule} | {kind} | {' · '.join(f'{100 * each:.2f}' for each in seeds_of(honest, rule, kind))} "
            f"| {100 * (mean_of(honest, rule, kind) or 0):.2f} |"
            for rule, kinds in honest.items() for kind in kinds
        ]  # fmt: skip
        return ["| rule | trainers | accuracy by seed, % | mean |", "|---|---|---|---|", *rows]
    if part == "unaudited":
        rows = [f"| {kind} | " + " | ".join(percent(of.get(rule)) for rule in rules) + " |"
                for kind, of in found.items()]  # fmt: skip
        return ["| " + " | ".join(("audits off", *rules)) + " |", "|---" * (1 + len(rules)) + "|", *rows]
    head = ("cheat", "accuracy, %", "− honest", f"− {fewer}", "caught after rounds", "gained, POT", "lost, POT",
            "expected: lost ÷ gained", "honest refused")  # fmt: skip
    rule = part.partition("-")[2] or "mean"
    beside = [mean_of(honest, rule, kind) for kind in ("honest", fewer)]
    return ["| " + " | ".join(head) + " |", "|---" * len(head) + "|", *(row(*each, beside) for each in found.items())]


def row(kind: str, of: Figures, beside: list[float | None]) -> str:
    away = ["–" if each is None else f"{100 * (of['accuracy'] - each):+.2f}" for each in beside]
    caught = ", ".join("not" if rounds is None else str(rounds) for rounds in of["caught_after"])
    ratio = "–" if of["expected_ratio"] is None else f"{of['expected_ratio']:,.1f}"
    refused = sum(of["honest_units_refused"].values()) + of["honest_expelled"]
    money = f"{of['pot_gained']:.2f} | {of['pot_lost']:.2f}"
    return f"| {kind} | {percent(of['accuracy'])} | {' | '.join(away)} | {caught} | {money} | {ratio} | {refused} |"


def percent(found: Any) -> str:
    return f"{100 * found:.2f}" if isinstance(found, float) else str(found)
