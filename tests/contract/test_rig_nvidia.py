"""NVML in all its moods: every call may be missing, refused, or the last word of a lost card."""

from __future__ import annotations

from typing import Any

import pytest
from fakes.nvml import (
    ANSWERS,
    FUNCTION_NOT_FOUND,
    LIBRARY_NOT_FOUND,
    LOST,
    NOT_FOUND,
    NOT_SUPPORTED,
    UNINITIALIZED,
    UNKNOWN,
    FakeCard,
    FakeNvml,
)

from potminer.wire.facts import GpuSample
from potminer.world.rig.nvidia import NvidiaProbe

BUS, OTHER = "0000:01:00.0", "0000:02:00.0"
OURS, THEIRS = 100, 200

FIELDS: dict[str, dict[str, object]] = {
    "nvmlDeviceGetName": {"name": ""},
    "nvmlDeviceGetMemoryInfo": {"memory_used_bytes": None, "memory_total_bytes": None},
    "nvmlDeviceGetUtilizationRates": {"utilisation_ppm": None, "foreign_utilisation_ppm": None},
    "nvmlDeviceGetTemperature": {"temperature_milli_c": None},
    "nvmlDeviceGetFieldValues": {"memory_temperature_milli_c": None},
    "nvmlDeviceGetPowerUsage": {"power_mw": None},
    "nvmlDeviceGetPowerManagementLimit": {"power_limit_mw": None},
    "nvmlDeviceGetFanSpeed": {"fan_ppm": None},
    "nvmlDeviceGetCurrPcieLinkWidth": {"link_width": None},
    "nvmlDeviceGetDisplayMode": {"drives_display": None},
    "nvmlDeviceGetDisplayActive": {"drives_display": None},
    "nvmlDeviceGetCudaComputeCapability": {"architecture": ""},
    "nvmlDeviceGetComputeRunningProcesses": {},
    "nvmlDeviceGetComputeRunningProcesses_v2": {},
    "nvmlDeviceGetProcessUtilization": {},
}
"""What is missing from a sample where a call fails."""
SESSION = {"nvmlInit", "nvmlShutdown", "nvmlSystemGetDriverVersion", "nvmlDeviceGetCount"}
NAMING = {"nvmlDeviceGetHandleByIndex", "nvmlDeviceGetPciInfo"}


def probe_of(fake: FakeNvml) -> NvidiaProbe:
    return NvidiaProbe(clock=lambda: 7, own_pids=lambda: {OURS}, library=fake.library())


def rig() -> FakeNvml:
    return FakeNvml(FakeCard("00000000:01:00.0"), FakeCard("00000000:02:00.0"))


def plain(gpu: GpuSample) -> dict[str, Any]:
    return {name: getattr(gpu, name) for name in GpuSample.__struct_fields__}


def test_every_call_of_the_fake_is_judged_here() -> None:
    assert set(ANSWERS) == FIELDS.keys() | SESSION | NAMING


@pytest.mark.parametrize("call", FIELDS)
@pytest.mark.parametrize("code", [NOT_SUPPORTED, FUNCTION_NOT_FOUND, UNKNOWN, None], ids=str)
def test_a_reading_that_is_missing_costs_its_field_alone(call: str, code: int | None) -> None:
    whole = plain(probe_of(rig()).sample().gpus[0])
    fake = rig()
    if code is None:
        fake.missing.add(call)
    else:
        fake.faults[call] = code
    sight = probe_of(fake).sample()
    assert [gpu.bus for gpu in sight.gpus] == [BUS, OTHER]
    assert sight.reason == ""
    assert plain(sight.gpus[0]) == {**whole, **FIELDS[call]}


@pytest.mark.parametrize("call", [*FIELDS, *sorted(NAMING)])
def test_a_lost_card_is_said_and_costs_no_other(call: str) -> None:
    fake = rig()
    fake.cards[0].shares = {OURS: 10}
    fake.cards[1].shares = {OURS: 10}
    if call.endswith("_v2"):
        fake.faults["nvmlDeviceGetComputeRunningProcesses"] = FUNCTION_NOT_FOUND
    probe = probe_of(fake)
    assert len(probe.sample().gpus) == 2
    fake.faults[call] = LOST
    sight = probe.sample()
    assert sight.gpus == ()
    assert f"{BUS}, {OTHER} fell off the bus; GPU 1: GPU is lost" in sight.reason
    fake.faults.clear()
    assert len(probe.sample().gpus) == 2
    assert fake.calls.count("nvmlInit") == 2


@pytest.mark.parametrize("code", [NOT_SUPPORTED, FUNCTION_NOT_FOUND, UNKNOWN])
@pytest.mark.parametrize("call", sorted(NAMING))
def test_a_card_without_a_name_is_a_reason(call: str, code: int) -> None:
    fake = rig()
    fake.faults[call] = code
    sight = probe_of(fake).sample()
    assert sight.gpus == ()
    assert sight.reason.startswith("GPU 1: ")


