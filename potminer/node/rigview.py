"""The rig as faces see it: devices, miners, and what the owner asked for."""

from __future__ import annotations

from msgspec.structs import replace

from potminer.core.duty.sentence import Status
from potminer.core.duty.state import State
from potminer.wire.control import DeviceKind, DeviceState, DeviceView, MinerView
from potminer.wire.facts import CPU, GpuSample, MinerSample
from potminer.world.rig.kernels import verdict
from potminer.world.rig.miners.registry import KINDS


def device_view(
    status: Status, gpu: GpuSample | None, miner: MinerSample | None, *, samples_per_s_milli: int | None, now: int
) -> DeviceView:
    training = status.state is State.TRAINING
    view = DeviceView(
        bus=status.bus,
        name=gpu.name if gpu is not None else "CPU",
        kind=DeviceKind.CPU if status.bus == CPU else DeviceKind.GPU,
        state=DeviceState(status.state.value),
        since_ms=max(0, now - status.for_ms),
        reasons=tuple(sorted(reason.value for reason in status.reasons))[:8],
        samples_per_s_milli=samples_per_s_milli if training else None,
        hashrate_hs=None if miner is None else _rate(miner, status.bus),
    )
    if gpu is None:
        return view
    return replace(
        view,
        power_mw=gpu.power_mw,
        temperature_milli_c=gpu.temperature_milli_c,
        memory_used=gpu.memory_used_bytes,
        memory_total=gpu.memory_total_bytes,
        memory_temperature_milli_c=gpu.memory_temperature_milli_c,
        utilisation_ppm=gpu.utilisation_ppm,
        power_limit_mw=gpu.power_limit_mw,
        fan_ppm=gpu.fan_ppm,
        link_width=gpu.link_width,
        drives_display=gpu.drives_display,
        torch=verdict(gpu.architecture).build if gpu.architecture else None,
    )


def _rate(miner: MinerSample, bus: str) -> int | None:
    """This card's own rate where the miner tells it; the whole miner's where it has one card at the most."""
    own = [gpu.hashrate_hs for gpu in miner.gpus if gpu.bus == bus]
    if own:
        return own[0]
    return miner.hashrate_hs if len(miner.gpus) <= 1 else None


def miner_view(miner: MinerSample, devices: tuple[str, ...]) -> MinerView:
    # As duty sees it: one that does not say that it earns nothing is mining.
    state = "dead" if not miner.alive else "paused" if miner.paused else "idle" if miner.hashrate_hs == 0 else "mining"
    return MinerView(
        name=miner.kind,
        address=miner.name.partition("@")[2],
        version=miner.version or None,
        state=state,
        control=KINDS[miner.kind].control.value if miner.kind in KINDS else "owned",
        devices=devices,
        hashrate_hs=miner.hashrate_hs,
        last_reply_ms=miner.taken_at_ms,
        algorithm=miner.algorithm or None,
        uptime_s=miner.uptime_s,
        accepted=miner.accepted,
        rejected=miner.rejected,
    )
