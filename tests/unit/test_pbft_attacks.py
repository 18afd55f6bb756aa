"""More attacks on one replica: those of docs/mutants.md that the other tables do not hold."""

from __future__ import annotations

import msgspec

from potminer.core.machine import Execute, Executed, Penalize, SetTimer
from potminer.core.pbft.height import Stage
from potminer.sim.ledger import FRESHNESS_MS, state_after
from potminer.wire.block import Block, block_digest
from potminer.wire.pbft import NewView, PreparedBlockWanted, Status, Vote
from potminer.wire.seal import Purpose, statement
from tests.unit.pbft_bench import CHAIN, KEYS, Bench, of, proposal_of, said, sent

# At height 1 of four, member 1 leads view 0, member 2 view 1, member 3 view 2, member 0 view 3.

FAR = 10**6
"""A view that no network ever reaches."""


def view_timer(effects: list[object]) -> SetTimer:
    return [e for e in of(SetTimer, effects) if e.name.startswith("pbft/view")][-1]


def test_a_vote_in_the_name_of_a_neighbour_does_not_count_b3() -> None:
    """B3: member 2 signs the very statement that member 3 would sign."""
    bench = Bench(me=0)
    block = bench.block(1)
    bench.hear(1, bench.propose(block))
    theirs = bench.vote(Purpose.PREPARE, 3, block)
    words = statement(
        Purpose.PREPARE, chain=CHAIN, signer=KEYS[3].public, digest=theirs.digest, epoch=0, height=1, view=0
    )
    effects = bench.hear(2, msgspec.structs.replace(theirs, signature=KEYS[2].sign(words)))
    assert of(Penalize, effects)
    assert not said(Vote, effects)


def test_a_view_change_with_a_sound_certificate_of_another_height_does_not_count_b5() -> None:
    """B5: every signature holds; only the height is another one."""
    bench = Bench(me=0)
    after = bench.block(2, head=state_after(bench.head, bench.block(1)))
    proof = bench.certificate(Purpose.PREPARE, after, view=0, signers=(1, 2, 3))
    assert of(Penalize, bench.hear(2, bench.change(2, 1, prepared=proof)))


def test_a_view_change_with_a_sound_certificate_of_its_own_view_does_not_count_b5() -> None:
    bench = Bench(me=0)
    proof = bench.certificate(Purpose.PREPARE, bench.block(2), view=1, signers=(1, 2, 3))
    assert of(Penalize, bench.hear(3, bench.change(3, 1, prepared=proof)))


def test_a_new_view_around_a_header_of_another_height_is_refused_b11() -> None:
    """B11: the envelope says height 1, what it holds says 2, and names the right parent."""
    bench = Bench(me=0)
    header = msgspec.structs.replace(bench.block(3).header, height=2)
    block = Block(header=header, transactions=())
    signed = bench.sign(Purpose.PRE_PREPARE, 3, view=1, digest=block_digest(header), height=2)
    changes = tuple(bench.change(member, 1) for member in (1, 2, 3))
    proposal = proposal_of(block, view=1, signature=signed)
    effects = bench.hear(2, NewView(height=1, view=1, view_changes=changes, proposal=proposal))
    assert of(Penalize, effects)
    assert bench.replica.view == 0


def test_one_huge_view_drags_nobody_b16() -> None:
    bench = Bench(size=7, me=0)
    bench.hear(5, bench.change(5, 2**32 - 1))
    bench.hear(6, bench.change(6, FAR))
    assert bench.replica.view == 0
    bench.hear(4, bench.change(4, 3))
    assert bench.replica.view == 3


def test_a_million_failed_views_are_timed_like_thirty_b17() -> None:
    """B17: no recursion over views. B18: no timer above the cap."""
    bench = Bench(me=0)
    bench.work()
    effects = bench.hear(2, bench.change(2, FAR)) + bench.hear(3, bench.change(3, FAR))
    assert bench.replica.view == FAR
    assert view_timer(effects).delay_ms == bench.timers.view_cap_ms


def test_the_timer_of_the_fortieth_view_is_capped_b18() -> None:
    bench = Bench(me=0)
    effects = bench.hear(2, bench.change(2, 40)) + bench.hear(3, bench.change(3, 40))
    assert view_timer(effects).delay_ms == bench.timers.view_cap_ms


def test_what_was_kept_for_a_height_that_sync_has_passed_is_forgotten_b21() -> None:
    """B21: COMMITs kept for height 2 must not certify anything at height 3."""
    bench = Bench(me=0)
    first = bench.block(1)
    second = bench.block(2, head=state_after(bench.head, first))
    third = bench.block(3, head=state_after(state_after(bench.head, first), second))
    for member in (1, 2, 3):
        bench.hear(member, bench.vote(Purpose.COMMIT, member, second))
    head = bench.chain.head = state_after(state_after(bench.head, first), second)
    effects = bench.do(Executed(head.height, head.digest, head.state_root, head.time_ms))
    effects += bench.hear(3, bench.propose(third))
    assert bench.replica.height == 3
    assert bench.replica.stage is Stage.PREPARING
    assert not of(Execute, effects)
    assert not sent(PreparedBlockWanted, effects)


def test_a_backup_prepares_a_block_again_that_an_earlier_primary_built_b24() -> None:
    """B24: another proposer's block, long after it was fresh."""
    bench = Bench(me=0)
    block = bench.block(1)
    proof = bench.certificate(Purpose.PREPARE, block, view=0, signers=(1, 2, 3))
    bench.now += FRESHNESS_MS * 4
    changes = (bench.change(1, 1, prepared=proof), bench.change(2, 1), bench.change(3, 1))
    (vote,) = said(Vote, bench.hear(2, bench.new_view(changes, block, view=1)))
    assert (vote.purpose, vote.digest) == (Purpose.PREPARE, block_digest(block.header))


def test_an_idle_replica_arms_no_view_timer_after_execution_b26() -> None:
    bench = Bench(me=0)
    block = bench.block(1)
    effects = bench.execute(block, bench.certificate(Purpose.COMMIT, block, view=0, signers=(1, 2, 3)))
    assert not [e for e in of(SetTimer, effects) if e.name.startswith("pbft/view")]


def test_replicas_without_any_data_begin_b29() -> None:
    """B29: nobody waits for somebody who remembers."""
    bench = Bench(me=0)
    assert said(Status, bench.start())
    assert said(Vote, bench.hear(1, bench.propose(bench.block(1))))


def test_a_commit_is_never_said_for_a_block_whose_proposal_is_of_another_view() -> None:
    bench = Bench(me=0)
    block = bench.block(1)
    bench.hear(1, bench.propose(block))
    effects = bench.hear(2, bench.vote(Purpose.PREPARE, 2, block, view=2))
    effects += bench.hear(3, bench.vote(Purpose.PREPARE, 2, block, view=3))
    assert not said(Vote, effects)
    assert not sent(Vote, effects)
