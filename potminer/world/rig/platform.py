"""Mining systems whose watchdogs restart rigs that stop hashing: there nobody pauses a miner from outside."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from potminer.wire.facts import MinerSample
from potminer.world.rig.miners.interface import Capabilities, Failure, Identity, MinerAdapter, MinerError

_RELEASE_BYTES = 65_536


@dataclass(frozen=True, slots=True)
class Platform:
    """*marks*: files or folders that nobody else has. *release*: a word of ``/etc/os-release``."""

    key: str
    name: str
    marks: tuple[str, ...]
    release: str

    @property
    def reason(self) -> str:
        return f"{self.name} restarts a rig whose miner stops hashing, so potminer pauses none from outside"

    @property
    def hint(self) -> str:
        return (
            f"Let {self.name} run potminer as its custom miner, and potminer the real one: "
            '[[miners]] kind = "process" with its command.'
        )


PLATFORMS = (
    Platform("hiveos", "HiveOS", ("hive/bin", "hive-config/rig.conf"), "hiveos"),
    Platform("mmpos", "mmpOS", ("opt/mmp",), "mmpos"),
    Platform("raveos", "RaveOS", (), "raveos"),
)


def detect_platform(said: str = "auto", *, root: Path = Path("/")) -> Platform | None:
    """The one that this rig runs, by its files; *said* by its owner, ``none`` included."""
    if said != "auto":
        return next((each for each in PLATFORMS if each.key == said), None)
    release = _release(root)
    for each in PLATFORMS:
        if each.release in release or any((root / mark).exists() for mark in each.marks):
            return each
    return None


def _release(root: Path) -> str:
    try:
        with (root / "etc/os-release").open("rb") as file:
            return file.read(_RELEASE_BYTES).decode(errors="replace").lower()
    except OSError:
        return ""


class Guarded:
    """A miner that a platform watches: it is read, and resumed if it must be, and never paused."""

    def __init__(self, miner: MinerAdapter, platform: Platform) -> None:
        self._miner = miner
        self._platform = platform
        self.name = miner.name
        self.kind = miner.kind
        self.capabilities = Capabilities(pauses=False, single_gpus=miner.capabilities.single_gpus)

    async def identify(self) -> Identity:
        return await self._miner.identify()

    async def read(self) -> MinerSample:
        return await self._miner.read()

    async def pause(self, bus: str | None = None) -> MinerSample:
        raise MinerError(Failure.READ_ONLY, f"{self._platform.reason}. {self._platform.hint}")

    async def resume(self, bus: str | None = None) -> MinerSample:
        return await self._miner.resume(bus)
