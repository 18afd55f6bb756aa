"""The check-up: each check on a machine that is well and on one that is not."""

from __future__ import annotations

import os
import socket
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest

from potminer.wire.facts import GpuSample
from potminer.world.rig.checkup import (
    GIB,
    check_clock,
    check_disk,
    check_driver,
    check_folder,
    check_gpus,
    check_idle,
    check_libc,
    check_memory,
    check_port,
    check_torch,
    clock_synchronised,
)
from potminer.world.rig.finding import Finding, Level, worst
from potminer.world.rig.idle.reading import Judgement
from potminer.world.rig.sight import Sight
from potminer.world.rig.torchbuild import TorchBuild, ask_torch

CUDA = TorchBuild("2.13.0", cuda="13.0", architectures=("sm_75", "sm_80", "sm_86", "sm_90", "sm_100", "sm_120"))
NO_CARDS = Sight((), "no NVIDIA driver is installed", absent=True)


def card(architecture: str, *, display: bool | None = False) -> GpuSample:
    nothing = (None,) * 7
    return GpuSample("0000:01:00.0", "Card", *nothing, display, 0, architecture)


def levels(findings: Sequence[Finding]) -> list[Level]:
    return [finding.level for finding in findings]


@pytest.mark.parametrize(
    ("name", "version", "level"),
    [
        ("glibc", "2.36", Level.OK),
        ("glibc", "2.28", Level.OK),
        ("glibc", "2.17", Level.FAULT),
        ("glibc", "3.0", Level.OK),
        ("", "", Level.WARN),
        ("glibc", "x", Level.WARN),
    ],
)
def test_libc(name: str, version: str, level: Level) -> None:
    assert check_libc(name, version).level is level


@pytest.mark.parametrize(
    ("architecture", "build", "level", "words"),
    [
        ("sm_86", CUDA, Level.OK, "the installed torch has its kernels"),
        ("sm_61", CUDA, Level.FAULT, "it needs torch 2.7.1"),
        ("sm_86", TorchBuild("2.13.0+cpu"), Level.FAULT, "the installed torch has no kernels"),
        ("sm_86", None, Level.OK, "needs torch 2.7 or newer"),
        ("sm_61", None, Level.WARN, "needs torch 2.7.1"),
        ("sm_61", TorchBuild(None, "ModuleNotFoundError"), Level.WARN, "needs torch 2.7.1"),
        ("gfx803", CUDA, Level.WARN, "no torch has kernels"),
        ("", CUDA, Level.WARN, "architecture unknown"),
    ],
)
def test_a_card_and_the_torch_that_is_installed(
    architecture: str, build: TorchBuild | None, level: Level, words: str
) -> None:
    (found,) = check_gpus([card(architecture)], build)
    assert found.level is level
    assert words in found.text
    assert found.hint or level is Level.OK


def test_a_rig_without_cards_trains_on_its_cpu() -> None:
    assert levels(check_gpus([], CUDA)) == [Level.OK]


def test_cards_on_the_bus_that_no_driver_shows(tmp_path: Path) -> None:
    for number, (vendor, kind) in enumerate(
        [("0x10de", "0x030000"), ("0x10de", "0x040300"), ("0x1002", "0x038000"), ("0x8086", "0x030000")]
    ):
        folder = tmp_path / f"sys/bus/pci/devices/0000:0{number}:00.0"
        folder.mkdir(parents=True)
        (folder / "vendor").write_text(vendor)
        (folder / "class").write_text(kind)
    found = check_driver(NO_CARDS, None, tmp_path)
    assert levels(found) == [Level.FAULT, Level.FAULT]
    assert [f.text.partition(" on ")[0] for f in found] == ["1 AMD card", "1 NVIDIA card"]
    seen = Sight((card("sm_86"), card("gfx803")), "")
    assert levels(check_driver(seen, "550.54", tmp_path)) == [Level.OK]


def test_a_lost_card_is_a_fault_and_no_card_is_none(tmp_path: Path) -> None:
    lost = Sight((card("sm_86"),), "0000:02:00.0 fell off the bus")
    assert levels(check_driver(lost, "550.54", tmp_path)) == [Level.OK, Level.FAULT]
    assert levels(check_driver(Sight((), lost.reason), None, tmp_path)) == [Level.FAULT]
    assert levels(check_driver(NO_CARDS, None, tmp_path)) == [Level.OK]


def test_torch() -> None:
    missing = TorchBuild(None, "ModuleNotFoundError: torch")
    assert check_torch(CUDA, trains=True).text.startswith("torch 2.13.0, CUDA 13.0, for sm_75")
    assert check_torch(missing, trains=True).level is Level.FAULT
    assert check_torch(missing, trains=False).level is Level.WARN
    assert check_torch(None, trains=True).level is Level.WARN


