"""d Doctor: is everything as it should be, and what to do where it is not."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence

from textual.app import ComposeResult

from potminer.dashboard.screens.board import Board
from potminer.dashboard.seen import Picture
from potminer.dashboard.source import Source
from potminer.dashboard.widgets.drawing import Pen
from potminer.dashboard.widgets.grid import Grid
from potminer.view.doctor import Finding, finding_table, findings

Doctor = Callable[[], Awaitable[Sequence[Finding]]]
"""Looks at this computer; takes a while."""


class DoctorScreen(Board):
    NAME = "Doctor"
    EVERY_S = 300

    def __init__(self, pen: Pen, doctor: Doctor | None) -> None:
        super().__init__(pen)
        self._doctor = doctor
        self._here: Sequence[Finding] = ()
        self.local = True
        """Whether the rig that is looked at is the one this screen runs for."""

    def panels(self) -> ComposeResult:
        yield Grid(self.pen, id="doctor", title="Doctor", choose=True)

    async def question(self, source: Source) -> None:
        self._here = () if self._doctor is None or not self.local else await self._doctor()

    def draw(self, picture: Picture) -> None:
        """What was found here, and what the photograph adds."""
        known = {each.check for each in self._here}
        seen = (each for each in findings(picture.snapshot, picture.now_ms) if each.check not in known)
        self.fill("doctor", finding_table((*self._here, *seen)))
