"""Ten thousand short random days of one device, time compressed: the rules that no policy may break.

Never two owners of one device, never over the cap of switches, the miner always given back. A failure prints the seed;
``Trace(seed).run()`` replays it.
"""

from __future__ import annotations

import random
from collections import deque

import pytest

from potminer.core.duty.effects import Effect, PauseMiner, ResumeMiner, StartWork, StopWork
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
from potminer.core.machine import Persist
from potminer.wire.facts import GpuSample, HostSample, MinerSample, Terms

BUS = "0000:01:00.0"
GIB = 2**30
OURS = (State.RELEASING, State.VERIFYING, State.TRAINING, State.DRAINING)
BRIEF = {
    "quiet_ms": 2_000, "input_idle_ms": 2_000, "cooldown_ms": 1_000, "verify_ms": 6_000, "restore_ms": 10_000,
    "stale_ms": 30_000, "miner_silence_ms": 60_000, "flapping_ms": 60_000, "uncontrollable_ms": 20_000,
    "check_ms": 1_000, "confirmations": 2, "min_run_ms": 8_000, "resume_again_ms": (2_000,), "stop_again_ms": 4_000,
    "lend_ms": 120_000, "failure_backoff_ms": (1_000,), "watts_mw": 100_000,
}  # fmt: skip
QUIET = HostSample(0, None, None, False, 600_000, True, 0)
SOMEBODY = HostSample(0, None, None, False, 100, True, 0)
RICH, POOR = Terms(pay_h=400_000, mine_h=90_000, kwh=300_000), Terms(pay_h=40_000, mine_h=90_000, kwh=300_000)
CALM, HOT = (
    GpuSample(BUS, "c", GIB, 8 * GIB, None, 0, milli_c, None, 100_000, True, 0) for milli_c in (50_000, 90_000)
)


class Trace:
    def __init__(self, seed: int) -> None:
        self.rng = rng = random.Random(seed)
        self.policy = rng.choice(list(Policy))
        self.parameters = Parameters(policy=self.policy, switches_per_hour=rng.choice([2, 3, 6]), **BRIEF)
        self.alive, self.paused, self.ours, self.rate = rng.random() < 0.9, False, False, rng.choice([0, 1_000])
        self.host, self.gpu, self.terms = QUIET, CALM, RICH
        self.now = 20 * HOUR_MS
        self.disk: dict[bytes, bytes] = {}
        self.runs = 0
        self.boot()

    def boot(self) -> None:
        self.device = Device(bus=BUS, has_miner=True, parameters=self.parameters)
        self.working: int | None = None
        self.asks: deque[Ask] = deque()
        self.switches: deque[int] = deque(maxlen=self.parameters.switches_per_hour)
        if self.device.key in self.disk:
            self.tell(JournalRestored(self.disk[self.device.key]))

    def tell(self, event: Event) -> None:
        before = self.device.state in OURS
        for effect in self.device.handle(event, self.now):
            self.perform(effect)
        if before != (self.device.state in OURS):
            full = len(self.switches) == self.switches.maxlen
            assert not full or self.now - self.switches[0] >= HOUR_MS, "over the cap"
            self.switches.append(self.now)

    def perform(self, effect: Effect) -> None:
        match effect:
            case StartWork(_, run):
                assert self.working is None
                assert not self.alive or self.paused, "two owners"
                self.working = run
                self.runs += 1
            case PauseMiner():
                assert self.disk, "asked before it was written down"
                self.asks.append(Ask.PAUSE)
            case ResumeMiner():
                assert self.working is None, "asked back beside our work"
                self.asks.append(Ask.RESUME)
            case Persist(key, value):
                self.disk.pop(key, None)
                if value is not None:
                    self.disk[key] = value
            case StopWork():
                assert self.working is not None
            case _:
                pass

    def look(self, after_ms: int = 2_000) -> None:
        self.now += after_ms
        while self.asks:
            ask = self.asks.popleft()
            if self.alive:
                self.paused = self.ours = ask is Ask.PAUSE
            self.tell(MinerReplied(ask, self.alive))
        if self.working is not None and self.device.state is State.DRAINING:
            run, self.working = self.working, None
            self.tell(WorkerReleased(run))
        rate = self.rate if self.alive and not self.paused else None
        miner = MinerSample(
            "m", "trex", "1", self.alive, self.paused if self.alive else None, rate, 1, 0, 0, False, (), self.now
        )
        self.tell(Sampled(self.host, self.gpu, miner, self.terms))

    def live(self) -> None:
        rng = self.rng
        match rng.randrange(12):
            case 0:
                self.host = rng.choice([QUIET, SOMEBODY])
            case 1:
                self.gpu = rng.choice([CALM, CALM, HOT])
            case 2:
                self.terms = rng.choice([RICH, POOR, Terms()])
            case 3:
                self.alive, self.paused, self.ours = not self.alive, False, False
            case 4:
                self.rate = rng.choice([0, 1_000])
            case 5:
                self.tell(Overridden(rng.choice(list(Mode)), rng.choice([None, self.now + 10_000])))
            case 6:
                self.tell(FinishAsked())
                if self.working is not None:
                    run, self.working = self.working, None
                    self.tell(WorkerReleased(run))
            case 7 if self.working is not None:
                run, self.working = self.working, None
                self.tell(WorkerFailed(run))
            case 8:
                self.boot()
            case 9:
                self.now += rng.choice([60_000, 20 * 60_000, HOUR_MS])
            case _:
                self.host, self.gpu = QUIET, CALM
                self.tell(Overridden(Mode.AUTO))
        for _ in range(rng.choice([1, 2, 5])):
            self.look()

    def run(self) -> int:
        for _ in range(10):
            self.live()
        self.tell(Overridden(Mode.OFF))
        for _ in range(20):
            self.look()
            if self.device.state is State.OFF and not self.asks:
                break
        assert self.device.state is State.OFF
        assert self.working is None
        assert not self.ours or not self.alive, "the miner stays paused"
        return self.runs


@pytest.mark.parametrize("block", range(5))
def test_ten_thousand_random_days_break_no_rule(block: int) -> None:
    runs = 0
    for seed in range(block * 2_000, (block + 1) * 2_000):
        try:
            runs += Trace(seed).run()
        except AssertionError as error:
            raise AssertionError(f"Trace({seed}).run(): {error}") from error
    assert runs > 1_000, "days without work prove nothing"
