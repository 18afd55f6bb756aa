"""3 Miners: what mines here, how much, and how it can be made to yield."""

from __future__ import annotations

from textual.app import ComposeResult

from potminer.dashboard.screens.board import Board
from potminer.dashboard.seen import Picture
from potminer.dashboard.widgets.grid import Grid
from potminer.view.miners import miner_table


class MinersScreen(Board):
    NAME = "Miners"

    def panels(self) -> ComposeResult:
        yield Grid(self.pen, id="miners", title="Miners", choose=True)

    def draw(self, picture: Picture) -> None:
        self.fill("miners", miner_table(picture.snapshot, picture.now_ms))
