"""A validator that cannot know what its key signed says so, and what it waits for."""

from __future__ import annotations

from potminer.node.silence import Silence
from potminer.view.silence import PATIENCE_MS, WHERE, silence
from potminer.wire.control import AlertLevel

UNTIL = 1_700_000_060_000
OTHERS = [bytes([at]) * 32 for at in range(3)]


class Member:
    def __init__(self) -> None:
        self.until: int | None = UNTIL
        self.linked = OTHERS[:2]
        self.said: list[tuple[str, str]] = []
        self.silence = Silence(
            lambda: self.until, lambda: OTHERS, lambda: [*self.linked, b"s" * 32], lambda *line: self.said.append(line)
        )


def test_a_wiped_member_says_until_when_and_takes_it_back() -> None:
    member = Member()
    for _ in range(2):
        member.silence.look(UNTIL - 50_000)
    (alert,) = member.silence.alerts
    assert alert.level is AlertLevel.WARNING
    assert "2023-11-14 22:14:20 UTC" in alert.text
    assert WHERE not in alert.text
    assert len(alert.text) <= 200
    assert [level for level, _ in member.said] == ["warning"], "once, not at every look"
    member.until = None
    assert not member.silence.alerts, "the moment a block ended it"
    member.silence.look(UNTIL)
    assert member.said[-1][0] == "info"
    assert len(member.said) == 2
    member.silence.look(UNTIL + 1)
    assert len(member.said) == 2


def test_where_no_block_comes_it_names_who_is_there_and_where_to_read_on() -> None:
    member = Member()
    member.silence.look(UNTIL + PATIENCE_MS)
    assert member.silence.alerts[0].level is AlertLevel.WARNING
    member.silence.look(UNTIL + PATIENCE_MS + 1)
    (alert,) = member.silence.alerts
    assert alert.level is AlertLevel.FAULT
    assert "2 of 3 others are linked" in alert.text
    assert WHERE in alert.text
    assert len(alert.text) <= 200
    member.linked = OTHERS
    member.silence.look(UNTIL + PATIENCE_MS + 9)
    assert "3 of 3" in member.silence.alerts[0].text, "an alert is as things are"
    assert member.silence.alerts[0].since_ms == alert.since_ms
    assert len(member.said) == 2


def test_who_never_forgot_says_nothing_of_it() -> None:
    member = Member()
    member.until = None
    member.silence.look(UNTIL + 10 * PATIENCE_MS)
    assert not member.said
    assert not member.silence.alerts


def test_the_place_named_is_one_that_tells_what_to_do() -> None:
    from pathlib import Path

    name, _, heading = WHERE.partition(", ")
    text = (Path(__file__).resolve().parents[2] / name).read_text(encoding="utf-8")
    assert f"## {heading}" in text
    assert "node.silent_s 0" in text.partition(f"## {heading}")[2]
    assert silence(UNTIL, 0, linked=0, others=3).startswith("silent until")
