"""Twins scenarios (Bano et al., "Twins: BFT Systems Made Robust", 2021): every one, numbered.

Some seats of the committee are held by two replicas with one key, each with its own memory. A
scenario says, round by round, who leads and which replicas hear each other; a round is a view.
All scenarios of a space are one number each, so a failing one is replayed by its number.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from enum import StrEnum
from functools import cached_property
from typing import Annotated

import msgspec
from msgspec import Meta


class Leads(StrEnum):
    """Who leads the rounds of a space."""

    TWIN = "twin"
    """A pair of twins, in every round: the published form, and the hardest."""
    TURN = "turn"
    """The turn passes, as it does in a network; twins lead when it is theirs."""
    SKIP = "skip"
    """The turns are the chain's own, also between heights: whoever misses one is skipped for the rest of the run."""


class Cut(StrEnum):
    """When one round's partition gives way to the next one's."""

    VIEW = "view"
    """With the view: a side that prepares a block also commits it."""
    COMMIT = "commit"
    """Between PREPARE and COMMIT: a block may be prepared on one side and committed by few, or by nobody."""


@dataclass(frozen=True, slots=True)
class Script:
    """One scenario. Hosts 0 .. nodes-1 hold the seats; the hosts after them are the twins of seats 0, 1, ..."""

    nodes: int
    twins: int
    leaders: tuple[int, ...]
    """The seat that leads each round; empty where the chain says whose turn it is."""
    sides: tuple[tuple[int, ...], ...]
    """Per round and host, the side of the partition it is on."""
    cut: Cut

    def __post_init__(self) -> None:
        hosts = self.nodes + self.twins
        if not 0 <= self.twins <= self.nodes or len(self.leaders) not in (0, len(self.sides)):
            raise AssertionError("a scenario has seats for its twins, and as many leaders as partitions, or none")
        if any(len(split) != hosts for split in self.sides) or any(not 0 <= s < self.nodes for s in self.leaders):
            raise AssertionError("every host is on a side, every leader has a seat")


@dataclass(frozen=True)
class Space:
    """All scenarios of one size: each round takes one of all ways to split the hosts into *sides* groups."""

    nodes: int = 4
    twins: int = 1
    sides: int = 2
    rounds: int = 4
    leads: Leads = Leads.TWIN
    cut: Cut = Cut.COMMIT

    @cached_property
    def splits(self) -> tuple[tuple[int, ...], ...]:
        return tuple(_splits(self.nodes + self.twins, self.sides))

    @property
    def size(self) -> int:
        return int(len(self.splits) ** self.rounds)

    def script(self, index: int) -> Script:
        """Scenario *index*: its digits to the base of the number of splits, the first round first."""
        if not 0 <= index < self.size:
            raise AssertionError(f"scenario {index} of {self.size}")
        chosen = []
        for _ in range(self.rounds):
            index, digit = divmod(index, len(self.splits))
            chosen.append(self.splits[digit])
        return Script(self.nodes, self.twins, self._leaders(), tuple(reversed(chosen)), self.cut)

    def _leaders(self) -> tuple[int, ...]:
        if self.leads is Leads.SKIP:
            return ()
        if self.leads is Leads.TWIN:
            return tuple(number % max(self.twins, 1) for number in range(self.rounds))
        return tuple(number % self.nodes for number in range(self.rounds))


def _splits(hosts: int, sides: int) -> Iterator[tuple[int, ...]]:
    """Every way to put *hosts* on exactly *sides* unnamed sides: restricted growth strings in order."""

    def grow(split: tuple[int, ...], used: int) -> Iterator[tuple[int, ...]]:
        if len(split) == hosts:
            if used == sides:
                yield split
            return
        for side in range(min(used + 1, sides)):
            yield from grow((*split, side), max(used, side + 1))

    return grow((), 0)


# ---- published scenarios -----------------------------------------------------------------

_Small = Annotated[int, Meta(ge=0, le=99)]
_Rounds = Annotated[dict[str, list[_Small]], Meta(max_length=16)]
_Splits = Annotated[dict[str, list[list[_Small]]], Meta(max_length=16)]


class _Published(msgspec.Struct, frozen=True):
    round_leaders: _Rounds
    round_partitions: _Splits


class _File(msgspec.Struct, frozen=True):
    num_of_nodes: _Small
    num_of_twins: _Small
    scenarios: Annotated[list[_Published], Meta(max_length=100_000)]


def published(data: bytes, *, cut: Cut) -> tuple[Script, ...]:
    """Scenarios from the JSON of github.com/asonnino/twins-simulator; ValueError where it says something else."""
    file = msgspec.json.decode(data, type=_File)
    return tuple(_script(file, scenario, cut) for scenario in file.scenarios)


def _script(file: _File, scenario: _Published, cut: Cut) -> Script:
    rounds = [str(number + 1) for number in range(len(scenario.round_leaders))]
    if set(rounds) != set(scenario.round_leaders) or set(rounds) != set(scenario.round_partitions):
        raise ValueError("rounds are numbered from 1, each with leaders and a partition")
    hosts = file.num_of_nodes + file.num_of_twins
    leaders = tuple(_seat(scenario.round_leaders[number], file.num_of_nodes) for number in rounds)
    sides = tuple(_sides(scenario.round_partitions[number], hosts) for number in rounds)
    return Script(file.num_of_nodes, file.num_of_twins, leaders, sides, cut)


def _seat(leaders: Sequence[int], nodes: int) -> int:
    """The one seat that *leaders* hold: a twin leads together with its twin."""
    seats = {leader if leader < nodes else leader - nodes for leader in leaders}
    if len(seats) != 1:
        raise ValueError("a round is led by one seat")
    return seats.pop()


def _sides(groups: Sequence[Sequence[int]], hosts: int) -> tuple[int, ...]:
    side_of = {host: side for side, group in enumerate(groups) for host in group}
    if set(side_of) != set(range(hosts)) or sum(map(len, groups)) != hosts:
        raise ValueError("every host is on exactly one side")
    return tuple(side_of[host] for host in range(hosts))
