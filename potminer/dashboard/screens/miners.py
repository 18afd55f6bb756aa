"""3 Miners: what mines here, how much, and how it can be made to yield."""

from __future__ import annotations

from functools import partial

from textual.app import ComposeResult

from potminer.dashboard.screens.board import Board
from potminer.dashboard.seen import Picture
from potminer.dashboard.widgets.chart import Chart
from potminer.dashboard.widgets.grid import Grid
from potminer.view import text
from potminer.view.miners import miner_table
from potminer.view.strip import rate_caption, rates

COLUMNS = 144
"""Ten minutes each."""


class MinersScreen(Board):
    NAME = "Miners"

    def panels(self) -> ComposeResult:
        yield Grid(self.pen, id="miners", title="Miners", choose=True)
        yield Chart(self.pen, id="mined", title="Mining, 24 h", style="$accent", grounded=True)

    def draw(self, picture: Picture) -> None:
        self.fill("miners", miner_table(picture.snapshot, picture.now_ms))
        mined = rates(picture.history, picture.now_ms, COLUMNS, lambda point: point.hashrate_hs)
        self.query_one("#mined", Chart).show(mined, partial(rate_caption, text.hash_rate))
