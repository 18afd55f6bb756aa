"""More than a third faulty: agreement breaks, and forensics names more than a third, never an honest member."""

from __future__ import annotations

from random import Random

import pytest

from potminer.core.committee import Committee
from potminer.core.forensics import Seats, blame, forks, proves
from potminer.node.blame import joined, judge
from potminer.sim import arena, world
from potminer.sim.arena import Stands
from potminer.sim.report import Report
from potminer.sim.scenarios import OVERRUN, SCENARIOS, draw
from potminer.sim.twins import Cut, Leads, Space
from potminer.sim.world import simulate
from potminer.wire.block import block_digest
from potminer.wire.codec import Wire
from potminer.wire.proof import Deposition

TOO_MANY = [Space(nodes=4, twins=2, leads=leads, cut=cut) for leads in Leads for cut in Cut]


def always(committee: Committee) -> Seats:
    return lambda epoch: committee


def named(evidence: list[Wire], committee: Committee, *, chain: bytes) -> set[int]:
    """The culprits; each is proven by what its proof carries alone."""
    culprits = blame(evidence, seats=always(committee), chain=chain)
    assert all(proves(culprit, seats=always(committee), chain=chain) for culprit in culprits)
    return {culprit.signer for culprit in culprits}


def test_two_pairs_of_twins_of_four_break_agreement_and_both_are_named() -> None:
    chance, broken, across_views = Random(2), 0, 0
    for number in range(160):
        space = TOO_MANY[number % len(TOO_MANY)]
        script = space.script(chance.randrange(space.size))
        stands = Stands(collect=True)
        verdict, committee = stands.play(script), stands.committee(script)
        culprits = named(list(verdict.evidence), committee, chain=arena.CHAIN)
        assert culprits <= {0, 1}, script
        found = forks(verdict.evidence, seats=always(committee), chain=arena.CHAIN)
        if found:
            assert any(violation.startswith("agreement") for violation in verdict.violations), script
            assert committee.is_weak_quorum(culprits), script
        broken += bool(found)
        across_views += any(fork.first[0] != fork.second[0] for fork in found)
    assert broken >= 10
    assert across_views >= 3


def test_three_pairs_of_twins_of_seven_are_named_where_they_fork_the_chain() -> None:
    chance, broken = Random(0), 0
    space = Space(nodes=7, twins=3, rounds=3, cut=Cut.VIEW)
    for _ in range(60):
        script = space.script(chance.randrange(space.size))
        stands = Stands(collect=True)
        verdict, committee = stands.play(script), stands.committee(script)
        culprits = named(list(verdict.evidence), committee, chain=arena.CHAIN)
        assert culprits <= {0, 1, 2}, script
        if forks(verdict.evidence, seats=always(committee), chain=arena.CHAIN):
            broken += 1
            assert committee.is_weak_quorum(culprits), script
    assert broken >= 1


def overheard(scenario: str, seed: int) -> tuple[list[Wire], Committee, Report]:
    """What honest hosts of a run heard, their committee, and the report."""
    heard: dict[Wire, None] = {}
    committees: list[Committee] = []

    def committee(members: tuple[bytes, ...], powers: tuple[int, ...]) -> Committee:
        committees.append(Committee(epoch=world.EPOCH, members=members, powers=powers))
        return committees[-1]

    known = (SCENARIOS | OVERRUN)[scenario]
    report = simulate(known, seed, make_committee=committee, listen=lambda message: heard.setdefault(message))
    return list(heard), committees[0], report


def test_too_many_twins_break_agreement_in_the_simulator_and_are_named() -> None:
    broken = 0
    for seed in range(24):
        heard, committee, report = overheard("too-many-twins", seed)
        culprits = named(heard, committee, chain=world.CHAIN)
        assert culprits <= set(report.faulty), seed
        if forks(heard, seats=always(committee), chain=world.CHAIN):
            broken += 1
            assert any(violation.startswith("agreement") for violation in report.violations), seed
            assert committee.is_weak_quorum(culprits), seed
    assert broken >= 3


def stored(scenario: str, seed: int) -> tuple[list[Deposition], Committee, Report]:
    """What the disks of a run's honest hosts hold at its end."""
    run = world.World(draw((SCENARIOS | OVERRUN)[scenario], seed))
    report = run.run()
    told = [
        Deposition(
            world.CHAIN,
            tuple((each.block.header.height, block_digest(each.block.header)) for each in host.chain.blocks),
            tuple(each.certificate for each in host.chain.blocks),
            tuple(host.kept),
            (),
        )
        for host in run.hosts
        if host.honest
    ]
    return told, run.committee, report


def test_what_honest_nodes_stored_names_those_who_broke_agreement_and_nobody_else() -> None:
    broken = 0
    for seed in range(24):
        told, committee, report = stored("too-many-twins", seed)
        found = judge(told, always(committee), chain=world.CHAIN)
        culprits = {culprit.signer for culprit in found.culprits}
        assert culprits <= set(report.faulty), seed
        assert all(proves(culprit, seats=always(committee), chain=world.CHAIN) for culprit in found.culprits)
        assert {fork.height for fork in found.forks} <= set(found.contradictory)
        if found.forks:
            broken += 1
            assert committee.is_weak_quorum(culprits), seed
            again = judge([joined(told)], always(committee), chain=world.CHAIN)
            assert (again.forks, again.culprits) == (found.forks, found.culprits)
    assert broken >= 3


@pytest.mark.parametrize("scenario", ["storm-lossy", "crash-partition"])
def test_what_is_stored_of_crashes_and_bad_links_makes_nobody_a_culprit(scenario: str) -> None:
    statements = 0
    for seed in range(4):
        told, committee, report = stored(scenario, seed)
        found = judge(told, always(committee), chain=world.CHAIN)
        assert (found.forks, found.culprits, found.contradictory) == ((), (), ())
        assert report.highest_view == 0 or any(each.statements for each in told)
        statements += sum(len(each.statements) for each in told)
    assert statements > 10


@pytest.mark.parametrize("scenario", ["storm", "storm-lossy", "crash-partition", "lossy"])
def test_crashes_and_restarts_make_nobody_a_culprit(scenario: str) -> None:
    for seed in range(6):
        heard, committee, _ = overheard(scenario, seed)
        assert heard
        assert not named(heard, committee, chain=world.CHAIN), seed


def test_an_equivocator_is_named_alone() -> None:
    convicted = 0
    for seed in range(12):
        heard, committee, report = overheard("storm-lossy-equivocate", seed)
        culprits = named(heard, committee, chain=world.CHAIN)
        assert not report.violations
        assert culprits <= set(report.faulty), seed
        assert not forks(heard, seats=always(committee), chain=world.CHAIN)
        convicted += len(culprits)
    assert convicted >= 10
