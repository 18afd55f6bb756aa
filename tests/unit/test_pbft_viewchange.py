"""View changes: the one choice, who may begin a view, and what a restart remembers."""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise

import msgspec
import pytest

from potminer.base.digest import Domain, digest, number
from potminer.core.committee import Committee
from potminer.core.machine import Broadcast, Execute, MessageArrived, Penalize, Persist, SetTimer
from potminer.core.pbft.application import Timers
from potminer.core.pbft.events import ProposalRefused
from potminer.core.pbft.height import Stage
from potminer.core.pbft.viewchange import choose, jump_target, quorums, timeout_ms
from potminer.core.pbft.voice import Voice
from potminer.sim.ledger import FRESHNESS_MS, GENESIS_MS
from potminer.wire.block import Block, block_digest
from potminer.wire.codec import Wire
from potminer.wire.pbft import NewView, PreparedBlock, PreparedBlockWanted, PrePrepare, Status, ViewChange, Vote
from potminer.wire.seal import Purpose
from tests.unit.pbft_bench import CHAIN, KEYS, Bench, committee_of, of, said, sent

MEMBERS = tuple(digest(Domain.DRAW, b"seat", number(seat)) for seat in range(31))
# At height 1 of four, member 1 leads view 0, member 2 view 1, member 3 view 2, member 0 view 3.


def timed_out(bench: Bench) -> list[object]:
    return bench.ring("view", bench.work())


def prepare(bench: Bench, block: Block) -> None:
    """Replica 0 prepares *block* in view 0."""
    bench.hear(1, bench.propose(block))
    bench.hear(2, bench.vote(Purpose.PREPARE, 2, block))
    assert bench.replica.stage is Stage.COMMITTING


# ---- the choice --------------------------------------------------------------------------


def test_the_highest_prepared_view_wins() -> None:
    """B8: any prepared proof is not enough."""
    bench = Bench()
    old = bench.certificate(Purpose.PREPARE, bench.block(1), view=0, signers=(0, 1, 2))
    new = bench.certificate(Purpose.PREPARE, bench.block(2), view=1, signers=(0, 1, 2))
    changes = [bench.change(0, 3, prepared=new), bench.change(1, 3, prepared=old), bench.change(2, 3)]
    assert choose(changes) == new
    assert choose(changes[::-1]) == new
    assert choose(changes[2:]) is None


def test_a_quorum_may_do_without_the_highest_claim() -> None:
    bench = Bench()
    proof = bench.certificate(Purpose.PREPARE, bench.block(1), view=0, signers=(0, 1, 2))
    changes = [bench.change(0, 1), bench.change(1, 1), bench.change(2, 1), bench.change(3, 1, prepared=proof)]
    found = list(quorums(changes, bench.committee))
    assert [choose(quorum) for quorum in found] == [proof, None]
    assert len(list(quorums(changes[1:], bench.committee))) == 1


@pytest.mark.parametrize(
    ("views", "target"),
    [((1,), None), ((5, 9), 5), ((2**32 - 1, 1), 1), ((1, 1, 7), 1), ((0, 3), None)],
)
def test_the_jump_goes_to_the_smallest_view_of_a_weak_quorum(views: tuple[int, ...], target: int | None) -> None:
    """B16: one huge view drags nobody."""
    bench = Bench()
    changes = {i + 1: bench.change(i + 1, max(view, 1)) for i, view in enumerate(views) if view}
    assert jump_target(changes, view=0, committee=bench.committee) == target


def test_timeouts_grow_to_their_cap_and_no_further() -> None:
    """B18: integers, bounded, also for a view that nobody will ever reach."""
    timers, four = Timers(), Committee(0, MEMBERS[:4], (1,) * 4)
    waits = [timeout_ms(timers, view, committee=four, height=9) for view in range(6)]
    assert waits == [2_000, 2_250, 3_375, 5_062, 7_593, 11_389]
    assert timeout_ms(timers, 2**32 - 1, committee=four, height=9) == timers.view_cap_ms


