"""A network with one virtual clock: messages are delayed, overtaken, lost, repeated and cut off."""

from __future__ import annotations

import heapq
from collections.abc import Callable
from dataclasses import dataclass, field
from random import Random

from potminer.sim.scenarios import Scenario


@dataclass(slots=True)
class Clock:
    """Virtual milliseconds and what happens when. Two things at one time happen in the order of their planning."""

    now: int = 0
    _plan: list[tuple[int, int, Callable[[], None]]] = field(default_factory=list)
    _planned: int = 0

    def after(self, delay_ms: int, action: Callable[[], None]) -> None:
        self._planned += 1
        heapq.heappush(self._plan, (self.now + delay_ms, self._planned, action))

    def step(self, until: int) -> bool:
        """Does the next thing planned before *until*; False where there is none."""
        if not self._plan or self._plan[0][0] >= until:
            self.now = until
            return False
        self.now, _, action = heapq.heappop(self._plan)
        action()
        return True


@dataclass(slots=True)
class Network:
    """Decides whether and when a message between two hosts arrives."""

    clock: Clock
    chance: Random
    scenario: Scenario
    cut: set[tuple[int, int]] = field(default_factory=set)
    healed: bool = False
    carried: int = 0

    def carry(self, source: int, target: int, deliver: Callable[[], None]) -> None:
        if (source, target) in self.cut:
            return
        self.carried += 1
        for delay in self._arrivals():
            self.clock.after(delay, lambda: None if (source, target) in self.cut else deliver())

    def _arrivals(self) -> list[int]:
        least, mean = self.scenario.delay_ms
        once = least + int(self.chance.expovariate(1 / mean))
        if self.healed:
            return [once]
        arrivals = [] if self.chance.randrange(1_000) < self.scenario.loss else [once]
        if self.chance.randrange(1_000) < self.scenario.repeat:
            arrivals.append(once + self.chance.randrange(5_000))
        return arrivals

    def split(self, hosts: int) -> None:
        """A new partition: two sides that hear nothing of each other, or single directions cut."""
        names = range(hosts)
        if self.chance.randrange(2):
            side = {name for name in names if self.chance.randrange(2)}
            self.cut = {(a, b) for a in names for b in names if (a in side) != (b in side)}
        else:
            self.cut = {(a, b) for a in names for b in names if a != b and self.chance.randrange(10) < 3}

    def join(self) -> None:
        """The end of a partition."""
        self.cut = set()

    def heal(self) -> None:
        self.cut, self.healed = set(), True
