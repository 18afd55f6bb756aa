"""The dashboard: a Source in, keys out. Paints at most twice a second."""

from __future__ import annotations

from collections.abc import Callable
from typing import ClassVar

from textual.app import App
from textual.binding import Binding, BindingType

from potminer.base.errors import PotminerError
from potminer.dashboard.bridge import Bridge, Link
from potminer.dashboard.screens.help import HelpScreen
from potminer.dashboard.screens.overview import OverviewScreen
from potminer.dashboard.source import Source
from potminer.dashboard.themes import THEMES
from potminer.dashboard.widgets.drawing import Pen
from potminer.view.overview import overview
from potminer.view.text import clean
from potminer.wire.control import Command, Mode, Pause, Resume, SetMode

_PAINT_S = 0.5


class DashboardApp(App[None]):
    """*clock* gives Unix milliseconds: ages are its difference to the photograph's own time."""

    TITLE = "potminer"
    CSS_PATH = "potminer.tcss"
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("1", "overview", "Overview", id="overview"),
        Binding("question_mark", "help", "Help", key_display="?", id="help"),
        Binding("p", "pause", "Pause/resume", id="pause"),
        Binding("a", "auto", "Auto", id="auto"),
        Binding("q", "leave", "Quit", id="leave"),
    ]

    def __init__(self, source: Source, clock: Callable[[], int], *, ascii_only: bool = False) -> None:
        super().__init__()
        self._source = source
        self._clock = clock
        self._pen = Pen(ascii_only=ascii_only)
        self._bridge = Bridge(source, self.paint)
        self._overview = OverviewScreen(self._pen)
        for theme in THEMES:
            self.register_theme(theme)
        self.theme = THEMES[0].name

    async def on_mount(self) -> None:
        await self.push_screen(self._overview)
        self.run_worker(self._bridge.follow(), name="bridge", exclusive=True)
        self.set_interval(_PAINT_S, self.paint)

    def paint(self) -> None:
        """Show the newest photograph as it looks at this moment."""
        newest, trouble = self._bridge.newest, self._bridge.trouble
        seen = None if newest is None else overview(newest, self._clock())
        what, hint = ("", "") if trouble is None else (clean(trouble.what), clean(trouble.hint))
        self._overview.show(seen, self._bridge.link, trouble=what, hint=hint)

    # ---- keys ----------------------------------------------------------------------------

    def action_overview(self) -> None:
        while self.screen is not self._overview:
            self.pop_screen()

    def action_help(self) -> None:
        if not isinstance(self.screen, HelpScreen):
            self.push_screen(HelpScreen(self._pen))

    def action_pause(self) -> None:
        newest = self._bridge.newest
        if newest is not None and newest.control.paused:
            self._post(Resume(), "Resume sent.")
        else:
            self._post(Pause(), "Pause sent: devices are given back within 2 s.")

    def action_auto(self) -> None:
        self._post(SetMode(Mode.AUTO), "Auto sent: the rig decides by its rules.")

    def action_leave(self) -> None:
        alive = self._bridge.link is Link.LIVE
        self.exit(message="The daemon keeps running; stop it with Ctrl-C where it runs." if alive else None)

    def _post(self, command: Command, done: str) -> None:
        self.run_worker(self._deliver(command, done), name="letter")

    async def _deliver(self, command: Command, done: str) -> None:
        try:
            await self._source.command(command)
        except PotminerError as error:
            self.notify(f"{clean(error.what)} {clean(error.hint)}", severity="error", markup=False)
        else:
            self.notify(done, markup=False)
