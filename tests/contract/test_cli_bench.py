"""``bench``: real workers measured, refusals where a measurement would cost somebody's work."""

from __future__ import annotations

import asyncio
import json
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from test_cli_gpus_doctor import BUS, with_daemon

from potminer.base.errors import Exit
from potminer.cli.main import main
from potminer.node.measure import Measurement
from potminer.node.outfit import Cards
from potminer.train.data import training_split
from potminer.train.folder import Folder
from potminer.train.rehearsal import TEMPLATES, rehearse, template
from potminer.train.shapes import check_task
from potminer.wire.facts import GpuSample
from potminer.world.child import Launch
from potminer.world.rig.sight import Sight

ROOT = Path(__file__).parents[2]


@dataclass
class Card:
    """A card that draws 100 W and takes 64 MiB more at every look, until it is looked at no more."""

    looks: int = 0
    clock_ms: int = field(default=0)

    def sample(self) -> Sight:
        self.looks += 1
        card = GpuSample(
            BUS, "RTX 3070", self.looks * 2**26, 2**33, 0, 0, 50_000, None, 100_000, False, self.looks * 500,
        )  # fmt: skip
        return Sight((card,), "")


@pytest.mark.parametrize("name", sorted(TEMPLATES))
def test_templates_are_sound_and_their_data_are_what_a_worker_takes(name: str, tmp_path: Path) -> None:
    folder = Folder(tmp_path)
    spec = rehearse(folder, template(name))
    check_task(spec)
    assert len(training_split(folder, spec)) == spec.data.train_samples
    assert rehearse(folder, spec).data == spec.data, "the same bytes everywhere, or figures could not be compared"


async def test_a_card_is_measured_by_a_real_worker(tmp_path: Path) -> None:
    """The worker computes on the CPU; where it is, only the launch knows."""
    folder, card = Folder(tmp_path), Card()
    spec = rehearse(folder, template("mlp"))
    cards = Cards({"NVIDIA": card}, card.sample())
    launches = {BUS: (Launch(tmp_path, device="cpu"),)}
    async with asyncio.timeout(300):
        found = await Measurement(launches, cards, folder, spec, 0.1, lambda: card.looks * 500).measure(BUS)
    assert (found.fault, found.device, found.name, found.workers) == ("", "cpu", "RTX 3070", 1)
    assert found.units >= 2
    assert found.samples == found.units * spec.samples_per_unit
    assert found.slowest_milli is not None
    assert found.rate_milli is not None
    assert found.fastest_milli is not None
    assert 0 < found.slowest_milli <= found.rate_milli <= found.fastest_milli
    assert found.memory_bytes == (card.looks - 1) * 2**26
    assert found.resident_bytes is not None
    assert found.resident_bytes > 2**20


async def test_a_device_that_cannot_work_is_a_fault_in_words(tmp_path: Path) -> None:
    """The worker finds a file where its folder should be."""
    folder, bad = Folder(tmp_path / "blobs"), tmp_path / "file"
    bad.write_text("")
    spec = rehearse(folder, template("mlp"))
    work = Measurement({BUS: (Launch(bad, device="cpu"),)}, Cards({}, Sight((), "")), folder, spec, 0.1, lambda: 0)
    async with asyncio.timeout(300):
        found = await work.measure(BUS)
    assert found.fault.startswith("fault: ")
    assert (found.rate_milli, found.units) == (None, 0)


def test_a_task_says_what_it_would_pay(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "potminer.toml").write_text(
        'prices.pot = 0.5\npower.kwh_price = 0.25\npower.currency = "EUR"\nworker.threads = 1\n'
        '[[devices]]\nbus = "cpu"\nwatts = 100\n'
    )
    task = str(ROOT / "assets/tasks/digits.toml")
    assert main(["--datadir", str(tmp_path), "bench", "--task", task, "--seconds", "1", "--json"]) == Exit.OK
    said = json.loads(capsys.readouterr().out)
    (device,) = said["devices"]
    prospect = device["prospect"]
    assert (said["schema"], said["task"], device["bus"], device["fault"]) == (1, "digits", "cpu", None)
    a_unit = 850_000_000
    hour = device["rate_milli"] * 3_600 * a_unit // (1_000 * said["samples_per_unit"])
    assert prospect["pay_grains_h"] == hour
    assert prospect["training_net_micro_h"] == hour * 500_000 // 10**9 - 25_000
    assert prospect["mining_net_micro_h"] is None


async def test_work_under_way_is_not_disturbed(tmp_path: Path) -> None:
    """The daemon of this test says that its card trains and its CPU is blocked."""
    (tmp_path / "d").mkdir()
    (tmp_path / "d" / "potminer.toml").write_text(f'[[devices]]\nbus = "{BUS}"\n')
    code, out = await with_daemon(tmp_path / "d", "bench", "--json")
    assert (code, out) == (Exit.NOT_PERMITTED, "")


@pytest.mark.parametrize(
    ("config", "arguments", "code"),
    [
        ('[[devices]]\nbus = "cpu"\nrole = "off"\n', [], Exit.NO_DEVICE),
        ("", ["--gpu", "0a:00.0"], Exit.USAGE),
        ("", ["--task", "nowhere.toml"], Exit.UNREACHABLE),
        ("nonsense = 1\n", [], Exit.CONFIG),
    ],
)
def test_how_it_ends(config: str, arguments: list[str], code: int, tmp_path: Path) -> None:
    (tmp_path / "potminer.toml").write_text(config)
    assert main(["--datadir", str(tmp_path), "bench", *arguments]) == code
