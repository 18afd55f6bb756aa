"""6 Earnings: per day, per task, per unit; what is pending, paid, and what the energy cost."""

from __future__ import annotations

from textual.app import ComposeResult
from textual.containers import Horizontal

from potminer.dashboard.screens.board import Board
from potminer.dashboard.seen import Picture
from potminer.dashboard.source import Source
from potminer.dashboard.widgets.chart import Chart, Values
from potminer.dashboard.widgets.drawing import Pen
from potminer.dashboard.widgets.facts import Facts
from potminer.dashboard.widgets.grid import Grid
from potminer.dashboard.widgets.vouched import Vouched
from potminer.view import text
from potminer.view.earnings import day_bars, day_table, device_table, energy_facts, task_table
from potminer.view.proven import owed_by_round, owed_by_task
from potminer.view.table import Table
from potminer.view.training import unit_table
from potminer.wire.answers import EarningsDetail

_UNITS = 100
_DAYS = 30


class EarningsScreen(Board):
    NAME = "Earnings"
    EVERY_S = 2
    FOLDS = True
    PAGES = ("days", "tasks", "units", "bydevice")

    def __init__(self, pen: Pen) -> None:
        super().__init__(pen)
        self.detail: EarningsDetail | None = None
        """What stands in the tables."""

    def panels(self) -> ComposeResult:
        with Horizontal(id="money"):
            yield Facts(self.pen, id="earnings", title="Earnings")
            yield Facts(self.pen, id="energy", title="Energy")
            yield Chart(self.pen, id="perday", title="Per day", style="$accent", grounded=True, least=3)
        yield Vouched(self.pen)
        yield Grid(self.pen, id="days", title="Days")
        yield Grid(self.pen, id="tasks", title="Tasks")
        yield Grid(self.pen, id="units", title="Units")
        yield Grid(self.pen, id="bydevice", title="Devices")

    async def question(self, source: Source) -> None:
        self.detail = await source.earnings(units=_UNITS)

    def forget(self) -> None:
        super().forget()
        self.detail = None

    def draw(self, picture: Picture) -> None:
        self.query_one("#earnings", Facts).show(picture.overview.earnings)
        self.query_one(Vouched).show(picture.proven)
        detail = self.detail
        if detail is None:
            waiting = Table((), (), (self.refusal or "Asking the node.",))
            for name in self.PAGES:
                self.fill(name, waiting)
            self.query_one("#energy", Facts).show(())
            self.query_one("#perday", Chart).show((), lambda days: text.UNKNOWN)
            return
        self.query_one("#energy", Facts).show(energy_facts(detail))
        self.query_one("#perday", Chart).show(day_bars(detail.days, picture.now_ms, _DAYS), _caption)
        self.fill("days", day_table(detail))
        self.fill("tasks", task_table(detail, owed_by_task(picture.proven)))
        self.fill("units", unit_table(detail.units, owed_by_round(picture.proven)))
        self.fill("bydevice", device_table(detail))


def _caption(days: Values) -> str:
    known = [day for day in days if day]
    if not known:
        return "nothing earned yet"
    return f"{text.plural(len(days), 'day')}, best {text.pot(max(known))}"
