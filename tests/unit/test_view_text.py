"""Text on its one way to the screen, and numbers as people read them."""

from __future__ import annotations

import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st
from textual.content import Content

from potminer.base.bounded import GRAINS_PER_POT
from potminer.view import text

HOSTILE = st.text(st.characters(), max_size=300) | st.text("[]\\/a@#=$ \x1b\u202e\u200b\u0301", max_size=60)


@given(HOSTILE, st.integers(1, 120))
def test_cleaned_text_is_one_bounded_line_without_controls(raw: str, limit: int) -> None:
    shown = text.clean(raw, limit)
    assert len(shown) <= limit
    assert not any(unicodedata.category(char).startswith("C") for char in shown)
    assert shown == shown.strip()
    marks = 0
    for char in shown:
        marks = marks + 1 if unicodedata.category(char).startswith("M") else 0
        assert marks <= 2


@given(HOSTILE)
def test_cleaning_twice_changes_nothing(raw: str) -> None:
    once = text.clean(raw)
    assert text.clean(once) == once


@given(HOSTILE)
def test_escaped_text_is_shown_letter_by_letter(raw: str) -> None:
    shown = Content.from_markup(f"[bold]{text.escaped(raw)}[/bold]")
    assert shown.plain == text.clean(raw).replace("\\", "/")


@given(HOSTILE)
def test_ascii_is_ascii(raw: str) -> None:
    assert text.to_ascii(text.clean(raw)).isascii()


def test_escape_sequences_and_overrides_do_not_survive() -> None:
    assert text.clean("a\x1b[2Jb\u202ec\u200bd\ne") == "a[2Jbcd e"


def test_unknown_is_a_dash_and_never_zero() -> None:
    shown = [
        text.count(None),
        text.samples_rate(None),
        text.hash_rate(None),
        text.watts(None),
        text.degrees(None),
        text.memory(None, 8),
        text.memory(8, None),
        text.percent(None),
        text.loss(None),
        text.pot(None),
        text.age(None, 5),
        text.until(None, 5),
        text.milliseconds(None),
        text.parts_per_million(None),
        text.worth(None, currency="EUR", price_micro=1),
    ]
    assert set(shown) == {text.UNKNOWN}


@pytest.mark.parametrize(
    ("grains", "shown"),
    [
        (0, "0.00 POT"),
        (1, "0.000000001 POT"),
        (12_345, "0.000012 POT"),
        (9_999_999, "0.0099 POT"),
        (12_340_000_000, "12.34 POT"),
        (12_349_999_999, "12.34 POT"),
        (1_234_567 * GRAINS_PER_POT, "1,234,567.00 POT"),
    ],
)
def test_money_is_rounded_down(grains: int, shown: str) -> None:
    assert text.pot(grains) == shown


def test_money_without_a_price_is_unpriced() -> None:
    assert text.worth(GRAINS_PER_POT, currency=None, price_micro=None) == "unpriced"
    assert text.worth(GRAINS_PER_POT, currency="EUR", price_micro=None) == "unpriced"
    assert text.worth(3 * GRAINS_PER_POT, currency="EUR", price_micro=250_000) == "0.75 EUR"


@pytest.mark.parametrize(
    ("hashes", "shown"),
    [
        (0, "0.00 H/s"),
        (999, "999 H/s"),
        (31_500_000, "31.5 MH/s"),
        (999_999, "1.00 MH/s"),
        (123_456_789_000, "123 GH/s"),
    ],
)
def test_hash_rates_have_three_figures(hashes: int, shown: str) -> None:
    assert text.hash_rate(hashes) == shown


@given(st.integers(0, 2**63 - 1))
def test_every_rate_fits_its_column(value: int) -> None:
    assert len(text.hash_rate(value)) <= 11
    assert len(text.samples_rate(value)) <= 12


@pytest.mark.parametrize(
    ("milliseconds", "shown"),
    [(-5, "0 s"), (41_999, "41 s"), (60_000, "1 min"), (7_199_999, "1 h"), (5 * 86_400_000, "5 d")],
)
def test_spans_use_their_largest_unit(milliseconds: int, shown: str) -> None:
    assert text.span(milliseconds) == shown


def test_almost_all_is_not_all() -> None:
    assert text.percent(999_999) == "99.99 %"
    assert text.percent(1_000_000) == "100.00 %"
