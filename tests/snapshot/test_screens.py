"""Every screen in two sizes and two themes; the walk through them by keys; hostile text; tiny terminals.

After a wanted change: ``pytest tests/snapshot --snapshot-update``, and look at the pictures.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest
from msgspec.structs import replace
from textual.pilot import Pilot

from potminer.base.errors import NotPermitted, Unreachable
from potminer.cli.recording import Recording
from potminer.dashboard.app import DashboardApp
from potminer.dashboard.proving import Proving, Subject
from potminer.dashboard.screens.board import Board
from potminer.dashboard.source import Berth
from potminer.dashboard.widgets.grid import Grid
from potminer.dashboard.widgets.heading import SCREENS
from potminer.view.doctor import Finding
from potminer.view.select import Tone
from potminer.wire.control import Alert, AlertLevel, Snapshot, to_json
from potminer.wire.proven import Backing
from tests.snapshot.answers import HOSTILE, LIE, MINERS, PROVEN, richer

NOW = 1_780_000_000_900
Load = Callable[[str], Snapshot]
KEYS = [key for key, _, _ in SCREENS]
NAMES = [name for _, name, _ in SCREENS]


async def examine() -> list[Finding]:
    return [
        Finding("driver", "NVIDIA 535.183", "", Tone.GOOD),
        Finding("disk", "1.2 GiB left", "Free some: a model needs 2 GiB.", Tone.WARNING),
    ]


def app(photograph: Load, scripted: Any, *, name: str = "training", **how: Any) -> DashboardApp:
    """A rig with two others: one at fault, one that does not answer."""
    source = scripted(richer(photograph(name)), **how)
    others = (
        Berth("basement", scripted(photograph("trouble"))),
        Berth("/run/rig-09/api.sock", scripted(trouble=Unreachable("the daemon at /run/rig-09 does not answer"))),
    )
    return DashboardApp(source, lambda: NOW, others=others, doctor=examine)


async def settle(pilot: Pilot[None]) -> None:
    for _ in range(4):
        await pilot.pause()


async def proven(pilot: Pilot[None], at: int) -> None:
    """Until rig *at* was looked at."""
    assert isinstance(pilot.app, DashboardApp)
    while pilot.app.proving.of(at) is None:
        await pilot.pause(0.01)
    await settle(pilot)


def walk(*keys: str) -> Callable[[Pilot[None]], Awaitable[None]]:
    async def go(pilot: Pilot[None]) -> None:
        for key in keys:
            await pilot.press(key)
            await settle(pilot)

    return go


def board(pilot: Pilot[None]) -> Board:
    assert isinstance(pilot.app.screen, Board)
    return pilot.app.screen


def lines(pilot: Pilot[None]) -> list[str]:
    """What stands on the terminal, letter by letter."""
    return [
        "".join(segment.text for segment in strip) for strip in pilot.app.screen._compositor.render_strips()
    ]


# ---- pictures ----------------------------------------------------------------------------


@pytest.mark.parametrize("theme", ["potminer-dark", "potminer-light"])
@pytest.mark.parametrize("size", [(80, 24), (120, 40)], ids=["80x24", "120x40"])
@pytest.mark.parametrize("key", KEYS, ids=NAMES)
def test_screen(
    snap_compare: Any, photograph: Load, scripted: Any, key: str, size: tuple[int, int], theme: str
) -> None:
    shown = app(photograph, scripted, priced=theme.endswith("light"))
    shown.theme = theme
    assert snap_compare(shown, terminal_size=size, run_before=walk(key))


@pytest.mark.parametrize("key", ["3", "4", "6"])
def test_an_empty_rig_says_what_would_be_there(snap_compare: Any, photograph: Load, scripted: Any, key: str) -> None:
    shown = DashboardApp(scripted(photograph("empty")), lambda: NOW)
    assert snap_compare(shown, terminal_size=(80, 24), run_before=walk(key))


@pytest.mark.parametrize("key", ["5", "7"])
def test_screens_in_ascii_and_high_contrast(snap_compare: Any, photograph: Load, scripted: Any, key: str) -> None:
    shown = DashboardApp(scripted(richer(photograph("training"))), lambda: NOW, ascii_only=True)
    shown.theme = "potminer-contrast"
    assert snap_compare(shown, terminal_size=(80, 24), run_before=walk(key))


# ---- keys --------------------------------------------------------------------------------


async def test_a_walk_through_all_screens(photograph: Load, scripted: Any) -> None:
    shown = app(photograph, scripted)
    async with shown.run_test() as pilot:
        await settle(pilot)
        for key, name, _ in (*SCREENS, *reversed(SCREENS)):
            await pilot.press(key)
            await settle(pilot)
            assert name == board(pilot).NAME
            assert f" {key} {name} " in lines(pilot)[2]
            for other in ("tab", "down", "pagedown", "end", "up", "home", "enter" if name != "Rigs" else "w", "w", "x"):
                await pilot.press(other)
            await settle(pilot)
            assert name == board(pilot).NAME
        await pilot.press("8", "escape")
        await settle(pilot)
        assert board(pilot).NAME == "Overview"


async def test_hidden_screens_ask_nothing(photograph: Load, scripted: Any) -> None:
    source = scripted(photograph("training"))
    shown = DashboardApp(source, lambda: NOW)
    async with shown.run_test() as pilot:
        await settle(pilot)
        assert source.asked == ["day"]
        await pilot.press("5")
        await settle(pilot)
        await pilot.press("1")
        await settle(pilot)
        asked = len(source.asked)
        assert set(source.asked) == {"day", "network"}
        shown.paint()
        await settle(pilot)
        assert len(source.asked) == asked


async def test_a_filter_is_typed_kept_and_cleared(photograph: Load, scripted: Any) -> None:
    async with app(photograph, scripted).run_test() as pilot:
        await walk("5")(pilot)
        assert len([line for line in lines(pilot) if "198.51.100.7" in line]) > 3
        await pilot.press("slash", *"2001", "enter")
        await settle(pilot)
        assert board(pilot).needle == "2001"
        shown = [line for line in lines(pilot) if "pot1" in line and ":9" in line]
        assert len(shown) == 1
        assert "[2001:db8::17]:9338" in shown[0]
        await pilot.press("escape")
        await settle(pilot)
        assert not board(pilot).needle
        assert board(pilot).NAME == "Network"


async def test_keys_typed_into_the_filter_are_no_commands(photograph: Load, scripted: Any) -> None:
    source = scripted(photograph("training"))
    async with DashboardApp(source, lambda: NOW).run_test() as pilot:
        await walk("2")(pilot)
        await pilot.press("slash", *"pqawx18")
        await settle(pilot)
        assert (board(pilot).NAME, board(pilot).needle) == ("GPUs", "pqawx18")
        assert not source.letters


async def test_faults_only_and_wide(photograph: Load, scripted: Any) -> None:
    async with app(photograph, scripted).run_test() as pilot:
        await walk("3")(pilot)
        assert any("T-Rex" in line for line in lines(pilot))
        await walk("x")(pilot)
        shown = "\n".join(lines(pilot))
        assert "lolMiner" in shown
        assert "T-Rex" not in shown
        await walk("x", "8", "w")(pilot)
        assert any("for 30 s)" in line for line in lines(pilot))


async def test_the_log_follows_until_somebody_scrolls_up(photograph: Load, scripted: Any) -> None:
    async with app(photograph, scripted).run_test() as pilot:
        await walk("8")(pilot)
        assert any("signed twice" in line for line in lines(pilot)[-4:])
        last = lines(pilot)[-3]
        await walk("up")(pilot)
        assert lines(pilot)[-3] != last
        await walk("end", "l", "l")(pilot)
        assert "error and graver" in "\n".join(lines(pilot))
        assert "checkpoint" not in "\n".join(lines(pilot))


async def test_a_rig_is_visited_and_left(photograph: Load, scripted: Any) -> None:
    async with app(photograph, scripted).run_test() as pilot:
        await walk("7")(pilot)
        await walk("down", "enter")(pilot)
        assert board(pilot).NAME == "Overview"
        assert "rig-[red]07[2J" in lines(pilot)[0]
        await walk("escape")(pilot)
        assert board(pilot).NAME == "Rigs"
        assert "rig-07" in lines(pilot)[0]


async def test_a_rig_that_does_not_answer_is_stale_and_in_no_sum(photograph: Load, scripted: Any) -> None:
    async with app(photograph, scripted).run_test() as pilot:
        await walk("7")(pilot)
        shown = "\n".join(lines(pilot))
        assert "2 of 3 live" in shown
        assert "▲ lost" in shown
        await walk("down", "down")(pilot)
        assert "the daemon at /run/rig-09 does not answer" in "\n".join(lines(pilot))


async def test_what_is_not_answered_is_said(photograph: Load, scripted: Any) -> None:
    source = scripted(photograph("training"))
    async with DashboardApp(source, lambda: NOW).run_test() as pilot:
        await settle(pilot)
        source.trouble = NotPermitted("a recording holds photographs only")
        for key in "4569":
            await walk(key)(pilot)
            assert "a recording holds photographs only" in "\n".join(lines(pilot))
            assert "a recording holds" in lines(pilot)[0]


async def test_the_palette_goes_to_a_screen(photograph: Load, scripted: Any) -> None:
    async with app(photograph, scripted).run_test() as pilot:
        await settle(pilot)
        await pilot.press("colon", *"earn")
        await pilot.pause(0.2)
        await pilot.press("enter")
        await settle(pilot)
        await pilot.press("enter")
        await settle(pilot)
        assert board(pilot).NAME == "Earnings"


# ---- what may not hurt -------------------------------------------------------------------


def hostile(photograph: Snapshot) -> Snapshot:
    """*photograph* with HOSTILE wherever text of somebody else can stand."""
    return replace(
        photograph,
        agent=HOSTILE,
        network=HOSTILE,
        rig=HOSTILE,
        devices=tuple(replace(each, name=HOSTILE, reasons=(HOSTILE,), torch=HOSTILE) for each in photograph.devices),
        miners=tuple(
            replace(miner, name=HOSTILE, address=HOSTILE, version=HOSTILE, state=HOSTILE, control=HOSTILE,
                    algorithm=HOSTILE)
            for miner in MINERS
        ),
        training=None if photograph.training is None else replace(photograph.training, name=HOSTILE, phase=HOSTILE),
        chain=replace(photograph.chain, role=HOSTILE),
        alerts=(Alert(level=AlertLevel.FAULT, text=HOSTILE, since_ms=0),),
    )  # fmt: skip


async def test_hostile_text_is_harmless_everywhere(photograph: Load, scripted: Any) -> None:
    source = scripted(hostile(photograph("training")), hostile=HOSTILE)
    others = (Berth(HOSTILE, scripted(hostile(photograph("trouble")))),)
    shown = DashboardApp(source, lambda: NOW, others=others)
    async with shown.run_test(size=(120, 40)) as pilot:
        for key in KEYS:
            await walk(key)(pilot)
            text = "\n".join(lines(pilot))
            assert "[bold red]" in text or key in "18"
            assert not {char for char in text if char != "\n" and not char.isprintable()}
            assert "\u202e" not in text
            assert all(len(line) <= 120 + line.count("\u0301") * 2 for line in lines(pilot))


@pytest.mark.parametrize("size", [(20, 5), (1, 1), (40, 10), (300, 5)])
async def test_terminals_of_any_size(photograph: Load, scripted: Any, size: tuple[int, int]) -> None:
    shown = app(photograph, scripted)
    async with shown.run_test(size=size) as pilot:
        for key in (*KEYS, "question_mark", "escape", "slash", "escape"):
            await walk(key)(pilot)
        await pilot.resize_terminal(100, 30)
        await walk("4", "tab")(pilot)
        assert any("My units" in line for line in lines(pilot))
        assert board(pilot).query(Grid)


# ---- what is proven ----------------------------------------------------------------------


@pytest.mark.parametrize("size", [(80, 24), (120, 40)], ids=["80x24", "120x40"])
def test_earnings_say_who_vouches_for_what(
    snap_compare: Any, photograph: Load, scripted: Any, size: tuple[int, int]
) -> None:
    async def look(pilot: Pilot[None]) -> None:
        await pilot.press("6")
        await proven(pilot, 0)

    assert snap_compare(app(photograph, scripted, proof=PROVEN), terminal_size=size, run_before=look)


def test_a_rig_that_lies_stands_out_among_the_others(snap_compare: Any, photograph: Load, scripted: Any) -> None:
    async def look(pilot: Pilot[None]) -> None:
        await pilot.press("7")
        await proven(pilot, 1)

    others = (Berth("basement", scripted(photograph("trouble"), proof=LIE)),)
    shown = DashboardApp(scripted(richer(photograph("training")), proof=PROVEN), lambda: NOW, others=others)
    assert snap_compare(shown, terminal_size=(120, 40), run_before=look)


async def test_who_lied_once_stays_accused_whatever_it_proves_afterwards(photograph: Load, scripted: Any) -> None:
    source, now = scripted(photograph("training"), proof=LIE), [0]
    proving = Proving((Berth("this rig", source),), lambda: NOW, lambda: now.append(1))
    subject = Subject(0, photograph("training"))
    proving._take(0, await proving._look(subject))
    source.proof = PROVEN
    proving._take(0, await proving._look(subject))
    assert (proving.of(0), len(now)) == (LIE, 3)


async def test_a_source_that_proves_nothing_is_its_word_with_the_reason(photograph: Load, tmp_path: Path) -> None:
    file = tmp_path / "day.jsonl"
    file.write_bytes(to_json(photograph("training")))
    proving = Proving((Berth("recording", Recording(file)),), lambda: NOW, lambda: None)
    view = await proving._look(Subject(0, photograph("training")))
    assert (view.backing, view.why) == (Backing.WORD, "a recording proves nothing")


async def test_a_look_that_takes_long_holds_up_no_paint(photograph: Load, scripted: Any) -> None:
    """This source never answers what it is to prove; keys, screens and numbers go on."""
    async with app(photograph, scripted).run_test(size=(80, 24)) as pilot:
        for key in ("1", "6", "7", "1"):
            await pilot.press(key)
            await settle(pilot)
        said = "\n".join(lines(pilot))
    assert "the daemon's word, not proven: being asked" in said
    assert "2 of 4 GPUs training" in said