def test_only_the_failed_view_of_an_honest_primary_makes_the_timer_grow_by_a_factor() -> None:
    """Ten of 31 can be faulty: ten views in a row leave time within the 45 s that a first commit may take."""
    timers, all_equal = Timers(), Committee(0, MEMBERS, (1,) * 31)
    waits = [timeout_ms(timers, view, committee=all_equal, height=9) for view in range(13)]
    assert [after - before for before, after in pairwise(waits[:11])] == [250] * 10
    assert waits[11:] == [6_750, 10_125]
    assert sum(waits[:10]) == 31_250
    heavy = Committee(0, MEMBERS[:5], (3, 3, 1, 1, 1))  # the first two turns of height 0 are more than a third
    assert [timeout_ms(timers, view, committee=heavy, height=0) for view in range(4)] == [2_000, 2_250, 3_375, 5_062]
    assert [timeout_ms(timers, view, committee=heavy, height=2) for view in range(5)] == [
        2_000, 2_250, 2_500, 2_750, 4_125,
    ]  # fmt: skip


def test_whoever_is_skipped_proves_nothing_twice() -> None:
    """The same primary twice is one primary: with two turns left, the third failed view is the first one's again."""
    timers, skipping = Timers(), Committee(0, MEMBERS[:4], (1, 1, 1, 1), skipped=(2, 3))
    assert [timeout_ms(timers, view, committee=skipping, height=0) for view in range(4)] == [2_000, 2_250, 3_375, 5_062]


# ---- asking for a view -------------------------------------------------------------------


def test_a_late_view_is_left_with_proof_of_what_was_prepared() -> None:
    """B6: prepared state survives the view change."""
    bench = Bench(me=0)
    block = bench.block(1)
    bench.hear(1, bench.propose(block))
    effects = bench.hear(2, bench.vote(Purpose.PREPARE, 2, block))
    assert said(Vote, effects)
    effects = bench.ring("view", [SetTimer("pbft/view/1/0", 0)])
    (change,) = said(ViewChange, effects)
    assert change.prepared is not None
    assert change.prepared.digest == block_digest(block.header)
    assert isinstance(effects[0], Persist)


def test_the_next_timer_starts_only_with_a_quorum_of_view_changes() -> None:
    bench = Bench(me=0)
    assert not [t for t in of(SetTimer, timed_out(bench)) if t.name.startswith("pbft/view")]
    assert not [t for t in of(SetTimer, bench.hear(3, bench.change(3, 1))) if t.name.startswith("pbft/view")]
    (timer,) = [t for t in of(SetTimer, bench.hear(1, bench.change(1, 4))) if t.name.startswith("pbft/view")]
    assert timer.delay_ms == 2_250


def test_nothing_is_voted_in_a_view_that_was_left() -> None:
    bench = Bench(me=0)
    block = bench.block(1)
    bench.hear(1, bench.propose(block))
    bench.ring("view", [SetTimer("pbft/view/1/0", 0)])
    effects = bench.hear(2, bench.vote(Purpose.PREPARE, 2, block), bench.vote(Purpose.PREPARE, 3, block))
    effects += bench.hear(1, bench.propose(block))
    assert not said(Vote, effects)


def test_a_weak_quorum_of_higher_views_is_joined_without_a_timeout() -> None:
    bench = Bench(me=0)
    assert not said(ViewChange, bench.hear(2, bench.change(2, 7)))
    (change,) = said(ViewChange, bench.hear(3, bench.change(3, 2)))
    assert change.view == 2


def test_a_view_change_is_left_by_catching_up() -> None:
    """B20."""
    bench = Bench(me=0)
    timed_out(bench)
    block = bench.block(1)
    bench.execute(block, bench.certificate(Purpose.COMMIT, block, view=0, signers=(1, 2, 3)))
    assert (bench.replica.height, bench.replica.view, bench.replica.stage) == (2, 0, Stage.WAITING)
    assert not any(key for key in bench.disk)


def test_a_commit_quorum_of_a_left_view_is_final_all_the_same() -> None:
    bench = Bench(me=0)
    block = bench.block(1)
    prepare(bench, block)
    bench.ring("view", [SetTimer("pbft/view/1/0", 0)])
    effects = bench.hear(1, *(bench.vote(Purpose.COMMIT, member, block) for member in (1, 2)))
    assert of(Execute, effects)


