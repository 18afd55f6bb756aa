"""What all screens share: the lines on top, the filter, the keys below, and a question asked while it is shown."""

from __future__ import annotations

from abc import abstractmethod
from typing import ClassVar

from textual import on
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Vertical
from textual.screen import Screen
from textual.widgets import Input

from potminer.base.errors import PotminerError
from potminer.dashboard.bridge import Link
from potminer.dashboard.seen import Picture, Seen
from potminer.dashboard.source import Source
from potminer.dashboard.widgets.drawing import Pen
from potminer.dashboard.widgets.find import Find
from potminer.dashboard.widgets.grid import Grid
from potminer.dashboard.widgets.heading import Heading
from potminer.dashboard.widgets.keys import Keys
from potminer.dashboard.widgets.notice import Notice
from potminer.view.table import Table
from potminer.view.text import clean


class Board(Screen[None]):
    """Draws only while it is on top. *EVERY_S* above 0: ``question`` is asked so often, while it is shown.
    *PAGES*: panels that Tab goes through; with *FOLDS* a narrow terminal shows one of them at a time."""

    NAME: ClassVar[str]
    EVERY_S: ClassVar[float] = 0
    PAGES: ClassVar[tuple[str, ...]] = ()
    FOLDS: ClassVar[bool] = False
    AUTO_FOCUS = "Grid"
    HORIZONTAL_BREAKPOINTS = [(0, "-narrow"), (100, "-wide")]  # noqa: RUF012 - Textual's own type
    BINDINGS: ClassVar[list[BindingType]] = [Binding("tab", "turn", "Next table", show=False, priority=True)]

    def __init__(self, pen: Pen) -> None:
        super().__init__()
        self.pen = pen
        self.refusal = ""
        """Why the last question was not answered; empty where it was."""
        self._seen = Seen(None, Link.CONNECTING)
        self._page = 0
        self.ready = False
        """Whether its panels stand: a screen is built when it is first looked at."""
        self.set_class(pen.ascii_only, "-ascii")

    def compose(self) -> ComposeResult:
        yield Heading(self.pen, self.NAME)
        yield Notice(self.pen)
        with Vertical(id="body"):
            yield from self.panels()
        yield Find()
        yield Keys(self.pen)

    def on_mount(self) -> None:
        self._mark_page()
        self.ready = True
        # Which breakpoint holds is known only then.
        self.call_after_refresh(self._mark_page)

    # ---- what a screen says of itself ------------------------------------------------------

    @abstractmethod
    def panels(self) -> ComposeResult:
        """What stands between the heading and the keys."""

    @abstractmethod
    def draw(self, picture: Picture) -> None:
        """Show *picture* in them."""

    async def question(self, source: Source) -> None:
        """Ask, and keep the answer; PotminerError where there is none."""

    def forget(self) -> None:
        """Another rig is looked at from now on."""
        self.refusal = ""

    # ---- showing ---------------------------------------------------------------------------

    async def inquire(self, source: Source) -> None:
        try:
            await self.question(source)
        except PotminerError as error:
            self.refusal = clean(f"{error.what} {error.hint}".strip())
        else:
            self.refusal = ""

    def show(self, seen: Seen) -> None:
        """Everything at once; panels that show the same already stay as they are."""
        self._seen = seen
        picture = seen.picture
        self.query_one(Heading).show(
            None if picture is None else picture.overview, seen.link, self.refusal,
            None if picture is None else picture.proven,
        )  # fmt: skip
        body, notice = self.query_one("#body"), self.query_one(Notice)
        body.display, notice.display = picture is not None, picture is None
        notice.show(seen.trouble, seen.hint)
        if picture is None:
            return
        stale = picture.overview.stale or seen.link is not Link.LIVE or bool(self.refusal)
        body.set_class(stale, "-stale")
        self.draw(picture)

    def fill(self, grid: str, table: Table) -> None:
        """*table* into the Grid of that id, filtered as the person wants it."""
        self.query_one(f"#{grid}", Grid).show(
            table, needle=self.needle, wide=self._seen.wide, faults_only=self._seen.faults_only
        )

    # ---- the filter ------------------------------------------------------------------------

    @property
    def needle(self) -> str:
        return self.query_one(Find).value.strip()

    def find(self) -> None:
        self.query_one(Find).open()

    def back(self) -> bool:
        """Esc: whether there was a filter to take away."""
        cleared = self.query_one(Find).clear_away()
        if cleared:
            self._focus_page()
        return cleared

    @on(Input.Changed, "#find")
    def _filtered(self) -> None:
        self.show(self._seen)

    @on(Input.Submitted, "#find")
    def _kept(self) -> None:
        find = self.query_one(Find)
        find.display = bool(find.value)
        self._focus_page()

    # ---- pages -----------------------------------------------------------------------------

    def action_turn(self) -> None:
        if self.PAGES:
            self._page = (self._page + 1) % len(self.PAGES)
            self._mark_page()
            self._focus_page()

    def _focus_page(self) -> None:
        grids = self.query(f"#{self.PAGES[self._page]}" if self.PAGES else "Grid")
        if grids:
            self.set_focus(grids.first())

    def _mark_page(self) -> None:
        grids = [self.query_one(f"#{name}", Grid) for name in self.PAGES if self.FOLDS]
        for at, grid in enumerate(grids):
            grid.set_class(at != self._page, "-other")
            rest = ", ".join(other.heading for other in (*grids[at + 1 :], *grids[:at]))
            folded = f"{grid.heading} · Tab: {rest}" if self.has_class("-narrow") else grid.heading
            grid.entitle(above=folded)

    def on_resize(self) -> None:
        self.call_after_refresh(self._mark_page)