@pytest.mark.parametrize("code", [UNINITIALIZED, LIBRARY_NOT_FOUND, UNKNOWN, LOST])
@pytest.mark.parametrize("call", ["nvmlInit", "nvmlDeviceGetCount"])
def test_without_a_session_there_is_a_reason(call: str, code: int) -> None:
    fake = rig()
    fake.faults[call] = code
    probe = probe_of(fake)
    sight = probe.sample()
    assert sight.gpus == ()
    assert sight.reason
    assert sight.absent is (code == LIBRARY_NOT_FOUND)
    assert probe.driver() == (None if call == "nvmlInit" else "550.54.14")
    fake.faults.clear()
    assert len(probe.sample().gpus) == 2


def test_a_driver_that_goes_away_takes_its_cards_along() -> None:
    fake = rig()
    probe = probe_of(fake)
    probe.sample()
    fake.faults["nvmlDeviceGetCount"] = LIBRARY_NOT_FOUND
    sight = probe.sample()
    assert (sight.gpus, sight.absent) == ((), False)
    assert sight.reason == f"{BUS}, {OTHER} fell off the bus; no NVIDIA driver is installed"


def test_closing_forgives_a_library_that_does_not() -> None:
    fake = rig()
    probe = probe_of(fake)
    probe.sample()
    fake.faults["nvmlShutdown"] = UNKNOWN
    probe.close()
    assert len(probe.sample().gpus) == 2


@pytest.mark.parametrize(
    ("mode", "active", "drives"),
    [(0, 0, False), (1, 0, True), (0, 1, True), (None, 0, None), (0, None, None), (None, 1, True), (None, None, None)],
)
def test_a_display_is_a_monitor_or_a_server_without_one(
    mode: int | None, active: int | None, drives: bool | None
) -> None:
    fake = FakeNvml(FakeCard("01:00.0", mode=mode or 0, active=active or 0))
    fake.missing |= {"nvmlDeviceGetDisplayMode"} if mode is None else set()
    fake.missing |= {"nvmlDeviceGetDisplayActive"} if active is None else set()
    assert probe_of(fake).sample().gpus[0].drives_display is drives


@pytest.mark.parametrize(
    ("changes", "field", "expected"),
    [
        ({"core": 0}, "temperature_milli_c", None),
        ({"core": 255}, "temperature_milli_c", None),
        ({"memory_c": 0}, "memory_temperature_milli_c", None),
        ({"memory_c": None}, "memory_temperature_milli_c", None),
        ({"load": 655}, "utilisation_ppm", None),
        ({"fan": 4_294_967_295}, "fan_ppm", None),
        ({"lanes": 0}, "link_width", None),
        ({"power": -1}, "power_mw", None),
        ({"used": 2**64}, "memory_used_bytes", None),
        ({"capability": (0, 0)}, "architecture", ""),
        ({"capability": (12, 0)}, "architecture", "sm_120"),
        ({"name": "GTX\x1b[31m 1070\n"}, "name", "GTX[31m 1070"),
        ({"name": "x" * 500}, "name", "x" * 96),
    ],
    ids=str,
)
def test_absurd_readings_are_no_readings(changes: dict[str, Any], field: str, expected: object) -> None:
    sample = probe_of(FakeNvml(FakeCard("01:00.0", **changes))).sample().gpus[0]
    assert getattr(sample, field) == expected


def test_load_by_others_where_we_compute_too() -> None:
    card = FakeCard("01:00.0", shares={OURS: 30, THEIRS: 10})
    fake = FakeNvml(card)
    probe = probe_of(fake)
    assert probe.sample().gpus[0].foreign_utilisation_ppm == 100_000
    fake.faults["nvmlDeviceGetProcessUtilization"] = NOT_FOUND
    assert probe.sample().gpus[0].foreign_utilisation_ppm == 0
    fake.faults["nvmlDeviceGetProcessUtilization"] = NOT_SUPPORTED
    assert probe.sample().gpus[0].foreign_utilisation_ppm is None


def test_an_old_driver_knows_the_earlier_question_only() -> None:
    card = FakeCard("01:00.0", shares={OURS: 30})
    fake = FakeNvml(card)
    fake.faults["nvmlDeviceGetComputeRunningProcesses"] = FUNCTION_NOT_FOUND
    assert probe_of(fake).sample().gpus[0].foreign_utilisation_ppm == 0
    fake.faults["nvmlDeviceGetComputeRunningProcesses_v2"] = FUNCTION_NOT_FOUND
    assert probe_of(fake).sample().gpus[0].foreign_utilisation_ppm is None


def test_a_rig_says_at_most_as_many_cards_as_the_vocabulary_holds() -> None:
    fake = FakeNvml(*(FakeCard(f"{number:02x}:00.0") for number in range(70)))
    assert len(probe_of(fake).sample().gpus) == 64
