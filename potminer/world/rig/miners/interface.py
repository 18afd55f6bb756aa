"""What every miner adapter can do, and how it fails."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum
from typing import Protocol

from potminer.base.errors import ConfigError
from potminer.wire.facts import MinerSample


class Failure(StrEnum):
    UNREACHABLE = "unreachable"
    """Nothing listens there: the miner does not run, or its API is off."""
    TIMEOUT = "timeout"
    """Something listens and did not answer in time: the miner may well be running."""
    REFUSED = "refused"
    """It answered no: a wrong token, a redirect, an error of its own, or a write without effect."""
    MALFORMED = "malformed"
    """The answer cannot be read, or is too large."""
    NOT_THIS_MINER = "not-this-miner"
    """A readable answer of some other program."""
    READ_ONLY = "read-only"
    """It can be read but may not be told anything."""


class MinerError(Exception):
    """*failure* is for programs, the text for the owner. Neither holds a token, a wallet or a raw reply."""

    def __init__(self, failure: Failure, what: str) -> None:
        super().__init__(what)
        self.failure = failure


class MinerConfigError(ConfigError):
    """An adapter was configured in a way that is refused."""


class Control(StrEnum):
    """How a kind of miner can be made to release its GPUs, and take them again."""

    HTTP_PAUSE = "http-pause"
    """A documented command over HTTP pauses and resumes the whole miner."""
    RPC_PAUSE = "rpc-pause"
    """The same by remote procedure call."""
    GPU_TOGGLE = "gpu-toggle"
    """Every GPU is switched off and on by itself; the miner counts as paused when all are off."""
    PROCESS = "process"
    """Its API can only be read: nothing but ending and starting the program frees the GPUs."""

    @property
    def pauses(self) -> bool:
        return self is not Control.PROCESS


@dataclass(frozen=True, slots=True)
class Capabilities:
    """What the adapter does. *pauses*: pause and resume work. *single_gpus*: one GPU at a time."""

    pauses: bool
    single_gpus: bool


@dataclass(frozen=True, slots=True)
class Identity:
    """*writable*: whether its API accepts commands from us; None where only a command would tell."""

    kind: str
    version: str
    writable: bool | None


class MinerAdapter(Protocol):
    """One running (or not running) miner. All calls raise MinerError and end within seconds."""

    @property
    def name(self) -> str: ...

    @property
    def kind(self) -> str: ...

    @property
    def capabilities(self) -> Capabilities: ...

    async def identify(self) -> Identity:
        """Who answers there; NOT_THIS_MINER where the reply has another shape."""

    async def read(self) -> MinerSample: ...

    async def pause(self, bus: str | None = None) -> MinerSample:
        """Returns only when the miner, read again, says that it is paused: as a whole, or on the card *bus* alone
        where ``capabilities.single_gpus``."""

    async def resume(self, bus: str | None = None) -> MinerSample:
        """Returns only when the miner, read again, says that it is not paused."""


async def look_at(adapter: MinerAdapter, *, now_ms: Callable[[], int]) -> MinerSample:
    """``read``, with a miner that is not there as a sample too: not alive, all else unknown."""
    try:
        return await adapter.read()
    except MinerError as error:
        if error.failure is not Failure.UNREACHABLE:
            raise
        return MinerSample(
            name=adapter.name,
            kind=adapter.kind,
            version="",
            alive=False,
            paused=None,
            hashrate_hs=None,
            uptime_s=None,
            accepted=None,
            rejected=None,
            pauses_single_gpus=adapter.capabilities.single_gpus,
            gpus=(),
            taken_at_ms=now_ms(),
        )
