"""Twins: a slice of every space, the published scenarios, and that the harness is what it says.

``potminer simulate --twins --jobs 2`` plays all 50,625; --leads and --cut choose among the four spaces.
"""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path

import pytest
from click.testing import CliRunner

from potminer.base.errors import Exit
from potminer.cli.simulate import _show_violating, simulate
from potminer.sim.arena import Stands
from potminer.sim.sweep import Tally, sweep, tally, together
from potminer.sim.twins import Cut, Leads, Script, Space, published
from tests.simulation import bent

PUBLISHED = Path(__file__).parents[2].parent / "shared/vectors/twins-scenarios.json"
SPACES = [Space(leads=leads, cut=cut) for leads in Leads for cut in Cut]
BEGINNINGS = (7 * 450, 55 * 450, 97 * 450)
"""Of the slices: the first round's partition is another one in each."""


def test_the_space_has_50625_scenarios_each_with_its_number() -> None:
    space = Space()
    assert (len(set(space.splits)), space.size) == (15, 50_625)
    assert all(len(set(split)) == 2 for split in space.splits)
    assert len({space.script(index) for index in range(0, space.size, 101)}) == len(range(0, space.size, 101))
    assert space.script(1).sides == (space.splits[0],) * 3 + (space.splits[1],)
    with pytest.raises(AssertionError):
        space.script(space.size)


@pytest.mark.parametrize("space", SPACES, ids=lambda space: f"{space.leads}-{space.cut}")
def test_a_slice_of_every_space_violates_nothing(space: Space) -> None:
    tallies = [tally(space, range(begin, begin + 150)) for begin in BEGINNINGS]
    total = together(tallies)
    assert not total.violating, f"potminer simulate --twins --leads {space.leads} --cut {space.cut} --scenario-index"
    assert total.played == 150 * len(BEGINNINGS)
    assert total.worst_heal <= 3
    if space.cut is Cut.COMMIT:  # else there would be nothing to lose in a view change
        assert total.reproposed > total.played // 2
    if space.leads is Leads.SKIP:  # somebody of the committee has no turn, and the chain goes on
        assert total.skipping > total.played // 4
    else:
        assert not total.skipping


def test_scenarios_that_share_their_first_rounds_end_as_if_played_alone() -> None:
    stands = Stands(collect=True)
    indices = [4_000, 4_001, 4_015, 4_225, 30_000, 30_001]
    for index, verdict in stands.sweep(SPACES[1], indices):
        assert verdict == Stands(collect=True).play(SPACES[1].script(index))


def test_stretches_add_up_whoever_plays_them() -> None:
    alone = together(list(sweep(SPACES[1], first=440, count=50, jobs=1)))
    assert alone.played == 50
    assert alone == together(list(sweep(SPACES[1], first=440, count=50, jobs=2, stretch=20)))
    assert together(list(sweep(SPACES[1], first=50_620, count=500, jobs=1))).played == 5


def test_a_replica_that_drops_what_it_prepared_loses_a_committed_block() -> None:
    """The checkers see it: B6 in one scenario."""
    verdict = Stands(make=bent.DropsPrepared).play(Space().script(29_641))
    assert any(violation.startswith("agreement") for violation in verdict.violations)


# ---- published scenarios -----------------------------------------------------------------


def test_the_published_scenarios_violate_nothing() -> None:
    if not PUBLISHED.exists():
        pytest.skip("the published scenarios are not here")
    for cut in Cut:
        scripts = published(PUBLISHED.read_bytes(), cut=cut)
        assert len(scripts) == 100
        stands = Stands()
        assert not [script for script in scripts if stands.play(script).violations]


def one_scenario(**changed: object) -> bytes:
    scenario = {"round_leaders": {"1": [0, 4]}, "round_partitions": {"1": [[0, 1], [2, 3, 4]]}} | changed
    return json.dumps({"num_of_nodes": 4, "num_of_twins": 1, "scenarios": [scenario]}).encode()


def test_a_published_scenario_is_read() -> None:
    assert published(one_scenario(), cut=Cut.VIEW) == (Script(4, 1, (0,), ((0, 0, 1, 1, 1),), Cut.VIEW),)


@pytest.mark.parametrize(
    "changed",
    [
        {"round_leaders": {"1": [0, 1]}},
        {"round_leaders": {"2": [0]}},
        {"round_leaders": {"1": [-1]}},
        {"round_partitions": {"1": [[0, 1], [2, 3]]}},
        {"round_partitions": {"1": [[0, 1], [1, 2, 3, 4]]}},
        {"round_partitions": {}},
    ],
)
def test_a_published_scenario_that_makes_no_sense_is_refused(changed: dict[str, object]) -> None:
    with pytest.raises(ValueError):  # noqa: PT011 - msgspec's own error is one
        published(one_scenario(**changed), cut=Cut.VIEW)


# ---- the command -------------------------------------------------------------------------


def test_the_command_plays_all_or_one() -> None:
    ran = CliRunner().invoke(simulate, ["--twins", "--limit", "3", "--json"])
    assert ran.exit_code == Exit.OK, ran.output
    report = json.loads(ran.output)
    assert (report["played"], report["violating"], report["of"]) == (3, [], 50_625)
    one = CliRunner().invoke(simulate, ["--twins", "--leads", "turn", "--cut", "view", "--scenario-index", "50624"])
    assert one.exit_code == Exit.OK
    assert "1 of 50625 scenarios, 0 with violations" in one.output
    assert CliRunner().invoke(simulate, ["--twins", "--scenario-index", "50625"]).exit_code == Exit.USAGE


def test_a_violation_is_shown_with_the_command_that_replays_it(capsys: pytest.CaptureFixture[str]) -> None:
    found = Tally(**{**asdict(tally(SPACES[0], range(1))), "violating": ((17, ("agreement: two",)),)})
    _show_violating(SPACES[0], found)
    shown = capsys.readouterr().out
    assert "VIOLATION scenario 17: agreement: two" in shown
    assert "replay: potminer simulate --twins --leads twin --cut view --scenario-index 17" in shown
