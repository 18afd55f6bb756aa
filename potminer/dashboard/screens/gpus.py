"""2 GPUs: every reading of every device, and the day's rates."""

from __future__ import annotations

from functools import partial

from textual.app import ComposeResult
from textual.containers import Horizontal

from potminer.dashboard.screens.board import Board
from potminer.dashboard.seen import Picture
from potminer.dashboard.widgets.chart import Chart
from potminer.dashboard.widgets.grid import Grid
from potminer.view import text
from potminer.view.gpus import gpu_table
from potminer.view.strip import rate_caption, rates

_COLUMNS = 144
"""Ten minutes each."""


class GpusScreen(Board):
    NAME = "GPUs"

    def panels(self) -> ComposeResult:
        yield Grid(self.pen, id="gpus", title="Devices", choose=True)
        with Horizontal(id="rates"):
            yield Chart(self.pen, id="samples", title="Training, 24 h", style="$success", grounded=True)
            yield Chart(self.pen, id="hashes", title="Mining, 24 h", style="$accent", grounded=True)

    def draw(self, picture: Picture) -> None:
        self.fill("gpus", gpu_table(picture.snapshot, picture.now_ms))
        trained = rates(picture.history, picture.now_ms, _COLUMNS, lambda point: point.samples_per_s_milli)
        mined = rates(picture.history, picture.now_ms, _COLUMNS, lambda point: point.hashrate_hs)
        self.query_one("#samples", Chart).show(trained, partial(rate_caption, text.samples_rate))
        self.query_one("#hashes", Chart).show(mined, partial(rate_caption, text.hash_rate))
