"""The normal case: given a replica, when an event, then effects."""

from __future__ import annotations

from collections.abc import Callable

import msgspec
import pytest

from potminer.core.committee import certificate_holds
from potminer.core.ledger.bonds import evidence_holds
from potminer.core.machine import Broadcast, Execute, Executed, Penalize, Persist, Send, SetTimer, TimerFired
from potminer.core.pbft.application import Head
from potminer.core.pbft.events import (
    Behind,
    CheckpointStable,
    DoubleVote,
    ProposalRefused,
    WorkArrived,
)
from potminer.core.pbft.height import LEGAL_MOVES, Stage
from potminer.core.pbft.repair import STATUS
from potminer.sim.ledger import FRESHNESS_MS, GENESIS_MS, TinyApplication, state_after
from potminer.wire import sync
from potminer.wire.block import Block, block_digest
from potminer.wire.pbft import PreparedBlock, PreparedBlockWanted, PrePrepare, Status, Vote
from potminer.wire.seal import Purpose, statement
from potminer.wire.tx import Evidence, Spoken
from tests.unit.pbft_bench import CHAIN, KEYS, Bench, committee_of, of, proposal_of, said, sent, transfer


def prepared(bench: Bench, block: Block) -> list[object]:
    """Members 1 (primary), 2 and 3 prepare *block* before replica 0."""
    bench.hear(1, bench.propose(block))
    return bench.hear(2, bench.vote(Purpose.PREPARE, 2, block))


def test_a_block_lives_from_proposal_to_execution() -> None:
    bench = Bench(me=0)
    block = bench.block(1)
    effects = bench.hear(1, bench.propose(block))
    (vote,) = said(Vote, effects)
    assert (vote.purpose, vote.signer, vote.digest) == (Purpose.PREPARE, 0, block_digest(block.header))
    effects = bench.hear(2, bench.vote(Purpose.PREPARE, 2, block))
    (vote,) = said(Vote, effects)
    assert vote.purpose == Purpose.COMMIT
    assert not of(Execute, bench.hear(1, bench.vote(Purpose.COMMIT, 1, block)))
    (execute,) = of(Execute, bench.hear(2, bench.vote(Purpose.COMMIT, 2, block)))
    assert certificate_holds(execute.certificate, bench.committee, chain=CHAIN)
    assert bench.replica.stage is Stage.EXECUTING
    bench.execute(block, execute.certificate)
    assert (bench.replica.height, bench.replica.stage) == (2, Stage.WAITING)
    assert bench.disk == {}


def test_every_vote_is_written_before_it_is_said() -> None:
    bench = Bench(me=0)
    block = bench.block(1)
    for effects in (bench.hear(1, bench.propose(block)), bench.hear(2, bench.vote(Purpose.PREPARE, 2, block))):
        kinds = [type(e) for e in effects if isinstance(e, Persist | Broadcast)]
        assert kinds == sorted(kinds, key=lambda kind: kind is Broadcast)
        (vote,) = said(Vote, effects)
        assert any(vote.signature in (e.value or b"") for e in of(Persist, effects))


def test_the_primary_batches_and_then_proposes_what_its_ledger_builds() -> None:
    bench = Bench(me=1)
    effects = bench.work()
    assert not said(PrePrepare, effects)
    (proposal,) = said(PrePrepare, bench.ring("batch", effects))
    assert proposal.leaves == (transfer(0).leaf,)
    assert proposal.header.proposer == KEYS[1].public


def test_it_collects_until_it_has_proposed_and_nobody_else_does() -> None:
    bench = Bench(me=1)
    assert bench.replica.collects
    effects = bench.work()
    assert bench.replica.collects
    bench.ring("batch", effects)
    assert not bench.replica.collects
    assert not Bench(me=0).replica.collects


def test_a_full_mempool_ends_batching() -> None:
    bench = Bench(me=1)
    bench.application.submit(transfer(0))
    assert said(PrePrepare, bench.do(WorkArrived(full=True)))


def test_nobody_batches_while_the_ledger_itself_waits_for_a_block() -> None:
    bench = Bench(me=1)
    bench.application.overdue = True
    assert said(PrePrepare, bench.do(WorkArrived()))


