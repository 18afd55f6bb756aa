"""Tables, strips and bars: which columns fit, what a filter leaves, and that unknown is never 0."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from potminer.view import plot
from potminer.view.earnings import cost_micro, day_bars, energy_facts, worth_micro
from potminer.view.history import History
from potminer.view.select import Tone
from potminer.view.strip import DAY_MS, UNSEEN, day_strip, rates
from potminer.view.table import FLEX, Column, Row, Table, fit, sift
from potminer.view.text import UNKNOWN, UNPRICED, clock, data, date, price, seconds
from potminer.wire.answers import DayEarnings, DayPoint, EarningsDetail
from potminer.wire.control import DeviceState, EarningsView

NOW = 1_780_000_000_000
COLUMNS = (Column("a", 6), Column("b", 8, wide=True), Column("c", FLEX), Column("d", 5))
TABLE = Table(COLUMNS, (Row(("x", "", "", "")), Row(("y", "", "", ""), Tone.FAULT, note="Zed")))


@given(st.integers(min_value=0, max_value=300), st.booleans())
def test_columns_never_take_more_than_there_is(width: int, wide: bool) -> None:
    shown = fit(COLUMNS, width, wide=wide)
    assert sum(cells for _, cells in shown) + max(0, len(shown) - 1) <= max(width, 6)
    assert [at for at, _ in shown] == sorted(at for at, _ in shown)


def test_wide_columns_come_where_there_is_room_or_when_asked_for() -> None:
    assert [at for at, _ in fit(COLUMNS, 30, wide=False)] == [0, 2, 3]
    assert [at for at, _ in fit(COLUMNS, 30, wide=True)] == [0, 1, 2, 3]
    assert [at for at, _ in fit(COLUMNS, 60, wide=False)] == [0, 1, 2, 3]


def test_a_filter_leaves_what_holds_it_and_says_where_nothing_does() -> None:
    assert [row.cells[0] for row in sift(TABLE, "X", faults_only=False).rows] == ["x"]
    assert [row.cells[0] for row in sift(TABLE, "zed", faults_only=False).rows] == ["y"]
    assert [row.cells[0] for row in sift(TABLE, "", faults_only=True).rows] == ["y"]
    assert sift(TABLE, "q", faults_only=False).empty == ("No row with 'q' among 2.",)


def test_a_fault_shows_however_short_it_was() -> None:
    points = [DayPoint(at_ms=NOW - at * 60_000, state=DeviceState.TRAINING) for at in range(600, 0, -1)]
    points[300] = DayPoint(at_ms=points[300].at_ms, state=DeviceState.FAULT)
    strip = day_strip(History(tuple(points)), NOW, 24)
    assert strip.letters == UNSEEN * 14 + "TTTTT!TTTT"
    assert strip.shares == (("T", 99),)


def test_unknown_rates_leave_gaps() -> None:
    points = (DayPoint(at_ms=NOW - DAY_MS // 2, hashrate_hs=5), DayPoint(at_ms=NOW - 1, hashrate_hs=None))
    assert rates(History(points), NOW, 4, lambda point: point.hashrate_hs) == (None, None, 5, None)


@given(st.lists(st.none() | st.integers(0, 2**62), max_size=60), st.integers(0, 90), st.integers(0, 9))
def test_columns_stay_in_their_box(values: list[int | None], width: int, height: int) -> None:
    lines = plot.columns(values, width=width, height=height)
    assert len(lines) == (height if values and width and height else 0)
    assert all(len(line) <= width for line in lines)


def test_history_of_two_witnesses() -> None:
    seen = History((DayPoint(at_ms=60_000, state=DeviceState.MINING),))
    joined = seen.join([DayPoint(at_ms=0), DayPoint(at_ms=60_000, state=DeviceState.OFF)])
    assert [(point.at_ms, point.state) for point in joined.points] == [(0, None), (60_000, DeviceState.MINING)]


def test_money_without_a_price_or_a_meter_is_not_invented() -> None:
    money = EarningsView(today=0, pending=0, paid=0, total=0)
    day = DayEarnings(day_ms=0, earned=10**9, energy_mwh=None)
    bare = EarningsDetail(taken_ms=0, earnings=money, days=(day,))
    assert [fact.value for fact in energy_facts(bare)] == [UNKNOWN, UNPRICED, UNKNOWN, UNKNOWN]
    assert cost_micro(bare, 5) is None
    assert worth_micro(bare, 5) is None
    assert day_bars((day,), DAY_MS, 3) == (0, 10**9, 0)


def test_words_for_numbers() -> None:
    assert (data(999), data(1_210_000), data(None)) == ("999 B", "1.21 MB", UNKNOWN)
    assert (price(-1_239_999, "EUR"), price(1, "EUR"), price(1, None)) == ("-1.23 EUR", "0.00 EUR", UNKNOWN)
    assert (seconds(2_449), seconds(60_000)) == ("2.4 s", "1 min")
    assert (date(0), clock(NOW)) == ("1970-01-01", "20:26:40")
    assert date(2**63 - 1) == "9999-12-31"
