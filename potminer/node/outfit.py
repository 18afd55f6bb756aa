"""What the rig of a node consists of, out of its config: devices, their workers, their miners, and a way to look."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import psutil

from potminer.base.errors import ConfigError
from potminer.core.duty.company import Company
from potminer.core.duty.duties import Duties
from potminer.core.duty.machine import Device
from potminer.core.duty.parameters import DEDICATED, Parameters
from potminer.core.duty.state import Policy
from potminer.node.config import Config
from potminer.node.hours import parse_hours
from potminer.node.recorder import Recorder
from potminer.node.rig import Outfit
from potminer.node.rigform import MinerSettings, price_micro
from potminer.node.terms import check_prices, market
from potminer.wire.facts import CPU, GpuSample
from potminer.world.child import Launch
from potminer.world.paths import Paths, private_folder
from potminer.world.rig.cards import GpuProbe, open_probes
from potminer.world.rig.host import HostProbe
from potminer.world.rig.kernels import holds
from potminer.world.rig.kin import Kin
from potminer.world.rig.look import Look
from potminer.world.rig.miners.interface import MinerAdapter
from potminer.world.rig.miners.process import ProcessMiner, command_of
from potminer.world.rig.miners.registry import open_miner, read_token
from potminer.world.rig.person import Habits, Person
from potminer.world.rig.platform import Guarded, detect_platform
from potminer.world.rig.sight import Sight, join
from potminer.world.rig.torchbuild import ask_torch

SMALL_HOST_BYTES = 8 * 2**30
"""With so little memory only one worker loads torch at a time: each takes half a GiB while it does."""
ANY_LOAD = 1_000_001
Clock = Callable[[], int]


@dataclass(frozen=True, slots=True)
class Cards:
    """What the probes saw when the node started: where a card is, and what it is made of."""

    probes: Mapping[str, GpuProbe]
    seen: Sight
    strangers: set[int] = field(default_factory=set)
    """Children of ours whose load is not ours: a miner that we started is still a miner."""

    @classmethod
    def look(cls, clock: Clock) -> Cards:
        strangers: set[int] = set()
        probes = open_probes(clock, Kin(strangers).pids)
        return cls(probes, join(probe.sample() for probe in probes.values()), strangers)

    def environment(self, bus: str) -> tuple[tuple[str, str], ...]:
        """By which a worker sees this card alone, as ``cuda:0``; nothing where the card was not seen."""
        card = next((gpu for gpu in self.seen.gpus if gpu.bus == bus), None)
        if card is None:
            return ()
        kin = sorted(gpu.bus for gpu in self.seen.gpus if _is_amd(gpu) == _is_amd(card))
        at = str(kin.index(bus))
        if _is_amd(card):
            return (("HIP_VISIBLE_DEVICES", at),)
        return (("CUDA_DEVICE_ORDER", "PCI_BUS_ID"), ("CUDA_VISIBLE_DEVICES", at))

    async def kernels(self, buses: Sequence[str]) -> dict[str, bool | None]:
        """Whether the installed torch has kernels for the cards; None where it or the card does not tell."""
        build = await asyncio.to_thread(ask_torch)
        made = {gpu.bus: gpu.architecture for gpu in self.seen.gpus}
        if build is None:
            return dict.fromkeys(buses)
        if build.version is None:
            return dict.fromkeys(buses, False)
        return {bus: holds(build.architectures, made.get(bus, "")) for bus in buses}


def _is_amd(gpu: GpuSample) -> bool:
    return gpu.architecture.startswith("gfx")


def outfit(
    config: Config, paths: Paths, *, trains: bool, cheat: str | None, clock: Clock, cards: Cards,
    pay: Callable[[], int | None] = lambda: None, recorder: Recorder | None = None,
) -> Outfit:
    """*trains*: duty decides; without it the workers of a validator begin when there is work. *pay*: what the rig
    would earn in an hour, in millionths of the owner's currency."""
    if trains:
        check_prices(config)
    buses = buses_of(config, cards) if trains and config.idle.policy != "off" else ()
    every = _open_miners(config, clock, paths, cards.strangers) if trains else ()
    miners = _assigned(config, every, buses)
    return Outfit(
        duties=Duties(_devices(buses, miners, config)),
        look=Look(
            clock=clock,
            host=HostProbe(clock=clock, own_pids=Kin(cards.strangers).pids, person=_person(config, clock)),
            gpus=cards.probes if trains else {},
            miners=every,
        ),
        launches=launches_of(buses or (CPU,), config, paths.blobs, cheat, cards),
        miners=miners,
        market=market(config, buses, pay, clock),
        recorder=recorder,
        currency=config.power.currency,
        every=every,
        one_by_one=psutil.virtual_memory().total <= SMALL_HOST_BYTES,
    )


# ---- devices -----------------------------------------------------------------------------


def buses_of(config: Config, cards: Cards) -> tuple[str, ...]:
    """The devices that may train."""
    if config.devices:
        return tuple(dict.fromkeys(each.bus for each in config.devices if each.role == "train"))
    wanted, found = config.worker.device, tuple(gpu.bus for gpu in cards.seen.gpus)
    if wanted == "auto":
        return found or (CPU,)
    if not wanted.startswith("cuda"):
        return (CPU,)
    at = int(wanted.partition(":")[2] or 0)
    if at >= len(found):
        raise ConfigError(
            f"worker.device is {wanted}, and {len(found)} GPUs are seen", "potminer gpus lists them, and says why not."
        )
    return (found[at],)