def test_an_empty_block_is_due_after_a_while() -> None:
    bench = Bench(me=1)
    (proposal,) = said(PrePrepare, bench.do(TimerFired("pbft/empty/1/0")))
    assert proposal.leaves == ()


def test_the_view_timer_rests_while_idle_and_runs_while_work_waits() -> None:
    bench = Bench(me=0)
    assert not [t for t in of(SetTimer, bench.start()) if t.name.startswith("pbft/view")]
    (timer,) = [t for t in of(SetTimer, bench.work()) if t.name.startswith("pbft/view")]
    assert timer.delay_ms == bench.timers.view_base_ms


def test_a_committee_of_one_agrees_with_itself() -> None:
    bench = Bench(size=1, me=0)
    (execute,) = of(Execute, bench.ring("batch", bench.work()))
    assert certificate_holds(execute.certificate, bench.committee, chain=CHAIN)


def test_a_timer_that_was_replaced_is_ignored() -> None:
    bench = Bench(me=0)
    bench.work()
    bench.do(TimerFired("pbft/view/9/9"))
    assert bench.replica.view == 0


# ---- proposals that are not prepared -----------------------------------------------------


def changed(block: Block, **fields: object) -> Block:
    return Block(header=msgspec.structs.replace(block.header, **fields), transactions=block.transactions)


BAD_PROPOSALS: dict[str, Callable[[Bench], PrePrepare]] = {
    "of another height's parent (B13)": lambda b: b.propose(changed(b.block(1), parent=bytes(32))),
    "of another epoch": lambda b: b.propose(changed(b.block(1), epoch=1)),
    "fresh but naming another proposer": lambda b: b.propose(b.block(2)),
    "with transactions that the header does not name (B10)": lambda b: b.propose(
        Block(header=b.block(1).header, transactions=(transfer(0),))
    ),
    "signed by another member": lambda b: b.propose(b.block(1), by=2),
    "signed for another height (B25)": lambda b: proposal_of(
        b.block(1),
        view=0,
        signature=b.sign(Purpose.PRE_PREPARE, 1, view=0, digest=block_digest(b.block(1).header), height=2),
    ),
    "whose signature is a COMMIT (B25)": lambda b: proposal_of(
        b.block(1), view=0, signature=b.vote(Purpose.COMMIT, 1, b.block(1)).signature
    ),
    "of a later view without its NEW-VIEW (B12)": lambda b: b.propose(b.block(2), view=1),
}


@pytest.mark.parametrize("name", BAD_PROPOSALS)
def test_a_proposal_is_refused(name: str) -> None:
    bench = Bench(me=0)
    effects = bench.hear(2, BAD_PROPOSALS[name](bench))
    assert not said(Vote, effects)
    assert not of(Persist, effects)
    assert of(Penalize, effects)
    assert (bench.replica.stage, bench.replica.view) == (Stage.WAITING, 0)


def test_a_block_that_the_ledger_refuses_is_not_prepared() -> None:
    bench = Bench(me=0)
    for block in (changed(bench.block(1), state_root=bytes([1] * 32)), bench.block(1, salt=FRESHNESS_MS + 1)):
        effects = bench.hear(1, bench.propose(block))
        assert of(ProposalRefused, effects)
        assert not said(Vote, effects)


def test_a_refused_proposal_said_again_is_judged_again() -> None:
    bench = Bench(me=0)
    proposal = bench.propose(bench.block(1, salt=FRESHNESS_MS + 1))
    assert not said(Vote, bench.hear(1, proposal))
    bench.now += 1_000
    assert said(Vote, bench.hear(1, proposal))


def test_the_primary_never_prepares_and_never_takes_a_proposal_in_its_own_name() -> None:
    bench = Bench(me=1)
    effects = bench.hear(2, bench.propose(bench.block(1)))
    assert not said(Vote, effects)