def test_the_installed_torch_is_asked_in_a_process_of_its_own() -> None:
    build = ask_torch()
    assert build is not None
    assert "torch" not in sys.modules or build.version
    assert build.version or build.fault


@pytest.mark.parametrize("answer", [None, b"", b"{", b"[]", b'{"version": 5}', b'{"version": "' + b"x" * 999 + b'"}'])
def test_a_worker_side_that_talks_nonsense_is_no_answer(answer: bytes | None) -> None:
    assert ask_torch(lambda argv: answer) is None


@pytest.mark.parametrize(
    ("total", "free", "level"),
    [(16, 12, Level.OK), (3, 2.5, Level.WARN), (16, 1, Level.WARN), (None, None, Level.WARN)],
)
def test_memory(total: float | None, free: float | None, level: Level) -> None:
    size = [None if part is None else int(part * GIB) for part in (total, free)]
    assert check_memory(size[0], size[1], worker_bytes=2 * GIB).level is level


def test_a_disk_is_measured_where_the_folder_will_be(tmp_path: Path) -> None:
    found = check_disk(tmp_path / "not" / "yet")
    assert "GiB free" in found.text
    assert str(tmp_path) in found.text


def test_a_folder_that_is_ours_alone(tmp_path: Path) -> None:
    folder = tmp_path / "data"
    assert levels(check_folder(folder)) == [Level.WARN]
    (folder / "keys").mkdir(parents=True, mode=0o700)
    folder.chmod(0o700)
    key = folder / "keys" / "node.key"
    key.write_bytes(b"k")
    key.chmod(0o600)
    assert levels(check_folder(folder)) == [Level.OK]
    assert os.listdir(folder) == ["keys"]
    key.chmod(0o644)
    assert levels(check_folder(folder)) == [Level.FAULT]
    folder.chmod(0o755)
    assert levels(check_folder(folder)) == [Level.WARN, Level.FAULT]


def test_a_folder_that_is_none_is_a_fault(tmp_path: Path) -> None:
    file = tmp_path / "data"
    file.write_text("")
    file.chmod(0o600)
    assert levels(check_folder(file)) == [Level.FAULT]


def test_ports() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        assert check_port("127.0.0.1", port, running=False).text == f"port {port} is taken"
        assert check_port("0.0.0.0", port, running=True).level is Level.OK
    assert check_port("127.0.0.1", port, running=False).level is Level.OK
    assert check_port("127.0.0.1", port, running=True).level is Level.FAULT
    assert check_port("127.0.0.1", 0, running=True).level is Level.OK
    assert check_port("192.0.2.1", port, running=False).level is Level.FAULT


@pytest.mark.parametrize(
    ("idle_ms", "seat", "display", "level"),
    [
        (None, True, True, Level.WARN),
        (None, None, None, Level.WARN),
        (None, False, True, Level.OK),
        (None, True, False, Level.OK),
        (0, True, True, Level.OK),
        (500_000, True, True, Level.OK),
    ],
)
def test_idle_matters_where_a_card_has_a_screen(
    idle_ms: int | None, seat: bool | None, display: bool | None, level: Level
) -> None:
    judged = Judgement(idle_ms, "because")
    found = check_idle(judged, seat=seat, gpus=[card("sm_86", display=display)])
    assert found.level is level
    assert "because" in found.text


@pytest.mark.parametrize(
    ("synchronised", "ahead_ms", "commit_ms", "level"),
    [
        (True, -500, 900, Level.OK),
        (None, None, None, Level.OK),
        (False, None, None, Level.WARN),
        (True, 2_500, 900, Level.FAULT),
        (True, -60_000, 45_000, Level.WARN),
    ],
)
def test_clocks(synchronised: bool | None, ahead_ms: int | None, commit_ms: int | None, level: Level) -> None:
    assert check_clock(synchronised=synchronised, ahead_ms=ahead_ms, commit_ms=commit_ms).level is level


@pytest.mark.parametrize(("answer", "known"), [(b"yes\n", True), (b"no\n", False), (b"?", None), (None, None)])
def test_the_system_says_whether_it_keeps_its_clock(answer: bytes | None, known: bool | None) -> None:
    assert clock_synchronised(lambda argv: answer) is known


def test_the_worst_counts() -> None:
    found = [Finding("a", Level.OK, ""), Finding("b", Level.WARN, "")]
    assert worst([]) is Level.OK
    assert worst(found) is Level.WARN
    assert worst([*found, Finding("c", Level.FAULT, "")]) is Level.FAULT
