"""A device under ``profit``, and under hours and limits of power, step by step."""

from __future__ import annotations

from dataclasses import replace

import pytest

from potminer.core.duty.events import Ask, MinerReplied, Overridden, Sampled, WorkerReleased
from potminer.core.duty.parameters import HOUR_MS, MINUTE_MS, Parameters
from potminer.core.duty.purse import Purse, Worth
from potminer.core.duty.state import Mode, Policy, Reason, State
from potminer.core.duty.week import within
from potminer.wire.facts import Terms
from tests.unit.test_duty_machine import Day, _at, _with

EURO = 1_000_000
PROFIT = Parameters(policy=Policy.PROFIT)
KWH = 300_000
"""0.30 a kWh; the card of the tests draws 90 W: 0.027 an hour."""
POOR = Terms(pay_h=50_000, mine_h=80_000, kwh=KWH)
RICH = Terms(pay_h=200_000, mine_h=80_000, kwh=KWH)


class Market(Day):
    def __init__(self, terms: Terms | None, parameters: Parameters = PROFIT, *, has_miner: bool = True) -> None:
        super().__init__(has_miner=has_miner, parameters=parameters)
        self.terms = terms

    def look(self) -> list[object]:  # type: ignore[override]
        miner = None if self.miner is None else _at(self.miner, self.now)
        return list(self.tell(Sampled(self.host, self.gpu, miner, self.terms)))

    def hand_over(self) -> None:
        """The miner pauses as it is asked to."""
        assert self.device.state is State.RELEASING, (self.device.state, self.device.reasons)
        self.miner = _with(self.miner, paused=True, hashrate_hs=None)  # type: ignore[assignment]
        self.tell(MinerReplied(Ask.PAUSE, True))
        self.wait(4_000)
        assert self.device.state is State.TRAINING, self.device.reasons

    def give_back(self) -> None:
        assert self.device.state is State.DRAINING
        self.tell(WorkerReleased(1))
        self.miner = _with(self.miner, paused=False, hashrate_hs=1_000)  # type: ignore[assignment]
        self.wait(4_000)

    def until(self, state: State, *, within_ms: int) -> int:
        """How long it took."""
        begun = self.now
        while self.device.state is not state:
            assert self.now - begun < within_ms, (self.device.state, self.device.reasons)
            self.wait(2_000)
        return self.now - begun


def test_it_mines_while_mining_pays_better_and_trains_after_three_looks_when_not() -> None:
    market = Market(POOR)
    market.wait(30 * MINUTE_MS)
    assert (market.device.state, market.device.reasons) == (State.MINING, {Reason.UNPROFITABLE})
    market.terms = RICH
    took = market.until(State.RELEASING, within_ms=5 * MINUTE_MS)
    assert took >= 2 * MINUTE_MS, "three looks, a minute apart"
    market.hand_over()


def test_a_rise_that_does_not_last_is_no_reason() -> None:
    market = Market(POOR)
    for _ in range(20):
        market.terms = RICH
        market.wait(2 * MINUTE_MS - 4_000)
        market.terms = POOR
        market.wait(MINUTE_MS + 2_000)
        assert market.device.state is State.MINING


def test_a_fall_ends_a_run_at_once_but_not_in_its_first_ten_minutes() -> None:
    market = Market(RICH)
    market.until(State.RELEASING, within_ms=20 * MINUTE_MS)
    market.hand_over()
    market.terms = POOR
    took = market.until(State.DRAINING, within_ms=15 * MINUTE_MS)
    assert 9 * MINUTE_MS <= took <= 11 * MINUTE_MS
    assert market.device.reasons == {Reason.UNPROFITABLE}
    market.give_back()
    assert market.device.state is State.COOLDOWN
    market.terms = RICH
    took = market.until(State.RELEASING, within_ms=30 * MINUTE_MS)
    assert took >= 9 * MINUTE_MS, "nor is another begun so soon"
    market.hand_over()
    market.wait(20 * MINUTE_MS)
    market.terms = POOR
    assert market.until(State.DRAINING, within_ms=2 * MINUTE_MS) <= MINUTE_MS + 2_000


def test_between_the_thresholds_nothing_changes() -> None:
    barely = replace_terms(RICH, pay_h=82_000)  # 3 % better than mining
    market = Market(barely)
    market.wait(HOUR_MS)
    assert market.device.state is State.MINING
    market.terms = RICH
    market.until(State.RELEASING, within_ms=5 * MINUTE_MS)
    market.hand_over()
    market.terms = barely
    market.wait(40 * MINUTE_MS)
    assert market.device.state is State.TRAINING


def replace_terms(terms: Terms, **changes: object) -> Terms:
    return _with(terms, **changes)  # type: ignore[return-value]


