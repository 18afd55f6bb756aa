"""Duty in a real rig: a real worker process, a real adapter, a miner that speaks as xmrig does."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

import psutil
import pytest
from fakes.miners import FakeEthman, FakeTrex, Page
from fakes.replies import GMINER, RATES
from fakes.servers import FakeHttp, FakeTcp
from fakes.xmrig import FakeXmrig

from potminer.base.errors import UsageError
from potminer.core.duty.duties import Duties
from potminer.core.duty.machine import Device
from potminer.core.duty.parameters import Parameters
from potminer.core.duty.state import State
from potminer.node.build import unix_ms
from potminer.node.recorder import Recorder
from potminer.node.rig import Outfit, Rig, RigHands
from potminer.wire.control import Mode
from potminer.wire.facts import CPU
from potminer.wire.trainer import Failed, Initialised, InitialiseJob
from potminer.world.child import Launch
from potminer.world.rig.host import HostProbe
from potminer.world.rig.look import Look
from potminer.world.rig.miners.registry import open_miner
from potminer.world.rig.person import Person
from tests.unit.train_kit import MODEL

QUICK = Parameters(
    quiet_ms=200, cpu_quiet_ppm=2_000_000, cpu_busy_ppm=2_000_000, cooldown_ms=200, restore_ms=20_000,
    switches_per_hour=60, override_ms=60_000,
)


@dataclass
class Diary:
    """What the rig told its node, and a way to wait for it."""

    journal: dict[bytes, bytes] = field(default_factory=dict)
    allowed: list[bool] = field(default_factory=list)
    changed: asyncio.Event = field(default_factory=asyncio.Event)

    async def persist(self, entries: Sequence[tuple[bytes, bytes | None]]) -> None:
        for key, value in entries:
            if value is None:
                self.journal.pop(key, None)
            else:
                self.journal[key] = value

    def may_train(self, workers: int, finishing: bool) -> None:
        self.allowed.append(workers > 0)
        self.changed.set()


async def nobody_tells(buses: Sequence[str]) -> dict[str, bool | None]:
    return dict.fromkeys(buses)


@asynccontextmanager
async def rig_with(
    fake: FakeXmrig | FakeHttp | FakeTcp, folder: Path, diary: Diary, kind: str = "xmrig", workers: int = 1,
    recorder: Recorder | None = None,
) -> AsyncIterator[tuple[Rig, Device]]:
    device = Device(bus=CPU, has_miner=True, parameters=QUICK)
    miner = open_miner(kind, fake.url, clock=unix_ms)
    person = Person(wall_ms=unix_ms, root=folder, environment={})
    look = Look(clock=unix_ms, host=HostProbe(clock=unix_ms, own_pids=set, person=person), gpus={}, miners=(miner,))
    rig = Rig(
        Outfit(
            Duties([device]), look, {CPU: (Launch(folder, device="cpu"),) * workers}, {CPU: miner}, recorder=recorder
        ),
        RigHands(
            clock=unix_ms, persist=diary.persist, may_train=diary.may_train, note=lambda level, line: None,
            changed=diary.changed.set, kernels=nobody_tells,
        ),
    )
    running = asyncio.create_task(rig.run(diary.journal))
    try:
        yield rig, device
    finally:
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)


async def until(device: Device, state: State, diary: Diary) -> None:
    while device.state is not state:
        diary.changed.clear()
        await diary.changed.wait()


def workers() -> list[psutil.Process]:
    found = psutil.Process().children(recursive=True)
    return [p for p in found if p.is_running() and any("potminer.train.worker" in word for word in p.cmdline())]


async def test_a_rig_trains_only_while_its_miner_does_not_earn(tmp_path: Path) -> None:
    diary = Diary()
    async with asyncio.timeout(90), FakeXmrig() as fake, rig_with(fake, tmp_path, diary) as (rig, device):
        await until(device, State.MINING, diary)
        report = await rig.work(InitialiseJob(1, MODEL, 1))
        assert isinstance(report, Failed), "no worker runs while the miner earns"
        assert workers() == []

        fake.rates, fake.connected = [None, None, None], False  # the pool is gone: it hashes nothing
        await until(device, State.TRAINING, diary)
        assert fake.paused, "the miner was paused before work began"
        assert diary.journal, "and the journal says that it must be resumed"
        assert isinstance(await rig.work(InitialiseJob(2, MODEL, 1)), Initialised)

        fake.connected, fake.rates = True, [1000.0, 1000.0, 1000.0]
        rig.override(Mode.MINE, None)
        await until(device, State.RESTORING, diary)
        assert workers() == [], "the worker is gone before the miner is resumed"
        await until(device, State.MINING, diary)
        assert not fake.paused
        assert diary.allowed[-1] is False


async def test_one_device_is_told_to_finish_and_a_wrong_bus_is_named(tmp_path: Path) -> None:
    diary, path = Diary(), tmp_path / "trace.jsonl"
    recorder = Recorder(path, lambda level, line: None)
    async with (
        asyncio.timeout(90), FakeXmrig() as fake, rig_with(fake, tmp_path, diary, recorder=recorder) as (rig, device),
    ):
        fake.rates, fake.connected = [None, None, None], False
        await until(device, State.TRAINING, diary)
        with pytest.raises(UsageError, match="no device here"):
            rig.finish("09:00.0")
        with pytest.raises(UsageError, match="no device here"):
            rig.override(Mode.OFF, None, device="09:00.0")
        assert device.state is State.TRAINING
        rig.finish(CPU)
        await until(device, State.OFF, diary)
        assert workers() == [], "nothing was under way, so it ends at once"
    lines = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
    said = [line for line in lines if "said" in line.values()]
    assert [line["device"] for line in said] == [CPU], "what was refused was not said"


async def test_a_crash_in_the_middle_of_a_hand_over_still_gives_the_miner_back(tmp_path: Path) -> None:
    diary = Diary()
    async with asyncio.timeout(90), FakeXmrig() as fake:
        fake.rates, fake.connected = [None, None, None], False
        async with rig_with(fake, tmp_path, diary) as (_, device):
            await until(device, State.TRAINING, diary)
        assert fake.paused
        # Nothing but the journal survives: a new process, a new machine.
        fake.connected, fake.rates = True, [1000.0, 1000.0, 1000.0]
        async with rig_with(fake, tmp_path, diary) as (_, device):
            await until(device, State.MINING, diary)
        assert not fake.paused


async def test_asked_to_finish_it_ends_the_job_it_has_and_then_rests(tmp_path: Path) -> None:
    """Two workers: each does a job of its own; a job asked for after the word is not begun."""
    diary = Diary()
    async with asyncio.timeout(90), FakeXmrig() as fake:
        fake.rates, fake.connected = [None, None, None], False
        async with rig_with(fake, tmp_path, diary, workers=2) as (rig, device):
            await until(device, State.TRAINING, diary)
            both = [asyncio.create_task(rig.work(InitialiseJob(number, MODEL, number))) for number in (1, 2)]
            await asyncio.sleep(0)
            rig.finish()
            assert all(isinstance(report, Initialised) for report in await asyncio.gather(*both))
            await until(device, State.OFF, diary)
            assert isinstance(await rig.work(InitialiseJob(3, MODEL, 3)), Failed)
            assert workers() == []
            assert not fake.paused, "and the miner has its device back"


@pytest.mark.parametrize(("kind", "make"), [("trex", FakeTrex), ("ethman", FakeEthman)])
async def test_a_miner_of_another_kind_is_handed_over_and_back(kind: str, make: type, tmp_path: Path) -> None:
    diary, fake = Diary(), make()
    _hash_nothing(fake)
    async with asyncio.timeout(90), fake.server, rig_with(fake.server, tmp_path, diary, kind) as (rig, device):
        await until(device, State.TRAINING, diary)
        assert fake.reply["paused"] if kind == "trex" else fake.reply[3] == "off;off"
        rig.override(Mode.MINE, None)
        await until(device, State.MINING, diary)
        assert not fake.reply["paused"] if kind == "trex" else fake.reply[3] == "61500;30250"


def _hash_nothing(fake: FakeTrex | FakeEthman) -> None:
    """It runs and earns nothing, as without a pool."""
    if isinstance(fake, FakeTrex):
        fake.reply["hashrate"] = 0
    else:
        fake.reply[2], fake.reply[3] = "0;7;1", "0;0"


async def test_a_miner_that_can_only_be_read_is_never_taken_from_while_it_runs(tmp_path: Path) -> None:
    """At 0 H/s its GPUs look free, and still nobody can say that they are: the hand-over rolls back."""
    diary, page = Diary(), Page("/stat", GMINER)
    for device in page.reply["devices"]:
        device["speed"] = 0
    async with (
        asyncio.timeout(90), page.server as server, rig_with(server, tmp_path, diary, "gminer") as (_, device),
    ):
        await until(device, State.RELEASING, diary)
        for gpu, rate in zip(page.reply["devices"], RATES, strict=True):
            gpu["speed"] = rate
        await until(device, State.MINING, diary)
        assert True not in diary.allowed
    # Dead is another matter: nothing listens, nothing holds the device.
    async with asyncio.timeout(90), rig_with(server, tmp_path, diary, "gminer") as (_, device):
        await until(device, State.TRAINING, diary)


async def test_a_miner_paused_for_a_device_that_was_taken_out_of_the_config_is_resumed(tmp_path: Path) -> None:
    diary = Diary()
    async with asyncio.timeout(90), FakeXmrig() as fake:
        fake.rates, fake.connected = [None, None, None], False
        async with rig_with(fake, tmp_path, diary) as (_, device):
            await until(device, State.TRAINING, diary)
        assert fake.paused
        assert diary.journal
        miner = open_miner("xmrig", fake.url, clock=unix_ms)
        person = Person(wall_ms=unix_ms, root=tmp_path, environment={})
        look = Look(clock=unix_ms, host=HostProbe(clock=unix_ms, own_pids=set, person=person), gpus={}, miners=())
        hands = RigHands(
            clock=unix_ms, persist=diary.persist, may_train=diary.may_train, note=lambda level, line: None,
            changed=diary.changed.set, kernels=nobody_tells,
        )
        running = asyncio.create_task(Rig(Outfit(Duties(), look, {}, every=(miner,)), hands).run(dict(diary.journal)))
        while diary.journal:
            diary.changed.clear()
            await diary.changed.wait()
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)
        assert not fake.paused
