"""One photograph as Prometheus text. Conventional names: base units, ``_total`` for what only grows, ratios 0..1.

What is unknown has no sample at all.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from potminer.base.bounded import GRAINS_PER_POT, MILLION
from potminer.wire.control import DeviceState, DeviceView, Snapshot

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"

_DEVICE: tuple[tuple[str, str, Callable[[DeviceView], float | None]], ...] = (
    ("samples_per_second", "Training speed.", lambda d: _over(d.samples_per_s_milli, 1000)),
    ("hashes_per_second", "Mining speed.", lambda d: _over(d.hashrate_hs, 1)),
    ("power_watts", "Power drawn.", lambda d: _over(d.power_mw, 1000)),
    ("temperature_celsius", "Core temperature.", lambda d: _over(d.temperature_milli_c, 1000)),
    ("memory_used_bytes", "Memory in use.", lambda d: _over(d.memory_used, 1)),
    ("memory_size_bytes", "Memory there is.", lambda d: _over(d.memory_total, 1)),
)


def render(snapshot: Snapshot, now_ms: int) -> bytes:
    registry = CollectorRegistry(auto_describe=False)
    registry.register(_Photograph(snapshot, now_ms))
    return generate_latest(registry)


class _Photograph(Collector):
    """A collector of one scrape: nothing is kept between scrapes."""

    def __init__(self, snapshot: Snapshot, now_ms: int) -> None:
        self._snapshot = snapshot
        self._now_ms = now_ms

    def collect(self) -> Iterable[Metric]:
        snapshot = self._snapshot
        yield from _devices(snapshot.devices)
        yield from _chain(snapshot, self._now_ms)
        yield from _training(snapshot)
        yield from _earnings(snapshot)


def _devices(devices: tuple[DeviceView, ...]) -> Iterable[Metric]:
    for name, about, read in _DEVICE:
        family = GaugeMetricFamily(f"potminer_device_{name}", about, labels=["bus", "kind"])
        for device in devices:
            value = read(device)
            if value is not None:
                family.add_metric([device.bus, device.kind.value], value)
        yield family
    states = GaugeMetricFamily("potminer_device_state", "1 for the state it is in.", labels=["bus", "kind", "state"])
    for device in devices:
        for state in DeviceState:
            states.add_metric([device.bus, device.kind.value, state.value], float(device.state is state))
    yield states


def _chain(snapshot: Snapshot, now_ms: int) -> Iterable[Metric]:
    chain = snapshot.chain
    info = GaugeMetricFamily("potminer_info", "Always 1.", labels=["agent", "network", "rig", "node", "role"])
    info.add_metric([snapshot.agent, snapshot.network, snapshot.rig, snapshot.node, chain.role], 1.0)
    yield info
    age = None if chain.last_block_ms is None else max(0, now_ms - chain.last_block_ms)
    yield from _gauges(
        ("potminer_chain_height", "Height of the last final block.", chain.height),
        ("potminer_chain_target_height", "Best height heard of, while catching up.", chain.target_height),
        ("potminer_chain_view", "PBFT view at the next height.", chain.view),
        ("potminer_chain_epoch", "Committee epoch.", chain.epoch),
        ("potminer_chain_last_block_age_seconds", "Age of the last final block.", _over(age, 1000)),
        ("potminer_chain_commit_median_seconds", "Median time to commit.", _over(chain.commit_p50_ms, 1000)),
        ("potminer_mempool_transactions", "Transactions waiting.", chain.mempool),
        ("potminer_peers", "Links that are up.", chain.peers),
        ("potminer_validators", "Members of the committee.", chain.validators),
        ("potminer_snapshot_age_seconds", "Age of this photograph.", max(0, now_ms - snapshot.taken_ms) / 1000),
    )


def _training(snapshot: Snapshot) -> Iterable[Metric]:
    training = snapshot.training
    if training is None:
        return
    yield from _gauges(
        ("potminer_training_round", "Round of the task.", training.round),
        ("potminer_training_rounds", "Rounds the task has.", training.rounds),
        ("potminer_training_loss", "Newest loss.", _over(training.loss_micro, MILLION)),
        ("potminer_training_accuracy_ratio", "Newest accuracy.", _over(training.accuracy_ppm, MILLION)),
    )
    units = CounterMetricFamily(
        "potminer_task_units", "Units of this rig in the task, by how they ended.", labels=["task", "outcome", "reason"]
    )
    units.add_metric([training.task, "accepted", ""], training.my_units.accepted)
    for reason, number in training.my_units.rejected.items():
        units.add_metric([training.task, "rejected", reason], number)
    yield units


def _earnings(snapshot: Snapshot) -> Iterable[Metric]:
    earnings = snapshot.earnings
    yield from _gauges(
        ("potminer_earnings_pending_pot", "Earned, inside the dispute window.", earnings.pending / GRAINS_PER_POT),
        ("potminer_earnings_today_pot", "Earned since local midnight.", earnings.today / GRAINS_PER_POT),
    )
    yield CounterMetricFamily("potminer_earnings_pot", "Earned ever.", value=earnings.total / GRAINS_PER_POT)


def _gauges(*rows: tuple[str, str, float | None]) -> Iterable[Metric]:
    for name, about, value in rows:
        if value is not None:
            yield GaugeMetricFamily(name, about, value=value)


def _over(value: int | None, divisor: int) -> float | None:
    return None if value is None else value / divisor
