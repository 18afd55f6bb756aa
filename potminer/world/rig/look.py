"""One look at the whole rig: host, GPUs and miners at once, each with a deadline of its own."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence

from potminer.wire.facts import HostSample, MinerSample, RigSample
from potminer.world.rig.aside import Aside, Stuck
from potminer.world.rig.cards import Cards, GpuProbe
from potminer.world.rig.host import HostProbe
from potminer.world.rig.miners.interface import MinerAdapter, MinerError, look_at

DEADLINE_MS = 3_000


class Look:
    """Takes a RigSample; never raises for what it cannot see."""

    def __init__(
        self,
        *,
        clock: Callable[[], int],
        host: HostProbe,
        gpus: Mapping[str, GpuProbe],
        miners: Sequence[MinerAdapter],
    ) -> None:
        self._clock = clock
        self._host = Aside("host probe", host.sample)
        self._cards = Cards(gpus, deadline_ms=DEADLINE_MS)
        self._miners = tuple(miners)

    async def take(self) -> RigSample:
        host, sight, miners = await asyncio.gather(
            self._look_at_host(),
            self._cards.take(),
            asyncio.gather(*(self._look_at_miner(miner) for miner in self._miners)),
        )
        return RigSample(
            host=host,
            gpus=sight.gpus,
            gpu_reason=sight.reason,
            miners=tuple(sample for sample in miners if sample is not None),
            taken_at_ms=self._clock(),
        )

    async def _look_at_host(self) -> HostSample:
        try:
            return await self._host.ask(deadline_ms=DEADLINE_MS)
        except (Stuck, OSError, ValueError, RuntimeError):
            return HostSample(None, None, None, None, None, None, self._clock())

    async def _look_at_miner(self, miner: MinerAdapter) -> MinerSample | None:
        try:
            return await look_at(miner, now_ms=self._clock)
        except MinerError:
            return None
