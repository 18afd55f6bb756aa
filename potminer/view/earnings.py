"""Money as a rig owner reads it."""

from __future__ import annotations

from potminer.view import text
from potminer.view.select import Fact, Tone
from potminer.wire.control import EarningsView


def earnings_facts(earnings: EarningsView) -> tuple[Fact, ...]:
    unpriced = earnings.currency is None or earnings.price_micro is None
    value = text.worth(earnings.total, currency=earnings.currency, price_micro=earnings.price_micro)
    return (
        Fact("today", text.pot(earnings.today), Tone.GOOD if earnings.today else Tone.PLAIN),
        Fact("pending", text.pot(earnings.pending)),
        Fact("paid", text.pot(earnings.paid)),
        Fact("total", text.pot(earnings.total)),
        Fact("worth", value, Tone.QUIET if unpriced else Tone.PLAIN),
    )
