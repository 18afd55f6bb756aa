"""The swarm and every Twins scenario: what a run of CI plays, on all cores.

``potminer simulate --seeds 200000 --jobs 8`` goes on from here. A plan that ever failed is shrunk
and stays in kept/ for ever; there is no list of seeds that are skipped.
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest

from potminer.sim.catalogue import drawn
from potminer.sim.plan import Delays, Kind, Plan, Role, from_json
from potminer.sim.swarm import draw
from potminer.sim.sweep import run_seeds, sweep, together
from potminer.sim.twins import Space
from potminer.sim.world import run

SEEDS = 2_000
JOBS = min(4, os.cpu_count() or 1)
KEPT = sorted((Path(__file__).parent / "kept").glob("*.json"))


def test_two_thousand_seeds_of_the_swarm_violate_nothing() -> None:
    reports = list(run_seeds("swarm", range(SEEDS), jobs=JOBS))
    failed = [(report.replay, report.violations) for report in reports if report.violations]
    assert not failed, f"{failed}\nreplay: {failed[0][0]}"
    assert [report.seed for report in reports] == list(range(SEEDS))
    assert all(report.blocks >= 2 for report in reports)
    assert sum(report.restarts for report in reports) > SEEDS
    assert sum(report.stops for report in reports) > SEEDS / 4
    assert sum(report.highest_view > 2 for report in reports) > SEEDS / 20


def test_all_twins_scenarios_of_the_hardest_reading_violate_nothing() -> None:
    space = Space()
    total = together(list(sweep(space, first=0, count=space.size, jobs=JOBS)))
    assert total.played == 50_625
    replay = "potminer simulate --twins --scenario-index"
    assert not total.violating, [f"{replay} {index}: {violations}" for index, violations in total.violating]
    assert total.worst_heal <= 3
    assert total.reproposed > total.played // 2


def test_the_swarm_draws_everything_there_is_and_never_too_many_faulty() -> None:
    plans = [draw(seed) for seed in range(1_000)]
    kinds = Counter(fault.kind for plan in plans for fault in plan.faults)
    roles = Counter(role for plan in plans for role in plan.roles.values())
    assert kinds.keys() == set(Kind)
    elsewhere = {Role.ASTRAY, Role.FALSE_SERVER, Role.TORRENT}
    assert roles.keys() == set(Role) - elsewhere, "one is honest, one serves snapshots, one is dear"
    assert {plan.weather.delays for plan in plans} == set(Delays)
    assert {plan.nodes for plan in plans} == {4, 5, 6, 7, 8, 10, 13, 16}
    assert max(plan.weather.loss for plan in plans) > 250
    assert max(plan.weather.repeat for plan in plans) > 450
    for plan in plans:
        assert 3 * sum(plan.powers[seat] for seat in plan.faulty) < sum(plan.powers)
        assert not plan.core or 3 * sum(plan.powers[seat] for seat in plan.core) > 2 * sum(plan.powers)
        assert plan.faulty.isdisjoint(plan.core)


@pytest.mark.parametrize("path", KEPT, ids=lambda path: path.stem)
def test_a_plan_that_once_failed_passes(path: Path) -> None:
    assert not run(from_json(path.read_bytes())).violations


def test_a_seed_is_the_same_run_in_every_process() -> None:
    """Also where sets of bytes are ordered otherwise."""
    script = "from potminer.sim.sweep import run_seeds\nfor r in run_seeds('swarm', range(40, 46), jobs=1): print(r)"
    said = {
        subprocess.run(
            [sys.executable, "-c", script], env={**os.environ, "PYTHONHASHSEED": salt}, capture_output=True, check=True
        ).stdout
        for salt in ("1", "2")
    }
    assert len(said) == 1
    assert str(run(drawn("swarm", 45))) in said.pop().decode()


def test_stretches_of_seeds_add_up_whoever_runs_them() -> None:
    assert list(run_seeds("calm", range(22), jobs=2, nodes=4)) == list(run_seeds("calm", range(22), jobs=1, nodes=4))


def test_a_plan_is_complete() -> None:
    """Nothing but the plan decides a run: written, read and run again it is the same."""
    plan: Plan = draw(7)
    from potminer.sim.plan import to_json

    assert run(from_json(to_json(plan))) == run(plan)
