"""One device through its day, step by step."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from potminer.core.duty.effects import Effect, Note, PauseMiner, ResumeMiner, StartWork, StopWork
from potminer.core.duty.events import (
    Ask,
    JournalRestored,
    MinerReplied,
    Overridden,
    Sampled,
    WorkerFailed,
    WorkerReleased,
)
from potminer.core.duty.machine import Device
from potminer.core.duty.parameters import DEDICATED, MINUTE_MS, Parameters
from potminer.core.duty.sentence import sentence
from potminer.core.duty.state import LEGAL_MOVES, Mode, Reason, State
from potminer.core.machine import Persist, SetTimer, TimerFired
from potminer.wire.codec import decode
from potminer.wire.facts import DutyJournal, GpuSample, HostSample, MinerSample

BUS = "0000:01:00.0"
GIB = 1024**3


class Day:
    """A device and the rig around it; time passes by samples every 2 s."""

    def __init__(self, *, bus: str = BUS, has_miner: bool = False, parameters: Parameters | None = None) -> None:
        self.device = Device(bus=bus, has_miner=has_miner, parameters=parameters or Parameters())
        self.now = 1_000_000
        self.host = HostSample(0, 8 * GIB, 4 * GIB, False, None, False, 0)
        self.gpu: GpuSample | None = GpuSample(BUS, "card", GIB, 8 * GIB, 0, 0, 50_000, None, 90_000, False, 0)
        self.miner: MinerSample | None = None
        if has_miner:
            self.miner = MinerSample("xmrig", "xmrig", "6", True, False, 1_000, 60, 1, 0, False, (), 0)

    def tell(self, event: object) -> list[Effect]:
        return [e for e in self.device.handle(event, self.now) if not isinstance(e, SetTimer)]  # type: ignore[arg-type]

    def look(self) -> list[Effect]:
        gpu = None if self.gpu is None or self.device.bus == "cpu" else self.gpu
        miner = None if self.miner is None else _at(self.miner, self.now)
        return self.tell(Sampled(self.host, gpu, miner))

    def wait(self, ms: int) -> list[Effect]:
        effects: list[Effect] = []
        end = self.now + ms
        while self.now < end:
            self.now = min(end, self.now + 2_000)
            effects += self.look()
        return effects

    def train(self) -> None:
        self.wait(240_000)
        assert self.device.state is State.TRAINING, self.device.reasons


def _at(miner: MinerSample, now: int) -> MinerSample:
    values = {name: getattr(miner, name) for name in miner.__struct_fields__}
    return MinerSample(**{**values, "taken_at_ms": now})


def _with(sample: object, **changes: object) -> object:
    values = {name: getattr(sample, name) for name in sample.__struct_fields__}  # type: ignore[attr-defined]
    return type(sample)(**{**values, **changes})


def _stops(effects: list[Effect]) -> list[StopWork]:
    return [e for e in effects if isinstance(e, StopWork)]


def test_riser_card_trains_after_a_minute_of_quiet() -> None:
    day = Day()
    assert day.look() == [Note(BUS, State.IDLE_WAIT, frozenset({Reason.FOREIGN_LOAD}))]
    effects = day.wait(58_000)
    assert effects == []
    assert day.wait(2_000) == [StartWork(BUS, 1), Note(BUS, State.TRAINING, frozenset())]


def test_display_card_waits_for_quiet_hands_and_yields_to_them() -> None:
    day = Day()
    day.gpu = _with(day.gpu, drives_display=True)
    day.host = _with(day.host, has_seat=True, input_idle_ms=100_000)
    day.wait(120_000)
    assert (day.device.state, day.device.reasons) == (State.IDLE_WAIT, {Reason.USER_ACTIVE})
    day.host = _with(day.host, input_idle_ms=180_000)
    day.train()
    day.host = _with(day.host, input_idle_ms=10)
    assert _stops(day.look()) == [StopWork(BUS, 1, 2_000)]
    assert day.device.reasons == {Reason.USER_ACTIVE}
    day.tell(WorkerReleased(1))
    assert day.device.state is State.COOLDOWN


def test_unknown_input_blocks_where_a_person_may_sit() -> None:
    day = Day()
    day.gpu = _with(day.gpu, drives_display=None)
    day.host = _with(day.host, has_seat=None)
    day.wait(300_000)
    assert (day.device.state, day.device.reasons) == (State.BLOCKED, {Reason.INPUT_UNKNOWN})
    day.host = _with(day.host, has_seat=False)
    day.train()


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"foreign_utilisation_ppm": 400_000}, Reason.FOREIGN_LOAD),
        ({"temperature_milli_c": 85_000}, Reason.THERMAL),
        ({"memory_temperature_milli_c": 105_000}, Reason.THERMAL),
    ],
)
def test_load_and_heat_end_training_at_once(change: dict[str, int], reason: Reason) -> None:
    day = Day()
    day.train()
    day.gpu = _with(day.gpu, **change)
    assert _stops(day.look())
    assert day.device.reasons == {reason}


def test_heat_has_hysteresis() -> None:
    day = Day(parameters=DEDICATED)
    day.gpu = _with(day.gpu, temperature_milli_c=86_000)
    day.look()
    for milli_c, state in ((80_000, State.BLOCKED), (71_000, State.BLOCKED), (70_000, State.TRAINING)):
        day.gpu = _with(day.gpu, temperature_milli_c=milli_c)
        day.wait(2_000)
        assert day.device.state is state
    day.gpu = _with(day.gpu, temperature_milli_c=84_000)
    day.look()
    assert day.device.state is State.TRAINING


def test_battery_and_a_lost_card_forbid() -> None:
    day = Day()
    day.host = _with(day.host, on_battery=True)
    day.wait(120_000)
    assert (day.device.state, day.device.reasons) == (State.BLOCKED, {Reason.BATTERY})
    day.gpu = None
    day.look()
    assert day.device.state is State.FAULT
    assert Reason.DEVICE_LOST in day.device.reasons


def test_cpu_device_ignores_hands_and_watches_load() -> None:
    day = Day(bus="cpu")
    day.host = _with(day.host, has_seat=True, cpu_load_ppm=200_000)
    day.train()
    day.host = _with(day.host, cpu_load_ppm=600_000)
    assert _stops(day.look())


def test_unknown_load_without_a_miner_blocks() -> None:
    day = Day(bus="cpu")
    day.host = _with(day.host, cpu_load_ppm=None)
    day.wait(300_000)
    assert (day.device.state, day.device.reasons) == (State.BLOCKED, {Reason.LOAD_UNKNOWN})


def test_an_earning_miner_is_left_alone() -> None:
    day = Day(has_miner=True)
    effects = day.wait(3_600_000)
    assert day.device.state is State.MINING
    assert not [e for e in effects if isinstance(e, PauseMiner | StartWork)]


def test_an_idling_miner_is_paused_journalled_and_given_back() -> None:
    day = Day(has_miner=True)
    day.wait(600_000)
    day.miner = _with(day.miner, hashrate_hs=0)
    effects = day.wait(62_000)
    persist = effects.index(next(e for e in effects if isinstance(e, Persist)))
    assert effects[persist + 1] == PauseMiner(BUS)
    assert day.device.state is State.RELEASING
    assert not [e for e in day.wait(4_000) if isinstance(e, StartWork)]
    day.tell(MinerReplied(Ask.PAUSE, ok=True))
    assert day.device.state is State.VERIFYING
    day.miner = _with(day.miner, paused=True)
    assert StartWork(BUS, 1) in day.wait(2_000)

    effects = day.wait(45 * MINUTE_MS)
    assert _stops(effects)
    assert day.device.reasons == {Reason.MINER_TURN}
    assert not [e for e in effects if isinstance(e, ResumeMiner)]
    assert ResumeMiner(BUS) in day.tell(WorkerReleased(1))
    day.miner = _with(day.miner, paused=False)
    effects = day.wait(2_000)
    assert Persist(b"duty/" + BUS.encode(), None) in effects
    assert day.device.state is State.COOLDOWN


def test_restoring_waits_for_the_former_hash_rate_and_alerts() -> None:
    day = Day(has_miner=True)
    day.wait(600_000)
    effects = day.tell(Overridden(Mode.TRAIN, day.now + 600_000))
    written = next(e.value for e in effects if isinstance(e, Persist))
    assert written is not None
    assert decode(DutyJournal, written, max_bytes=256) == DutyJournal(True, 1_000, False)
    day.tell(MinerReplied(Ask.PAUSE, ok=True))
    day.miner = _with(day.miner, paused=True, hashrate_hs=None)
    day.wait(2_000)
    assert day.device.state is State.TRAINING
    assert _stops(day.wait(600_000)), "the override has expired and the pause is due"
    day.tell(WorkerReleased(1))
    day.miner = _with(day.miner, paused=False, hashrate_hs=700)
    day.wait(4 * MINUTE_MS)
    assert day.device.state is State.RESTORING
    day.wait(MINUTE_MS)
    assert (day.device.state, Reason.MINER_SLOW in day.device.reasons) == (State.COOLDOWN, True)


def test_a_paused_miner_stays_the_owners() -> None:
    day = Day(has_miner=True)
    day.miner = _with(day.miner, paused=True)
    effects = day.wait(120_000)
    assert day.device.state is State.TRAINING
    day.miner = _with(day.miner, paused=False)
    effects += day.look()
    assert _stops(effects)
    effects += day.tell(WorkerReleased(1))
    assert not [e for e in effects if isinstance(e, PauseMiner | ResumeMiner | Persist)]


def test_a_miner_that_refuses_is_left_in_peace_for_an_hour() -> None:
    day = Day(has_miner=True)
    day.miner = _with(day.miner, hashrate_hs=0)
    day.wait(62_000)
    assert ResumeMiner(BUS) in day.tell(MinerReplied(Ask.PAUSE, ok=False))
    effects = day.wait(50 * MINUTE_MS)
    assert (day.device.state, day.device.reasons) == (State.BLOCKED, {Reason.MINER_UNCONTROLLABLE})
    assert not [e for e in effects if isinstance(e, PauseMiner)]


def test_a_pause_that_cannot_be_verified_is_rolled_back() -> None:
    day = Day(has_miner=True)
    day.miner = _with(day.miner, hashrate_hs=0)
    day.wait(62_000)
    day.tell(MinerReplied(Ask.PAUSE, ok=True))
    effects = day.wait(32_000)
    assert ResumeMiner(BUS) in effects
    assert not [e for e in effects if isinstance(e, StartWork)]


def test_a_stuck_worker_never_gets_a_miner_beside_it() -> None:
    day = Day(has_miner=True)
    day.miner = _with(day.miner, hashrate_hs=0)
    day.wait(62_000)
    day.tell(MinerReplied(Ask.PAUSE, ok=True))
    day.miner = _with(day.miner, paused=True)
    day.wait(2_000)
    day.tell(Overridden(Mode.MINE))
    effects = day.wait(60_000)
    assert StopWork(BUS, 1, 0) in effects
    assert not [e for e in effects if isinstance(e, ResumeMiner)]
    assert Reason.WORKER_STUCK in day.device.reasons
    assert day.tell(WorkerReleased(7)) == [], "an answer of another run"
    assert ResumeMiner(BUS) in day.tell(WorkerFailed(1))


def test_resuming_is_repeated_until_it_works() -> None:
    day = Day(has_miner=True)
    journal = Persist(day.device.key, None)
    effects = day.tell(JournalRestored(b"\xc1 torn"))
    assert effects[0] == ResumeMiner(BUS)
    day.miner = _with(day.miner, paused=True)
    effects = day.wait(20 * MINUTE_MS)
    assert 5 <= len([e for e in effects if isinstance(e, ResumeMiner)]) <= 12
    assert (day.device.state, day.device.reasons) == (State.RESTORING, {Reason.MINER_NOT_RESTORED})
    day.miner = _with(day.miner, paused=False)
    assert journal in day.wait(2_000)


def test_off_survives_a_restart_and_auto_ends_it() -> None:
    day = Day()
    written = [e for e in day.tell(Overridden(Mode.OFF)) if isinstance(e, Persist)]
    again = Day()
    assert written[0].value is not None
    again.tell(JournalRestored(written[0].value))
    again.wait(600_000)
    assert again.device.state is State.OFF
    assert Persist(again.device.key, None) in again.tell(Overridden(Mode.AUTO))
    again.train()


def test_overrides_expire_by_a_timer_alone() -> None:
    day = Day()
    timers = [e for e in day.device.handle(Overridden(Mode.MINE), day.now) if isinstance(e, SetTimer)]
    assert timers == [SetTimer(f"duty/{BUS}", 3_600_000)]
    assert day.device.status(day.now).mode is Mode.MINE
    day.now += 3_600_000
    day.device.handle(TimerFired(f"duty/{BUS}"), day.now)
    assert day.device.status(day.now).mode is Mode.AUTO


def test_blindness_ends_training_by_a_timer_alone() -> None:
    day = Day()
    day.train()
    day.now += 10_001
    assert _stops(day.tell(TimerFired(day.device.timer)))
    assert day.device.reasons == {Reason.BLIND}


def test_swinging_is_capped_for_an_hour() -> None:
    day = Day(parameters=replace(DEDICATED, switches_per_hour=4, flapping_ms=3_600_000))
    for run in (1, 2):
        day.wait(4_000)
        assert day.device.state is State.TRAINING
        day.tell(WorkerReleased(run))
    day.wait(4_000)
    assert (day.device.state, day.device.reasons) == (State.BLOCKED, {Reason.FLAPPING})
    day.wait(3_602_000)
    assert day.device.state is State.TRAINING


def test_long_runs_forgive_failures() -> None:
    day = Day(parameters=DEDICATED)
    for run in range(1, 9):
        day.wait(1_300_000)
        assert day.device.state is State.TRAINING
        day.tell(WorkerFailed(run))
        assert day.device.state is State.COOLDOWN


def test_quick_failures_end_in_fault() -> None:
    day = Day(parameters=DEDICATED)
    failed = 0
    while day.device.state is not State.FAULT and failed < 9:
        for effect in day.wait(2_000):
            if isinstance(effect, StartWork):
                failed += 1
                day.tell(WorkerFailed(effect.run))
    assert (failed, day.device.reasons) == (5, {Reason.WORKER_FAILED})
    day.tell(Overridden(Mode.AUTO))
    day.wait(2_000)
    assert day.device.state is State.TRAINING


def test_too_little_memory_blocks() -> None:
    day = Day(parameters=replace(DEDICATED, memory_needed_bytes=7 * GIB + 1))
    day.wait(10_000)
    assert (day.device.state, day.device.reasons) == (State.BLOCKED, {Reason.LOW_MEMORY})


def test_dedicated_trainer_starts_with_the_first_look() -> None:
    day = Day(bus="cpu", parameters=DEDICATED)
    day.host = HostSample(None, None, None, None, None, None, 0)
    assert day.look() == [StartWork("cpu", 1), Note("cpu", State.TRAINING, frozenset())]


def test_waits_go_on_when_the_clock_jumps_back() -> None:
    day = Day()
    day.look()
    day.now -= 900_000
    day.wait(64_000)
    assert day.device.state is State.TRAINING


def test_a_night_of_suspend_is_not_a_minute_of_quiet() -> None:
    day = Day()
    day.look()
    day.now += 8 * 3_600_000
    day.look()
    assert day.device.state is State.IDLE_WAIT


def test_every_state_can_be_reached_and_left() -> None:
    assert set(LEGAL_MOVES) == set(State)
    assert {target for targets in LEGAL_MOVES.values() for target in targets} == set(State)
    assert all(LEGAL_MOVES.values())


def test_sentences() -> None:
    day = Day(has_miner=True)
    day.miner = _with(day.miner, paused=True)
    day.host = _with(day.host, input_idle_ms=190_000)
    day.train()
    started = day.device.status(day.now)
    assert sentence(started) == "training since 2 min: idle 3 min, miner paused"
    day.tell(Overridden(Mode.OFF))
    day.tell(WorkerReleased(1))
    assert sentence(day.device.status(day.now)) == "off since 0 s: you said so (by hand: off, until changed)"


def test_the_diagram_in_the_spec_is_the_table() -> None:
    text = (Path(__file__).parents[2] / "docs/spec/duty.md").read_text()
    drawn = {tuple(line.split(" --> ")) for line in map(str.strip, text.splitlines()) if " --> " in line}
    table = {(state.name, target.name) for state, targets in LEGAL_MOVES.items() for target in targets}
    assert drawn == table | {("[*]", State.IDLE_WAIT.name)}
