"""1 Overview: one look says what the rig does, what it earns, and whether anything is wrong."""

from __future__ import annotations

from textual.app import ComposeResult
from textual.containers import Container, Vertical
from textual.screen import Screen
from textual.widgets import Footer

from potminer.dashboard.bridge import Link
from potminer.dashboard.widgets.alerts import Alerts
from potminer.dashboard.widgets.devices import Devices
from potminer.dashboard.widgets.drawing import Pen
from potminer.dashboard.widgets.facts import Facts
from potminer.dashboard.widgets.heading import Heading
from potminer.dashboard.widgets.notice import Notice
from potminer.dashboard.widgets.training import Training
from potminer.view.overview import Overview


class OverviewScreen(Screen[None]):
    HORIZONTAL_BREAKPOINTS = [(0, "-narrow"), (100, "-wide")]  # noqa: RUF012 - Textual's own type

    def __init__(self, pen: Pen) -> None:
        super().__init__()
        self._pen = pen
        self.set_class(pen.ascii_only, "-ascii")

    def compose(self) -> ComposeResult:
        yield Heading(self._pen)
        yield Notice(self._pen)
        with Vertical(id="body"):
            yield Devices(self._pen)
            with Container(id="boxes"):
                yield Training(self._pen)
                yield Facts(self._pen, id="earnings", title="Earnings")
                yield Facts(self._pen, id="chain", title="Chain")
        yield Alerts(self._pen)
        yield Footer()

    def show(self, seen: Overview | None, link: Link, *, trouble: str, hint: str) -> None:
        """Everything at once; panels that show the same already stay as they are."""
        self.query_one(Heading).show(seen, link)
        body, notice = self.query_one("#body"), self.query_one(Notice)
        body.display, notice.display = seen is not None, seen is None
        notice.show(trouble, hint)
        if seen is None:
            self.query_one(Alerts).show(())
            return
        body.set_class(seen.stale or link is not Link.LIVE, "-stale")
        self.query_one(Devices).show(seen.devices)
        self.query_one(Training).show(seen)
        self.query_one("#earnings", Facts).show(seen.earnings)
        self.query_one("#chain", Facts).show(seen.chain)
        self.query_one(Alerts).show(seen.alerts)