def test_a_second_proposal_convicts_its_primary() -> None:
    bench = Bench(me=0)
    bench.hear(1, bench.propose(bench.block(1)))
    effects = bench.hear(2, bench.propose(bench.block(1, salt=1)))
    (proof,) = of(DoubleVote, effects)
    assert (proof.signer, proof.purpose) == (KEYS[1].public, Purpose.PRE_PREPARE)
    assert not said(Vote, effects)
    assert not of(DoubleVote, bench.hear(2, bench.propose(bench.block(1, salt=2))))


# ---- votes that do not count -------------------------------------------------------------

BAD_VOTES: dict[str, Callable[[Bench, Block], Vote]] = {
    "the primary's PREPARE (B2)": lambda b, x: b.vote(Purpose.PREPARE, 1, x),
    "signed with another member's key (B3)": lambda b, x: b.vote(Purpose.PREPARE, 3, x, key_of=2),
    "of nobody (B28)": lambda b, x: msgspec.structs.replace(b.vote(Purpose.PREPARE, 3, x), signer=9),
    "of another epoch": lambda b, x: msgspec.structs.replace(b.vote(Purpose.PREPARE, 3, x), epoch=1),
    "signed for another view (B5)": lambda b, x: msgspec.structs.replace(b.vote(Purpose.PREPARE, 3, x, view=1), view=0),
    "a COMMIT sold as PREPARE (B25)": lambda b, x: msgspec.structs.replace(
        b.vote(Purpose.COMMIT, 3, x), purpose=int(Purpose.PREPARE)
    ),
    "of no known purpose (B4)": lambda b, x: msgspec.structs.replace(b.vote(Purpose.PREPARE, 3, x), purpose=77),
    "of a purpose that is no vote": lambda b, x: b.vote(Purpose.TRANSACTION, 3, x),
}


@pytest.mark.parametrize("name", BAD_VOTES)
def test_a_vote_does_not_count(name: str) -> None:
    bench = Bench(me=0)
    block = bench.block(1)
    bench.hear(1, bench.propose(block))
    before = bench.replica.footprint()
    effects = bench.hear(3, BAD_VOTES[name](bench, block))
    assert of(Penalize, effects)
    assert not said(Vote, effects)
    assert bench.replica.footprint() == before


def test_one_signer_counts_once() -> None:
    bench = Bench(size=5, me=0)
    block = bench.block(1)
    bench.hear(1, bench.propose(block))
    vote = bench.vote(Purpose.PREPARE, 2, block)
    assert not said(Vote, bench.hear(2, vote, vote, vote))
    assert said(Vote, bench.hear(3, bench.vote(Purpose.PREPARE, 3, block)))


@pytest.mark.parametrize(("size", "needed"), [(4, 3), (5, 4), (7, 5), (8, 6)])
def test_a_quorum_is_more_than_two_thirds_at_every_size(size: int, needed: int) -> None:
    """B1: 2f+1 is only right where n = 3f+1."""
    bench = Bench(size=size, me=0)
    block = bench.block(1)
    bench.hear(1, bench.propose(block))
    for count, member in enumerate(range(2, size), start=3):
        committed = bool(said(Vote, bench.hear(member, bench.vote(Purpose.PREPARE, member, block))))
        assert committed == (count == needed)
        if committed:
            return


def test_a_double_vote_is_proved_and_the_first_stands() -> None:
    bench = Bench(size=5, me=0)
    block, other = bench.block(1), bench.block(1, salt=1)
    bench.hear(1, bench.propose(block))
    bench.hear(2, bench.vote(Purpose.PREPARE, 2, block))
    (proof,) = of(DoubleVote, bench.hear(2, bench.vote(Purpose.PREPARE, 2, other)))
    assert {proof.first[0], proof.second[0]} == {block_digest(block.header), block_digest(other.header)}
    assert said(Vote, bench.hear(3, bench.vote(Purpose.PREPARE, 3, block)))


def test_only_members_are_heard_and_who_sat_before_is_no_offender() -> None:
    bench = Bench(me=0)
    block = bench.block(1)
    bench.hear(1, bench.propose(block))
    bench.hear(2, bench.vote(Purpose.PREPARE, 2, block))
    assert bench.hear(6, Status(height=1, view=0, time_ms=GENESIS_MS), bench.vote(Purpose.COMMIT, 2, block)) == []


