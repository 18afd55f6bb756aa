"""All GPUs of a rig, whoever made them: every probe on a thread of its own, with a deadline."""

from __future__ import annotations

import asyncio
import os
import sys
import time
from collections.abc import Callable, Collection, Mapping
from typing import Protocol

from potminer.world.rig.aside import Aside, Stuck
from potminer.world.rig.sight import Sight, join


class GpuProbe(Protocol):
    """One maker's cards. ``sample`` may block and says in its reason what it could not see."""

    def sample(self) -> Sight: ...


ABSENT_LOOKS = 30
"""A maker whose driver is not here is asked for again after so many looks: within a minute of its coming."""


class Cards:
    """*probes* by the maker's name."""

    def __init__(self, probes: Mapping[str, GpuProbe], *, deadline_ms: int) -> None:
        self._asides = {name: Aside(f"{name} probe", probe.sample) for name, probe in probes.items()}
        self._deadline_ms = deadline_ms
        self._absent: dict[str, tuple[int, Sight]] = {}

    async def take(self) -> Sight:
        """Never raises: a probe that hangs or fails is a reason."""
        return join(await asyncio.gather(*(self._ask(name, aside) for name, aside in self._asides.items())))

    async def _ask(self, name: str, aside: Aside[Sight]) -> Sight:
        left, kept = self._absent.get(name, (0, Sight((), "")))
        if left:
            self._absent[name] = (left - 1, kept)
            return kept
        sight = await self._ask_now(name, aside)
        if sight.absent:
            self._absent[name] = (ABSENT_LOOKS - 1, sight)
        return sight

    async def _ask_now(self, name: str, aside: Aside[Sight]) -> Sight:
        try:
            return await aside.ask(deadline_ms=self._deadline_ms)
        except Stuck as stuck:
            return Sight((), str(stuck))
        except (OSError, ValueError, RuntimeError) as error:
            return Sight((), f"{name} probe: {type(error).__name__}")


def open_probes(
    clock: Callable[[], int], own_pids: Callable[[], Collection[int]] = lambda: (os.getpid(),)
) -> dict[str, GpuProbe]:
    """The probes of this system."""
    from potminer.world.rig.amd import AmdProbe
    from potminer.world.rig.nvidia import NvidiaProbe

    probes: dict[str, GpuProbe] = {"NVIDIA": NvidiaProbe(clock=clock, own_pids=own_pids)}
    if sys.platform.startswith("linux"):
        probes["AMD"] = AmdProbe(clock=clock, ticks=time.monotonic_ns, own_pids=own_pids)
    return probes
