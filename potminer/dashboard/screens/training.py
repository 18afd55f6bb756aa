"""4 Training: the task round by round, and how this rig's units ended."""

from __future__ import annotations

from textual.app import ComposeResult
from textual.containers import Horizontal

from potminer.dashboard.screens.board import Board
from potminer.dashboard.seen import Picture
from potminer.dashboard.source import Source
from potminer.dashboard.widgets.chart import Chart
from potminer.dashboard.widgets.drawing import Pen
from potminer.dashboard.widgets.facts import Facts
from potminer.dashboard.widgets.grid import Grid
from potminer.view.text import loss
from potminer.view.training import no_rounds, round_table, unit_table
from potminer.wire.control import TaskDetail, UnitOutcome

_UNITS = 100


class TrainingScreen(Board):
    NAME = "Training"
    EVERY_S = 2
    FOLDS = True
    PAGES = ("rounds", "units")

    def __init__(self, pen: Pen) -> None:
        super().__init__(pen)
        self._detail: TaskDetail | None = None
        self._units: tuple[UnitOutcome, ...] = ()

    def panels(self) -> ComposeResult:
        with Horizontal(id="task"):
            yield Facts(self.pen, id="progress", title="Task")
            yield Chart(self.pen, id="loss", title="Loss")
        yield Grid(self.pen, id="rounds", title="Rounds")
        yield Grid(self.pen, id="units", title="My units")

    async def question(self, source: Source) -> None:
        picture = self._seen.picture
        training = None if picture is None else picture.snapshot.training
        self._detail = None if training is None else await source.task(training.task)
        self._units = await source.units(last=_UNITS)

    def forget(self) -> None:
        super().forget()
        self._detail, self._units = None, ()

    def draw(self, picture: Picture) -> None:
        facts = [fact for fact in picture.overview.training if fact.label != "refused"]
        self.query_one("#progress", Facts).show(tuple(facts))
        losses = picture.overview.losses
        caption = f"{loss(losses[0])} → {loss(losses[-1])}, {len(losses)} rounds" if losses else "no round closed yet"
        self.query_one("#loss", Chart).show(losses, lambda _: caption)
        nothing = self.refusal or ("No task yet." if picture.snapshot.training is None else "Asking the node.")
        self.fill("rounds", no_rounds(nothing) if self._detail is None else round_table(self._detail))
        self.fill("units", unit_table(self._units))
