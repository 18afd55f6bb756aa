"""The owner comes back: what real idle sources say ends work on a display's card, and its miner mines again.

A fake card, a fake miner that releases single cards, and people as an idle source of the system would tell of them;
the rig, the worker process and the adapter are real.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path

import pytest
from fakes.miners import FakeTrex
from fakes.nvml import FakeCard, FakeNvml
from test_rig_duty import QUICK, Diary, nobody_tells, until, workers

from potminer.core.duty.duties import Duties
from potminer.core.duty.machine import Device
from potminer.core.duty.state import State
from potminer.node.build import unix_ms
from potminer.node.rig import Outfit, Rig, RigHands
from potminer.wire.control import DeviceView
from potminer.wire.trainer import Initialised, InitialiseJob
from potminer.world.child import Launch
from potminer.world.rig.host import HostProbe
from potminer.world.rig.idle.programs import read_programs
from potminer.world.rig.idle.reading import Reading
from potminer.world.rig.look import Look
from potminer.world.rig.miners.registry import open_miner
from potminer.world.rig.nvidia import NvidiaProbe
from potminer.world.rig.person import Habits, Person
from tests.unit.train_kit import MODEL

BUS = "0000:01:00.0"
AWAY = Reading("session 1 (x11)", "x", 3_600_000)


@dataclass
class Desk:
    """One place where a person may be, and the programs that run on the machine."""

    reading: Reading = AWAY
    running: list[str] = field(default_factory=list)

    def has_seat(self) -> bool:
        return True

    def readings(self) -> tuple[Reading, ...]:
        named = read_programs(("blender",), lambda: self.running)
        return (self.reading,) if named is None else (self.reading, named)


def moves_the_mouse(desk: Desk) -> None:
    desk.reading = replace(AWAY, idle_ms=40)


def fills_the_screen(desk: Desk) -> None:
    """A film: hands are still, and somebody watches."""
    desk.reading = replace(AWAY, full_screen=True, detail="a film")


def starts_a_program(desk: Desk) -> None:
    desk.running.append("Blender")


def hides(desk: Desk) -> None:
    """The display answers no more: nobody knows, and nothing is taken for absence."""
    desk.reading = replace(AWAY, idle_ms=None, detail="no answer")


@asynccontextmanager
async def rig_at(desk: Desk, fake: FakeTrex, folder: Path, diary: Diary) -> AsyncIterator[tuple[Rig, Device]]:
    person = Person(wall_ms=unix_ms, root=folder, environment={}, habits=Habits(), places=desk)
    card = FakeCard("00000000:01:00.0", load=0, mode=1, active=1)
    nvidia = NvidiaProbe(clock=unix_ms, own_pids=set, library=FakeNvml(card).library())
    device = Device(bus=BUS, has_miner=True, parameters=QUICK, ask_kernels=False)
    miner = open_miner("trex", fake.server.url, clock=unix_ms)
    look = Look(
        clock=unix_ms, host=HostProbe(clock=unix_ms, own_pids=set, person=person), gpus={"NVIDIA": nvidia},
        miners=(miner,),
    )
    rig = Rig(
        Outfit(Duties([device]), look, {BUS: (Launch(folder, device="cpu"),)}, {BUS: miner}),
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


def shown(rig: Rig) -> DeviceView:
    (view,) = rig.devices(unix_ms())
    return view


@pytest.mark.parametrize(
    ("returns", "reason"),
    [
        (moves_the_mouse, "user-active"),
        (fills_the_screen, "user-active"),
        (starts_a_program, "user-active"),
        (hides, "input-unknown"),
    ],
    ids=["input", "full-screen", "program", "unknown"],
)
async def test_the_owners_return_ends_work_and_the_miner_mines_again(
    returns: Callable[[Desk], None], reason: str, tmp_path: Path
) -> None:
    desk, fake, diary = Desk(), FakeTrex(), Diary()
    fake.reply["hashrate"] = 0
    for gpu in fake.reply["gpus"]:
        gpu["hashrate"] = 0
    async with asyncio.timeout(120), fake.server, rig_at(desk, fake, tmp_path, diary) as (rig, device):
        await until(device, State.TRAINING, diary)
        assert diary.journal, "the journal says that the miner must run again"
        assert isinstance(await rig.work(InitialiseJob(1, MODEL, 1)), Initialised)
        returns(desk)
        await until(device, State.RESTORING, diary)
        assert workers() == [], "memory is free before the miner is asked back"
        assert reason in {each.value for each in device.status(unix_ms()).reasons}
        assert reason in " ".join(shown(rig).reasons), "and the dashboard says why"
        await until(device, State.COOLDOWN, diary)
        assert diary.journal == {}, "verified and forgotten"
