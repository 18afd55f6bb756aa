"""Talk: one miner's own language, and the adapter that speaks it.

A file per miner holds its Talk: how to look, and how to command where it takes commands. All the
rest - deadlines, one command at a time, reading again until it is so - is here, once.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Protocol, runtime_checkable

from potminer.wire.facts import MinerSample
from potminer.world.rig.miners.interface import Capabilities, Control, Failure, Identity, MinerError
from potminer.world.rig.miners.local import TIMEOUT_S, LocalHttp, deadline
from potminer.world.rig.miners.reading import Reading

LOOKS = 10
"""Miners refresh what they say every few seconds; more looks would hide one that ignores us."""


class Talk(Protocol):
    """All calls raise MinerError. ``look`` believes nothing before the shape of the reply."""

    @property
    def kind(self) -> str: ...

    @property
    def control(self) -> Control: ...

    async def look(self) -> Reading: ...

    async def writable(self) -> bool | None:
        """Whether its API takes commands from us; None where only a command would tell."""

    async def command(self, *, pause: bool) -> None:
        """Says it once, after a look that succeeded; whether it happened is for the next look."""


@runtime_checkable
class SingleGpus(Protocol):
    """A Talk that can also command one GPU and let the others go on."""

    async def command_gpu(self, index: int, *, pause: bool) -> None:
        """*index* is the miner's own number of the GPU."""


class ReadOnlyHttp:
    """The Talk of a miner that answers one GET and takes no commands."""

    control = Control.PROCESS

    def __init__(
        self,
        kind: str,
        http: LocalHttp,
        path: str,
        parse: Callable[[object], Reading],
        mend: Callable[[bytes], bytes] | None = None,
    ) -> None:
        self.kind = kind
        self._http = http
        self._path = path
        self._parse = parse
        self._mend = mend

    async def look(self) -> Reading:
        return self._parse(await self._http.get(self._path, mend=self._mend))

    async def writable(self) -> bool:
        return False

    async def command(self, *, pause: bool) -> None:
        raise read_only(self.kind)


class Adapter:
    """MinerAdapter over a Talk. *look_again_s* lies between looks after a command."""

    def __init__(
        self,
        talk: Talk,
        *,
        name: str,
        clock: Callable[[], int],
        timeout_s: float = TIMEOUT_S,
        look_again_s: float = 0.5,
    ) -> None:
        self.name = name
        self.kind = talk.kind
        self.capabilities = Capabilities(pauses=talk.control.pauses, single_gpus=isinstance(talk, SingleGpus))
        self._talk = talk
        self._clock = clock
        self._timeout_s = timeout_s
        self._look_again_s = look_again_s
        self._turn = asyncio.Lock()

    async def identify(self) -> Identity:
        async with deadline(self._timeout_s):
            reading = await self._talk.look()
            writable = await self._talk.writable() if self.capabilities.pauses else False
        return Identity(kind=self.kind, version=reading.version, writable=writable)

    async def read(self) -> MinerSample:
        taken_at_ms = self._clock()  # before asking: a sample is never younger than what it tells
        async with deadline(self._timeout_s):
            reading = await self._talk.look()
        return MinerSample(
            name=self.name,
            kind=self.kind,
            version=reading.version,
            alive=True,
            paused=reading.paused,
            hashrate_hs=reading.hashrate_hs,
            uptime_s=_uptime(reading, now_s=taken_at_ms // 1_000),
            accepted=reading.accepted,
            rejected=reading.rejected,
            pauses_single_gpus=self.capabilities.single_gpus,
            gpus=reading.gpus,
            taken_at_ms=taken_at_ms,
            algorithm=reading.algorithm,
        )

    async def pause(self, bus: str | None = None) -> MinerSample:
        return await self._command(bus, pause=True)

    async def resume(self, bus: str | None = None) -> MinerSample:
        return await self._command(bus, pause=False)

    async def _command(self, bus: str | None, *, pause: bool) -> MinerSample:
        """Look, write, read again until it is so. One command at a time; nothing to write is no write."""
        if not self.capabilities.pauses:
            raise read_only(self.kind)
        async with self._turn:
            sample = await self.read()
            if _is_paused(sample, bus) is pause:
                return sample
            async with deadline(self._timeout_s):
                await self._say(sample, bus, pause=pause)
            for look in range(LOOKS):
                if look:
                    await asyncio.sleep(self._look_again_s)
                sample = await self.read()
                if _is_paused(sample, bus) is pause:
                    return sample
            raise MinerError(Failure.REFUSED, f"it was told to {'pause' if pause else 'resume'} and did not do it")

    async def _say(self, sample: MinerSample, bus: str | None, *, pause: bool) -> None:
        """A miner that is paused as a whole is resumed as a whole: no single GPU runs in it."""
        if bus is None or (sample.paused and not pause):
            await self._talk.command(pause=pause)
            return
        found = [gpu.index for gpu in sample.gpus if gpu.bus == bus and gpu.index is not None]
        if not isinstance(self._talk, SingleGpus) or not found:
            raise MinerError(Failure.REFUSED, f"it does not say which of its GPUs is {bus}")
        await self._talk.command_gpu(found[0], pause=pause)


def _is_paused(sample: MinerSample, bus: str | None) -> bool | None:
    if bus is None or sample.paused:
        return sample.paused
    return next((gpu.paused for gpu in sample.gpus if gpu.bus == bus), None)


def _uptime(reading: Reading, *, now_s: int) -> int | None:
    if reading.started_at_s is not None and reading.started_at_s <= now_s:
        return now_s - reading.started_at_s
    return reading.uptime_s


def read_only(kind: str) -> MinerError:
    return MinerError(Failure.READ_ONLY, f"{kind} can only be read: its API has no command that pauses and resumes it")
