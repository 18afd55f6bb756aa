"""The senses on this very machine, and on small folders that look like others."""

from __future__ import annotations

import os
import threading
from pathlib import Path

import pytest
from fakes.xmrig import FakeXmrig

from potminer.wire.codec import decode, encode
from potminer.wire.facts import RigSample, bus_key
from potminer.world.rig.aside import Aside, Stuck
from potminer.world.rig.host import HostProbe, Work, others_load_ppm
from potminer.world.rig.look import Look
from potminer.world.rig.miners.xmrig import XmrigAdapter
from potminer.world.rig.nvidia import NvidiaProbe
from potminer.world.rig.person import Person

NOW = 1_700_000_000_000


def here() -> Person:
    return Person(wall_ms=lambda: NOW, environment={})


def elsewhere(root: Path, environment: dict[str, str] | None = None, platform: str = "linux") -> Person:
    return Person(wall_ms=lambda: NOW, root=root, environment=environment or {}, platform=platform)


def put(path: Path, text: str, *, used_at_ms: int = NOW) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    os.utime(path, ns=(used_at_ms * 1_000_000, used_at_ms * 1_000_000))


def test_this_machine_can_be_sampled() -> None:
    probe = HostProbe(clock=lambda: 5, own_pids=lambda: (os.getpid(), 2**22 + 1), person=here())
    sample = probe.sample()
    assert sample.taken_at_ms == 5
    assert sample.memory_total_bytes is not None
    assert sample.memory_available_bytes is not None
    assert 0 < sample.memory_available_bytes <= sample.memory_total_bytes
    assert sample.cpu_load_ppm is None or 0 <= sample.cpu_load_ppm <= 1_000_000
    assert sample.on_battery in (True, False, None)


@pytest.mark.parametrize(
    ("after", "load"),
    [
        (Work(110.0, 56.0, {1: 4.0}), 600_000),
        (Work(110.0, 58.0, {1: 10.0}), 200_000),
        (Work(110.0, 58.0, {1: 4.0, 2: 3.0}), 500_000),
        (Work(110.0, 58.0, {}), 800_000),
        (Work(110.0, 51.0, {1: 9.0}), 0),
        (Work(100.0, 50.0, {1: 4.0}), None),
    ],
    ids=["others-only", "we-too", "new-child", "ours-ended", "coarse-ticks", "no-time"],
)
def test_our_own_work_is_not_others_load(after: Work, load: int | None) -> None:
    assert others_load_ppm(Work(100.0, 50.0, {1: 4.0}), after) == load


def test_a_headless_rig_has_no_seat(tmp_path: Path) -> None:
    put(tmp_path / "run/systemd/seats/seat0", "IS_SEAT0=1\nCAN_TTY=1\nCAN_GRAPHICAL=0\n")
    assert elsewhere(tmp_path).has_seat() is False
    assert elsewhere(tmp_path / "without-logind").has_seat() is False


def test_a_desk_has_one(tmp_path: Path) -> None:
    put(tmp_path / "run/systemd/seats/seat0", "IS_SEAT0=1\nCAN_GRAPHICAL=1\n")
    assert elsewhere(tmp_path).has_seat() is True
    assert elsewhere(tmp_path / "nothing", {"DISPLAY": ":0"}).has_seat() is True
    assert elsewhere(tmp_path, platform="win32").has_seat() is None


def test_terminals_tell_when_hands_were_still(tmp_path: Path) -> None:
    put(tmp_path / "dev/tty1", "", used_at_ms=NOW - 600_000)
    put(tmp_path / "dev/pts/3", "", used_at_ms=NOW - 200_000)
    put(tmp_path / "dev/pts/ptmx", "", used_at_ms=NOW)
    assert elsewhere(tmp_path).idle_ms() == 200_000
    put(tmp_path / "dev/pts/4", "", used_at_ms=NOW + 5_000)
    assert elsewhere(tmp_path).idle_ms() == 0


def test_a_graphical_session_is_unknown_not_idle(tmp_path: Path) -> None:
    put(tmp_path / "dev/tty1", "", used_at_ms=NOW - 600_000)
    put(tmp_path / "run/systemd/sessions/c1", "CLASS=greeter\nTYPE=wayland\nSTATE=online\n")
    put(tmp_path / "run/systemd/sessions/1.ref", "")
    assert elsewhere(tmp_path).idle_ms() == 600_000
    put(tmp_path / "run/systemd/sessions/2", "CLASS=user\nTYPE=x11\nSTATE=active\n")
    assert elsewhere(tmp_path).idle_ms() is None
    assert elsewhere(tmp_path).has_seat() is True
    assert elsewhere(tmp_path / "nothing").idle_ms() is None
    assert elsewhere(tmp_path, {"WAYLAND_DISPLAY": "wayland-0"}).idle_ms() is None


def test_gpus_or_a_reason() -> None:
    probe = NvidiaProbe(clock=lambda: 3, own_pids=lambda: (os.getpid(),))
    sight = probe.sample()
    probe.close()
    assert sight.gpus or sight.reason
    for gpu in sight.gpus:
        assert gpu.bus == bus_key(gpu.bus)
        assert gpu.taken_at_ms == 3


@pytest.mark.parametrize(
    ("text", "key"),
    [
        ("00000000:01:00.0", "0000:01:00.0"),
        ("0000:0A:00.1", "0000:0a:00.1"),
        ("01:00.0", "0000:01:00.0"),
        ("1:0", "0000:01:00.0"),
        ("", None),
        ("GPU0", None),
        ("01:00.0; rm", None),
    ],
)
def test_one_spelling_per_bus(text: str, key: str | None) -> None:
    assert bus_key(text) == key


async def test_a_call_that_hangs_is_asked_once() -> None:
    release = threading.Event()
    aside = Aside("slow probe", lambda: release.wait(30))
    with pytest.raises(Stuck, match="within"):
        await aside.ask(deadline_ms=10)
    with pytest.raises(Stuck, match="not come back"):
        await aside.ask(deadline_ms=10)
    release.set()


async def test_errors_of_a_call_come_through() -> None:
    def fails() -> int:
        raise OSError("no such sensor")

    with pytest.raises(OSError, match="no such sensor"):
        await Aside("probe", fails).ask(deadline_ms=5_000)


async def test_one_look_at_everything() -> None:
    async with FakeXmrig() as fake, FakeXmrig() as stranger:
        stranger.raw = b"<html>"
        gone = FakeXmrig()
        async with gone:
            pass
        look = Look(
            clock=lambda: 8,
            host=HostProbe(clock=lambda: 8, own_pids=lambda: (os.getpid(),), person=here()),
            gpus={"NVIDIA": NvidiaProbe(clock=lambda: 8, own_pids=lambda: ())},
            miners=[XmrigAdapter(f.url, clock=lambda: 8) for f in (fake, stranger, gone)],
        )
        sample = await look.take()
    assert [(miner.alive, miner.hashrate_hs) for miner in sample.miners] == [(True, 1234), (False, None)]
    assert sample.gpus or sample.gpu_reason
    assert decode(RigSample, encode(sample), max_bytes=1 << 20) == sample
