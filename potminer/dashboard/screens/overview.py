"""1 Overview: one look says what the rig does, what it earns, and whether anything is wrong."""

from __future__ import annotations

from textual.app import ComposeResult
from textual.containers import Container

from potminer.dashboard.screens.board import Board
from potminer.dashboard.seen import Picture
from potminer.dashboard.widgets.alerts import Alerts
from potminer.dashboard.widgets.devices import Devices
from potminer.dashboard.widgets.facts import Facts
from potminer.dashboard.widgets.strip import StateStrip
from potminer.dashboard.widgets.training import Training
from potminer.dashboard.widgets.vouched import Vouched
from potminer.view.proven import backing_alerts


class OverviewScreen(Board):
    NAME = "Overview"

    def panels(self) -> ComposeResult:
        yield Devices(self.pen)
        with Container(id="boxes"):
            yield Training(self.pen)
            yield Facts(self.pen, id="earnings", title="Earnings")
            yield Facts(self.pen, id="chain", title="Chain")
        yield Vouched(self.pen, money=False)
        yield StateStrip(self.pen)
        yield Alerts(self.pen)

    def draw(self, picture: Picture) -> None:
        seen = picture.overview
        self.query_one(Devices).show(seen.devices)
        self.query_one(Training).show(seen)
        self.query_one("#earnings", Facts).show(seen.earnings)
        self.query_one("#chain", Facts).show(seen.chain)
        self.query_one(Vouched).show(picture.proven)
        self.query_one(StateStrip).show(picture.history, picture.now_ms)
        self.query_one(Alerts).show((*backing_alerts(picture.proven, picture.now_ms), *seen.alerts))