BAD_CHANGES: dict[str, Callable[[Bench], ViewChange]] = {
    "for view 0": lambda b: b.change(2, 0),
    "signed by somebody else": lambda b: msgspec.structs.replace(b.change(2, 1), signer=3),
    "of nobody": lambda b: msgspec.structs.replace(b.change(2, 1), signer=200),
    "whose proof is of a later view": lambda b: b.change(
        2, 1, prepared=b.certificate(Purpose.PREPARE, b.block(2), view=1, signers=(0, 1, 2))
    ),
    "whose proof has too few signers": lambda b: b.change(
        2, 1, prepared=b.certificate(Purpose.PREPARE, b.block(1), view=0, signers=(0, 1))
    ),
    "whose proof lacks the primary (B2)": lambda b: b.change(
        2, 1, prepared=b.certificate(Purpose.PREPARE, b.block(1), view=0, signers=(0, 2, 3))
    ),
    "whose proof is of COMMITs": lambda b: b.change(
        2, 1, prepared=b.certificate(Purpose.COMMIT, b.block(1), view=0, signers=(0, 1, 2))
    ),
    "whose proof was signed by nobody (B30)": lambda b: b.change(
        2,
        1,
        prepared=msgspec.structs.replace(
            b.certificate(Purpose.PREPARE, b.block(1), view=0, signers=(0, 1, 2)), digest=bytes(32)
        ),
    ),
    "whose proof is of another height (B5)": lambda b: b.change(
        2,
        1,
        prepared=msgspec.structs.replace(
            b.certificate(Purpose.PREPARE, b.block(1), view=0, signers=(0, 1, 2)), height=2
        ),
    ),
}


@pytest.mark.parametrize("name", BAD_CHANGES)
def test_a_view_change_does_not_count(name: str) -> None:
    bench = Bench(me=0)
    before = bench.replica.footprint()
    assert of(Penalize, bench.hear(2, BAD_CHANGES[name](bench)))
    assert bench.replica.footprint() == before


def test_each_signer_has_one_view_change_however_many_it_sends() -> None:
    bench = Bench(me=0)
    for view in range(1, 60):
        bench.hear(3, bench.change(3, view * 1_000_003))
    assert bench.replica.view == 0
    assert bench.replica.footprint() < 16


# ---- beginning a view --------------------------------------------------------------------


def test_the_new_primary_proposes_the_prepared_block_again() -> None:
    bench = Bench(me=2)
    block = bench.block(1)
    bench.hear(1, bench.propose(block))
    proof = bench.certificate(Purpose.PREPARE, block, view=0, signers=(0, 1, 3))
    bench.now += FRESHNESS_MS * 4  # a re-proposed block is exempt from freshness
    effects = bench.hear(0, bench.change(0, 1, prepared=proof)) + bench.hear(3, bench.change(3, 1))
    (new_view,) = said(NewView, effects)
    assert new_view.proposal.header == block.header
    assert new_view.proposal.view == 1


def test_the_new_primary_pulls_a_body_that_it_lacks() -> None:
    bench = Bench(me=2)
    block = bench.block(1)
    proof = bench.certificate(Purpose.PREPARE, block, view=0, signers=(0, 1, 3))
    effects = bench.hear(0, bench.change(0, 1, prepared=proof)) + bench.hear(3, bench.change(3, 1, prepared=proof))
    assert not said(NewView, effects)
    assert sent(PreparedBlockWanted, effects)
    (new_view,) = said(NewView, bench.hear(3, PreparedBlock(block=block)))
    assert new_view.proposal.header == block.header


def test_the_new_primary_goes_on_without_a_claim_whose_body_nobody_sends() -> None:
    bench = Bench(me=2)
    proof = bench.certificate(Purpose.PREPARE, bench.block(1), view=0, signers=(0, 1, 3))
    bench.hear(3, bench.change(3, 1, prepared=proof))
    assert not said(NewView, bench.hear(0, bench.change(0, 1)))
    (new_view,) = said(NewView, bench.hear(1, bench.change(1, 1)))
    assert {change.signer for change in new_view.view_changes} == {0, 1, 2}
    assert new_view.proposal.header.proposer == KEYS[2].public


def test_a_backup_follows_a_sound_new_view_from_anywhere() -> None:
    bench = Bench(me=0)
    block = bench.block(2)
    changes = tuple(bench.change(member, 1) for member in (1, 2, 3))
    (vote,) = said(Vote, bench.hear(2, bench.new_view(changes, block, view=1)))
    assert (vote.purpose, vote.view) == (Purpose.PREPARE, 1)
    assert bench.replica.view == 1


def new_view_with(bench: Bench, **fields: object) -> NewView:
    changes = tuple(bench.change(member, 1) for member in (1, 2, 3))
    return msgspec.structs.replace(bench.new_view(changes, bench.block(2), view=1), **fields)