def _devices(
    buses: Collection[str], miners: Mapping[str, MinerAdapter], config: Config
) -> list[Device]:
    """Devices of one miner that pauses as a whole keep company."""
    parameters, watts = duty_parameters(config), {each.bus: each.watts for each in config.devices}
    companies = {miner.name: Company() for miner in miners.values() if not miner.capabilities.single_gpus}
    return [
        Device(
            bus=bus, has_miner=bus in miners,
            parameters=replace(parameters, watts_mw=watts.get(bus, 0) * 1_000),
            company=companies.get(miners[bus].name) if bus in miners else None, ask_kernels=bus != CPU,
        )
        for bus in buses
    ]


def _open_miners(config: Config, clock: Clock, paths: Paths, strangers: set[int]) -> tuple[MinerAdapter, ...]:
    """In the order of the config. One that a platform watches is never paused."""
    platform = detect_platform(config.rig.platform)
    found: list[MinerAdapter] = []
    for number, said in enumerate(config.miners, 1):
        if said.kind == "process":
            found.append(_owned(said, number, clock, paths, strangers))
            continue
        miner = open_miner(said.kind, said.url, read_token(said.token_file), clock=clock)
        found.append(miner if platform is None else Guarded(miner, platform))
    return tuple(found)


def _assigned(config: Config, miners: Sequence[MinerAdapter], buses: Collection[str]) -> dict[str, MinerAdapter]:
    """Which miner may use a device; none may be claimed by two."""
    found: dict[str, MinerAdapter] = {}
    for said, miner in zip(config.miners if miners else (), miners, strict=True):
        for bus in said.devices or buses:
            if bus in found:
                raise ConfigError(
                    f"{bus} belongs to two miners: {found[bus].name} and {miner.name}",
                    "Name the devices of each [[miners]]: devices = [...]. potminer gpus shows their buses.",
                )
            if bus in buses:
                found[bus] = miner
    return found


def _owned(said: MinerSettings, number: int, clock: Clock, paths: Paths, strangers: set[int]) -> ProcessMiner:
    api = None if said.api == "none" else open_miner(said.api, said.url, read_token(said.token_file), clock=clock)
    command = command_of(said.command, private_folder(paths.datadir / "miners"), folder=said.folder, number=number)
    return ProcessMiner(command, clock=clock, api=api, strangers=strangers)


def duty_parameters(config: Config) -> Parameters:
    idle, power = config.idle, config.power
    limits = {
        "hours": tuple(span for said in idle.hours for span in parse_hours(said)),
        "kwh_most": price_micro(power.max_price),
        "carbon_most_g_kwh": int(power.max_carbon) if power.max_carbon else None,
        "surplus_least_mw": int(power.min_surplus_watts) * 1_000 if power.min_surplus_watts else None,
    }
    if idle.policy == "always":
        return replace(DEDICATED, **limits)  # type: ignore[arg-type]
    return Parameters(
        policy=Policy(idle.policy) if idle.policy != "off" else Policy.IDLE_ONLY,
        **limits,  # type: ignore[arg-type]
        input_idle_ms=idle.min_idle_s * 1_000, quiet_ms=idle.quiet_s * 1_000,
        gpu_quiet_ppm=_quiet(idle.gpu_util_max_percent),
        gpu_busy_ppm=max(100_000, 2 * _quiet(idle.gpu_util_max_percent)),
        cpu_quiet_ppm=_quiet(idle.cpu_util_max_percent),
        cpu_busy_ppm=max(500_000, _quiet(idle.cpu_util_max_percent)),
    )


def _quiet(percent: int) -> int:
    """100 means that any load is quiet enough: no load reaches it."""
    return ANY_LOAD if percent == 100 else percent * 10_000


def _person(config: Config, clock: Clock) -> Person:
    idle = config.idle
    habits = Habits(
        remote=idle.remote == "counts", full_screen=idle.full_screen == "counts", exclusive=idle.exclusive
    )
    return Person(wall_ms=clock, environment=os.environ, habits=habits)


# ---- workers -----------------------------------------------------------------------------


def launches_of(
    buses: Collection[str], config: Config, blobs: Path, cheat: str | None, cards: Cards
) -> dict[str, tuple[Launch, ...]]:
    """The workers of every device, as the daemon starts them."""
    worker = config.worker
    counts = {bus: worker.count if bus == CPU else 1 for bus in buses}
    threads = worker.threads or max(1, ((os.cpu_count() or 1) - 1) // sum(counts.values()))
    on_cpu = "cpu" if worker.device.startswith("cuda") or cards.seen.gpus else worker.device

    def launch(bus: str) -> Launch:
        return Launch(
            blobs=blobs, device=on_cpu if bus == CPU else "cuda:0", bus="" if bus == CPU else bus,
            threads=threads, max_bytes=worker.max_ram_mb * 2**20, nice=worker.nice, cheat=cheat,
            environment=cards.environment(bus),
        )

    return {bus: (launch(bus),) * count for bus, count in counts.items()}
