"""What was measured of a device, and what it could earn with that, as rows and sentences."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from potminer.base.bounded import GRAINS_PER_POT, MILLION
from potminer.view import text
from potminer.view.select import short_bus, short_device
from potminer.view.table import Column, Look, Row, Table

DAY_H = 24


@dataclass(frozen=True, slots=True)
class Measured:
    """One device. Rates are of all its workers together, in thousandths of a sample a second: the median unit's, and
    the slowest and fastest unit's. *power_mw* is the median while it trained. *fault* says in words why there is
    nothing, and is empty otherwise; what nobody could read is None."""

    bus: str
    name: str
    workers: int = 0
    device: str = ""
    units: int = 0
    samples: int = 0
    rate_milli: int | None = None
    slowest_milli: int | None = None
    fastest_milli: int | None = None
    power_mw: int | None = None
    energy_mj_per_1000: int | None = None
    resident_bytes: int | None = None
    """Of the host's memory, by all workers at their largest."""
    memory_bytes: int | None = None
    """Of the card's own memory, above what it held before."""
    fault: str = ""


@dataclass(frozen=True, slots=True)
class Prospect:
    """What an hour of training is worth at most: every unit accepted. *pay_h* in grains; *paced*: as many units as the
    task's rounds have, else the next one is always there. *mine_h*, *kwh* and *pot* (the price of one POT) are in
    millionths of *currency*; *power_mw* as measured, else as the owner says. None where nobody said it."""

    pay_h: int
    pot: int | None
    mine_h: int | None
    kwh: int | None
    power_mw: int | None
    currency: str | None
    paced: bool = False

    @property
    def cost_h(self) -> int | None:
        return None if self.kwh is None or self.power_mw is None else self.power_mw * self.kwh // MILLION

    @property
    def training_h(self) -> int | None:
        """Net of power, in millionths of the currency."""
        if self.pot is None or self.cost_h is None:
            return None
        return self.pay_h * self.pot // GRAINS_PER_POT - self.cost_h

    @property
    def mining_h(self) -> int | None:
        """Net of power, as if mining drew what training does."""
        return None if self.mine_h is None or self.cost_h is None else self.mine_h - self.cost_h


def pay_h(rate_milli: int, *, samples_per_unit: int, price_per_unit: int, share_ppm: int) -> int:
    """Grains an hour at *rate_milli* where every unit is accepted."""
    return rate_milli * 3_600 * price_per_unit * share_ppm // (1_000 * samples_per_unit * MILLION)


_COLUMNS = (
    Column("device", 8, look=Look.BOLD),
    Column("name", 18, look=Look.QUIET),
    Column("rate", 12, right=True),
    Column("power", 6, right=True),
    Column("per 1,000", 9, right=True),
    Column("card", 9, right=True),
    Column("host", 9, right=True),
)


def measured_table(found: Sequence[Measured]) -> Table:
    """The devices that could be measured."""
    rows = tuple(
        Row(
            (
                short_bus(each.bus), text.clean(short_device(each.name), 40), text.samples_rate(each.rate_milli),
                text.watts(each.power_mw), text.scaled_or_unknown(each.energy_mj_per_1000, "J"),
                text.data(each.memory_bytes), text.data(each.resident_bytes),
            ),
            key=each.bus,
        )
        for each in found
        if not each.fault
    )  # fmt: skip
    return Table(_COLUMNS, rows, empty=("No device could be measured.",))


def prospect_sentence(bus: str, seen: Prospect) -> str:
    """What a day of it would bring, against the miner's where there is one."""
    how = "at the pace of the task's rounds" if seen.paced else "were a unit always waiting"
    whole = f"{short_bus(bus)}: training at most {text.pot(seen.pay_h * DAY_H)} a day, {how}"
    if seen.training_h is None:
        missing = [
            what
            for what, known in (
                ("prices.pot", seen.pot), ("power.kwh_price", seen.kwh), ("the card's watts", seen.power_mw)
            )
            if known is None
        ]  # fmt: skip
        return f"{whole}; net of power unknown without {' and '.join(missing)}"
    net = f"{whole}, {_day(seen.training_h, seen)} net of power"
    if seen.mining_h is None:
        return net
    gain = seen.training_h - seen.mining_h
    word = "more" if gain >= 0 else "less"
    return f"{net}; mining {_day(seen.mining_h, seen)}: {_day(abs(gain), seen)} {word} by training"


def _day(an_hour: int, seen: Prospect) -> str:
    return text.price(an_hour * DAY_H, seen.currency or "(no currency)")
