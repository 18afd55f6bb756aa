"""The amdgpu driver's files, as they are, as they were, and half gone."""

from __future__ import annotations

from pathlib import Path

import pytest
from fakes.amd import FakeAmd

from potminer.wire.facts import GpuSample
from potminer.world.rig.amd import AmdProbe

BUS = "0000:03:00.0"
OURS = 100

FIELDS: dict[str, dict[str, object]] = {
    "gpu_busy_percent": {"utilisation_ppm": None, "foreign_utilisation_ppm": None},
    "mem_info_vram_used": {"memory_used_bytes": None},
    "mem_info_vram_total": {"memory_total_bytes": None},
    "current_link_width": {"link_width": None},
    "power/runtime_status": {},
    "hwmon/hwmon3/temp1_input": {"temperature_milli_c": 72_000},
    "hwmon/hwmon3/temp2_input": {},
    "hwmon/hwmon3/temp3_input": {"memory_temperature_milli_c": None},
    "hwmon/hwmon3/power1_average": {"power_mw": None},
    "hwmon/hwmon3/power1_cap": {"power_limit_mw": None},
    "hwmon/hwmon3/pwm1": {"fan_ppm": None},
}


def one(root: Path) -> GpuSample:
    (gpu,) = probe_of(root).sample().gpus
    return gpu


def probe_of(root: Path) -> AmdProbe:
    beat = iter(range(0, 100_000_000_000, 1_000_000_000))
    return AmdProbe(clock=lambda: 7, ticks=lambda: next(beat), own_pids=lambda: {OURS}, root=root)


def plain(gpu: GpuSample) -> dict[str, object]:
    return {name: getattr(gpu, name) for name in GpuSample.__struct_fields__}


@pytest.mark.parametrize("file", FIELDS)
@pytest.mark.parametrize("text", [None, "", "-1", "no number", "9" * 40], ids=repr)
def test_a_file_that_says_nothing_costs_its_field_alone(tmp_path: Path, file: str, text: str | None) -> None:
    device = FakeAmd(tmp_path).add(BUS)
    whole = plain(one(tmp_path))
    if text is None:
        (device / file).unlink()
    else:
        (device / file).write_text(text)
    assert plain(one(tmp_path)) == {**whole, **FIELDS[file]}


@pytest.mark.parametrize(
    ("file", "text", "field"),
    [
        ("gpu_busy_percent", "655", "utilisation_ppm"),
        ("hwmon/hwmon3/temp3_input", "0", "memory_temperature_milli_c"),
        ("hwmon/hwmon3/temp3_input", "511000", "memory_temperature_milli_c"),
        ("hwmon/hwmon3/pwm1", "300", "fan_ppm"),
        ("current_link_width", "0", "link_width"),
    ],
)
def test_absurd_readings_are_no_readings(tmp_path: Path, file: str, text: str, field: str) -> None:
    device = FakeAmd(tmp_path).add(BUS)
    (device / file).write_text(text)
    assert getattr(one(tmp_path), field) is None


def test_old_drivers_name_power_and_heat_otherwise(tmp_path: Path) -> None:
    device = FakeAmd(tmp_path).add(BUS)
    hwmon = device / "hwmon/hwmon3"
    (hwmon / "power1_average").rename(hwmon / "power1_input")
    for name in ("temp1_label", "temp2_input", "temp2_label", "temp3_input", "temp3_label"):
        (hwmon / name).unlink()
    gpu = one(tmp_path)
    assert (gpu.power_mw, gpu.temperature_milli_c, gpu.memory_temperature_milli_c) == (120_000, 61_000, None)


@pytest.mark.parametrize(
    ("model", "gfx", "architecture"),
    [
        ("67DF", "80003", "gfx803"),
        ("73BF", "100300", "gfx1030"),
        ("744C", "110000", "gfx1100"),
        ("740F", "90010", "gfx90a"),
        ("67DF", "0", "gfx803"),
        ("73DF", "", "gfx1031"),
        ("FFFF", "", ""),
        ("FFFF", "-1", ""),
    ],
)
def test_the_architecture_is_the_compute_drivers_or_the_models(
    tmp_path: Path, model: str, gfx: str, architecture: str
) -> None:
    FakeAmd(tmp_path).add(BUS, model=model, gfx=gfx)
    assert one(tmp_path).architecture == architecture


def test_a_card_that_lists_its_parts_is_known_without_the_compute_driver(tmp_path: Path) -> None:
    fake = FakeAmd(tmp_path)
    device = fake.add(BUS, model="FFFF", gfx="")
    for name, value in (("major", 10), ("minor", 3), ("revision", 2)):
        fake.put(device / f"ip_discovery/die/0/GC/0/{name}", f"{value}\n")
    assert one(tmp_path).architecture == "gfx1032"


