"""9 Settings: every value and who said so."""

from __future__ import annotations

from textual.app import ComposeResult

from potminer.dashboard.screens.board import Board
from potminer.dashboard.seen import Picture
from potminer.dashboard.source import Source
from potminer.dashboard.widgets.drawing import Pen
from potminer.dashboard.widgets.grid import Grid
from potminer.view.lines import setting_table
from potminer.view.table import Table
from potminer.view.text import clean
from potminer.wire.answers import SettingsView


class SettingsScreen(Board):
    """They change only with a restart, so they are asked for now and then."""

    NAME = "Settings"
    EVERY_S = 30

    def __init__(self, pen: Pen) -> None:
        super().__init__(pen)
        self._settings: SettingsView | None = None

    def panels(self) -> ComposeResult:
        yield Grid(self.pen, id="settings", title="Settings", choose=True)

    async def question(self, source: Source) -> None:
        self._settings = await source.settings()

    def forget(self) -> None:
        super().forget()
        self._settings = None

    def draw(self, picture: Picture) -> None:
        if self._settings is None:
            self.fill("settings", Table((), (), (self.refusal or "Asking the node.",)))
            return
        self.query_one("#settings", Grid).entitle(above=f"Settings · {clean(self._settings.file, 70)}")
        self.fill("settings", setting_table(self._settings))
