"""The screens, letter by letter, with a frozen clock; and what the keys do.

After a wanted change: ``pytest tests/snapshot --snapshot-update``, and look at the pictures.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from msgspec.structs import replace
from textual.pilot import Pilot

from potminer.base.errors import NotPermitted, Unreachable
from potminer.dashboard.app import DashboardApp
from potminer.dashboard.bridge import LEGAL_MOVES, Link
from potminer.dashboard.screens.help import HelpScreen
from potminer.dashboard.screens.overview import OverviewScreen
from potminer.wire.control import ControlView, Mode, Pause, Resume, SetMode, Snapshot
from potminer.wire.proven import ProvenView
from tests.snapshot.answers import LIE, PROVEN

NOW = 1_780_000_000_900
SMALL, LARGE = (80, 24), (120, 40)
Load = Callable[[str], Snapshot]


async def settle(pilot: Pilot[None]) -> None:
    await pilot.pause()


async def proven(pilot: Pilot[None]) -> None:
    """Until the rig was looked at."""
    assert isinstance(pilot.app, DashboardApp)
    while pilot.app.proving.of(0) is None:
        await pilot.pause(0.01)
    await pilot.pause()


def app(source: Any, *, now: int = NOW, ascii_only: bool = False, theme: str = "potminer-dark") -> DashboardApp:
    made = DashboardApp(source, lambda: now, ascii_only=ascii_only)
    made.theme = theme
    return made


@pytest.mark.parametrize("size", [SMALL, LARGE], ids=["80x24", "120x40"])
@pytest.mark.parametrize("name", ["training", "empty", "trouble"])
def test_overview(snap_compare: Any, photograph: Load, scripted: Any, name: str, size: tuple[int, int]) -> None:
    assert snap_compare(app(scripted(photograph(name))), terminal_size=size, run_before=settle)


@pytest.mark.parametrize("size", [SMALL, LARGE], ids=["80x24", "120x40"])
@pytest.mark.parametrize("proof", [PROVEN, LIE], ids=["proven", "lie"])
def test_what_is_proven_stands_below_the_numbers_and_a_lie_on_top(
    snap_compare: Any, photograph: Load, scripted: Any, proof: ProvenView, size: tuple[int, int]
) -> None:
    shown = app(scripted(photograph("training"), proof=proof))
    assert snap_compare(shown, terminal_size=size, run_before=proven)


@pytest.mark.parametrize("theme", ["potminer-light", "potminer-contrast"])
def test_overview_in_other_colours(snap_compare: Any, photograph: Load, scripted: Any, theme: str) -> None:
    assert snap_compare(app(scripted(photograph("training")), theme=theme), terminal_size=SMALL, run_before=settle)


def test_overview_in_ascii(snap_compare: Any, photograph: Load, scripted: Any) -> None:
    shown = app(scripted(photograph("trouble")), ascii_only=True)
    assert snap_compare(shown, terminal_size=SMALL, run_before=settle)


def test_stale_numbers_are_dimmed_and_dated(snap_compare: Any, photograph: Load, scripted: Any) -> None:
    shown = app(scripted(photograph("training")), now=NOW + 75_000)
    assert snap_compare(shown, terminal_size=SMALL, run_before=settle)


def test_a_lost_daemon_leaves_the_last_photograph(snap_compare: Any, photograph: Load, scripted: Any) -> None:
    shown = app(scripted(photograph("training"), trouble=Unreachable("the daemon does not answer")))
    assert snap_compare(shown, terminal_size=SMALL, run_before=settle)


def test_no_daemon_says_what_to_do(snap_compare: Any, scripted: Any) -> None:
    shown = app(scripted(trouble=Unreachable("no potminer daemon runs", "Start it with `potminer run`.")))
    assert snap_compare(shown, terminal_size=SMALL, run_before=settle)


def test_help(snap_compare: Any, photograph: Load, scripted: Any) -> None:
    shown = app(scripted(photograph("training")))
    assert snap_compare(shown, terminal_size=SMALL, press=["question_mark"], run_before=settle)


async def test_p_pauses_and_p_again_resumes(photograph: Load, scripted: Any) -> None:
    running = photograph("training")
    source = scripted(running)
    async with app(source).run_test() as pilot:
        await pilot.pause()
        await pilot.press("p", "a")
        await pilot.pause()
    assert source.letters == [Pause(), SetMode(Mode.AUTO)]
    source = scripted(replace(running, control=ControlView(paused=True)))
    async with app(source).run_test() as pilot:
        await pilot.pause()
        await pilot.press("p")
        await pilot.pause()
    assert source.letters == [Resume()]


async def test_a_refused_letter_is_shown_and_harms_nothing(photograph: Load, scripted: Any) -> None:
    source = scripted(photograph("training"), trouble=NotPermitted("this is a recording"))
    async with app(source).run_test() as pilot:
        await pilot.pause()
        await pilot.press("p")
        await pilot.pause()
        await pilot.pause()
        assert [toast.message.strip() for toast in pilot.app._notifications] == ["this is a recording"]


async def test_help_opens_once_and_1_closes_it(photograph: Load, scripted: Any) -> None:
    async with app(scripted(photograph("training"))).run_test() as pilot:
        await pilot.press("question_mark", "question_mark")
        assert isinstance(pilot.app.screen, OverviewScreen)
        await pilot.press("question_mark")
        assert isinstance(pilot.app.screen, HelpScreen)
        await pilot.press("1")
        assert isinstance(pilot.app.screen, OverviewScreen)


async def test_q_leaves_and_says_that_the_daemon_stays(
    photograph: Load, scripted: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    shown = app(scripted(photograph("training")))
    async with shown.run_test() as pilot:
        await pilot.pause()
        await pilot.press("q")
    assert shown.return_code == 0
    assert "The daemon keeps running" in capsys.readouterr().err


def test_every_link_state_can_be_left() -> None:
    assert set(LEGAL_MOVES) == set(Link)
    assert all(LEGAL_MOVES.values())
