"""Many runs at once, on one core or several: seeds, or Twins scenarios in stretches of neighbours."""

from __future__ import annotations

import gc
import sys
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
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
"""Most seeds per piece of work."""
COLLECT_AFTER = 50_000
"""Objects made before the garbage collector looks at the young ones: most die by themselves, and what a run leaves
behind is a few thousand."""


@dataclass(slots=True)
class Effort:
    """What runs have cost: CPU time of the processes that ran them, without their start."""

    cpu_s: float = 0.0


def run_seeds(
    name: str, seeds: range, *, jobs: int, nodes: int | None = None, town: bool = False, effort: Effort | None = None
) -> Iterator[Report]:
    """The reports of *seeds* in order, run on *jobs* processes. What they cost is added to *effort*."""
    size = max(1, min(SEEDS, len(seeds) // (4 * jobs)))  # several pieces each, or the last one is waited for alone
    pieces = [seeds[begin : begin + size] for begin in range(0, len(seeds), size)]
    work, spent = partial(_run_piece, name, nodes, town), Effort() if effort is None else effort
    if jobs == 1 or len(pieces) == 1:
        for piece in pieces:
            yield from _spent(work(piece), spent)
        return
    with _pool(jobs) as pool:
        for done in pool.map(work, pieces):
            yield from _spent(done, spent)


def _spent(done: tuple[list[Report], float], effort: Effort) -> list[Report]:
    effort.cpu_s += done[1]
    return done[0]


def _pool(jobs: int) -> ProcessPoolExecutor:
    """Processes that know already what we have imported, where the system can copy us and no thread of ours would be
    lost by it."""
    copies = sys.platform == "linux" and threading.active_count() == 1 and "torch" not in sys.modules
    return ProcessPoolExecutor(jobs, mp_context=get_context("fork" if copies else "spawn"))


@contextmanager
def _rare_collections() -> Iterator[None]:
    before = gc.get_threshold()
    gc.set_threshold(COLLECT_AFTER, *before[1:])
    try:
        yield
    finally:
        gc.set_threshold(*before)


def _run_piece(name: str, nodes: int | None, town: bool, seeds: range) -> tuple[list[Report], float]:
    """The reports and the CPU seconds that they cost."""
    begun, play = time.process_time(), runner(town=town)
    with _rare_collections():
        reports = [play(drawn(name, seed, nodes=nodes)) for seed in seeds]
    return reports, time.process_time() - begun


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
    with _pool(jobs) as pool:
        yield from pool.map(partial(tally, space), stretches)


def tally(space: Space, stretch: range) -> Tally:
    with _rare_collections():
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
