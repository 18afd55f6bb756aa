"""A recorded afternoon through the real duty machines: what happened, when, and why."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import msgspec
import pytest

from potminer.base.errors import ConfigError
from potminer.core.duty.machine import Device
from potminer.core.duty.parameters import Parameters
from potminer.core.duty.state import Policy, Reason, State
from potminer.node.recorder import Recorder
from potminer.sim.policy import Account, Played, parameters_of, play, read_trace
from potminer.wire.control import Mode
from potminer.wire.facts import GpuSample, HostSample, MinerGpu, MinerSample, RigSample, Terms
from potminer.wire.trace import LookLine, RigLine, SaidLine
from potminer.world.assets import asset

AFTERNOON = "afternoon.jsonl"
NOON_MS = 1_763_985_600_000
SCREEN, RISER = "0000:01:00.0", "0000:02:00.0"
MINUTE_MS = 60_000


def played(**changes: object) -> Played:
    lines = read_trace(asset(AFTERNOON))
    rig = lines[0]
    assert isinstance(rig, RigLine)
    return play(lines, parameters_of(rig, **changes))


def story(found: Played, bus: str) -> list[tuple[str, State, set[Reason]]]:
    """(hours:minutes:seconds since noon, state, reasons)."""
    told = []
    for moment in found.moments:
        if moment.bus == bus:
            seconds = (moment.at_ms - NOON_MS) // 1_000
            at = f"{seconds // 3_600}:{seconds // 60 % 60:02}:{seconds % 60:02}"
            told.append((at, moment.state, set(moment.reasons)))
    return told


def account(found: Played, bus: str) -> Account:
    return next(each for each in found.accounts if each.bus == bus)


def test_the_afternoon_goes_as_it_must_under_profit() -> None:
    found = played()
    assert not found.violations
    here, away = {Reason.FOREIGN_LOAD, Reason.USER_ACTIVE}, {Reason.USER_ACTIVE}
    poor, gone = {Reason.UNPROFITABLE}, {Reason.MINER_GONE, Reason.UNPROFITABLE}
    assert story(found, SCREEN) == [
        ("0:00:00", State.MINING, poor),
        ("0:32:00", State.RELEASING, set()),  # the third look after the rise at 0:30
        ("0:32:01", State.VERIFYING, set()),
        ("0:32:02", State.TRAINING, set()),
        ("1:00:00", State.DRAINING, here),  # the owner plays: at once
        ("1:00:01", State.RESTORING, here),
        ("1:05:01", State.COOLDOWN, here | {Reason.MINER_SLOW}),  # the game leaves the miner nothing
        ("1:07:01", State.IDLE_WAIT, here | poor),
        ("1:10:01", State.IDLE_WAIT, here),
        ("1:50:00", State.MINING, away),
        ("1:53:00", State.RELEASING, set()),  # three minutes of quiet hands
        ("1:53:01", State.VERIFYING, set()),
        ("1:53:01", State.TRAINING, set()),
        ("3:10:00", State.DRAINING, poor),  # the price fell: at the next look
        ("3:10:01", State.RESTORING, poor),
        ("3:15:01", State.COOLDOWN, gone),  # it died at 3:00 and cannot be resumed
        ("3:17:01", State.IDLE_WAIT, poor),
        ("3:30:00", State.MINING, poor),
    ]
    heat = [each for each in story(found, RISER) if Reason.THERMAL in each[2]]
    assert [(at, state) for at, state, _ in heat] == [
        ("2:30:00", State.DRAINING), ("2:30:01", State.RESTORING), ("2:30:02", State.COOLDOWN),
        ("2:32:02", State.MINING), ("2:40:01", State.MINING),
    ]  # fmt: skip
    assert ("2:45:00", State.RELEASING, set()) in story(found, RISER)


def test_the_afternoons_accounts_add_up() -> None:
    found = played()
    for bus in (SCREEN, RISER):
        seen = account(found, bus)
        assert sum(seen.in_state.values()) == found.to_ms - found.from_ms == 240 * MINUTE_MS
        assert (seen.runs, seen.switches) == (2, 4)
        # 0.14 an hour less 120 W at 0.30: 0.104; from the fall on 0.02: a loss of 0.016, for no second.
        assert seen.training_micro == pytest.approx(seen.in_state[State.TRAINING] * 0.104 / 3.6, rel=1e-3)
    riser = account(found, RISER)
    assert riser.mining_ms == 210 * MINUTE_MS
    assert riser.undisturbed_micro == 210 * 54_000 // 60
    assert (riser.training_micro or 0) + (riser.mining_micro or 0) > riser.undisturbed_micro


def test_under_idle_only_the_miner_loses_less_than_a_hundredth() -> None:
    found = played(policy=Policy.IDLE_ONLY)
    assert not found.violations
    for bus in (SCREEN, RISER):
        seen = account(found, bus)
        assert seen.runs == 1, "only while the miner is dead"
        assert 0 < seen.lost_ms <= seen.mining_ms // 100
    assert ("3:01:00", State.TRAINING, set()) in story(found, RISER)


def test_without_prices_nothing_is_invented() -> None:
    lines = [
        msgspec.structs.replace(line, terms=()) if isinstance(line, LookLine) else line
        for line in read_trace(asset(AFTERNOON))
    ]
    found = play(lines, Parameters(policy=Policy.PROFIT))
    assert {reason for each in found.moments for reason in each.reasons} >= {Reason.PRICES_UNKNOWN}
    assert account(found, SCREEN).runs == 0
    assert account(found, SCREEN).undisturbed_micro is None


def test_prices_that_swing_every_twenty_seconds_meet_the_cap() -> None:
    lines = read_trace(asset(AFTERNOON))
    cap = Parameters(policy=Policy.PROFIT, cooldown_ms=0, min_run_ms=0, check_ms=1, confirmations=1)
    looks = [line for line in lines if isinstance(line, LookLine)]
    rich, poor = looks[100].terms, looks[0].terms
    swinging = [
        msgspec.structs.replace(looks[70], at_ms=NOON_MS + at * 20_000, terms=rich if at % 2 else poor)
        for at in range(200)
    ]
    found = play([lines[0], *swinging], cap)
    assert not found.violations
    assert account(found, RISER).switches <= 8
    assert Reason.FLAPPING in {reason for each in found.moments for reason in each.reasons}


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (b"", "nothing was recorded"),
        (b"{}\n", "line 1"),
        (b'{"line":"look","at_ms":1,"host":{}}\n', "the first line"),
        (b'{"line":"rig","devices":[]}\n{"line":"look","at_ms":-1,"host":{}}\n', "line 2"),
        (b'{"line":"rig","devices":[]}\n' + b"[" * 300_000, "line"),
        (b'{"line":"rig","devices":[]}\n{"line":"said","at_ms":9}\n{"line":"said","at_ms":8}\n', "backwards"),
    ],
)
def test_what_is_no_recording_is_refused(text: bytes, said: str, tmp_path: Path) -> None:
    file = tmp_path / "day.jsonl"
    file.write_bytes(text)
    with pytest.raises(ConfigError, match=said):
        read_trace(file)
    with pytest.raises(ConfigError, match="parameters"):
        parameters_of(RigLine(devices=(), parameters={"policy": "greedy"}))


def test_what_is_recorded_can_be_played(tmp_path: Path) -> None:
    file, now = tmp_path / "day.jsonl", 1_000_000
    device = Device(bus=RISER, has_miner=True, parameters=Parameters(policy=Policy.PROFIT, hours=((0, 600),)))
    recorder = Recorder(file, lambda level, line: None)
    recorder.begin([device], {RISER: ("trex@x", True)}, "EUR")
    gpu = GpuSample(RISER, "card", 1, 9, 0, 0, 50_000, None, 90_000, False, now, architecture="sm_86")
    miner = MinerSample(
        "trex@x", "trex", "1", True, False, 5, 1, 2, 3, True, (MinerGpu(RISER, 5, paused=False),), now
    )
    for step in range(40):
        host = HostSample(1, 2, 3, False, None, False, now)
        recorder.look(RigSample(host, (gpu,), "", (miner,), now), {RISER: Terms(week_minute=5)}, [device], now)
        now += 2_000 if step < 39 else 0
    recorder.said(SaidLine(at_ms=now, mode=Mode.OFF))
    recorder.close()
    lines = read_trace(file)
    assert len(lines) == 5, "a look that says the same is not written again and again"
    rig = lines[0]
    assert isinstance(rig, RigLine)
    assert parameters_of(rig) == device.parameters
    found = play(lines, parameters_of(rig))
    assert [each.state for each in found.moments] == [State.MINING, State.OFF]
    with pytest.raises(ConfigError, match="cannot record"):
        Recorder(file, lambda level, line: None)


def test_the_command_prints_it_for_people_and_programs() -> None:
    command = [sys.executable, "-m", "potminer.cli.main", "simulate", "policy", str(asset(AFTERNOON))]
    ran = subprocess.run([*command, "--json"], capture_output=True, text=True, timeout=60, check=True)
    told = json.loads(ran.stdout)
    assert told["policy"] == "profit"
    assert told["violations"] == []
    assert told["moments"][0] == {"at_ms": NOON_MS, "bus": SCREEN, "state": "mining", "reasons": ["unprofitable"]}
    assert [device["runs"] for device in told["devices"]] == [2, 2]
