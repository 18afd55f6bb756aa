"""Devices that share one miner, on random days: it never mines beside our work, and is always given back.

A failure prints the seed; ``run_trace(seed)`` replays it.
"""

from __future__ import annotations

import random
from collections import deque

from potminer.core.duty.company import Company
from potminer.core.duty.duties import Duties
from potminer.core.duty.effects import Effect, FinishWork, PauseMiner, ResumeMiner, StartWork, StopWork
from potminer.core.duty.events import (
    Ask,
    Event,
    FinishAsked,
    JournalRestored,
    MinerReplied,
    Overridden,
    Sampled,
    WorkerFailed,
    WorkerReleased,
)
from potminer.core.duty.machine import Device
from potminer.core.duty.parameters import HOUR_MS, Parameters
from potminer.core.duty.state import Mode, Policy, State
from potminer.core.machine import Persist, SetTimer, TimerFired
from potminer.wire.facts import GpuSample, HostSample, MinerSample

GIB = 1024**3


class Rig:
    def __init__(self, seed: int) -> None:
        self.rng = rng = random.Random(seed)
        self.buses = [f"0000:0{at}:00.0" for at in range(1, rng.choice([3, 4]))]
        self.parameters = Parameters(policy=rng.choice([Policy.IDLE_ONLY, Policy.ALWAYS]), switches_per_hour=6)
        self.alive, self.paused, self.rate = True, False, rng.choice([0, 0, 1_000])
        self.loads = dict.fromkeys(self.buses, 0)
        self.heat = dict.fromkeys(self.buses, 50_000)
        self.now = 10 * HOUR_MS
        self.disk: dict[bytes, bytes] = {}
        self.runs = self.together = 0
        self.boot()

    def boot(self) -> None:
        company = Company()
        self.duties = Duties(
            Device(bus=bus, has_miner=True, parameters=self.parameters, company=company) for bus in self.buses
        )
        self.working: dict[str, int] = {}
        self.asks: deque[tuple[str, Ask]] = deque()
        self.timers: dict[str, int] = {}
        for bus, device in self.duties.devices.items():
            if device.key in self.disk:
                self.tell(bus, JournalRestored(self.disk[device.key]))

    def tell(self, bus: str, event: Event) -> list[Effect]:
        effects = self.duties.handle(bus, event, self.now)
        for effect in effects:
            self.perform(effect)
        if any(device.state is State.RESTORING for device in self.duties.devices.values()):
            assert State.RELEASING not in {d.state for d in self.duties.devices.values()}
        return effects

    def perform(self, effect: Effect) -> None:
        match effect:
            case StartWork(bus, run):
                assert bus not in self.working
                assert not self.alive or self.paused, "two owners"
                self.working[bus] = run
                self.runs += 1
                self.together = max(self.together, len(self.working))
            case PauseMiner(bus):
                assert self.duties.devices[bus].key in self.disk, "the journal comes first"
                self.asks.append((bus, Ask.PAUSE))
            case ResumeMiner(bus):
                assert not self.working, "the miner is asked back beside our work"
                self.asks.append((bus, Ask.RESUME))
            case Persist(key, value):
                self.disk.pop(key, None)
                if value is not None:
                    self.disk[key] = value
            case SetTimer(name, delay_ms):
                self.timers[name] = self.now + delay_ms
            case _:
                pass

    def look(self) -> None:
        rate = self.rate if self.alive and not self.paused else None
        miner = MinerSample(
            "m", "gminer", "1", self.alive, self.paused if self.alive else None, rate, 1, 0, 0, False, (), self.now
        )
        host = HostSample(0, None, None, False, None, False, self.now)
        for bus in self.buses:
            gpu = GpuSample(bus, "c", GIB, 8 * GIB, None, self.loads[bus], self.heat[bus], None, None, False, self.now)
            self.tell(bus, Sampled(host, gpu, miner))

    def pass_time(self, ms: int) -> None:
        for _ in range(ms // 2_000):
            self.now += 2_000
            while self.asks:
                bus, ask = self.asks.popleft()
                if self.alive:
                    self.paused = ask is Ask.PAUSE
                    assert self.paused or not self.working, "it mines beside our work"
                self.tell(bus, MinerReplied(ask, self.alive))
            for bus, run in list(self.working.items()):
                if self.duties.devices[bus].state is State.DRAINING:
                    del self.working[bus]
                    self.tell(bus, WorkerReleased(run))
            for name, due in list(self.timers.items()):
                if due <= self.now:
                    del self.timers[name]
                    self.tell(name.removeprefix("duty/"), TimerFired(name))
            self.look()

    def live(self) -> None:
        rng = self.rng
        bus = rng.choice(self.buses)
        match rng.randrange(10):
            case 0:
                self.loads[bus] = rng.choice([0, 0, 900_000])
            case 1:
                self.heat[bus] = rng.choice([50_000, 50_000, 95_000])
            case 2 if bus in self.working:
                self.tell(bus, WorkerFailed(self.working.pop(bus)))
            case 3:
                self.tell(bus, Overridden(rng.choice([Mode.AUTO, Mode.TRAIN, Mode.MINE, Mode.OFF])))
            case 4:
                self.alive, self.paused = rng.random() < 0.7, False
                if self.working:
                    self.alive = False  # a program that starts again beside our work is its owner's doing
            case 5:
                self.rate = rng.choice([0, 1_000])
            case 6:
                for effect in self.tell(bus, FinishAsked()):
                    if isinstance(effect, FinishWork):
                        self.tell(bus, WorkerReleased(self.working.pop(bus)))
            case 7 if rng.random() < 0.3:
                self.boot()
            case _:
                for each in self.buses:
                    self.tell(each, Overridden(Mode.AUTO))
        self.pass_time(rng.choice([4_000, 70_000, 200_000]))

    def settle(self) -> None:
        for bus in self.buses:
            self.tell(bus, Overridden(Mode.OFF))
        self.pass_time(700_000)
        assert {device.state for device in self.duties.devices.values()} == {State.OFF}
        assert not self.working
        assert not self.disk or all(b"true" not in value for value in self.disk.values())
        assert not self.alive or not self.paused, "the miner stays paused"


def run_trace(seed: int) -> Rig:
    rig = Rig(seed)
    for _ in range(25):
        rig.live()
    rig.settle()
    return rig


def test_a_shared_miner_never_mines_beside_our_work_and_is_always_given_back() -> None:
    runs = together = 0
    for seed in range(60):
        try:
            rig = run_trace(seed)
        except AssertionError as error:
            raise AssertionError(f"run_trace({seed}): {error}") from error
        runs += rig.runs
        together += rig.together > 1
    assert runs > 60
    assert together > 15, "traces in which cards never work together prove little"


def _stops(effects: list[Effect]) -> list[str]:
    return [effect.bus for effect in effects if isinstance(effect, StopWork)]


def test_one_card_may_leave_while_the_others_work_on() -> None:
    rig = Rig(0)
    rig.parameters, rig.rate, rig.alive, rig.paused = Parameters(), 0, True, False
    rig.buses = rig.buses[:2]
    rig.disk.clear()
    rig.boot()
    first, second = (rig.duties.devices[bus] for bus in rig.buses)
    rig.pass_time(120_000)
    assert first.state is second.state is State.TRAINING
    rig.heat[first.bus] = 95_000
    rig.pass_time(10_000)
    assert (first.state, second.state) == (State.COOLDOWN, State.TRAINING)
    assert rig.paused, "the other works on"
    assert first.key not in rig.disk
    assert second.key in rig.disk, "who works on will see to it that the miner is resumed"
    rig.tell(second.bus, Overridden(Mode.MINE))
    rig.pass_time(10_000)
    assert not rig.paused


def test_a_miner_that_earns_is_paused_only_when_all_of_its_cards_are_free() -> None:
    rig = Rig(0)
    rig.parameters, rig.rate, rig.alive, rig.paused = Parameters(policy=Policy.ALWAYS), 1_000, True, False
    rig.buses = rig.buses[:2]
    rig.boot()
    rig.heat[rig.buses[0]] = 95_000
    rig.pass_time(60_000)
    assert {device.state for device in rig.duties.devices.values()} == {State.MINING}
    rig.heat[rig.buses[0]] = 60_000
    rig.pass_time(20_000)
    assert {device.state for device in rig.duties.devices.values()} == {State.TRAINING}
