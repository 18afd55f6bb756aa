"""What a rig consists of, out of its config and the cards that were seen."""

from __future__ import annotations

from pathlib import Path

import pytest

from potminer.base.errors import ConfigError
from potminer.core.duty.events import KernelsChecked, Sampled
from potminer.core.duty.state import Reason
from potminer.node.config import Config, config_from
from potminer.node.outfit import Cards, outfit
from potminer.node.rig import Outfit
from potminer.node.source import parse_source
from potminer.wire.facts import CPU, GpuSample, HostSample
from potminer.world.paths import Paths
from potminer.world.rig.sight import Sight

GIB = 1024**3
ONE, TWO, RADEON = "0000:01:00.0", "0000:02:00.0", "0000:03:00.0"
TREX = f'[[miners]]\nkind = "trex"\nurl = "http://127.0.0.1:4067"\ndevices = ["{ONE}", "2:0"]\n'
LOL = '[[miners]]\nkind = "lolminer"\nurl = "http://127.0.0.1:44444"\n'


def card(bus: str, architecture: str) -> GpuSample:
    return GpuSample(bus, "card", GIB, 8 * GIB, 0, 0, 50_000, None, None, False, 0, architecture=architecture)


RIG = Cards({}, Sight((card(ONE, "sm_61"), card(TWO, "sm_86"), card(RADEON, "gfx1030")), ""))
BARE = Cards({}, Sight((), "no GPUs"))


def config(text: str) -> Config:
    return config_from(parse_source("test", text), {}, {})


def made(text: str, cards: Cards = RIG) -> Outfit:
    paths = Paths("dev", Path("/nowhere"), Path("/nowhere/potminer.toml"), Path("/nowhere"))
    return outfit(config(text), paths, trains=True, cheat=None, clock=lambda: 0, cards=cards)


def test_every_card_has_a_machine_and_a_worker_that_sees_it_alone() -> None:
    rig = made("")
    assert list(rig.duties.devices) == [ONE, TWO, RADEON]
    environments = {bus: dict(launches[0].environment) for bus, launches in rig.launches.items()}
    assert environments[ONE] == {"CUDA_DEVICE_ORDER": "PCI_BUS_ID", "CUDA_VISIBLE_DEVICES": "0"}
    assert environments[TWO]["CUDA_VISIBLE_DEVICES"] == "1"
    assert environments[RADEON] == {"HIP_VISIBLE_DEVICES": "0"}, "the first of its maker"
    assert {launches[0].bus for launches in rig.launches.values()} == {ONE, TWO, RADEON}
    assert f"--bus={TWO}" in rig.launches[TWO][0].command()


def test_a_rig_without_cards_has_as_many_workers_on_its_cpu_as_it_is_told() -> None:
    rig = made("[worker]\ncount = 3\nthreads = 2\n", BARE)
    assert list(rig.duties.devices) == [CPU]
    assert [launch.threads for launch in rig.launches[CPU]] == [2, 2, 2]


@pytest.mark.parametrize(
    ("text", "buses"),
    [
        ('[[devices]]\nbus = "02:00.0"\n\n[[devices]]\nbus = "cpu"\n', [TWO, CPU]),
        (f'[[devices]]\nbus = "{ONE}"\nrole = "off"\n', []),
        ('[worker]\ndevice = "cuda:1"\n', [TWO]),
        ('[worker]\ndevice = "cpu"\n', [CPU]),
        ('[idle]\npolicy = "off"\n', []),
    ],
)
def test_only_the_devices_that_were_named_are_used(text: str, buses: list[str]) -> None:
    assert list(made(text).duties.devices) == buses


def test_miners_are_kept_with_the_devices_they_use() -> None:
    rig = made(TREX + LOL.replace("44444\"", f"44444\"\ndevices = [\"{RADEON}\"]"))
    assert {bus: miner.kind for bus, miner in rig.miners.items()} == {ONE: "trex", TWO: "trex", RADEON: "lolminer"}
    assert rig.duties.devices[ONE].companions == [], "T-Rex releases one card and goes on with the other"
    together = made(LOL)
    assert together.duties.devices[ONE].companions == [together.duties.devices[bus] for bus in (TWO, RADEON)]


@pytest.mark.parametrize(
    ("text", "said"),
    [(TREX + LOL, "belongs to two miners"), ('[worker]\ndevice = "cuda:7"\n', "3 GPUs are seen")],
)
def test_what_contradicts_itself_is_refused(text: str, said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        made(text)


def test_a_device_is_named_by_its_bus_or_refused() -> None:
    with pytest.raises(ConfigError, match="must be a PCI bus"):
        config('[[devices]]\nbus = "gpu0"\n')


def test_a_card_without_kernels_is_blocked_before_its_miner_is_touched() -> None:
    rig = made("[idle]\npolicy = \"always\"\n" + LOL)
    for fits, reason in ((None, Reason.KERNELS_UNKNOWN), (False, Reason.NO_KERNELS)):
        if fits is False:
            rig.duties.handle(ONE, KernelsChecked(False), 2_000)
        host = HostSample(0, None, None, False, None, False, 3_000)
        rig.duties.handle(ONE, Sampled(host, card(ONE, "sm_61"), None), 3_000)
        assert reason in rig.duties.devices[ONE].reasons


OWNED = """[[miners]]
kind = "process"
command = ["/opt/t-rex", "-c", "x.json"]
api = "trex"
url = "http://127.0.0.1:4067"
"""


def test_on_a_watched_rig_only_its_own_child_is_ever_paused(tmp_path: Path) -> None:
    paths = Paths("dev", tmp_path, tmp_path / "potminer.toml", tmp_path)

    def made_of(text: str) -> Outfit:
        said = config('[rig]\nplatform = "hiveos"\n' + text)
        return outfit(said, paths, trains=True, cheat=None, clock=lambda: 0, cards=RIG)

    assert not made_of(LOL.replace("lolminer", "trex")).miners[ONE].capabilities.pauses
    rig = made_of(OWNED)
    assert rig.miners[ONE].capabilities.pauses
    assert [miner.name for miner in rig.every] == ["process@miner-1"]
    assert rig.duties.devices[ONE].companions, "it ends as a whole"


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ('[[miners]]\nkind = "process"\n', "command: is missing"),
        ('[[miners]]\nkind = "trex"\n', "url: is missing"),
        (OWNED.replace("url =", "#"), "url: is missing"),
        (LOL + 'command = ["x"]\n', "command: is for miners of kind process"),
    ],
)
def test_what_a_miner_lacks_is_named(text: str, said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        config(text)