def ignoring_the_proof(bench: Bench) -> NewView:
    proof = bench.certificate(Purpose.PREPARE, bench.block(1), view=0, signers=(0, 1, 2))
    changes = (bench.change(1, 1, prepared=proof), bench.change(2, 1), bench.change(3, 1))
    return bench.new_view(changes, bench.block(2), view=1)


def on_the_older_proof(bench: Bench) -> NewView:
    old = bench.certificate(Purpose.PREPARE, bench.block(1), view=0, signers=(0, 1, 2))
    new = bench.certificate(Purpose.PREPARE, bench.block(2), view=1, signers=(0, 1, 2))
    changes = (bench.change(1, 2, prepared=old), bench.change(2, 2, prepared=new), bench.change(3, 2))
    return bench.new_view(changes, bench.block(1), view=2)


BAD_NEW_VIEWS: dict[str, Callable[[Bench], NewView]] = {
    "that ignores the prepared block (B7)": ignoring_the_proof,
    "that takes an older proof (B8)": on_the_older_proof,
    "on too few view changes": lambda b: new_view_with(b, view_changes=(b.change(1, 1), b.change(2, 1))),
    "that counts one signer twice": lambda b: new_view_with(
        b, view_changes=(b.change(1, 1), b.change(1, 1), b.change(2, 1))
    ),
    "on view changes to another view": lambda b: new_view_with(
        b, view_changes=(b.change(1, 1), b.change(2, 2), b.change(3, 1))
    ),
    "on a forged view change (B30)": lambda b: new_view_with(
        b,
        view_changes=(b.change(1, 1), b.change(2, 1), msgspec.structs.replace(b.change(3, 1), signature=bytes(64))),
    ),
    "whose proposal is of another view": lambda b: new_view_with(b, proposal=b.propose(b.block(2), view=5)),
    "whose proposal another member signed": lambda b: new_view_with(b, proposal=b.propose(b.block(2), view=1, by=3)),
    "whose fresh block names another proposer": lambda b: new_view_with(b, proposal=b.propose(b.block(3), view=1)),
}


@pytest.mark.parametrize("name", BAD_NEW_VIEWS)
def test_a_new_view_is_refused(name: str) -> None:
    bench = Bench(me=0)
    effects = bench.hear(2, BAD_NEW_VIEWS[name](bench))
    assert of(Penalize, effects)
    assert not said(Vote, effects)
    assert (bench.replica.view, bench.replica.stage) == (0, Stage.WAITING)


def test_a_sound_new_view_whose_fresh_block_the_ledger_refuses_is_entered_but_not_prepared() -> None:
    bench = Bench(me=0)
    changes = tuple(bench.change(member, 1) for member in (1, 2, 3))
    effects = bench.hear(2, bench.new_view(changes, bench.block(2, salt=FRESHNESS_MS * 2), view=1))
    assert of(ProposalRefused, effects)
    assert not said(Vote, effects)
    assert [t for t in of(SetTimer, effects) if t.name.startswith("pbft/view/1/1")]


def test_a_peer_in_a_lower_view_hears_our_view_change_again() -> None:
    """B19: not only local timers bring views together."""
    bench = Bench(me=0)
    (change,) = said(ViewChange, timed_out(bench))
    assert sent(ViewChange, bench.hear(3, Status(height=1, view=0, time_ms=GENESIS_MS))) == [change]


# ---- restarts (B22) ----------------------------------------------------------------------


def messages(effects: list[object]) -> list[Wire]:
    return [e.message for e in effects if isinstance(e, Broadcast) and not isinstance(e.message, Status)]


def test_a_restart_says_the_same_bytes_again() -> None:
    bench = Bench(me=0)
    block = bench.block(1)
    votes = said(Vote, bench.hear(1, bench.propose(block)))
    votes += said(Vote, bench.hear(2, bench.vote(Purpose.PREPARE, 2, block)))
    assert messages(bench.start()) == votes
    assert bench.replica.stage is Stage.COMMITTING
    assert of(Execute, bench.hear(1, *(bench.vote(Purpose.COMMIT, member, block) for member in (1, 2))))


