"""What a measurement is worth, in rows and sentences."""

from __future__ import annotations

from dataclasses import replace

from potminer.view.measured import Measured, Prospect, measured_table, pay_h, prospect_sentence

CARD = Measured(
    "0000:0a:00.0", "NVIDIA GeForce RTX 3070", workers=1, device="cuda:0", units=9, samples=9_216,
    rate_milli=1_412_000, slowest_milli=1_300_000, fastest_milli=1_500_000, power_mw=123_400,
    energy_mj_per_1000=87_390, resident_bytes=1_207_959_552, memory_bytes=650_000_000,
)
EURO = 1_000_000
SEEN = Prospect(
    pay_h=10**9, pot=EURO, mine_h=EURO // 2, kwh=EURO // 4, power_mw=200_000, currency="EUR",
)


def test_pay_counts_whole_units_of_an_hour() -> None:
    """1,024 samples a second are 3,600 units of 1,024 an hour, at 2 grains of which the trainer has 85 %."""
    assert pay_h(1_024_000, samples_per_unit=1_024, price_per_unit=2_000_000, share_ppm=850_000) == 3_600 * 1_700_000


def test_a_row_has_units_and_dashes_for_what_nobody_knows() -> None:
    table = measured_table([CARD, replace(CARD, bus="cpu", name="CPU", power_mw=None, energy_mj_per_1000=None,
                                          memory_bytes=None), Measured("x", "y", fault="no-device: none")])
    assert [row.cells for row in table.rows] == [
        ("0a:00.0", "RTX 3070", "1,412 smp/s", "123 W", "87.4 J", "650 MB", "1.21 GB"),
        ("cpu", "CPU", "1,412 smp/s", "–", "–", "–", "1.21 GB"),
    ]  # fmt: skip


def test_training_is_set_against_mining_net_of_power() -> None:
    """An hour: 1.00 for training, 0.50 for mining, 0.2 kWh at 0.25 for either."""
    assert (SEEN.training_h, SEEN.mining_h) == (EURO * 95 // 100, EURO * 45 // 100)
    assert prospect_sentence("0000:0a:00.0", SEEN) == (
        "0a:00.0: training at most 24.00 POT a day, were a unit always waiting, 22.80 EUR net of power; "
        "mining 10.80 EUR: 12.00 EUR more by training"
    )
    assert "24.00 EUR less by training" in prospect_sentence("cpu", replace(SEEN, mine_h=2 * EURO))
    assert "at the pace of the task's rounds" in prospect_sentence("cpu", replace(SEEN, paced=True))


def test_a_price_that_nobody_said_is_not_invented() -> None:
    bare = replace(SEEN, pot=None, kwh=None, power_mw=None, mine_h=None)
    assert (bare.training_h, bare.mining_h) == (None, None)
    said = prospect_sentence("cpu", bare)
    assert said.endswith("net of power unknown without prices.pot and power.kwh_price and the card's watts")
    assert "mining" not in prospect_sentence("cpu", replace(SEEN, mine_h=None))
