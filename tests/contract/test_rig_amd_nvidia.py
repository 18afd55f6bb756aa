"""What every source of GPU readings owes, whoever made the cards."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest
from fakes.amd import FakeAmd
from fakes.nvml import FakeCard, FakeNvml

from potminer.wire.codec import decode, encode
from potminer.wire.facts import GpuSample, bus_key
from potminer.world.rig.amd import AmdProbe
from potminer.world.rig.cards import Cards, GpuProbe, open_probes
from potminer.world.rig.nvidia import NvidiaProbe
from potminer.world.rig.sight import Roll, Sight, join

FIRST, SECOND = "0000:03:00.0", "0000:0a:00.0"
OURS, THEIRS = 100, 200


@dataclass
class Rig:
    """Two cards: the first on a riser, the second with a monitor. 40 % load each."""

    probe: GpuProbe
    lose: Callable[[str], None]
    come_back: Callable[[str], None]
    work: Callable[[], None]
    """Our process does half of the first card's load from now on."""


def nvidia_rig(folder: Path) -> Rig:
    first = FakeCard("00000000:03:00.0")
    second = FakeCard("00000000:0A:00.0", name="NVIDIA GeForce GTX 1070", mode=1, capability=(6, 1))
    cards = {FIRST: first, SECOND: second}
    fake = FakeNvml(first, second)

    def set_lost(bus: str, lost: bool) -> None:
        cards[bus].lost = lost

    def work() -> None:
        first.shares = {OURS: 20, THEIRS: 20}

    return Rig(
        NvidiaProbe(clock=lambda: 7, own_pids=lambda: {OURS}, library=fake.library()),
        lambda bus: set_lost(bus, True),
        lambda bus: set_lost(bus, False),
        work,
    )


def amd_rig(folder: Path) -> Rig:
    fake = FakeAmd(folder)
    now = [0]
    spent = [0]

    def come_back(bus: str) -> None:
        fake.add(bus, monitor=bus == SECOND)

    def ticks() -> int:
        now[0] += 1_000_000_000
        if spent[0]:
            spent[0] += 200_000_000
            fake.fdinfo(OURS, FIRST, ns=spent[0])
        return now[0]

    def work() -> None:
        spent[0] = 1
        fake.fdinfo(OURS, FIRST, ns=1)

    for bus in (FIRST, SECOND):
        come_back(bus)
    return Rig(
        AmdProbe(clock=lambda: 7, ticks=ticks, own_pids=lambda: {OURS}, root=folder), fake.remove, come_back, work
    )


@pytest.fixture(params=[nvidia_rig, amd_rig])
def rig(request: pytest.FixtureRequest, tmp_path: Path) -> Rig:
    made: Rig = request.param(tmp_path)
    return made


def by_bus(sight: Sight) -> dict[str, GpuSample]:
    return {gpu.bus: gpu for gpu in sight.gpus}


def test_every_card_is_named_by_its_bus_and_fits_the_vocabulary(rig: Rig) -> None:
    sight = rig.probe.sample()
    assert [gpu.bus for gpu in sight.gpus] == [FIRST, SECOND]
    assert (sight.reason, sight.absent) == ("", False)
    for gpu in sight.gpus:
        assert gpu.bus == bus_key(gpu.bus)
        assert decode(GpuSample, encode(gpu), max_bytes=4_096) == gpu
        assert gpu.taken_at_ms == 7


def test_readings_have_the_units_they_promise(rig: Rig) -> None:
    gpu = by_bus(rig.probe.sample())[FIRST]
    assert (gpu.memory_used_bytes, gpu.memory_total_bytes) == (2 * 2**30, 8 * 2**30)
    assert (gpu.temperature_milli_c, gpu.memory_temperature_milli_c) == (61_000, 84_000)
    assert (gpu.power_mw, gpu.link_width) == (120_000, 1)
    assert gpu.power_limit_mw in (220_000, 150_000)
    assert gpu.fan_ppm is not None
    assert 0 < gpu.fan_ppm < 1_000_000
    assert (gpu.utilisation_ppm, gpu.foreign_utilisation_ppm) == (400_000, 400_000)
    assert gpu.architecture in ("sm_86", "gfx803")


def test_a_riser_drives_no_display_and_the_other_does(rig: Rig) -> None:
    seen = by_bus(rig.probe.sample())
    assert (seen[FIRST].drives_display, seen[SECOND].drives_display) == (False, True)


def test_our_own_work_is_not_others_load(rig: Rig) -> None:
    rig.probe.sample()
    rig.work()
    rig.probe.sample()
    gpu = by_bus(rig.probe.sample())[FIRST]
    assert gpu.utilisation_ppm == 400_000
    assert gpu.foreign_utilisation_ppm == pytest.approx(200_000, abs=1_000)


def test_a_card_that_falls_off_the_bus_is_said_and_may_come_back(rig: Rig) -> None:
    rig.probe.sample()
    rig.lose(FIRST)
    for _ in range(2):
        sight = rig.probe.sample()
        assert [gpu.bus for gpu in sight.gpus] == [SECOND]
        assert f"{FIRST} fell off the bus" in sight.reason
        assert len(sight.reason) <= 96
    rig.come_back(FIRST)
    rig.probe.sample()
    sight = rig.probe.sample()
    assert [gpu.bus for gpu in sight.gpus] == [FIRST, SECOND]
    assert sight.reason == ""


async def test_this_machine_answers_or_says_why_not() -> None:
    probes = open_probes(lambda: 9)
    sight = await Cards(probes, deadline_ms=20_000).take()
    assert sight.gpus or sight.reason or "NVIDIA" not in probes
    for gpu in sight.gpus:
        assert decode(GpuSample, encode(gpu), max_bytes=4_096) == gpu
        assert gpu.bus == bus_key(gpu.bus)


class Broken:
    def __init__(self, error: Exception) -> None:
        self.error = error

    def sample(self) -> Sight:
        raise self.error


async def test_a_broken_probe_is_a_reason_and_the_others_go_on(tmp_path: Path) -> None:
    cards = Cards({"NVIDIA": Broken(OSError("no")), "AMD": amd_rig(tmp_path).probe}, deadline_ms=5_000)
    sight = await cards.take()
    assert len(sight.gpus) == 2
    assert sight.reason == "NVIDIA probe: OSError"


def test_a_maker_that_was_never_here_is_no_news_beside_one_that_is(tmp_path: Path) -> None:
    fake = FakeNvml()
    fake.faults["nvmlInit"] = 12
    nobody = NvidiaProbe(clock=lambda: 7, own_pids=set, library=fake.library()).sample()
    assert (nobody.gpus, nobody.reason, nobody.absent) == ((), "no NVIDIA driver is installed", True)
    some = amd_rig(tmp_path).probe.sample()
    assert join([nobody, some]) == Sight(some.gpus, "")
    assert join([nobody, Sight((), "", absent=True)]).reason == "no NVIDIA driver is installed"


def test_of_two_sources_that_see_one_card_the_first_is_believed(tmp_path: Path) -> None:
    sight = amd_rig(tmp_path).probe.sample()
    assert join([sight, sight]) == sight


def test_a_roll_names_three_and_counts_no_stranger_lost() -> None:
    roll = Roll()
    assert roll.call([]) == ""
    assert roll.call(["a", "b", "c", "d"]) == ""
    assert roll.call(["d", "e"]) == "a, b, c fell off the bus"
    assert roll.call([]) == "a, b, c and more fell off the bus"
