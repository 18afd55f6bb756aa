"""The replica in the virtual world: scenarios x seeds, and broken rules that the witnesses must see.

``potminer simulate --scenario NAME --seeds N`` runs more. The swarm (test_sim_swarm.py) goes wider;
a plan that ever failed stays in kept/, shrunk.
"""

from __future__ import annotations

import json

import pytest
from click.testing import CliRunner

from potminer.base.errors import Exit
from potminer.cli.simulate import simulate as command
from potminer.core.committee import Committee
from potminer.sim.scenarios import SCENARIOS
from potminer.sim.world import EPOCH, simulate

SEEDS = 10
MILD = ("calm", "leader-crash", "byzantine-slow", "byzantine-censor", "clock-astray", "twins")
"""Scenarios that are easy on the replica, or slow to run: fewer seeds here, all of them by the command."""


@pytest.mark.parametrize("name", SCENARIOS)
def test_nothing_is_violated(name: str) -> None:
    for seed in range(4 if name in MILD else SEEDS):
        report = simulate(SCENARIOS[name], seed)
        assert not report.violations, f"{report.violations}\nreplay: {report.replay}"
        assert report.blocks >= 2, report.replay


def test_the_same_seed_is_the_same_run_to_the_byte() -> None:
    first, second = (simulate(SCENARIOS["storm-equivocate"], 3) for _ in range(2))
    assert first == second
    assert first.fingerprint != simulate(SCENARIOS["storm-equivocate"], 4).fingerprint


def test_scenarios_reach_what_they_are_for() -> None:
    """A scenario without view changes or restarts would prove nothing."""
    storms = [simulate(SCENARIOS["storm"], seed) for seed in range(6)]
    assert max(report.highest_view for report in storms) >= 4
    assert sum(report.restarts for report in storms) >= 30
    assert simulate(SCENARIOS["calm"], 0).highest_view == 0


# ---- the checker of the checkers: broken rules must be seen ------------------------------


class HalfCommittee(Committee):
    """B1 at its plainest: half of the power passes for a quorum."""

    def is_quorum(self, indices: object) -> bool:
        return 2 * self.power_of(indices) >= self.total  # type: ignore[arg-type]


def half(members: tuple[bytes, ...], powers: tuple[int, ...]) -> Committee:
    return HalfCommittee(epoch=EPOCH, members=members, powers=powers)


def test_half_a_quorum_breaks_agreement_within_a_few_seeds() -> None:
    seen = [
        v
        for seed in range(12)
        for v in simulate(SCENARIOS["crash-partition"], seed, nodes=4, make_committee=half).violations
    ]
    assert any(violation.startswith("agreement") for violation in seen), seen
    assert any(violation.startswith("certificate") for violation in seen), seen


def test_an_equivocating_primary_with_half_a_quorum_breaks_agreement() -> None:
    seen = [
        violation
        for seed in range(6)
        for violation in simulate(SCENARIOS["byzantine-equivocate"], seed, nodes=4, make_committee=half).violations
    ]
    assert any(violation.startswith("agreement") for violation in seen), seen


# ---- the command -------------------------------------------------------------------------


def test_the_command_lists_runs_and_reports() -> None:
    listed = CliRunner().invoke(command, ["--list"])
    assert all(name in listed.output for name in SCENARIOS)
    ran = CliRunner().invoke(command, ["--scenario", "calm", "--seed", "3", "--nodes", "4", "--json"])
    assert ran.exit_code == Exit.OK
    report = json.loads(ran.output)
    assert (report["nodes"], report["violations"]) == (4, [])
    assert report["replay"] == "potminer simulate --scenario calm --seed 3 --nodes 4"


@pytest.mark.parametrize("jobs", [1, 2])
def test_many_seeds_end_with_what_they_cost_so_that_anybody_can_count(jobs: int) -> None:
    """In order, whoever ran them, and with the events of all of them."""
    many = ["--scenario", "calm", "--seeds", "5", "--nodes", "4", "--jobs", str(jobs)]
    *reports, whole = map(json.loads, CliRunner().invoke(command, [*many, "--json"]).output.splitlines())
    assert [report["seed"] for report in reports] == list(range(5))
    assert whole["events"] == sum(report["events"] for report in reports) > 0
    assert (whole["seeds"], whole["failed"]) == (5, 0)
    assert whole["cpu_seconds"] > 0
    assert whole["events_per_cpu_second"] > 0
    said = CliRunner().invoke(command, many).output
    assert f"{whole['events']:,} events" in said
    assert "a CPU second" in said


def test_the_command_refuses_an_unknown_scenario() -> None:
    refused = CliRunner().invoke(command, ["--scenario", "perfect"])
    assert refused.exit_code == Exit.USAGE
    assert "--list" in refused.output
