"""Energy and carbon of a thousand samples: measured, or unknown."""

from __future__ import annotations

import pytest

from potminer.node.energy import Meter


def trained(*, watts: int | None, grams: int | None, seconds: int = 100, meter: Meter | None = None) -> Meter:
    """A run of *seconds*, looked at every second."""
    meter = meter or Meter()
    start = (meter._at_ms or 0) + 60_000
    for second in range(seconds + 1):
        mw = None if watts is None else watts * 1_000
        meter.look(start + second * 1_000, training=True, power_mw=mw, carbon_g_kwh=grams)
    return meter


def test_joules_and_grams_of_a_thousand_samples() -> None:
    """360 W for 100 s are 36 kJ, a hundredth of a kWh: at 400 g/kWh 4 g. 20,000 samples: 1.8 kJ, 0.2 g a thousand."""
    meter = trained(watts=360, grams=400)
    assert meter.energy_mj(20_000) == 1_800_000
    assert meter.carbon_mg(20_000) == 200


@pytest.mark.parametrize(("watts", "grams"), [(None, 400), (360, None)])
def test_what_was_not_measured_stays_unknown(watts: int | None, grams: int | None) -> None:
    meter = trained(watts=watts, grams=grams)
    assert meter.carbon_mg(20_000) is None
    assert (meter.energy_mj(20_000) is None) == (watts is None)


def test_a_dark_moment_is_borne_and_a_dark_hour_is_not() -> None:
    meter = trained(watts=360, grams=400, seconds=1_000)
    trained(watts=None, grams=400, seconds=40, meter=meter)
    assert meter.energy_mj(200_000) is not None
    trained(watts=None, grams=400, seconds=100, meter=meter)
    assert meter.energy_mj(200_000) is None


def test_idling_gaps_and_a_handful_of_samples_tell_nothing() -> None:
    meter = Meter()
    for second in range(0, 600, 20):
        meter.look(second * 1_000, training=True, power_mw=360_000, carbon_g_kwh=1)
    for second in range(600, 700):
        meter.look(second * 1_000, training=False, power_mw=360_000, carbon_g_kwh=1)
    assert meter.energy_mj(20_000) is None
    assert trained(watts=360, grams=400).energy_mj(999) is None
