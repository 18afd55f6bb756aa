"""Whose load is ours: told by the kernel's lists, without a look at anybody else's process."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
from pathlib import Path

import psutil
import pytest

from potminer.world.rig.cards import ABSENT_LOOKS, Cards
from potminer.world.rig.host import HostProbe
from potminer.world.rig.idle.programs import Names, read_programs
from potminer.world.rig.kin import Kin
from potminer.world.rig.person import Person
from potminer.world.rig.sight import Sight

LOOK = """
import os, sys
seen = []
sys.addaudithook(lambda event, arguments: seen.append(str(arguments[0])) if event == "open" else None)
from potminer.world.rig.idle.programs import Names, read_programs
from potminer.world.rig.kin import Kin
from potminer.world.rig.host import HostProbe
from potminer.world.rig.person import Person
probe = HostProbe(clock=lambda: 1, own_pids=Kin().pids, person=Person(wall_ms=lambda: 1, environment={}))
seen.clear()
probe.sample()
print(*{path.split("/")[2] for path in seen if path.startswith("/proc/")} - {str(os.getpid())})
"""


class Tree:
    """A folder like /proc: who has which children, since when."""

    def __init__(self, root: Path) -> None:
        self.root = root

    def put(self, pid: int, *children: int, begun: int = 5) -> None:
        task = self.root / str(pid) / "task" / str(pid)
        task.mkdir(parents=True, exist_ok=True)
        (task / "children").write_text("".join(f"{child} " for child in children))
        (self.root / str(pid) / "stat").write_text(f"{pid} (a ) b) S 1 " + "0 " * 17 + f"{begun} 0 0\n")

    def end(self, pid: int) -> None:
        (self.root / str(pid) / "stat").unlink()
        (self.root / str(pid) / "task" / str(pid) / "children").unlink()


def never(pid: int, strangers: object) -> set[int]:
    raise AssertionError("the lists are there")


def test_children_of_children_are_ours_and_a_miner_we_started_is_not(tmp_path: Path) -> None:
    tree, strangers = Tree(tmp_path), {12}
    tree.put(10, 11, 12)
    tree.put(11, 13)
    tree.put(12, 14)
    for pid in (13, 14, 99):
        tree.put(pid)
    assert Kin(strangers, pid=10, proc=tmp_path, walk=never).pids() == {10, 11, 13}


def test_one_that_a_list_forgets_stays_until_it_ends(tmp_path: Path) -> None:
    tree = Tree(tmp_path)
    tree.put(10, 11, 12)
    tree.put(11)
    tree.put(12)
    kin = Kin(pid=10, proc=tmp_path, walk=never)
    assert kin.pids() == {10, 11, 12}
    tree.put(10, 11)
    assert kin.pids() == {10, 11, 12}
    tree.put(12, begun=6)  # somebody else got its number
    assert kin.pids() == {10, 11}
    tree.end(11)
    tree.put(10)
    assert kin.pids() == {10}


def test_a_child_that_turns_out_to_be_a_miner_counts_no_longer(tmp_path: Path) -> None:
    tree, strangers = Tree(tmp_path), set[int]()
    tree.put(10, 11)
    tree.put(11)
    kin = Kin(strangers, pid=10, proc=tmp_path, walk=never)
    assert kin.pids() == {10, 11}
    strangers.add(11)
    assert kin.pids() == {10}


def test_without_lists_the_processes_are_walked_through(tmp_path: Path) -> None:
    assert Kin(pid=10, proc=tmp_path, walk=lambda pid, strangers: {pid, 77}).pids() == {10, 77}


@pytest.mark.parametrize("proc", [Path("/proc"), Path("/nowhere")], ids=["lists", "walk"])
def test_real_children_are_found_either_way(proc: Path) -> None:
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as child:
        assert Kin(proc=proc).pids() >= {os.getpid(), child.pid}
        assert child.pid not in Kin({child.pid}, proc=proc).pids()
        child.communicate(b"\n")


def test_a_look_opens_nothing_of_other_processes() -> None:
    """There are hundreds on a desktop, and a look is taken every second or two."""
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as stranger:
        told = subprocess.run([sys.executable, "-c", LOOK], capture_output=True, text=True, check=True).stdout.split()
        stranger.communicate(b"\n")
    assert [word for word in told if word.isdecimal()] == []


def test_a_worker_that_ended_between_two_looks_does_no_harm() -> None:
    alive = {os.getpid(), 2**22 + 1}
    person = Person(wall_ms=lambda: 1, environment={})
    probe = HostProbe(clock=lambda: 1, own_pids=lambda: alive, person=person)
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as child:
        alive.add(child.pid)
        probe.sample()
        child.communicate(b"\n")
    assert probe.sample().taken_at_ms == 1


class Maker:
    def __init__(self) -> None:
        self.asked = 0
        self.sight = Sight((), "no driver", absent=True)

    def sample(self) -> Sight:
        self.asked += 1
        return self.sight


async def test_a_driver_that_is_not_here_is_looked_for_once_in_a_while() -> None:
    maker = Maker()
    cards = Cards({"NVIDIA": maker}, deadline_ms=60_000)
    for _ in range(ABSENT_LOOKS):
        assert (await cards.take()).reason == "no driver"
    assert maker.asked == 1
    maker.sight = Sight((), "GPU 0: gone")
    assert (await cards.take()).reason == "GPU 0: gone"
    await asyncio.gather(cards.take())
    assert maker.asked == 3


# ---- programs that want the machine for themselves -----------------------------------------


def process(root: Path, pid: int, name: str, *, parent: int = 1, command: str = "") -> None:
    folder = root / str(pid)
    folder.mkdir(exist_ok=True)
    (folder / "stat").write_text(f"{pid} ({name}) S {parent} 0 0\n")
    (folder / "comm").write_text(f"{name[:15]}\n")
    (folder / "cmdline").write_text(command.replace(" ", "\0"))


def test_a_program_is_found_by_its_whole_name_and_whatever_it_becomes(tmp_path: Path) -> None:
    process(tmp_path, 2, "kthreadd", parent=0)
    process(tmp_path, 3, "blender", parent=2)
    process(tmp_path, 7, "launcher")
    (tmp_path / "meminfo").write_text("")
    names = Names(tmp_path)
    assert sorted(names()) == ["launcher"], "the kernel's own threads are nobody's programs"
    assert read_programs(("blender",), names) is None
    process(tmp_path, 7, "blender")  # it executed another program under the same number
    found = read_programs(("Blender.exe",), names)
    assert found is not None
    assert "blender runs" in found.detail
    process(tmp_path, 8, "a-very-long-game-name", command="/opt/a-very-long-game-name --full")
    assert "a-very-long-game-name" in set(names())
    for file in (tmp_path / "8").iterdir():
        file.unlink()
    assert "a-very-long-game-name" not in set(names())


def test_a_real_program_is_seen() -> None:
    assert psutil.Process().name() in set(Names()())
