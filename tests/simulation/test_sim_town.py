"""The node's own engine on a virtual clock: the same faults, and broken engines that the witnesses must see.

``potminer simulate --town --seeds N`` runs more.
"""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
from collections.abc import Sequence

import pytest

from potminer.base.digest import Domain, digest, number
from potminer.core.machine import Persist
from potminer.node.engine import Engine
from potminer.sim.catalogue import drawn
from potminer.sim.loop import VirtualLoop
from potminer.sim.plan import Fault, Kind, Plan, Role
from potminer.sim.scenarios import SCENARIOS
from potminer.sim.sweep import run_seeds
from potminer.sim.town import run_town
from potminer.wire.seal import SigningKey

SEEDS = 60
JOBS = min(4, os.cpu_count() or 1)


@pytest.mark.parametrize("name", SCENARIOS)
def test_the_engine_violates_nothing(name: str) -> None:
    report = run_town(drawn(name, 0, nodes=4))
    assert not report.violations, f"{report.violations}\nreplay: {report.replay} --nodes 4 --town"
    assert report.blocks >= 2


def test_a_swarm_of_towns_violates_nothing() -> None:
    reports = list(run_seeds("swarm", range(SEEDS), jobs=JOBS, town=True))
    failed = [(f"{report.replay} --town", report.violations) for report in reports if report.violations]
    assert not failed, failed
    assert sum(report.restarts for report in reports) > SEEDS
    assert sum(report.stops for report in reports) > SEEDS / 4
    assert max(report.highest_view for report in reports) >= 2


@pytest.mark.parametrize("seed", range(2))
def test_wiped_members_leap_past_false_servers_and_contradict_nothing(seed: int) -> None:
    """Two of seven: one loses its disk again and again, one sends false manifests and chunks. The one without memory
    is held to every promise: it must not sign twice what an earlier life of it signed. In the second run its clock is a
    minute behind as well."""
    wipes = tuple(Fault(Kind.WIPE, at, 2_000, (0,)) for at in (6_000, 26_000, 46_000))
    crashes = (Fault(Kind.CRASH, 12_000, 9_000, (2,), 3), Fault(Kind.SPLIT, 30_000, 14_000, (3,)))
    plan = Plan(
        "leaps", seed, (1,) * 7, roles={0: Role.FORGETFUL, 1: Role.FALSE_SERVER}, faults=(*wipes, *crashes),
        transactions=60, chaos_ms=60_000, skews_ms={0: -60_000 * seed},
    )
    report = run_town(plan)
    assert not report.violations, report.violations
    assert report.leaps >= 2


def test_members_that_began_with_a_clock_ahead_do_not_wait_for_a_chain_that_waits_for_them() -> None:
    """Two of seven began 27 s ahead: the first block seemed older than their disks, so they took themselves for
    wiped and were silent until the chain would be younger. One more was dead, and the chain waited for them."""
    report = run_town(drawn("swarm", 3_100_018))
    assert not report.violations, report.violations


def test_an_equivocator_is_accused_on_the_ledger_and_nobody_else() -> None:
    """The steward's evidence, through gossip, mempool, block and ledger."""
    accused: set[bytes] = set()
    report = run_town(drawn("byzantine-equivocate", 2, nodes=4), accused=accused)
    assert not report.violations
    assert accused == {SigningKey(digest(Domain.DRAW, b"member", number(seat))).public for seat in report.faulty}


def test_a_town_is_the_same_run_in_every_process() -> None:
    script = (
        "from potminer.sim.town import run_town\nfrom potminer.sim.catalogue import drawn\n"
        "print(run_town(drawn('swarm', 12)), run_town(drawn('bad-disks', 3, nodes=4)))"
    )
    said = {
        subprocess.run(
            [sys.executable, "-c", script], env={**os.environ, "PYTHONHASHSEED": salt}, capture_output=True, check=True
        ).stdout
        for salt in ("1", "2")
    }
    assert len(said) == 1
    assert str(run_town(drawn("swarm", 12))) in said.pop().decode()


# ---- the checker of the checkers: broken engines must be seen -----------------------------


class SpeaksFirst(Engine):
    """Persists after all that it was asked to say: one line of the loop in another order."""

    async def _perform(self, effects: Sequence[object]) -> None:
        await super()._perform(sorted(effects, key=lambda effect: isinstance(effect, Persist)))


class ForgetsToWrite(Engine):
    """Never persists a thing."""

    async def _perform(self, effects: Sequence[object]) -> None:
        await super()._perform([effect for effect in effects if not isinstance(effect, Persist)])


class Hoards(Engine):
    """Never forgets a record: its log grows with the chain."""

    async def _perform(self, effects: Sequence[object]) -> None:
        kept = [effect for effect in effects if not (isinstance(effect, Persist) and effect.value is None)]
        await super()._perform(kept)


class DropsTimers(Engine):
    """A timer that is set while another runs is lost."""

    def _set_timer(self, name: str, delay_ms: int) -> None:
        if not self._timers:
            super()._set_timer(name, delay_ms)


@pytest.mark.parametrize(
    ("engine", "promise"),
    [
        (SpeaksFirst, "spoke before writing"), (ForgetsToWrite, "spoke before writing"), (DropsTimers, "liveness"),
        (Hoards, "log"),
    ],
)
def test_a_broken_engine_is_seen(engine: type[Engine], promise: str) -> None:
    report = run_town(drawn("crash-partition", 0, nodes=4), make_engine=engine)
    assert any(violation.startswith(promise) for violation in report.violations), report.violations


# ---- the loop ----------------------------------------------------------------------------


def test_time_passes_only_while_everybody_waits() -> None:
    async def life() -> list[float]:
        loop = asyncio.get_running_loop()
        seen = [loop.time()]
        loop.call_later(5, lambda: seen.append(loop.time()))
        async with asyncio.timeout(100):
            await asyncio.sleep(20)
        seen.append(loop.time())
        return seen

    with asyncio.Runner(loop_factory=VirtualLoop) as runner:
        assert runner.run(life()) == pytest.approx([0, 5, 20])


def test_a_world_in_which_nothing_can_happen_is_an_error() -> None:
    async def life() -> None:
        await asyncio.Event().wait()

    with asyncio.Runner(loop_factory=VirtualLoop) as runner, pytest.raises(AssertionError, match="nothing will ever"):
        runner.run(life())
