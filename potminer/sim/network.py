"""A network with one virtual clock: messages are delayed, overtaken, lost, repeated, held back and cut off."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from heapq import heappop, heappush
from math import log
from random import Random
from typing import Any, Protocol

from potminer.sim.plan import TWIN, Delays, Weather

Action = Callable[..., None]
SHAPE = 1.5
"""Of the Pareto distribution: its mean is three times its scale."""
MOST_MS = 60_000
_EXPONENTIAL, _UNIFORM, _HEAVY = Delays.EXPONENTIAL, Delays.UNIFORM, Delays.HEAVY


@dataclass(slots=True)
class Clock:
    """Virtual milliseconds and what happens when. Two things at one time happen in the order of their planning."""

    now: int = 0
    steps: int = 0
    _plan: list[tuple[int, int, Action, tuple[Any, ...]]] = field(default_factory=list)
    _planned: int = 0

    def after(self, delay_ms: int, action: Action, *arguments: Any) -> None:
        self._planned += 1
        heappush(self._plan, (self.now + delay_ms, self._planned, action, arguments))

    def step(self, until: int) -> bool:
        """Does the next thing planned before *until*; False where there is none."""
        plan = self._plan
        if not plan or plan[0][0] >= until:
            self.now = until
            return False
        self.now, _, action, arguments = heappop(plan)
        self.steps += 1
        action(*arguments)
        return True


class Ticking(Protocol):
    """A clock that can be told to do something later."""

    @property
    def now(self) -> int: ...
    def after(self, delay_ms: int, action: Action, *arguments: Any) -> None: ...


@dataclass(slots=True)
class Way:
    """One direction between two hosts. It has its own chance, so that a fault elsewhere changes nothing here."""

    chance: Callable[[], float]
    """The next number of its own from 0 to 1."""
    odd: bool = False
    """Whether it leads from one site to the other."""
    cuts: int = 0
    clogged_until: int = 0


@dataclass(slots=True)
class Network:
    """Decides whether and when a message between two hosts arrives."""

    clock: Ticking
    seed: str
    weather: Weather
    hosts: tuple[int, ...]
    quiet: bool = False
    """After the heal: nothing is lost or repeated any more."""
    carried: int = 0
    _ways: dict[tuple[int, int], Way] = field(default_factory=dict)

    def carry(self, source: int, target: int, deliver: Action, *arguments: Any) -> None:
        self.carry_on(self._ways.get((source, target)) or self.way(source, target), deliver, arguments)

    def carry_on(self, way: Way, deliver: Action, arguments: tuple[Any, ...]) -> None:
        """The same, for who keeps its ways at hand."""
        if way.cuts:
            return
        self.carried += 1
        weather, chance = self.weather, way.chance
        once = weather.least_ms + self._extra(chance, way.odd)
        after = self.clock.after
        if self.quiet:
            after(once, self._arrive, way, deliver, arguments)
            return
        if not (weather.loss and chance() * 1_000 < weather.loss):
            after(once, self._arrive, way, deliver, arguments)
        if weather.repeat and chance() * 1_000 < weather.repeat:
            after(once + int(chance() * 5_000), self._arrive, way, deliver, arguments)

    def _arrive(self, way: Way, deliver: Action, arguments: tuple[Any, ...]) -> None:
        if way.cuts:
            return
        if way.clogged_until > self.clock.now:
            self.clock.after(way.clogged_until - self.clock.now, self._arrive, way, deliver, arguments)
            return
        deliver(*arguments)

    def way(self, source: int, target: int) -> Way:
        way = self._ways.get((source, target))
        if way is None:
            chance = Random(f"{self.seed}/{source}/{target}").random
            way = self._ways[source, target] = Way(chance, (source % TWIN + target % TWIN) % 2 == 1)
        return way

    def _extra(self, chance: Callable[[], float], odd: bool) -> int:
        spread, delays = self.weather.spread_ms, self.weather.delays
        if delays is _EXPONENTIAL:
            return int(-log(1.0 - chance()) / (1 / spread))
        if delays is _UNIFORM:
            return int(chance() * 2 * spread)
        if delays is _HEAVY:
            return min(MOST_MS, int(spread / 3 * (1.0 - chance()) ** (-1.0 / SHAPE)))
        return int((spread if odd else 1) * (1 + chance() / 10))

    # ---- faults --------------------------------------------------------------------------

    def cut(self, ways: Iterable[tuple[int, int]], *, for_ms: int | None) -> None:
        """Nothing passes on *ways*, for a while or (None) for good; what is on its way is lost."""
        chosen = [self.way(source, target) for source, target in ways]
        for way in chosen:
            way.cuts += 1
        if for_ms is not None:
            self.clock.after(for_ms, self._join, chosen)

    def _join(self, ways: list[Way]) -> None:
        for way in ways:
            way.cuts = max(0, way.cuts - 1)

    def split(self, side: frozenset[int]) -> list[tuple[int, int]]:
        """The ways, in both directions, between *side* and the others."""
        return [(a, b) for a in self.hosts for b in self.hosts if (a in side) != (b in side)]

    def mute(self, side: frozenset[int]) -> list[tuple[int, int]]:
        """The ways from *side* to the others."""
        return [(a, b) for a in self.hosts for b in self.hosts if a in side and b not in side]

    def ring(self, reach: int) -> list[tuple[int, int]]:
        """The ways between hosts that are more than *reach* places apart on a ring of all."""
        count = len(self.hosts)
        return [
            (a, b)
            for i, a in enumerate(self.hosts)
            for j, b in enumerate(self.hosts)
            if min((i - j) % count, (j - i) % count) > reach
        ]

    def clog(self, sources: frozenset[int], for_ms: int) -> None:
        for source in sources:
            for target in self.hosts:
                if target != source:
                    self.way(source, target).clogged_until = self.clock.now + for_ms

    def heal(self) -> None:
        """No way is cut or clogged any more, and no message is lost. Delays stay as they are."""
        self.quiet = True
        for way in self._ways.values():
            way.cuts = way.clogged_until = 0
