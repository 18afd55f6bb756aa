"""What others said is passed on to who asks, and a replica whose clock is wrong goes by the committee's."""

from __future__ import annotations

import pytest

from potminer.core.machine import Penalize, Send, SetTimer, TimerFired
from potminer.core.pbft import passing
from potminer.core.pbft.clock import TOLERANCE_MS, WORDS, CommitteeClock
from potminer.core.pbft.events import ClockOff, ProposalRefused
from potminer.core.pbft.height import Stage
from potminer.sim.ledger import FRESHNESS_MS
from potminer.wire.pbft import NewView, PrePrepare, Status, ViewChange, Vote, VotesWanted
from potminer.wire.seal import Purpose
from tests.unit.pbft_bench import KEYS, Bench, committee_of, of, said, sent

# At height 1 of four, member 1 leads view 0, member 2 view 1, member 3 view 2, member 0 view 3.

ALL = 2**32 - 1


def asked(effects: list[object]) -> list[VotesWanted]:
    return sent(VotesWanted, effects)


def everything(*, view: int = 0, opening: bool = True) -> VotesWanted:
    return VotesWanted(height=1, view=view, opening=opening, prepares=ALL, commits=ALL, changes=ALL)


def prepared(bench: Bench) -> PrePrepare:
    """Replica 0 hears the proposal and the PREPARE of member 2."""
    block = bench.block(1)
    proposal = bench.propose(block)
    bench.hear(1, proposal)
    bench.hear(2, bench.vote(Purpose.PREPARE, 2, block))
    return proposal


# ---- asking ------------------------------------------------------------------------------


def test_a_height_that_stands_still_asks_for_what_was_not_heard_and_nothing_else() -> None:
    bench = Bench(me=0)
    block = bench.block(1)
    bench.work()
    bench.hear(3, bench.vote(Purpose.PREPARE, 3, block))
    effects = bench.do(TimerFired("pbft/votes/1/0"))
    wanted = VotesWanted(height=1, view=0, opening=True, prepares=0b100, commits=0b1110, changes=0b1110)
    assert asked(effects) == [wanted] * 3
    assert sorted(e.peer for e in of(Send, effects)) == sorted(k.public for k in KEYS[1:4])
    bench.hear(1, bench.propose(block))
    (wanted, *_) = asked(bench.do(TimerFired("pbft/votes/1/0")))
    assert (wanted.opening, wanted.prepares, wanted.commits) == (False, 0, 0b1110)  # member 3's word made the quorum


def test_an_idle_replica_asks_nobody() -> None:
    bench = Bench(me=0)
    assert not [t for t in of(SetTimer, bench.start()) if "votes" in t.name]
    assert [t for t in of(SetTimer, bench.work()) if "votes" in t.name]


def test_nobody_is_asked_again_before_it_would_answer_again() -> None:
    bench = Bench(me=0)
    (first,) = [t for t in of(SetTimer, bench.work()) if "votes" in t.name]
    (second,) = [t for t in of(SetTimer, bench.do(TimerFired(first.name))) if "votes" in t.name]
    assert (first.delay_ms, second.delay_ms) == (bench.timers.votes_ms, bench.timers.status_ms)
    (anew,) = [t for t in of(SetTimer, bench.ring("view", [SetTimer("pbft/view/1/0", 0)])) if "votes" in t.name]
    assert anew.delay_ms == bench.timers.votes_ms


def test_a_few_are_asked_at_a_time_in_turn_and_who_was_heard_first() -> None:
    bench = Bench(size=7, me=0)
    block = bench.block(1)
    bench.work()
    bench.hear(6, bench.vote(Purpose.PREPARE, 6, block))
    rounds = [[e.peer for e in of(Send, bench.do(TimerFired("pbft/votes/1/0")))] for _ in range(2)]
    assert [len(peers) for peers in rounds] == [passing.ASKED] * 2
    assert rounds[0][0] == KEYS[6].public
    assert {*rounds[0], *rounds[1]} == {k.public for k in KEYS[1:7]}


# ---- answering ---------------------------------------------------------------------------


def test_what_was_heard_is_passed_on_in_the_bytes_it_came_in() -> None:
    bench = Bench(me=0)
    proposal = prepared(bench)
    effects = bench.hear(3, everything())
    assert sent(PrePrepare, effects) == [proposal]
    votes = sent(Vote, effects)
    assert {(v.purpose, v.signer) for v in votes} == {
        (Purpose.PREPARE, 0), (Purpose.COMMIT, 0), (Purpose.PREPARE, 2),
    }  # fmt: skip
    assert not bench.hear(3, everything())  # once per status period
    other = Bench(me=3)
    heard = other.hear(0, proposal, *votes)
    assert not of(Penalize, heard)
    assert other.replica.stage is Stage.COMMITTING


def test_only_what_is_lacked_is_said() -> None:
    bench = Bench(me=0)
    prepared(bench)
    effects = bench.hear(3, VotesWanted(height=1, view=0, opening=False, prepares=0b100, commits=0, changes=0))
    assert [(type(e.message), e.peer) for e in of(Send, effects)] == [(Vote, KEYS[3].public)]


@pytest.mark.parametrize("height", [0, 2, 2**40])
def test_of_other_heights_nothing_is_passed_on(height: int) -> None:
    bench = Bench(me=0)
    prepared(bench)
    wanted = VotesWanted(height=height, view=0, opening=True, prepares=ALL, commits=ALL, changes=ALL)
    assert not of(Send, bench.hear(3, wanted))


