"""Terms: what work, mining and power are worth now, for every device; None where nobody knows."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from datetime import datetime

from potminer.base.errors import ConfigError
from potminer.core.ledger.ledger import Ledger
from potminer.node.config import Config
from potminer.node.history import History
from potminer.node.hours import Tariff, parse_tariff, price_at
from potminer.node.rigform import price_micro
from potminer.wire import record as records
from potminer.wire.facts import Terms
from potminer.wire.record import TaskRecord
from potminer.world.rig.powersource import PowerSource

HOUR_MS = 3_600_000
MILLION = 1_000_000
GRAINS_PER_POT = 10**9
ROUNDS = 20
"""Rounds that tell a task's pace."""


@dataclass(frozen=True, slots=True)
class Market:
    """*pay* is what the rig earns by training in an hour, in millionths; *mine_h* what each device's miner earns
    on it. *devices* share the work of the rig."""

    tariff: Tariff
    kwh: int | None
    source: PowerSource
    pay: Callable[[], int | None]
    mine_h: Mapping[str, int]
    devices: int
    clock: Callable[[], int]

    def terms(self, bus: str) -> Terms:
        now = self.clock()
        minute, told = week_minute(now), self.source.now(now)
        pay = self.pay()
        kwh = told.kwh if told.kwh is not None else price_at(self.tariff, minute)
        return Terms(
            week_minute=minute,
            pay_h=None if pay is None else pay // self.devices,
            mine_h=self.mine_h.get(bus),
            kwh=self.kwh if kwh is None else kwh,
            carbon_g_kwh=told.carbon_g_kwh,
            surplus_mw=told.surplus_mw,
        )


def week_minute(now_ms: int) -> int:
    """Minutes since Monday 00:00 on this machine's clock on the wall."""
    here = datetime.fromtimestamp(now_ms / 1_000).astimezone()
    return here.weekday() * 1_440 + here.hour * 60 + here.minute


def mining_h(config: Config, buses: Collection[str]) -> dict[str, int]:
    """What each device's miner earns in an hour: the owner's word, shared equally among its devices."""
    found: dict[str, int] = {}
    for miner in config.miners:
        day = price_micro(miner.revenue_per_day)
        own = [bus for bus in buses if bus in miner.devices or not miner.devices]
        if day is not None:
            found |= dict.fromkeys(own, day // 24 // max(1, len(own)))
    return found


def market(config: Config, buses: Collection[str], pay: Callable[[], int | None], clock: Callable[[], int]) -> Market:
    power = config.power
    return Market(
        tariff=tuple(parse_tariff(said) for said in power.tariff),
        kwh=price_micro(power.kwh_price),
        source=PowerSource(power.source),
        pay=pay,
        mine_h=mining_h(config, buses),
        devices=max(1, len(buses)),
        clock=clock,
    )


def check_prices(config: Config) -> None:
    """``profit`` without prices is a wish: ConfigError names what is missing."""
    if config.idle.policy != "profit":
        return
    power, missing = config.power, []
    if not config.prices.pot:
        missing.append("prices.pot")
    if not (power.kwh_price or power.tariff or power.source):
        missing.append("power.kwh_price, power.tariff or power.source")
    unsaid = [at for at, miner in enumerate(config.miners, 1) if not miner.revenue_per_day]
    missing += [f"revenue_per_day of miner {at}" for at in unsaid]
    if missing:
        raise ConfigError(
            f"idle.policy is profit, and nobody said {'; '.join(missing)}",
            "potminer invents no prices: say them, or set idle.policy = \"idle_only\".",
        )


def pay_of(ledger: Ledger, history: History, pot_micro: int | None) -> Callable[[], int | None]:
    """What this rig would earn in an hour by the best open task, at the pace of its last rounds; before the first
    round closed, at the pace of its deadlines. None without a task or a price."""

    def pay() -> int | None:
        if pot_micro is None:
            return None
        offers = [_offer(ledger, history, task) for task in ledger.state.head.open_tasks]
        return max((grains * pot_micro // GRAINS_PER_POT for grains in offers), default=None)

    return pay


def _offer(ledger: Ledger, history: History, task: bytes) -> int:
    """Grains an hour for a trainer that does all units a round gives it."""
    spec = ledger.state.need(TaskRecord, records.task_key(task)).spec
    a_round = spec.units_per_trainer * spec.reward.price_per_unit
    a_round = a_round * ledger.state.parameters.trainer_share_ppm // MILLION
    return a_round * HOUR_MS // max(1, _pace_ms(ledger, history, task))


def _pace_ms(ledger: Ledger, history: History, task: bytes) -> int:
    seen = history.tasks.get(task)
    closed = [] if seen is None else [v for v in list(seen.rounds)[:ROUNDS] if v.closed_ms is not None]
    if closed:
        return sum((view.closed_ms or 0) - view.opened_ms for view in closed) // len(closed)
    deadlines = ledger.state.need(TaskRecord, records.task_key(task)).spec.deadlines
    return sum(
        (deadlines.commit_ms, deadlines.reveal_ms, deadlines.audit_ms, deadlines.dispute_ms, deadlines.aggregate_ms)
    )