# ---- finality without the proposal -------------------------------------------------------


def test_a_certified_block_is_pulled_and_executed() -> None:
    bench = Bench(me=0)
    block = bench.block(1)
    effects = bench.hear(1, *(bench.vote(Purpose.COMMIT, member, block) for member in (1, 2, 3)))
    assert len(sent(PreparedBlockWanted, effects)) == 3
    torn = Block(header=block.header, transactions=(transfer(0),))
    assert of(Penalize, bench.hear(2, PreparedBlock(block=torn)))
    assert of(Execute, bench.hear(2, PreparedBlock(block=block)))


def test_a_body_that_nobody_asked_for_is_dropped() -> None:
    bench = Bench(me=0)
    before = bench.replica.footprint()
    bench.hear(1, PreparedBlock(block=bench.block(1)))
    assert bench.replica.footprint() == before


def test_a_body_is_served_once_per_period() -> None:
    bench = Bench(me=0)
    block = bench.block(1)
    bench.hear(1, bench.propose(block))
    wanted = PreparedBlockWanted(height=1, digest=block_digest(block.header))
    assert len(sent(PreparedBlock, bench.hear(2, wanted, wanted, wanted))) == 1
    bench.do(TimerFired(STATUS))
    assert len(sent(PreparedBlock, bench.hear(2, wanted))) == 1


def test_a_final_block_that_contradicts_the_head_stops_the_replica() -> None:
    bench = Bench(me=0)
    block = changed(bench.block(1), parent=bytes(32))
    bench.hear(1, *(bench.vote(Purpose.COMMIT, member, block) for member in (1, 2, 3)))
    with pytest.raises(AssertionError, match="does not follow our head"):
        bench.hear(1, PreparedBlock(block=block))


def test_the_executed_block_is_the_decided_one() -> None:
    bench = Bench(me=0)
    block = bench.block(1)
    prepared(bench, block)
    bench.hear(1, *(bench.vote(Purpose.COMMIT, member, block) for member in (1, 2)))
    with pytest.raises(AssertionError, match="another block"):
        bench.do(Executed(1, bytes(32), bytes(32), bench.now))


# ---- status, lag and messages from the next height ---------------------------------------


def test_status_gets_again_what_was_said_in_the_same_bytes() -> None:
    bench = Bench(me=0)
    block = bench.block(1)
    first = said(Vote, bench.hear(1, bench.propose(block)))
    assert sent(Vote, bench.hear(2, Status(height=1, view=0, time_ms=GENESIS_MS))) == first
    assert not sent(Vote, bench.hear(2, Status(height=1, view=0, time_ms=GENESIS_MS)))  # once per period


def test_the_primary_says_its_proposal_again_to_those_who_have_not_prepared() -> None:
    bench = Bench(me=1)
    (proposal,) = said(PrePrepare, bench.ring("batch", bench.work()))
    block = Block(header=proposal.header, transactions=(transfer(0),))
    bench.hear(2, bench.vote(Purpose.PREPARE, 2, block))
    assert not sent(PrePrepare, bench.hear(2, Status(height=1, view=0, time_ms=GENESIS_MS)))
    assert sent(PrePrepare, bench.hear(3, Status(height=1, view=0, time_ms=GENESIS_MS))) == [proposal]


def test_a_peer_below_is_shown_our_head() -> None:
    bench = Bench(me=0)
    block = bench.block(1)
    bench.execute(block, bench.certificate(Purpose.COMMIT, block, view=0, signers=(1, 2, 3)))
    (head,) = sent(sync.Head, bench.hear(2, Status(height=1, view=0, time_ms=GENESIS_MS)))
    assert (head.height, head.digest) == (1, block_digest(block.header))


def test_one_liar_never_makes_us_fetch_and_the_honest_height_counts() -> None:
    """B28: no single peer's height is believed."""
    bench = Bench(size=7, me=0)
    assert not of(Behind, bench.hear(6, Status(height=10**9, view=0, time_ms=GENESIS_MS)))
    assert not of(Behind, bench.hear(5, Status(height=9, view=0, time_ms=GENESIS_MS)))
    assert [b.height for b in of(Behind, bench.hear(4, Status(height=8, view=0, time_ms=GENESIS_MS)))] == [7]