def test_names(tmp_path: Path) -> None:
    fake = FakeAmd(tmp_path)
    device = fake.add(BUS)
    assert one(tmp_path).name == "Radeon RX 470-590"
    fake.put(device / "product_name", "AMD Radeon\x07 Pro\n")
    assert one(tmp_path).name == "AMD Radeon Pro"


def test_a_mining_card_has_no_connector_and_an_unreadable_one_is_unknown(tmp_path: Path) -> None:
    fake = FakeAmd(tmp_path)
    fake.add(BUS, connectors=0)
    assert one(tmp_path).drives_display is False
    (tmp_path / "sys/class/drm/card0-DP-9").mkdir()
    assert one(tmp_path).drives_display is None
    fake.put(tmp_path / "sys/class/drm/card0-DP-8/status", "connected")
    assert one(tmp_path).drives_display is True


def test_other_makers_and_what_is_no_card_are_left_out(tmp_path: Path) -> None:
    fake = FakeAmd(tmp_path)
    assert probe_of(tmp_path).sample().absent
    fake.put(tmp_path / "sys/class/drm/card7/device/vendor", "0x10de\n")
    fake.put(tmp_path / "sys/class/drm/renderD128/device/vendor", "0x1002\n")
    fake.put(tmp_path / "sys/class/drm/card8/device/vendor", "0x1002\n")
    fake.put(tmp_path / "sys/class/drm/card8/device/uevent", "PCI_SLOT_NAME=nonsense\n")
    assert probe_of(tmp_path).sample().gpus == ()


def test_a_card_that_answers_nothing_any_more_is_lost(tmp_path: Path) -> None:
    device = FakeAmd(tmp_path).add(BUS)
    probe = probe_of(tmp_path)
    assert len(probe.sample().gpus) == 1
    for file in ("gpu_busy_percent", "mem_info_vram_total", *(f"hwmon/hwmon3/temp{n}_input" for n in (1, 2, 3))):
        (device / file).unlink()
    sight = probe.sample()
    assert (sight.gpus, sight.reason, sight.absent) == ((), f"AMD: {BUS} fell off the bus", False)


def test_a_sleeping_card_is_not_used_by_anybody(tmp_path: Path) -> None:
    device = FakeAmd(tmp_path).add(BUS)
    (device / "power/runtime_status").write_text("suspended\n")
    (device / "gpu_busy_percent").unlink()
    gpu = one(tmp_path)
    assert (gpu.utilisation_ppm, gpu.foreign_utilisation_ppm) == (0, 0)


def test_our_share_is_known_from_two_looks(tmp_path: Path) -> None:
    fake = FakeAmd(tmp_path)
    fake.add(BUS, load=90)
    probe = probe_of(tmp_path)
    fake.fdinfo(OURS, BUS, ns=5_000_000_000)
    assert probe.sample().gpus[0].foreign_utilisation_ppm is None
    fake.fdinfo(OURS, BUS, ns=5_800_000_000)
    assert probe.sample().gpus[0].foreign_utilisation_ppm == 100_000
    fake.fdinfo(OURS, BUS, ns=9_000_000_000)
    assert probe.sample().gpus[0].foreign_utilisation_ppm == 0
    fake.fdinfo(OURS, BUS, ns=0)
    assert probe.sample().gpus[0].foreign_utilisation_ppm == 900_000


def test_a_client_that_is_open_twice_counts_once_and_another_card_not_at_all(tmp_path: Path) -> None:
    fake = FakeAmd(tmp_path)
    fake.add(BUS, load=90)
    probe = probe_of(tmp_path)
    for total in (1_000_000_000, 1_300_000_000):
        fake.fdinfo(OURS, BUS, ns=total, fd=9)
        fake.fdinfo(OURS, BUS, ns=total, fd=10)
        fake.fdinfo(OURS, "0000:0a:00.0", ns=total * 3, client=8, fd=11)
        sight = probe.sample()
    assert sight.gpus[0].foreign_utilisation_ppm == 600_000


@pytest.mark.parametrize("how", ["rocm", "old kernel"])
def test_a_share_that_cannot_be_known_is_unknown(tmp_path: Path, how: str) -> None:
    fake = FakeAmd(tmp_path)
    fake.add(BUS)
    if how == "rocm":
        fake.kfd(OURS)
    else:
        fake.fdinfo(OURS, BUS, ns=None)
    gpu = one(tmp_path)
    assert (gpu.utilisation_ppm, gpu.foreign_utilisation_ppm) == (400_000, None)
