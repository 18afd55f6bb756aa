"""What audits of newcomers will cost, and what a requester is told to change."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from msgspec.structs import replace

from potminer.base import limits
from potminer.cli.main import main
from potminer.core.ledger.rewards import audited_ppm
from potminer.node.newcomers import USUAL_PPM, advice, audit_shares, say_newcomers
from potminer.wire.genesis import Parameters
from potminer.wire.record import Phase
from potminer.wire.task import AuditSpec, Reward, TaskSpec
from potminer.world.assets import asset
from tests.unit.ledger_world import World, spec

USUAL = Parameters()


def order(**changes: Any) -> TaskSpec:
    """Two units of 8 segments for a POT each."""
    return spec(**{"segments": 8, "rounds": 60, "reward": Reward(10**12, 10**9), "audit": AuditSpec(30_000, 1_000),
                   **changes})  # fmt: skip


def test_the_share_is_the_ledgers_own_draw_over_the_stakes_of_an_honest_newcomer() -> None:
    task = order()
    earned = 2 * 10**9 * 950_000 // 10**6
    drawn = [
        audited_ppm(price=10**9, stake=n * earned, units=2, segments=8, factor=10, floor_ppm=30_000) // 8
        for n in (1, 2, 3, 4)
    ]
    assert audit_shares(task, USUAL)[0] == sum(drawn) // 4


def test_the_ledger_draws_what_was_said() -> None:
    """Rounds of a real ledger, everybody new and honest: on average so many segments are drawn."""
    task = order(segments=4, batches_per_segment=1, rounds=6, reward=Reward(10**9, 10**6))
    world = World(escrow_rounds=30)
    world.submit(task)
    world.whole_round()
    drawn = units = 0
    for _ in range(4):
        world.commit_all()
        world.reveal_all()
        while world.round.phase < Phase.AUDIT:
            world.step()
        drawn, units = drawn + len(world.round.audits), units + len(world.round.slots)
        world.audit_all()
        world.attest()
    said, _ = audit_shares(task, USUAL)
    assert drawn / units / 4 == pytest.approx(said / 10**6, rel=0.2)


def test_more_units_a_round_make_newcomers_audits_cheaper_and_more_segments_do_not() -> None:
    shares = [audit_shares(order(), USUAL, units=count)[0] for count in (1, 2, 4, 8, 16, 32)]
    assert shares == sorted(shares, reverse=True)
    assert len(set(shares)) == len(shares)
    assert audit_shares(order(segments=64), USUAL)[0] == pytest.approx(shares[1], rel=0.001)


def test_over_a_long_task_it_comes_down_and_never_below_the_rate() -> None:
    early, short = audit_shares(order(rounds=10), USUAL)
    again, long = audit_shares(order(rounds=2_000), USUAL)
    assert early == again > short > long > 0
    assert audit_shares(order(audit=AuditSpec(1_000_000, 1_000), rounds=2_000), USUAL)[1] >= 10**6 // 8
    assert audit_shares(order(rounds=1), USUAL) == (0, 0)
    assert audit_shares(order(rounds=2), USUAL)[0] == audit_shares(order(rounds=2), USUAL)[1] > 0


def test_what_is_advised_is_enough_and_hardly_more() -> None:
    task = order()
    found = advice(task, USUAL)
    assert found is not None
    assert found.units is not None
    fewer, enough = (audit_shares(task, USUAL, units=count)[0] for count in (found.units - 1, found.units))
    assert enough <= USUAL_PPM < fewer
    alone = {"price": 10**9, "units": 1, "segments": 8, "factor": 10, "floor_ppm": 30_000}
    assert audited_ppm(stake=found.bond, **alone) <= 8 * USUAL_PPM < audited_ppm(stake=found.bond * 9 // 10, **alone)
    assert advice(replace(task, units_per_trainer=found.units), USUAL) is None
    assert say_newcomers(replace(task, units_per_trainer=found.units), USUAL) == []


def test_where_a_round_may_not_have_so_many_a_bond_alone_is_advised() -> None:
    crowd = order(units_per_trainer=1, max_trainers=1_024)
    assert limits.SEGMENTS_PER_ROUND // (1_024 * 8) == 2
    found = advice(crowd, USUAL)
    assert found is not None
    assert (found.units, found.bond) == (None, 57 * 10**9)
    assert say_newcomers(crowd, USUAL)[1] == "at most 15 %: trainers that bond 57 POT each"


def test_the_requester_is_told_before_any_money_moves(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = asset("tasks/digits.toml")
    assert main(["task", "check", str(path)]) == 0
    told = capsys.readouterr().out
    assert "audits   while trainers are new others compute " in told
    assert "at most 15 %: trainers that bond 57 POT each, or units_per_trainer = " in told
    assert main(["task", "check", "--json", str(path)]) == 0
    assert json.loads(capsys.readouterr().out)["newcomers_audited_ppm"] > USUAL_PPM
    units = path.read_text().replace("../digits/", f"{path.parent.parent}/digits/")
    units = units.replace("units_per_trainer = 2 ", "units_per_trainer = 20 ")
    cheap = tmp_path / "cheap.toml"
    cheap.write_text(units.replace("budget_pot = 121", "budget_pot = 900"))
    assert main(["task", "check", str(cheap)]) == 0
    assert "audits" not in capsys.readouterr().out
