"""7 Rigs: every rig of the owner on one screen; Enter looks at one as if it stood here."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence

from textual import on
from textual.app import ComposeResult
from textual.message import Message

from potminer.base.errors import PotminerError
from potminer.dashboard.screens.board import Board
from potminer.dashboard.seen import Picture, Seen
from potminer.dashboard.source import Berth, Source
from potminer.dashboard.widgets.drawing import Pen
from potminer.dashboard.widgets.facts import Facts
from potminer.dashboard.widgets.grid import Grid
from potminer.view.rigs import RigSeen, rig_table, totals
from potminer.view.text import clean
from potminer.wire.proven import ProvenView

_PATIENCE_S = 5.0


class RigsScreen(Board):
    """Asks all rigs at once while it is shown; one that does not answer keeps its last photograph, marked stale."""

    NAME = "Rigs"
    EVERY_S = 2

    class Visit(Message):
        """Look at the rig of that number."""

        def __init__(self, number: int) -> None:
            super().__init__()
            self.number = number

    def __init__(
        self, pen: Pen, berths: Sequence[Berth], clock_ms: Callable[[], int],
        proven: Callable[[int], ProvenView | None],
    ) -> None:
        super().__init__(pen)
        self._berths = tuple(berths)
        self._clock_ms = clock_ms
        self._proven = proven
        self.rigs = [RigSeen(berth.name, None) for berth in berths]

    def panels(self) -> ComposeResult:
        yield Facts(self.pen, id="totals", title="Together", columns=True)
        yield Grid(self.pen, id="rigs", title="Rigs", choose=True)

    async def question(self, source: Source) -> None:
        await asyncio.gather(*(self._ask(at) for at in range(len(self._berths))))

    async def _ask(self, at: int) -> None:
        berth, last = self._berths[at], self.rigs[at].photograph
        try:
            async with asyncio.timeout(_PATIENCE_S):
                self.rigs[at] = RigSeen(berth.name, await berth.source.snapshot())
        except TimeoutError:
            self.rigs[at] = RigSeen(berth.name, last, f"no answer for {_PATIENCE_S:.0f} s")
        except PotminerError as error:
            self.rigs[at] = RigSeen(berth.name, last, clean(error.what))

    def show(self, seen: Seen) -> None:
        super().show(seen)
        # Other rigs may well answer while the one that stands here does not.
        if seen.picture is None:
            self.query_one("#body").display = True
            self._fill_rigs(self._clock_ms())

    def draw(self, picture: Picture) -> None:
        self._fill_rigs(picture.now_ms)

    def _fill_rigs(self, now_ms: int) -> None:
        proven = [self._proven(at) for at in range(len(self.rigs))]
        self.query_one("#totals", Facts).show(totals(self.rigs, now_ms, proven))
        self.fill("rigs", rig_table(self.rigs, now_ms, proven))

    @on(Grid.Chosen)
    def _visit(self, message: Grid.Chosen) -> None:
        self.post_message(self.Visit(int(message.key)))
