"""The five questions of ``potminer init``: each explained in a line or two, and every answer checked at once."""

from __future__ import annotations

import asyncio
import platform
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import click

from potminer.base.errors import ConfigError
from potminer.cli.output import say

if TYPE_CHECKING:
    from potminer.world.rig.miners.detect import Found

POLICIES = {
    "idle_only": "train when nobody uses this computer and its miner does not earn",
    "profit": "train whenever that earns more than mining, after power",
    "always": "this computer is for training: do not wait for idleness",
    "off": "never train here",
}


@dataclass(slots=True)
class Answers:
    """Dotted keys of the config, and the miners that make room."""

    values: dict[str, object] = field(default_factory=dict)
    miners: list[tuple[str, str]] = field(default_factory=list)


def ask(said: Mapping[str, object], miners: Sequence[tuple[str, str]] | None) -> Answers:
    """Ask on the terminal for whatever *said* and *miners* (None: not said) leave open."""
    answers = Answers(dict(said))
    say("Five questions. Enter takes what stands in brackets; everything can be changed")
    say("later in the config file.")
    _ask_payout(answers)
    _ask_power(answers)
    answers.miners = list(miners) if miners is not None else _ask_miners()
    _ask_policy(answers)
    _ask_name(answers)
    say("")
    return answers


def suggested_name() -> str:
    """This computer's name as far as it can be a rig's."""
    return re.sub(r"[^0-9A-Za-z ._-]", "", platform.node().partition(".")[0]).lstrip(" ._-")[:64] or "rig"


# ---- the questions -----------------------------------------------------------------------


def _ask_payout(answers: Answers) -> None:
    _put(
        answers, "payout.address", 1, "Where do earnings go?",
        "An address (pot1...) from `potminer wallet new` on a computer of yours: no wallet key belongs on a rig. "
        "Empty: they stay on this node's own key until you say otherwise.",
        default="",
    )  # fmt: skip


def _ask_power(answers: Answers) -> None:
    _put(
        answers, "power.kwh_price", 2, "What does a kilowatt-hour cost you?",
        "Shows what training costs and nets, and is sent to nobody. Empty: unknown.",
        default="",
    )  # fmt: skip
    if answers.values.get("power.kwh_price"):
        _put(answers, "power.currency", 2, "In which currency?", "Three letters, such as EUR or USD.", default="EUR")


def _ask_miners() -> list[tuple[str, str]]:
    _explain(3, "Which miners make room for training?",
             "Looking for miners on this computer. Nothing is written to any of them.")  # fmt: skip
    usable = found_miners()
    if not usable:
        _say_wrapped("None runs here with its API on. `potminer miners detect` looks again at any time.")
    return [(m.kind, m.url) for m in usable if click.confirm(f"   {m.kind} at {m.url} ({m.version}): use it", True)]


def _ask_policy(answers: Answers) -> None:
    words = _policies()
    about = "".join(f"\n   {word:<10} {POLICIES.get(word, '')}".rstrip() for word in words)
    _put(answers, "idle.policy", 4, "When may it train?", "", default="idle_only", choices=about)


def _ask_name(answers: Answers) -> None:
    _put(answers, "rig.name", 5, "What is this rig called?", "The name on your dashboards.", default=suggested_name())


# ---- one question ------------------------------------------------------------------------


def _put(
    answers: Answers, key: str, number: int, question: str, about: str, *, default: str, choices: str = ""
) -> None:
    if key in answers.values:
        return
    _explain(number, question, about)
    if choices:
        say(choices.lstrip("\n"))
    while True:
        answer = click.prompt("  ", default=default, show_default=bool(default), prompt_suffix=" > ").strip()
        fault = fault_of(key, answer)
        if not fault:
            break
        _say_wrapped(fault)
    if answer:
        answers.values[key] = answer


def _explain(number: int, question: str, about: str) -> None:
    say("")
    say(f"{number}/5 {question}")
    _say_wrapped(about)


def _say_wrapped(text: str) -> None:
    import textwrap

    for line in textwrap.wrap(text, 74, break_on_hyphens=False):
        say(f"   {line}")


def fault_of(key: str, answer: str) -> str:
    """What is wrong with *answer*; empty where nothing is."""
    from potminer.node.config import config_from
    from potminer.node.source import Source

    try:
        config_from(Source("", {}, {}), {}, {key: answer})
    except ConfigError as error:
        return error.what.splitlines()[-1].strip().removeprefix("command line: ").removeprefix(f"{key}: ")
    return ""


def _policies() -> list[str]:
    return [word for word in POLICIES if not fault_of("idle.policy", word)]


def found_miners(detect: Callable[[], Sequence[Found]] | None = None) -> list[Found]:
    """Miners that answer here and can be named in the config."""
    from potminer.world.rig.miners.detect import detect as look_around

    found = asyncio.run(look_around()) if detect is None else detect()
    return [miner for miner in found if miner.url and miner.version is not None]
