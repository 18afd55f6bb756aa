"""A devnet's progress for people: a live table on a terminal, a line a round elsewhere."""

from __future__ import annotations

import sys
from types import TracebackType
from typing import Self, TextIO

from rich.console import Console, Group
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from potminer.devnet.course import Course

_BARS = "▁▂▃▄▅▆▇█"


class Progress:
    """Use as a context; ``tell`` at every change. Everything goes to *stream*, never to stdout."""

    def __init__(self, stream: TextIO = sys.stderr) -> None:
        self._console = Console(file=stream, highlight=False)
        self._live = Live(console=self._console, refresh_per_second=4) if self._console.is_terminal else None
        self._told = 0
        self._note = ""

    def __enter__(self) -> Self:
        if self._live is not None:
            self._live.__enter__()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._live is not None:
            self._live.__exit__(kind, error, trace)

    def say(self, line: str) -> None:
        """What is happening while there is no task yet."""
        self._note = line
        if self._live is not None:
            self._live.update(Text(line))
        else:
            self._console.print(line)

    def tell(self, course: Course) -> None:
        if self._live is not None:
            self._live.update(_picture(course, self._note))
            return
        rounds = course.rounds
        for view in rounds[self._told :]:
            refused = ", ".join(f"{count} {reason}" for reason, count in view.units.rejected.items()) or "none"
            self._console.print(
                f"round {view.round + 1}/{course.rounds_wanted}  loss {_loss(view.loss_micro)}  "
                f"accepted {view.units.accepted}  refused {refused}"
            )
        self._told = len(rounds)


def _picture(course: Course, note: str) -> Group:
    table = Table.grid(padding=(0, 2))
    rounds, detail = course.rounds, course.detail
    score = course.scores[-1] if course.scores else None
    table.add_row("task", f"{course.name}  {course.task[:12]}")
    phase = "starting" if detail is None else detail.task.phase
    table.add_row("round", f"{len(rounds)} of {course.rounds_wanted} closed, now: {phase}")
    losses = [view.loss_micro for view in rounds if view.loss_micro is not None]
    table.add_row("loss", f"{_loss(losses[-1] if losses else None)}  {_spark(losses)}")
    table.add_row("accuracy", "–" if score is None else f"{score.accuracy_ppm / 1e4:.2f} % after round {score.round}")
    table.add_row("units", f"{course.accepted} accepted, {sum(course.rejected.values())} refused {_reasons(course)}")
    table.add_row("chain", f"height {course.height}, view {course.view}, {course.peers} peers")
    bar = ProgressBar(total=max(1, course.rounds_wanted), completed=len(rounds), width=60)
    return Group(Text(note, style="dim"), table, bar)


def _reasons(course: Course) -> str:
    found = ", ".join(f"{count} {reason}" for reason, count in sorted(course.rejected.items()))
    return f"({found})" if found else ""


def _loss(micro: int | None) -> str:
    return "–" if micro is None else f"{micro / 1e6:.4f}"


def _spark(values: list[int], width: int = 40) -> str:
    shown = values[-width:]
    if len(shown) < 2 or max(shown) == min(shown):
        return ""
    low, span = min(shown), max(shown) - min(shown)
    return "".join(_BARS[(value - low) * (len(_BARS) - 1) // span] for value in shown)