@pytest.mark.parametrize("lacking", ["pay_h", "mine_h", "kwh"])
def test_what_is_not_known_is_not_guessed(lacking: str) -> None:
    market = Market(replace_terms(RICH, **{lacking: None}))
    market.wait(HOUR_MS)
    assert market.device.reasons == {Reason.PRICES_UNKNOWN}
    market.terms = RICH
    market.until(State.RELEASING, within_ms=5 * MINUTE_MS)
    market.hand_over()
    market.wait(12 * MINUTE_MS)
    market.terms = replace_terms(RICH, **{lacking: None})
    market.until(State.DRAINING, within_ms=2 * MINUTE_MS)
    assert market.device.reasons == {Reason.PRICES_UNKNOWN}


def test_power_is_part_of_the_price() -> None:
    """It earns 0.02 an hour and draws 0.027 worth of power: better nothing."""
    market = Market(Terms(pay_h=20_000, kwh=KWH), replace(PROFIT, watts_mw=90_000), has_miner=False)
    market.wait(HOUR_MS)
    assert market.device.reasons == {Reason.UNPROFITABLE}
    market.terms = Terms(pay_h=20_000, kwh=100_000)
    market.until(State.TRAINING, within_ms=5 * MINUTE_MS)


def test_the_owner_comes_first_also_under_profit() -> None:
    market = Market(RICH)
    market.until(State.RELEASING, within_ms=20 * MINUTE_MS)
    market.hand_over()
    market.gpu = _with(market.gpu, foreign_utilisation_ppm=900_000)  # type: ignore[assignment]
    market.wait(2_000)
    assert market.device.state is State.DRAINING


def test_prices_that_jump_every_quarter_of_an_hour_never_pass_the_cap() -> None:
    market = Market(RICH)
    starts: list[int] = []
    for quarter in range(40):
        market.terms = POOR if quarter % 2 else RICH
        for _ in range(15 * 30):
            before = market.device.state
            market.wait(2_000)
            if market.device.state is State.RELEASING:
                market.hand_over()
            elif market.device.state is State.DRAINING:
                market.tell(WorkerReleased(market.device._run))
                market.miner = _with(market.miner, paused=False, hashrate_hs=1_000)  # type: ignore[assignment]
            ours = (State.RELEASING, State.VERIFYING, State.TRAINING, State.DRAINING)
            if (before in ours) != (market.device.state in ours):
                starts.append(market.now)
    assert len(starts) > 6
    assert all(starts[at + 4] - starts[at] >= HOUR_MS for at in range(len(starts) - 4))


def test_a_hand_over_must_pay_for_itself() -> None:
    purse = Purse(replace(PROFIT, watts_mw=90_000))
    purse.look(RICH, mines=True, now=0)
    assert purse.worth is Worth.BETTER
    for _ in range(20):
        purse.learn_hand_over(40 * MINUTE_MS, to_work=True)
        purse.learn_hand_over(40 * MINUTE_MS, to_work=False)
    slight = replace_terms(RICH, pay_h=100_000)
    purse.look(slight, mines=True, now=MINUTE_MS)
    assert purse.worth is Worth.EQUAL, "a third more an hour does not pay for eighty minutes of neither"


@pytest.mark.parametrize(
    ("parameters", "good", "bad", "reason"),
    [
        (Parameters(hours=((0, 600),)), Terms(week_minute=599), Terms(week_minute=600), Reason.SCHEDULE),
        (Parameters(kwh_most=200_000), Terms(kwh=200_000), Terms(kwh=200_001), Reason.POWER_DEAR),
        (Parameters(carbon_most_g_kwh=300), Terms(carbon_g_kwh=40), Terms(carbon_g_kwh=700), Reason.POWER_DIRTY),
        (Parameters(surplus_least_mw=500_000), Terms(surplus_mw=1), Terms(surplus_mw=-1), Reason.NO_SURPLUS),
        (Parameters(kwh_most=1), Terms(kwh=1), None, Reason.POWER_UNKNOWN),
    ],
)
def test_limits_of_the_owner_hold_at_once(
    parameters: Parameters, good: Terms, bad: Terms | None, reason: Reason
) -> None:
    market = Market(replace_terms(good, surplus_mw=600_000), parameters, has_miner=False)
    market.until(State.TRAINING, within_ms=5 * MINUTE_MS)
    market.terms = good
    market.wait(MINUTE_MS)
    assert market.device.state is State.TRAINING
    market.terms = bad
    market.wait(2_000)
    assert (market.device.state, market.device.reasons) == (State.DRAINING, {reason})
    market.tell(WorkerReleased(1))
    market.wait(HOUR_MS)
    assert market.device.reasons == {reason}
    market.tell(Overridden(Mode.TRAIN))
    market.wait(10_000)
    assert market.device.state is State.TRAINING, "the owner's word is above the owner's rules"


def test_a_span_of_hours_may_go_over_sunday_midnight() -> None:
    night = ((10_020, 60),)
    minutes = (10_019, 10_020, 10_079, 0, 59, 60)
    assert [minute for minute in minutes if within(minute, night)] == [10_020, 10_079, 0, 59]
