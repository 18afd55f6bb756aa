"""Many runs at once, on one core or several: seeds, or Twins scenarios in stretches of neighbours."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from functools import partial
from multiprocessing import get_context

from potminer.core.pbft.machine import Replica
from potminer.sim.arena import Stands
from potminer.sim.catalogue import drawn
from potminer.sim.notary import Notary
from potminer.sim.plan import Plan
from potminer.sim.report import Report
from potminer.sim.shrink import kind_of
from potminer.sim.twins import Space
from potminer.sim.world import run

STRETCH = 450
"""Scenarios per piece of work; all but the first few share their first two rounds with the one before."""


SEEDS = 20
"""Seeds per piece of work."""


def run_seeds(
    name: str, seeds: range, *, jobs: int, nodes: int | None = None, town: bool = False
) -> Iterator[Report]:
    """The reports of *seeds* in order, run on *jobs* processes."""
    pieces = [seeds[begin : begin + SEEDS] for begin in range(0, len(seeds), SEEDS)]
    work = partial(_run_piece, name, nodes, town)
    if jobs == 1 or len(pieces) == 1:
        for piece in pieces:
            yield from work(piece)
        return
    with ProcessPoolExecutor(jobs, mp_context=get_context("spawn")) as pool:
        for reports in pool.map(work, pieces):
            yield from reports


def _run_piece(name: str, nodes: int | None, town: bool, seeds: range) -> list[Report]:
    play = runner(town=town)
    return [play(drawn(name, seed, nodes=nodes)) for seed in seeds]


def runner(*, town: bool) -> Callable[[Plan], Report]:
    """What runs a plan: bare replicas on hosts, or the node's own engines."""
    if town:
        from potminer.sim.town import run_town

        return run_town
    return partial(run, notary=Notary())


def fails_as(
    report: Report, *, town: bool = False, make_replica: type[Replica] = Replica
) -> Callable[[Plan], bool]:
    """Whether a plan breaks the promise that *report* first saw broken: what shrinking asks of every candidate."""
    wanted = kind_of(report.violations[0])
    play = runner(town=True) if town else partial(run, notary=Notary(), make_replica=make_replica, until_violated=True)
    return lambda plan: any(kind_of(violation) == wanted for violation in play(plan).violations)


@dataclass(frozen=True, slots=True)
class Tally:
    """What a stretch of scenarios came to. *worst_heal* is in views, *reproposed* counts scenarios with a view
    that had to begin with a prepared block: without those, nothing is proven about view changes. *skipping* counts
    those in which somebody had lost its turns while the network was still cut, or before the last block."""

    played: int
    violating: tuple[tuple[int, tuple[str, ...]], ...]
    reproposed: int
    skipping: int
    highest_view: int
    worst_heal: int
    blocks: int


def sweep(space: Space, *, first: int, count: int, jobs: int, stretch: int = STRETCH) -> Iterator[Tally]:
    """Plays scenarios *first* .. *first* + *count* - 1 on *jobs* processes; tallies as they are done."""
    last = min(first + count, space.size)
    stretches = [range(begin, min(begin + stretch, last)) for begin in range(first, last, stretch)]
    if jobs == 1:
        yield from map(partial(tally, space), stretches)
        return
    with ProcessPoolExecutor(jobs, mp_context=get_context("spawn")) as pool:
        yield from pool.map(partial(tally, space), stretches)


def tally(space: Space, stretch: range) -> Tally:
    verdicts = list(Stands().sweep(space, stretch))
    return Tally(
        played=len(verdicts),
        violating=tuple((index, verdict.violations) for index, verdict in verdicts if verdict.violations),
        reproposed=sum(verdict.reproposals > 0 for _, verdict in verdicts),
        skipping=sum(verdict.skipping > 0 for _, verdict in verdicts),
        highest_view=max((verdict.highest_view for _, verdict in verdicts), default=0),
        worst_heal=max((verdict.healed_views for _, verdict in verdicts), default=0),
        blocks=sum(verdict.height for _, verdict in verdicts),
    )


def together(tallies: list[Tally]) -> Tally:
    return Tally(
        played=sum(t.played for t in tallies),
        violating=tuple(found for t in tallies for found in t.violating),
        reproposed=sum(t.reproposed for t in tallies),
        skipping=sum(t.skipping for t in tallies),
        highest_view=max((t.highest_view for t in tallies), default=0),
        worst_heal=max((t.worst_heal for t in tallies), default=0),
        blocks=sum(t.blocks for t in tallies),
    )
