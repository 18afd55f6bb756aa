"""What a panel paints, and the line of keys: which letters stand where, and what is left alone."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from textual.app import App, ComposeResult
from textual.strip import Strip

from potminer.dashboard.app import DashboardApp
from potminer.dashboard.widgets.drawing import Line, Pen
from potminer.dashboard.widgets.panel import Panel
from potminer.wire.control import Pause, Snapshot
from tests.snapshot.test_screens import NOW, lines, settle

Load = Callable[[str], Snapshot]


class Sheet(Panel):
    """Says its rows, and notes which of them were painted."""

    def __init__(self, *rows: str) -> None:
        super().__init__(Pen(ascii_only=False), id="sheet")
        self.rows = list(rows)
        self.painted: list[int] = []

    def say(self, *rows: str) -> None:
        self.rows = list(rows)
        self.changed(rows)

    def lines(self, width: int, height: int) -> list[Line]:
        return [self.pen.write(row, style="$success") for row in self.rows]

    def render_line(self, y: int) -> Strip:
        self.painted.append(y)
        return super().render_line(y)


class One(App[None]):
    def compose(self) -> ComposeResult:
        yield Sheet("one", "two", "three")


async def test_only_lines_that_changed_are_painted() -> None:
    async with One().run_test(size=(20, 6)) as pilot:
        sheet = pilot.app.query_one(Sheet)
        sheet.say("one", "two", "three")
        await settle(pilot)
        sheet.painted.clear()
        sheet.say("one", "TWO", "three")
        await settle(pilot)
        assert set(sheet.painted) == {1}
        sheet.painted.clear()
        sheet.say("one")
        await settle(pilot)
        assert set(sheet.painted) == {1, 2}, "what is gone is painted over"
        assert [line.strip() for line in lines(pilot)[:3]] == ["one", "", ""]


async def test_what_is_painted_fits_after_a_resize_and_follows_the_theme() -> None:
    async with One().run_test(size=(20, 6)) as pilot:
        sheet = pilot.app.query_one(Sheet)
        sheet.say("a line that is longer than the terminal is wide")
        await pilot.resize_terminal(10, 3)
        await settle(pilot)
        assert lines(pilot)[0] == "a line tha"
        before = next(iter(sheet.render_line(0))).style
        pilot.app.theme = "nord"
        await settle(pilot)
        after = next(iter(sheet.render_line(0))).style
        assert before is not None
        assert after is not None
        assert before.color != after.color


async def test_letters_can_be_selected_with_the_mouse() -> None:
    async with One().run_test(size=(20, 6)) as pilot:
        await pilot.mouse_down(Sheet, offset=(0, 1))
        await pilot.hover(Sheet, offset=(3, 1))
        await pilot.mouse_up(Sheet, offset=(3, 1))
        assert (pilot.app.screen.get_selected_text() or "").startswith("two")


async def test_the_owners_own_keys_stand_everywhere(photograph: Load, scripted: Any) -> None:
    own = {"pause": "f5", "training": "t", "leave": "ctrl+q", "find": "f"}
    shown = DashboardApp(scripted(photograph("training")), lambda: NOW, keymap=own)
    async with shown.run_test() as pilot:
        await settle(pilot)
        tabs, footer = lines(pilot)[2], lines(pilot)[-1]
        assert " t Train" in tabs
        assert " 4 " not in tabs
        for word in (" f5 Pause", " ^q Quit", " f Filter"):
            assert word in footer
        await pilot.press("t")
        await settle(pilot)
        assert " t Training " in lines(pilot)[2]
        await pilot.press("question_mark")
        await settle(pilot)
        card = "\n".join(lines(pilot))
        for word in ("f5  pause training", "^q  leave", "f  filter"):
            assert word in card


async def test_a_click_on_the_line_of_keys_is_the_key(photograph: Load, scripted: Any) -> None:
    source = scripted(photograph("training"))
    async with DashboardApp(source, lambda: NOW).run_test(size=(80, 24)) as pilot:
        await settle(pilot)
        at = lines(pilot)[-1].index("Pause")
        await pilot.click("#keys", offset=(at, 0))
        await settle(pilot)
        assert source.letters == [Pause()]
