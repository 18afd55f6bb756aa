"""The purse: does training pay better than what the device does otherwise, net of power?

A rise counts after several looks in a row, a fall at once; between the two thresholds nothing changes. What is not
known is not guessed: without a price, a speed or a power reading training does not pay.
"""

from __future__ import annotations

from collections import deque
from enum import StrEnum
from statistics import median_low

from potminer.core.duty.parameters import MINUTE_MS, Parameters
from potminer.core.duty.state import Reason
from potminer.wire.facts import Terms

READINGS = 30
"""Power readings kept of either use, one a minute."""
_MILLION = 1_000_000


class Worth(StrEnum):
    """What one look at the prices says."""

    BETTER = "better"
    EQUAL = "equal"
    """Not better enough to begin, not worse: whoever trains goes on."""
    WORSE = "worse"
    UNKNOWN = "unknown"


class Purse:
    def __init__(self, parameters: Parameters) -> None:
        self._parameters = parameters
        self._training_mw: deque[int] = deque(maxlen=READINGS)
        self._mining_mw: deque[int] = deque(maxlen=READINGS)
        self._metered_at = -MINUTE_MS
        self._looked_at: int | None = None
        self._rises = 0
        self.worth = Worth.UNKNOWN
        self.pays = False
        """Worth beginning; and, once begun, worth going on with."""
        self.to_work_ms = parameters.switch_cost_ms
        self.to_mine_ms = parameters.switch_cost_ms

    # ---- learning --------------------------------------------------------------------------

    def learn_power(self, mw: int | None, *, training: bool, mining: bool, now: int) -> None:
        """What the device drew while it did one or the other."""
        if mw is None or not (training or mining) or now - self._metered_at < MINUTE_MS:
            return
        self._metered_at = now
        (self._training_mw if training else self._mining_mw).append(mw)

    def learn_hand_over(self, ms: int, *, to_work: bool) -> None:
        """A quarter of what was just seen, three of what was believed: one slow start is no rule."""
        if to_work:
            self.to_work_ms = (3 * self.to_work_ms + ms) // 4
        else:
            self.to_mine_ms = (3 * self.to_mine_ms + ms) // 4

    def look(self, terms: Terms | None, *, mines: bool, now: int) -> None:
        """*mines*: the device earns by mining, or would if it were not ours. At most one look a ``check_ms``."""
        if self._looked_at is not None and now - self._looked_at < self._parameters.check_ms:
            return
        self._looked_at = now
        self.worth = self._weigh(terms, mines=mines)
        self._rises = self._rises + 1 if self.worth is Worth.BETTER else 0
        if self._rises >= self._parameters.confirmations:
            self.pays = True
        elif self.worth in (Worth.WORSE, Worth.UNKNOWN):
            self.pays = False

    def against(self, *, to_begin: bool, since_ms: int) -> frozenset[Reason]:
        """Why it does not pay. *since_ms* ago the use of the device changed: prices alone do not change it again
        within ``min_run_ms``."""
        young = since_ms < self._parameters.min_run_ms
        if (self.pays and not (to_begin and young)) or (young and not to_begin):
            return frozenset()
        return frozenset({Reason.PRICES_UNKNOWN if self.worth is Worth.UNKNOWN else Reason.UNPROFITABLE})

    # ---- weighing --------------------------------------------------------------------------

    def _weigh(self, terms: Terms | None, *, mines: bool) -> Worth:
        if terms is None or terms.pay_h is None or terms.kwh is None or (mines and terms.mine_h is None):
            return Worth.UNKNOWN
        mining_mw = self._median(self._mining_mw)
        training_mw = self._median(self._training_mw) or mining_mw
        if training_mw is None or (mines and mining_mw is None):
            return Worth.UNKNOWN
        training = terms.pay_h - training_mw * terms.kwh // _MILLION
        mining = (terms.mine_h or 0) - (mining_mw or 0) * terms.kwh // _MILLION if mines else 0
        return self._compare(training, max(0, mining))

    def _compare(self, training: int, mining: int) -> Worth:
        """Net of power, in millionths an hour. A loss is never begun, whatever the other would lose."""
        if training <= 0 or training < mining:
            return Worth.WORSE
        gain = training - mining
        lost_ms = self.to_work_ms + self.to_mine_ms
        enough = gain * _MILLION >= mining * self._parameters.gain_ppm
        pays_off = gain * self._parameters.horizon_ms >= mining * lost_ms
        return Worth.BETTER if enough and pays_off else Worth.EQUAL

    def _median(self, readings: deque[int]) -> int | None:
        """The owner's word where no sensor tells."""
        return median_low(readings) if readings else self._parameters.watts_mw or None
