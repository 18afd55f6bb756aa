"""Shrinking: a real bug is found in a noisy run, and shown in a small one that can be replayed."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from click.testing import CliRunner

from potminer.base.errors import Exit, UsageError
from potminer.cli.simulate import Kind as Shape
from potminer.cli.simulate import _shrink, simulate
from potminer.sim.catalogue import drawn
from potminer.sim.plan import Fault, Kind, Plan, Role, from_json, to_json
from potminer.sim.shrink import kind_of, shrink, size_of
from potminer.sim.sweep import fails_as
from potminer.sim.world import run
from tests.simulation import bent


def test_a_replica_that_forgets_what_it_signed_is_shown_by_one_crash() -> None:
    """B22, found among crashes, partitions and loss."""
    whole = drawn("crash-partition", 1)
    report = run(whole, make_replica=bent.Forgets)
    assert kind_of(report.violations[0]) == "double vote"
    fails = fails_as(report, make_replica=bent.Forgets)
    shrunk = shrink(whole, fails)
    assert len(shrunk.plan.faults) <= 2 < 10 < len(whole.faults)
    assert size_of(shrunk.plan) <= 5
    assert {fault.kind for fault in shrunk.plan.faults} <= {Kind.CRASH}
    again = run(from_json(to_json(shrunk.plan)), make_replica=bent.Forgets)
    assert any(violation.startswith("double vote") for violation in again.violations)
    assert not run(shrunk.plan).violations


def test_what_is_not_needed_is_dropped_and_what_is_needed_stays() -> None:
    needed = Fault(Kind.PAUSE, 3_000, 2_000, (2,))
    noise = tuple(Fault(Kind.CRASH, at, 500, (0, 1), 3) for at in range(1_000, 9_000, 500))
    plan = Plan("any", 1, (1,) * 7, roles={3: Role.SILENT}, faults=(*noise[:7], needed, *noise[7:]))

    def fails(candidate: Plan) -> bool:
        pauses = [fault for fault in candidate.faults if fault.kind is Kind.PAUSE]
        return any(fault.for_ms >= 1_000 for fault in pauses) and candidate.nodes >= 4

    shrunk = shrink(plan, fails)
    assert shrunk == shrink(plan, fails)
    assert [fault.kind for fault in shrunk.plan.faults] == [Kind.PAUSE]
    assert shrunk.plan.faults[0].for_ms == 1_000
    assert (shrunk.plan.nodes, shrunk.plan.roles, shrunk.plan.transactions) == (4, {}, 0)


def test_a_member_that_leaves_takes_its_faults_with_it() -> None:
    plan = Plan(
        "any", 1, (1, 2, 3, 4), roles={1: Role.TWINS, 3: Role.SILENT}, skews_ms={2: 7},
        faults=(Fault(Kind.CRASH, 1, 1, (1, 33)), Fault(Kind.SPLIT, 2, 2, (0, 1, 2, 3, 33)), Fault(Kind.RING, 3)),
    )  # fmt: skip
    left = shrink(plan, lambda candidate: len(candidate.faults) == 2 and candidate.powers == (1, 3, 4), tries=50).plan
    assert (left.powers, left.roles, left.skews_ms) == ((1, 3, 4), {2: Role.SILENT}, {1: 7})
    assert left.faults == (Fault(Kind.SPLIT, 2, 2, (0, 1, 2)), Fault(Kind.RING, 3))


def test_the_number_of_runs_is_bounded() -> None:
    tried: list[Plan] = []
    shrunk = shrink(drawn("storm", 0), lambda plan: tried.append(plan) is None, tries=5)
    assert len(tried) == shrunk.tries == 5
    assert shrink(drawn("storm", 0), lambda plan: True, stop=lambda: True).tries == 0


def test_a_failing_run_is_shrunk_to_data_that_replays(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Too many twins: the only violation that the product itself shows."""
    seed = next(seed for seed in range(40) if run(drawn("too-many-twins", seed)).violations)
    report = run(drawn("too-many-twins", seed))
    _shrink(report, Shape(None, False), as_json=True)
    said = json.loads(capsys.readouterr().out)
    plan = tmp_path / "plan.json"
    plan.write_text(json.dumps(said["shrunk"]), encoding="utf-8")
    again = CliRunner().invoke(simulate, ["--replay", str(plan)])
    assert again.exit_code == Exit.FAILURE
    assert "VIOLATION" in again.output
    assert f"replay: potminer simulate --replay {plan}" in again.output


def test_the_command_names_one_replay_and_prints_plans() -> None:
    printed = CliRunner().invoke(simulate, ["--seed", "9", "--plan"])
    assert from_json(printed.output) == drawn("swarm", 9)
    ran = CliRunner().invoke(simulate, ["--replay", "-", "--json"], input=printed.output)
    assert ran.exit_code == Exit.OK, ran.output
    assert json.loads(ran.output)["fingerprint"] == run(drawn("swarm", 9)).fingerprint


@pytest.mark.parametrize(
    "text",
    ["", "[]", '{"name":"a","seed":1,"powers":[]}', '{"name":"a","seed":1,"powers":[1],"roles":{"4":"silent"}}',
     '{"name":"a","seed":1,"powers":[1],"weather":{"loss":2000}}'],
)  # fmt: skip
def test_what_is_no_plan_is_refused(text: str) -> None:
    with pytest.raises(UsageError):
        from_json(text)