def test_messages_of_the_next_height_are_kept_and_checked_when_it_begins() -> None:
    bench = Bench(me=0)
    block = bench.block(1)
    after = bench.block(2, head=state_after(bench.head, block), salt=1)
    bench.hear(2, bench.propose(after), bench.vote(Purpose.COMMIT, 2, after))
    bench.hear(3, bench.vote(Purpose.PREPARE, 3, after))
    effects = bench.execute(block, bench.certificate(Purpose.COMMIT, block, view=0, signers=(1, 2, 3)))
    assert [v.purpose for v in said(Vote, effects)] == [Purpose.PREPARE, Purpose.COMMIT]


def test_what_is_kept_from_ahead_is_bounded() -> None:
    bench = Bench(me=0)
    after = bench.block(2, head=state_after(bench.head, bench.block(1)))
    for view in range(2_000):
        bench.hear(3, msgspec.structs.replace(bench.vote(Purpose.COMMIT, 3, after), view=view))
        bench.hear(3, proposal_of(after, view=view, signature=bytes(64)))
    assert bench.replica.footprint() < 32


def test_votes_of_many_views_push_out_only_their_signers() -> None:
    bench = Bench(me=0)
    block = bench.block(1)
    bench.hear(1, bench.propose(block))
    for view in range(40):
        bench.hear(3, bench.vote(Purpose.COMMIT, 3, block, view=view))
    assert bench.replica.footprint() < 32
    assert said(Vote, bench.hear(2, bench.vote(Purpose.PREPARE, 2, block)))


# ---- epochs and checkpoints --------------------------------------------------------------


def test_a_checkpoint_is_stable_once_a_quorum_signed_the_state() -> None:
    bench = Bench(me=0)
    votes: list[Vote] = []
    for proposer in (1, 2):
        block = bench.block(proposer)
        proof = bench.certificate(Purpose.COMMIT, block, view=0, signers=(1, 2, 3))
        votes = said(Vote, bench.execute(block, proof))
    (mine,) = votes
    assert (mine.purpose, mine.height) == (Purpose.CHECKPOINT, 2)

    def theirs(signer: int) -> Vote:
        signature = bench.sign(Purpose.CHECKPOINT, signer, view=0, digest=mine.digest, height=2)
        return msgspec.structs.replace(mine, signer=signer, signature=signature)

    assert said(Vote, bench.start()) == [mine]  # said again after a restart, until it is stable
    assert not of(CheckpointStable, bench.hear(2, theirs(2)))
    (stable,) = of(CheckpointStable, bench.hear(3, theirs(3)))
    assert [signer for signer, _ in stable.certificate.signatures] == [0, 2, 3]


def test_two_states_signed_after_one_height_are_a_double_vote() -> None:
    bench = Bench(me=0)

    def state(signer: int, word: int, *, height: int = 2) -> Vote:
        digest = bytes([word] * 32)
        signature = bench.sign(Purpose.CHECKPOINT, signer, view=0, digest=digest, height=height)
        return Vote(Purpose.CHECKPOINT, 0, height, 0, digest, signer, signature)

    assert not bench.hear(2, state(2, 7))
    assert not bench.hear(2, state(2, 7)), "the same word again"
    forged = msgspec.structs.replace(state(2, 8), signature=bytes(64))
    assert of(Penalize, bench.hear(1, forged))
    assert not of(DoubleVote, bench.hear(1, forged))
    (double,) = of(DoubleVote, bench.hear(1, state(2, 8)))
    assert (double.signer, double.purpose, double.height) == (bench.committee.members[2], Purpose.CHECKPOINT, 2)
    assert double.first == (bytes([7] * 32), state(2, 7).signature)
    words = tuple(Spoken(double.purpose, digest, signature) for digest, signature in (double.first, double.second))
    evidence = Evidence(double.signer, double.epoch, double.height, double.view, *words)
    assert evidence_holds(evidence, chain=CHAIN)
    assert not bench.hear(1, state(2, 9)), "once per signer and height"
    assert not bench.hear(2, state(2, 6, height=1)), "an older word was never held, and proves nothing"
    assert not bench.hear(2, state(2, 1, height=4))
    (again,) = of(DoubleVote, bench.hear(2, state(2, 2, height=4)))
    assert again.height == 4


