"""The dashboard: sources in, keys out. Paints at most twice a second, and only the screen on top."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from typing import ClassVar

from textual import on
from textual.app import App, SystemCommand
from textual.binding import Binding, BindingType
from textual.screen import Screen

from potminer.base.errors import PotminerError
from potminer.dashboard.bridge import Bridge, Link
from potminer.dashboard.proving import Proving, Subject
from potminer.dashboard.screens.board import Board
from potminer.dashboard.screens.doctor import Doctor, DoctorScreen
from potminer.dashboard.screens.earnings import EarningsScreen
from potminer.dashboard.screens.gpus import GpusScreen
from potminer.dashboard.screens.help import HelpScreen
from potminer.dashboard.screens.logs import LogsScreen
from potminer.dashboard.screens.miners import MinersScreen
from potminer.dashboard.screens.network import NetworkScreen
from potminer.dashboard.screens.overview import OverviewScreen
from potminer.dashboard.screens.rigs import RigsScreen
from potminer.dashboard.screens.settings import SettingsScreen
from potminer.dashboard.screens.training import TrainingScreen
from potminer.dashboard.seen import Picture, Seen
from potminer.dashboard.source import Berth, Source
from potminer.dashboard.terminal import watched
from potminer.dashboard.themes import THEMES
from potminer.dashboard.widgets.drawing import Pen
from potminer.dashboard.widgets.heading import SCREENS
from potminer.dashboard.widgets.keys import key_label
from potminer.view.overview import overview
from potminer.view.text import clean
from potminer.wire.control import Command, Mode, Pause, Resume, SetMode

_PAINT_S = 0.5
_TERMINAL_S = 2.0


class DashboardApp(App[None]):
    """*clock* gives Unix milliseconds: ages are its difference to the photograph's own time.
    *others* are more rigs of the owner; *doctor* looks at this computer; *keymap* gives actions other keys.
    *recorded*: the source is a recording, and says so. *theme*: dark, light or contrast."""

    TITLE = "potminer"
    CSS_PATH = "potminer.tcss"
    BINDINGS: ClassVar[list[BindingType]] = [
        *(Binding(key, f"go('{name}')", name, show=False, id=name.lower()) for key, name, _ in SCREENS),
        Binding("slash", "find", "Filter", key_display="/", id="find"),
        Binding("colon", "command_palette", "Go to", key_display=":", id="palette"),
        Binding("question_mark", "help", "Help", key_display="?", id="help"),
        Binding("p", "pause", "Pause", id="pause"),
        Binding("a", "auto", "Auto", id="auto"),
        Binding("w", "wide", "Wide", id="wide"),
        Binding("x", "faults", "Faults", id="faults"),
        Binding("escape", "back", "Back", show=False, id="back"),
        Binding("q", "leave", "Quit", id="leave"),
    ]

    def __init__(
        self,
        source: Source,
        clock: Callable[[], int],
        *,
        others: Sequence[Berth] = (),
        doctor: Doctor | None = None,
        ascii_only: bool = False,
        recorded: bool = False,
        theme: str = "dark",
        keymap: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__()
        self._own_keys = dict(keymap or {})
        self._berths = (Berth("this rig", source), *others)
        self._at = 0
        self._clock = clock
        self._wide = False
        self._faults_only = False
        self._bridge = Bridge(source, self._news)
        self.proving = Proving(self._berths, clock, self.paint)
        self._woken = asyncio.Event()
        labels = {action: key_label(key) for action, key in (self.actions() | self._own_keys).items()}
        self._recorded = recorded
        pen = self._pen = Pen(ascii_only=ascii_only, keys=labels, live="○ recording" if recorded else "● live")
        self._boards: dict[str, Board] = {
            board.NAME: board
            for board in (
                OverviewScreen(pen),
                GpusScreen(pen),
                MinersScreen(pen),
                TrainingScreen(pen),
                NetworkScreen(pen),
                EarningsScreen(pen),
                RigsScreen(pen, self._berths, clock, self.proving.of),
                LogsScreen(pen),
                SettingsScreen(pen),
                DoctorScreen(pen, doctor),
            )
        }
        self._board: Board = self._boards["Overview"]
        for each in THEMES:
            self.register_theme(each)
        self.theme = f"potminer-{theme}"

    @classmethod
    def actions(cls) -> dict[str, str]:
        """What a key may do, and the keys that do it where the owner says nothing."""
        known = (*cls.BINDINGS, *LogsScreen.BINDINGS)
        return {each.id: each.key for each in known if isinstance(each, Binding) and each.id}

    async def on_mount(self) -> None:
        self.set_keymap(self._own_keys)
        for name, board in self._boards.items():
            self.install_screen(board, name)
        await self.push_screen("Overview")
        self._follow()
        self.run_worker(self._inquire(), name="questions")
        self.run_worker(self.proving.run(self._subjects), name="proofs")
        self.set_interval(_PAINT_S, self.paint)
        gone = watched()
        self.set_interval(_TERMINAL_S, lambda: self.exit() if gone() else None)

    @property
    def _source(self) -> Source:
        return self._berths[self._at].source

    # ---- what comes in --------------------------------------------------------------------

    def _follow(self) -> None:
        self.run_worker(self._bridge.follow(), name="bridge", group="bridge", exclusive=True)

    async def _inquire(self) -> None:
        """Ask what the screen on top wants to know, again and again; hidden ones ask nothing."""
        while True:
            board, source = self._board, self._source
            self._woken.clear()
            if board.EVERY_S:
                await self._ask(board, source)
            with suppress(TimeoutError):
                async with asyncio.timeout(board.EVERY_S or None):
                    await self._woken.wait()

    async def _ask(self, board: Board, source: Source) -> None:
        """One question; given up where another screen is wanted first."""
        asking = asyncio.create_task(board.inquire(source))
        woken = asyncio.create_task(self._woken.wait())
        try:
            await asyncio.wait((asking, woken), return_when=asyncio.FIRST_COMPLETED)
        finally:
            for task in (asking, woken):
                task.cancel()
            results = await asyncio.gather(asking, woken, return_exceptions=True)
        if isinstance(results[0], Exception):
            raise results[0]
        self._news()

    def _news(self) -> None:
        self.paint()
        self.proving.wake()

    def _subjects(self) -> Iterator[Subject]:
        """What stands on the screen: this rig, and all of them where all are shown."""
        newest, board = self._bridge.newest, self._board
        if newest is not None and self._bridge.link is Link.LIVE:
            yield Subject(self._at, newest, board.detail if isinstance(board, EarningsScreen) else None)
        if isinstance(board, RigsScreen):
            now = self._clock()
            for at, rig in enumerate(board.rigs):
                if rig.photograph is not None and at != self._at and not rig.stale(now):
                    yield Subject(at, rig.photograph, shown=False)

    def paint(self) -> None:
        """Show the newest photograph as it looks at this moment, on the screen on top."""
        board = self._board
        if not (board.ready and self.is_running):
            return
        newest, trouble, now = self._bridge.newest, self._bridge.trouble, self._clock()
        proven = self.proving.of(self._at)
        picture = None if newest is None else Picture(newest, overview(newest, now), self._bridge.history, now, proven)
        what, hint = ("", "") if trouble is None else (clean(trouble.what), clean(trouble.hint))
        board.show(Seen(picture, self._bridge.link, what, hint, self._wide, self._faults_only))

    # ---- where to look --------------------------------------------------------------------

    async def action_go(self, name: str) -> None:
        while len(self.screen_stack) > 2:
            self.pop_screen()
        if self._board is not self._boards[name]:
            self._board = self._boards[name]
            await self.switch_screen(name)
        self._woken.set()
        self.paint()

    async def action_back(self) -> None:
        """One step out: the filter, then the screen, then the rig that is visited."""
        if self._board.back():
            self.paint()
        elif self._board.NAME != "Overview":
            await self.action_go("Overview")
        elif self._at:
            self.visit(0)
            await self.action_go("Rigs")

    def visit(self, number: int) -> None:
        """All screens show that rig from now on."""
        if number == self._at or not 0 <= number < len(self._berths):
            return
        self._at = number
        self._bridge = Bridge(self._source, self._news)
        for board in self._boards.values():
            board.forget()
            if isinstance(board, DoctorScreen):
                board.local = number == 0
        self._follow()

    @on(RigsScreen.Visit)
    async def _visited(self, message: RigsScreen.Visit) -> None:
        self.visit(message.number)
        await self.action_go("Overview")

    def action_find(self) -> None:
        self._board.find()

    def action_wide(self) -> None:
        self._wide = not self._wide
        self.paint()

    def action_faults(self) -> None:
        self._faults_only = not self._faults_only
        self.notify("Only what wants attention." if self._faults_only else "All rows.", timeout=2, markup=False)
        self.paint()

    def action_help(self) -> None:
        if not isinstance(self.screen, HelpScreen):
            self.push_screen(HelpScreen(self._pen))

    def get_system_commands(self, screen: Screen[object]) -> Iterable[SystemCommand]:
        for _, name, _ in SCREENS:
            key = self._pen.keys[name.lower()]
            yield SystemCommand(name, f"Screen {key}", lambda name=name: self.run_worker(self.action_go(name)))
        for theme in THEMES:
            says = theme.name.removeprefix("potminer-")
            yield SystemCommand(f"Theme: {says}", "Colours", lambda name=theme.name: setattr(self, "theme", name))
        yield SystemCommand("Pause or resume", "Give the devices back now; again: go on", self.action_pause)
        yield SystemCommand("Auto", "The rig decides by its rules", self.action_auto)
        yield SystemCommand("Wide", "More columns", self.action_wide)
        yield SystemCommand("Faults only", "Only rows that want attention", self.action_faults)
        yield SystemCommand("Help", "Keys and signs", self.action_help)
        yield SystemCommand("Quit", "The daemon keeps running", self.action_leave)

    # ---- letters --------------------------------------------------------------------------

    def action_pause(self) -> None:
        newest = self._bridge.newest
        if newest is not None and newest.control.paused:
            self._post(Resume(), "Resume sent.")
        else:
            self._post(Pause(), "Pause sent: devices are given back within 2 s.")

    def action_auto(self) -> None:
        self._post(SetMode(Mode.AUTO), "Auto sent: the rig decides by its rules.")

    def action_leave(self) -> None:
        alive = self._bridge.link is Link.LIVE and not self._recorded
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
