"""What a cheat can expect, exactly: chances and money as fractions."""

from __future__ import annotations

from collections import Counter
from fractions import Fraction
from functools import lru_cache
from math import comb

from potminer.core.ledger.state import State
from potminer.wire.codec import decode
from potminer.wire.record import PendingRound


@lru_cache(maxsize=4_096)
def escapes(wanted_ppm: int, *, segments: int, cheated: int) -> Fraction:
    """Chance that none of *cheated* segments of a unit is audited where *wanted_ppm* segments are."""
    whole, part = divmod(wanted_ppm, 10**6)
    few, more = (
        Fraction(comb(segments - cheated, drawn), comb(segments, drawn)) if drawn <= segments else Fraction(0)
        for drawn in (whole, whole + 1)
    )
    return few + (more - few) * Fraction(part, 10**6)


def owed_to_all(state: State) -> Counter[bytes]:
    """What all tasks owe, counted record by record."""
    owed: Counter[bytes] = Counter()
    for key_, value in state.items():
        for share in decode(PendingRound, value, max_bytes=1 << 24).shares if key_[:1] == b"p" else ():
            owed[share.earner] += share.amount
    return owed


Gamble = tuple[int, Fraction, list[tuple[Fraction, Fraction]]]
"""A task's stake, the pay of what is honest in the round, for each cheated unit (chance to escape, gain in grains)."""


def check_never_pays(loss: int, gambles: list[Gamble]) -> None:
    """The tasks are decided one after the other; whoever is caught gains nothing from then on, and is not paid for
    what is honest in the round that it is caught in."""
    expected_loss = expected_gain = Fraction(0)
    alive = Fraction(1)
    for stake, honest, units in gambles:
        assert stake <= loss, "what the audits trusted in is not there"
        escaped = Fraction(1)
        for missed, _ in units:
            escaped *= missed
        expected_loss += alive * (1 - escaped) * (stake + honest)
        alive *= escaped
        expected_gain += alive * sum((gain for _, gain in units), Fraction(0))
    assert expected_loss >= 10 * expected_gain