def test_a_new_committee_votes_from_the_next_height() -> None:
    bench = Bench(me=0)
    block = bench.block(1)
    bench.elect(committee_of(5, epoch=1))
    head = state_after(bench.head, block)
    bench.execute(block, bench.certificate(Purpose.COMMIT, block, view=0, signers=(1, 2, 3)))
    assert bench.replica.height == 2
    vote = msgspec.structs.replace(bench.vote(Purpose.COMMIT, 2, bench.block(2, head=head)), epoch=0)
    assert of(Penalize, bench.hear(2, vote))


def test_who_leaves_the_committee_falls_silent() -> None:
    bench = Bench(me=3)
    block = bench.block(1)
    bench.elect(committee_of(3, epoch=1))
    effects = bench.execute(block, bench.certificate(Purpose.COMMIT, block, view=0, signers=(1, 2, 3)))
    assert not of(Broadcast, effects)
    assert not bench.hear(0, Status(height=2, view=0, time_ms=GENESIS_MS))


def test_what_members_of_the_next_epoch_say_early_is_kept_for_its_first_height() -> None:
    """Whoever is a block ahead is in the new epoch already; its word must not cost a status period."""
    bench = Bench(me=0)
    block = bench.block(1)
    coming = committee_of(6, epoch=1)
    bench.chain.coming = coming
    ahead = state_after(bench.head, block)
    after = bench.block(2, head=ahead, salt=1)
    changed_epoch = msgspec.structs.replace(after, header=msgspec.structs.replace(after.header, epoch=1))
    signed = statement(
        Purpose.COMMIT, chain=CHAIN, signer=KEYS[5].public, digest=block_digest(changed_epoch.header), epoch=1,
        height=2, view=0,
    )
    vote = Vote(
        purpose=Purpose.COMMIT, epoch=1, height=2, view=0, digest=block_digest(changed_epoch.header), signer=5,
        signature=KEYS[5].sign(signed),
    )
    assert bench.hear(5, vote) == [], "not of this epoch's committee, and no offender"
    bench.elect(coming)
    bench.execute(block, bench.certificate(Purpose.COMMIT, block, view=0, signers=(1, 2, 3)))
    held = bench.replica._at.log.vote(purpose=Purpose.COMMIT, signer=5, view=0)
    assert held == vote


def test_whoever_lost_its_seat_and_is_late_is_pointed_to_our_head() -> None:
    bench = Bench(me=0)
    block = bench.block(1)
    bench.elect(committee_of(3, epoch=1))
    bench.execute(block, bench.certificate(Purpose.COMMIT, block, view=0, signers=(1, 2, 3)))
    (told,) = bench.hear(3, Status(height=1, view=0, time_ms=GENESIS_MS))
    assert isinstance(told, Send)
    assert (told.peer, told.message.height) == (KEYS[3].public, 1)  # type: ignore[attr-defined]


def test_who_can_propose_nothing_loses_its_turn_and_nothing_else() -> None:
    """Its onion is used up: the ledger builds it no block."""

    class UsedUp(TinyApplication):
        def build(self, *, height: int, parent: Head, proposer: bytes, now: int, most: int) -> None:  # type: ignore[override]
            return None

    bench = Bench(me=1)
    bench.application = UsedUp(bench.chain)
    bench.replica = bench.subject.replica(
        key=KEYS[1], chain=CHAIN, application=bench.application, head=bench.head, persisted={}, parameters=bench.timers
    )
    effects = bench.ring("batch", bench.work())
    assert of(ProposalRefused, effects)
    assert not said(PrePrepare, effects)
    assert bench.replica.stage is Stage.WAITING


def test_every_stage_can_be_left_but_the_last() -> None:
    assert set(LEGAL_MOVES) == set(Stage)
    assert [stage for stage in Stage if not LEGAL_MOVES[stage]] == [Stage.EXECUTING]