def test_a_new_view_is_passed_on_whole_to_who_is_below_it_or_lacks_it() -> None:
    bench = Bench(me=0)
    block = bench.block(2)
    changes = tuple(bench.change(seat, 1) for seat in (1, 2, 3))
    opening = bench.new_view(changes, block, view=1)
    bench.hear(2, opening)
    assert sent(NewView, bench.hear(3, everything(view=0, opening=False))) == [opening]
    bench.do(TimerFired("pbft/status"))
    assert sent(NewView, bench.hear(3, everything(view=1))) == [opening]
    bench.do(TimerFired("pbft/status"))
    assert not sent(NewView, bench.hear(3, everything(view=1, opening=False)))
    bench.do(TimerFired("pbft/status"))
    assert not sent(NewView, bench.hear(3, everything(view=2)))


def test_view_changes_are_passed_on_to_who_can_use_them() -> None:
    bench = Bench(me=0)
    bench.hear(1, bench.change(1, 1))
    bench.hear(2, bench.change(2, 2))  # a weak quorum with member 1: replica 0 joins view 1
    assert bench.replica.view == 1
    assert {(c.signer, c.view) for c in sent(ViewChange, bench.hear(3, everything(view=0)))} == {(0, 1), (1, 1), (2, 2)}
    bench.do(TimerFired("pbft/status"))
    told = sent(ViewChange, bench.hear(3, everything(view=1, opening=False)))
    assert [(c.signer, c.view) for c in told] == [(2, 2)]


def test_of_a_view_that_was_left_nothing_of_ones_own_is_said_again() -> None:
    """Its records are forgotten: after a restart it could not be said in the same bytes."""
    bench = Bench(me=0)
    prepared(bench)
    bench.ring("view", [SetTimer("pbft/view/1/0", 0)])
    effects = bench.hear(3, everything())
    assert {vote.signer for vote in sent(Vote, effects)} == {2}
    assert not sent(PrePrepare, effects)


def test_what_begins_a_view_is_known_after_a_restart_of_its_primary() -> None:
    bench = Bench(me=1)
    bench.work()
    (proposal,) = said(PrePrepare, bench.do(TimerFired("pbft/batch/1/0")))
    bench.start()
    assert sent(PrePrepare, bench.hear(3, everything())) == [proposal]


# ---- the committee's clock ---------------------------------------------------------------


def told(bench: Bench, ahead_ms: dict[int, int]) -> list[object]:
    """The members' clocks, so far ahead of the bench's, and the status period ends."""
    for seat, ahead in ahead_ms.items():
        bench.hear(seat, Status(height=1, view=0, time_ms=bench.now + ahead))
    return bench.do(TimerFired("pbft/status"))


@pytest.mark.parametrize("off", [-30_000, 30_000])
def test_a_replica_whose_clock_is_off_votes_and_proposes_by_the_committees(off: int) -> None:
    bench = Bench(me=0)
    bench.now -= off
    assert of(ClockOff, told(bench, dict.fromkeys((1, 2, 3), off))) == [ClockOff(off)]
    bench.now += off
    block = bench.block(1)
    bench.now -= off
    effects = bench.hear(1, bench.propose(block))
    assert said(Vote, effects)
    assert not of(ProposalRefused, effects)
    assert not of(ClockOff, told(bench, dict.fromkeys((1, 2, 3), off + 90)))  # said once
    leader = Bench(me=1)
    leader.now -= off
    told(leader, dict.fromkeys((0, 2, 3), off))
    leader.work()
    (proposal,) = said(PrePrepare, leader.do(TimerFired("pbft/batch/1/0")))
    assert proposal.header.time_ms == leader.now + off
    assert of(ClockOff, [e for _ in range(WORDS) for e in told(leader, dict.fromkeys((0, 2, 3), 0))]) == [ClockOff(0)]


def test_without_a_quorum_one_goes_by_ones_own_clock() -> None:
    bench = Bench(me=0)
    assert not of(ClockOff, told(bench, {1: 30_000}))
    refused = bench.block(1, salt=FRESHNESS_MS + 1)
    assert of(ProposalRefused, bench.hear(1, bench.propose(refused)))


def clock(size: int, ahead: dict[int, int], *, me: int = 0) -> int:
    """What the clock of *me* reads at zero."""
    found = CommitteeClock()
    committee = committee_of(size)
    for seat, ms in ahead.items():
        found.hear(committee.members[seat], ms)
    found.weigh(committee, me)
    return found.read(0)


def test_no_third_moves_the_clock_out_of_the_honest_ones() -> None:
    for lie in (-(10**12), 10**12):
        assert clock(4, {1: lie, 2: 40, 3: -70}) == 0
        assert clock(7, {1: lie, 2: lie, 3: 20_000, 4: 20_500, 5: 20_000, 6: 20_400}) in range(20_000, 20_501)
        assert 0 <= clock(7, {1: lie, 2: lie, 3: 20_000, 4: 20_500}) <= 20_500


def test_a_slow_message_does_not_make_a_clock_slow_and_small_differences_are_the_networks() -> None:
    late = CommitteeClock()
    committee = committee_of(4)
    for ahead in (-50, -40_000, -45_000):
        for seat in (1, 2, 3):
            late.hear(committee.members[seat], ahead)
    assert late.weigh(committee, 0) is None
    assert late.read(7) == 7
    assert clock(4, dict.fromkeys((1, 2, 3), TOLERANCE_MS)) == 0
    assert late.size() == 9
    late.forget_all_but(committee.members[:2])
    assert late.size() == 3


def test_the_clock_outlives_a_height() -> None:
    bench = Bench(me=0)
    told(bench, dict.fromkeys((1, 2, 3), 30_000))
    block = bench.block(1, salt=30_000)
    bench.execute(block, bench.certificate(Purpose.COMMIT, block, view=0, signers=(1, 2, 3)))
    following = bench.block(2, salt=30_100)
    assert said(Vote, bench.hear(2, bench.propose(following)))
