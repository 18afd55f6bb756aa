"""8 Logs: the newest lines of the node's log."""

from __future__ import annotations

from collections import deque
from typing import ClassVar

from textual.app import ComposeResult
from textual.binding import Binding, BindingType

from potminer.dashboard.screens.board import Board
from potminer.dashboard.seen import Picture
from potminer.dashboard.source import Source
from potminer.dashboard.widgets.drawing import Pen
from potminer.dashboard.widgets.grid import Grid
from potminer.view.lines import log_table
from potminer.view.table import Table
from potminer.wire.answers import LEVELS, LOG_LINES, LogLevel, LogLine

_HEADS = 17
"""Cells that time and level take."""


class LogsScreen(Board):
    """Wide folds long lines instead of cutting them."""

    NAME = "Logs"
    EVERY_S = 1
    BINDINGS: ClassVar[list[BindingType]] = [Binding("l", "level", "Level", id="level")]

    def __init__(self, pen: Pen) -> None:
        super().__init__(pen)
        self._lines: deque[LogLine] = deque(maxlen=LOG_LINES)
        self._boot_ms: int | None = None
        self._level = LogLevel.INFO

    def panels(self) -> ComposeResult:
        yield Grid(self.pen, id="log", title="Log", tail=True)

    async def question(self, source: Source) -> None:
        tail = await source.log(after=self._newest, last=LOG_LINES, level=LogLevel.DEBUG)
        if tail.boot_ms != self._boot_ms:
            if self._boot_ms is not None:
                tail = await source.log(after=0, last=LOG_LINES, level=LogLevel.DEBUG)
            self._lines.clear()
            self._boot_ms = tail.boot_ms
        self._lines.extend(line for line in tail.lines if line.number > self._newest)

    @property
    def _newest(self) -> int:
        return self._lines[-1].number if self._lines else 0

    def forget(self) -> None:
        super().forget()
        self._lines.clear()
        self._boot_ms = None

    def action_level(self) -> None:
        self._level = LEVELS[(LEVELS.index(self._level) + 1) % len(LEVELS)]
        self.show(self._seen)

    def draw(self, picture: Picture) -> None:
        self.query_one("#log", Grid).entitle(above=f"Log · {self._level.value} and graver")
        if not self._lines:
            self.fill("log", Table((), (), (self.refusal or "No line yet.",)))
            return
        fold = max(20, self.query_one("#log", Grid).content_size.width - _HEADS) if self._seen.wide else 0
        self.fill("log", log_table(tuple(self._lines), self._level, fold))
