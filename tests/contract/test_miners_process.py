"""A miner that potminer starts and ends: real processes. And the systems on which no other may be paused."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from pathlib import Path

import msgspec
import psutil
import pytest

from potminer.world.rig.miners.interface import Failure, MinerError
from potminer.world.rig.miners.process import Command, Known, ProcessMiner
from potminer.world.rig.miners.registry import open_miner
from potminer.world.rig.platform import Guarded, detect_platform

STAYS = "import signal; print('up', flush=True); signal.pause()"
STUBBORN = "import signal; signal.signal(signal.SIGTERM, signal.SIG_IGN)\n" + STAYS
ENDS = "print('up', flush=True)"


def command(folder: Path, code: str, **changes: object) -> Command:
    values: dict[str, object] = {"patience_s": 10.0, "again_s": (0.05, 0.1), **changes}
    return Command((sys.executable, "-c", code), folder, **values)  # type: ignore[arg-type]


def pid_of(folder: Path) -> int:
    return msgspec.json.decode((folder / "miner.json").read_bytes(), type=Known).pid


def runs(pid: int) -> bool:
    with suppress(psutil.NoSuchProcess):
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    return False


@asynccontextmanager
async def kept(miner: ProcessMiner, notes: list[str]) -> AsyncIterator[None]:
    def note(level: str, line: str) -> None:
        notes.append(line)

    following = asyncio.create_task(miner.follow(note))
    try:
        async with asyncio.timeout(60):
            yield
    finally:
        following.cancel()
        await asyncio.gather(following, return_exceptions=True)
        await miner.close()


async def until(true: Callable[[], bool]) -> None:
    while not true():  # noqa: ASYNC110 - another process's file, which tells nobody
        await asyncio.sleep(0.02)


def said_up(folder: Path, times: int = 1) -> Callable[[], bool]:
    log = folder / "miner.log"
    return lambda: log.exists() and log.read_text().count("up") >= times


async def test_it_is_started_ended_and_started_again(tmp_path: Path) -> None:
    strangers: set[int] = set()
    miner = ProcessMiner(command(tmp_path, STAYS), clock=lambda: 5, strangers=strangers)
    async with kept(miner, []):
        await until(said_up(tmp_path))
        first, sample = pid_of(tmp_path), await miner.read()
        assert (sample.alive, sample.paused, sample.hashrate_hs) == (True, False, None), "its rate nobody knows"
        assert strangers == {first}, "its load is a miner's, not ours"
        assert (await miner.pause()).paused is True
        assert not runs(first)
        assert not (tmp_path / "miner.json").exists()
        assert (await miner.resume()).paused is False
        second = pid_of(tmp_path)
        assert second != first
        assert runs(second)
    assert not runs(second), "who stops potminer stops its miner"
    assert strangers == set()


async def test_one_that_does_not_want_to_end_is_killed(tmp_path: Path) -> None:
    miner = ProcessMiner(command(tmp_path, STUBBORN, patience_s=0.3), clock=lambda: 5)
    async with kept(miner, []):
        await until(said_up(tmp_path))
        pid = pid_of(tmp_path)
        await miner.pause()
        assert not runs(pid)


@pytest.mark.parametrize("noted", [True, False])
async def test_after_a_crash_of_ours_it_is_found_again_and_not_doubled(tmp_path: Path, noted: bool) -> None:
    before = ProcessMiner(command(tmp_path, STAYS), clock=lambda: 5)
    await before.resume()
    await until(said_up(tmp_path))
    pid = pid_of(tmp_path)
    if not noted:
        (tmp_path / "miner.json").unlink()  # killed between the start and the note
    after = ProcessMiner(command(tmp_path, STAYS), clock=lambda: 5)
    async with kept(after, []):
        assert (await after.resume()).paused is False
        assert (tmp_path / "miner.log").read_text().count("up") == 1
        await after.pause()
        await until(lambda: not runs(pid))


async def test_a_stranger_that_got_its_number_is_never_touched(tmp_path: Path) -> None:
    stranger = await asyncio.create_subprocess_exec(
        sys.executable, "-c", STAYS, stdout=asyncio.subprocess.PIPE, start_new_session=True
    )
    try:
        assert stranger.stdout is not None
        await stranger.stdout.readline()
        (tmp_path / "miner.json").write_bytes(msgspec.json.encode(Known(stranger.pid, 12.5)))
        miner = ProcessMiner(command(tmp_path, STAYS), clock=lambda: 5)
        assert (await miner.read()).hashrate_hs == 0
        await miner.pause()
        await miner.close()
        assert stranger.returncode is None
        assert runs(stranger.pid)
    finally:
        stranger.kill()
        await stranger.wait()


async def test_one_that_ends_by_itself_is_started_again_and_earns_nothing_meanwhile(tmp_path: Path) -> None:
    miner, notes = ProcessMiner(command(tmp_path, ENDS), clock=lambda: 5), []
    async with kept(miner, notes):
        await until(said_up(tmp_path, 3))
        sample = await miner.read()
        assert sample.alive, "duty must ask for its device, and not find it dead"
        assert sample.paused is False
        await miner.pause()
        count = (tmp_path / "miner.log").read_text().count("up")
        assert (await miner.read()).paused is True
        assert (tmp_path / "miner.log").read_text().count("up") == count
    assert len([line for line in notes if "started" in line]) >= 3


async def test_one_that_cannot_be_started_is_said(tmp_path: Path) -> None:
    miner, notes = ProcessMiner(Command(("/no/such/miner",), tmp_path, again_s=(0.05,)), clock=lambda: 5), []
    async with kept(miner, notes):
        await until(lambda: bool(notes))
        assert "cannot be started" in notes[0]
        with pytest.raises(MinerError):
            await miner.resume()


@pytest.mark.parametrize(
    ("made", "name"),
    [("hive/bin/wd", "HiveOS"), ("hive-config/rig.conf", "HiveOS"), ("opt/mmp/bin/agent", "mmpOS"), ("home/x", None)],
)
def test_platforms_are_known_by_their_files(made: str, name: str | None, tmp_path: Path) -> None:
    (tmp_path / made).parent.mkdir(parents=True)
    (tmp_path / made).touch()
    found = detect_platform(root=tmp_path)
    assert (None if found is None else found.name) == name
    assert detect_platform("none", root=tmp_path) is None


def test_a_platform_is_known_by_its_release_or_its_owners_word(tmp_path: Path) -> None:
    (tmp_path / "etc").mkdir()
    (tmp_path / "etc/os-release").write_text('NAME="RaveOS"\nID=raveos\n')
    for found in (detect_platform(root=tmp_path), detect_platform("raveos", root=tmp_path / "x")):
        assert found is not None
        assert found.name == "RaveOS"


async def test_on_a_watched_rig_no_miner_is_paused_and_the_way_out_is_named() -> None:
    platform = detect_platform("hiveos")
    assert platform is not None
    miner = Guarded(open_miner("trex", "http://127.0.0.1:1", clock=lambda: 0), platform)
    assert not miner.capabilities.pauses
    with pytest.raises(MinerError, match=r'HiveOS restarts a rig.*kind = "process"') as caught:
        await miner.pause()
    assert caught.value.failure is Failure.READ_ONLY