def test_a_restart_between_writing_and_speaking_speaks_now() -> None:
    bench = Bench(me=0)
    block = bench.block(1)
    bench.hear(1, bench.propose(block))
    written = dict(bench.disk)
    effects = bench.replica.handle(second_prepare(bench, block), bench.now)
    for cut in range(len(effects) + 1):
        bench.disk = dict(written)
        for effect in effects[:cut]:
            if isinstance(effect, Persist) and effect.value is not None:
                bench.disk[effect.key] = effect.value
        heard = messages(bench.start()) + messages(bench.hear(2, bench.vote(Purpose.PREPARE, 2, block)))
        commits = [m for m in heard if isinstance(m, Vote) and m.purpose == Purpose.COMMIT]
        assert len(commits) == 1
        assert commits[0].digest == block_digest(block.header)


def second_prepare(bench: Bench, block: Block) -> MessageArrived:
    return MessageArrived(KEYS[2].public, bench.vote(Purpose.PREPARE, 2, block))


def test_after_a_restart_no_other_block_of_that_view_is_prepared() -> None:
    bench = Bench(me=0)
    bench.hear(1, bench.propose(bench.block(1)))
    bench.start()
    assert not said(Vote, bench.hear(1, bench.propose(bench.block(1, salt=1))))


def test_a_primary_that_restarts_proposes_the_same_block() -> None:
    bench = Bench(me=1)
    (proposal,) = said(PrePrepare, bench.ring("batch", bench.work()))
    bench.now += 3_000
    assert messages(bench.start()) == [proposal]
    assert not [p for p in said(PrePrepare, bench.work(1)) if p != proposal]


def test_a_restart_in_a_view_change_stays_there_with_its_proof() -> None:
    bench = Bench(me=0)
    block = bench.block(1)
    prepare(bench, block)
    bench.ring("view", [SetTimer("pbft/view/1/0", 0)])
    (change,) = said(ViewChange, bench.start())
    assert change.prepared is not None
    assert change.prepared.digest == block_digest(block.header)
    assert (bench.replica.view, bench.replica.stage) == (1, Stage.CHANGING)
    assert not said(Vote, bench.hear(1, bench.propose(block)))
    # the body survived too: it can be served, and proposed again in a later view of ours
    wanted = PreparedBlockWanted(height=1, digest=block_digest(block.header))
    assert sent(PreparedBlock, bench.hear(2, wanted))


def test_a_new_primary_that_restarts_opens_its_view_with_the_same_bytes() -> None:
    bench = Bench(me=2)
    effects = bench.hear(0, bench.change(0, 1)) + bench.hear(3, bench.change(3, 1))
    (new_view,) = said(NewView, effects)
    assert new_view in messages(bench.start())


def test_the_voice_refuses_to_contradict_itself() -> None:
    bench = Bench(me=0)
    voice = Voice.remembering({}, key=KEYS[0], chain=CHAIN, epoch=0, signer=0)
    voice.open(1, checkpoint=0)
    block, other = bench.block(1), bench.block(1, salt=1)
    with pytest.raises(AssertionError, match="held whole"):
        voice.prepare(bench.propose(block), other)
    voice.prepare(bench.propose(block), block)
    with pytest.raises(AssertionError, match="one PREPARE"):
        voice.prepare(bench.propose(other), other)
    voice.change(2)
    with pytest.raises(AssertionError, match="ever said again"):
        voice.prepare(bench.propose(block), block)
    with pytest.raises(AssertionError, match="only rise"):
        voice.change(2)
    voice.checkpoint(height=1, digest=bytes(32))
    with pytest.raises(AssertionError, match="not deterministic"):
        voice.checkpoint(height=1, digest=bytes([1] * 32))


def test_what_is_written_is_bounded_however_many_views_pass() -> None:
    bench = Bench(me=0)
    prepare(bench, bench.block(1))
    for view in range(2, 41):
        bench.hear(2, bench.change(2, view))
        bench.hear(3, bench.change(3, view))
    assert bench.replica.view == 40
    assert len(bench.disk) == 3  # the last VIEW-CHANGE, what was prepared, and its certificate


def test_records_of_other_rooms_and_heights_do_no_harm() -> None:
    bench = Bench(me=0)
    bench.hear(1, bench.propose(bench.block(1)))
    bench.disk[b"rounds/x"] = b"?"
    block = bench.block(1)
    bench.execute(block, bench.certificate(Purpose.COMMIT, block, view=0, signers=(1, 2, 3)))
    assert bench.disk == {b"rounds/x": b"?"}


def test_committees_of_the_bench_have_distinct_members() -> None:
    assert len(set(committee_of(8).members)) == 8
