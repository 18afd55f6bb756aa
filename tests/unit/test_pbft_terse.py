"""Proposals in brief: six bytes a transaction on the line, and inside the same whole proposals as ever."""

from __future__ import annotations

import pytest

from potminer.base import limits
from potminer.core.machine import Broadcast, MessageArrived, Send, SetTimer, TimerFired
from potminer.core.pbft.breadth import CUT, STEP, Breadth
from potminer.core.pbft.events import WorkArrived
from potminer.core.pbft.terse import KNOWN, LEAST, PATIENCE_MS, TIMER, Names, Terse, at_length, in_brief, shortened
from potminer.sim.scenarios import SCENARIOS
from potminer.sim.world import simulate
from potminer.wire.block import Block
from potminer.wire.codec import Wire
from potminer.wire.pbft import SHORT_BYTES, Brief, NewView, PrePrepare, Status, Vote, VotesWanted
from potminer.wire.registry import row_of
from potminer.wire.seal import Purpose
from tests.unit.pbft_bench import KEYS, Bench, Subject, of, on_the_bench, proposal_of, transfer

BUSY: set[bytes] = set()


class Tersest(Terse):
    """Says everything in brief."""

    least = 1

    def __init__(self, **given: object) -> None:
        super().__init__(**given, busy=BUSY.__contains__)  # type: ignore[arg-type]


def bench(me: int = 0) -> Bench:
    BUSY.clear()
    with on_the_bench(Subject(replica=Tersest)):
        return Bench(me=me)


def filled(one: Bench, *nonces: int) -> Block:
    """What the primary of view 0 proposes with these transactions."""
    with on_the_bench(Subject(replica=Tersest)):
        other = Bench(me=one.primary(0))
    for nonce in nonces:
        other.application.submit(transfer(nonce))
    return other.application.build(height=1, parent=other.head, proposer=KEYS[other.me].public, now=one.now)


def sent(effects: list[object], kind: type[Wire]) -> list[Wire]:
    said = [*(e.message for e in of(Broadcast, effects)), *(e.message for e in of(Send, effects))]
    return [message for message in said if isinstance(message, kind)]


def test_what_is_said_in_brief_is_a_fifth_and_says_the_same() -> None:
    one = bench()
    block = filled(one, *range(8))
    proposal = one.propose(block)
    brief = in_brief(proposal, 1)
    assert isinstance(brief, Brief)
    assert len(brief.names) == 8 * SHORT_BYTES
    assert at_length(brief, proposal.leaves) == proposal
    assert in_brief(proposal) is proposal, f"fewer than {LEAST} are said whole"
    changes = tuple(one.change(signer, 1) for signer in (0, 2, 3))
    new_view = NewView(1, 1, changes, one.propose(block, view=1))
    brief = in_brief(new_view, 1)
    assert isinstance(brief, Brief)
    assert at_length(brief, proposal.leaves) == new_view
    assert len({shortened(bytes([n]) * 32, proposal.leaves[0]) for n in range(9)}) == 9, "another name at each height"
    assert row_of(brief).max_bytes >= SHORT_BYTES * limits.BLOCK_TRANSACTIONS


def test_the_primary_says_it_in_brief_again_in_brief_and_whole_to_who_asks() -> None:
    one = bench(me=1)
    effects = one.work()
    effects = one.ring("batch", effects)
    (brief,) = sent(effects, Brief)
    assert not sent(effects, PrePrepare)
    one.do(TimerFired("pbft/status"))
    status = Status(1, 0, one.now)
    assert sent(one.hear(2, status), Brief) == [brief]
    wanted = VotesWanted(1, 0, opening=True, prepares=0, commits=0, changes=0)
    (whole,) = sent(one.hear(2, wanted), PrePrepare)
    assert isinstance(whole, PrePrepare)
    assert in_brief(whole, 1) == brief
    BUSY.add(KEYS[3].public)
    effects = [*one.hear(3, status), *one.hear(3, wanted)]
    assert not [*sent(effects, PrePrepare), *sent(effects, Brief)], "it is on its way already, or behind what is"


def test_who_has_the_transactions_prepares_at_once() -> None:
    one = bench()
    block = filled(one, 0, 1)
    for nonce in (1, 0):
        one.application.submit(transfer(nonce))
    (vote,) = sent(one.hear(1, in_brief(one.propose(block), 1)), Vote)
    assert isinstance(vote, Vote)
    assert vote.purpose == Purpose.PREPARE


def test_who_lacks_some_waits_while_they_come_and_then_asks_for_the_whole() -> None:
    one = bench()
    block = filled(one, 0, 1, 2)
    effects = one.hear(1, in_brief(one.propose(block), 1))
    assert effects == [SetTimer(TIMER, PATIENCE_MS)]
    one.application.submit(transfer(0))
    assert not sent(one.do(WorkArrived()), Vote)
    effects = one.do(TimerFired(TIMER))
    assert effects == [SetTimer(TIMER, PATIENCE_MS)], "something came"
    effects = one.do(TimerFired(TIMER))
    wanted = VotesWanted(1, 0, opening=True, prepares=0, commits=0, changes=0)
    assert effects == [Send(KEYS[1].public, wanted), SetTimer(TIMER, PATIENCE_MS)]
    for nonce in (1, 2):
        one.application.submit(transfer(nonce))
    assert len(sent(one.do(WorkArrived()), Vote)) == 1
    assert one.do(TimerFired(TIMER)) == [], "nothing is waited for any more"


def test_a_whole_proposal_serves_whoever_never_gets_the_transactions_by_gossip() -> None:
    one = bench()
    block = filled(one, 0, 1)
    one.hear(1, in_brief(one.propose(block), 1))
    one.hear(1, one.propose(block))
    assert one.replica.stage == "gathering"


def test_names_that_are_not_those_of_the_header_are_taken_for_nothing() -> None:
    one = bench()
    block, other = filled(one, 0, 1), filled(one, 2, 3)
    for nonce in range(4):
        one.application.submit(transfer(nonce))
    false = in_brief(proposal_of(Block(block.header, other.transactions), view=0, signature=bytes(64)), 1)
    assert not sent(one.hear(1, false), Vote)
    assert len(sent(one.do(TimerFired(TIMER)), VotesWanted)) == 1
    assert len(sent(one.hear(1, in_brief(one.propose(block), 1)), Vote)) == 1, "the true one counts whenever it comes"


def test_a_brief_of_the_next_height_is_understood_there() -> None:
    one = bench()
    first = filled(one, 0)
    one.application.submit(transfer(0))
    with on_the_bench(Subject(replica=Tersest)):
        ahead = Bench(me=2)
    certificate = one.certificate(Purpose.COMMIT, first, view=0, signers=(0, 1, 2))
    ahead.application.submit(transfer(0))
    ahead.execute(first, certificate)
    ahead.application.submit(transfer(1))
    second = ahead.application.build(height=2, parent=ahead.head, proposer=KEYS[2].public, now=one.now + 5)
    one.application.submit(transfer(1))
    assert one.hear(2, in_brief(ahead.propose(second), 1)) == [SetTimer(TIMER, PATIENCE_MS)]
    assert len(sent(one.execute(first, certificate), Vote)) == 1


def test_one_of_each_member_is_kept_and_none_of_strangers() -> None:
    one = bench()
    block = filled(one, 0, 1)
    brief = in_brief(one.propose(block), 1)
    for _ in range(9):
        one.hear(1, brief)
        one.do(MessageArrived(KEYS[7].public, brief))
    assert one.replica.footprint() == bench().replica.footprint() + 1


def test_names_of_a_height_that_lasts_are_not_kept_for_ever() -> None:
    names = Names()
    for at in range(0, 3 * KNOWN, 1_000):
        names.learn(bytes(32), iter([number.to_bytes(32, "big") for number in range(at, at + 1_000)]))
        assert len(names._known) <= KNOWN + 1_000
    last = (3 * KNOWN - 1).to_bytes(32, "big")
    assert not names.missing([shortened(bytes(32), last)])


def test_a_name_is_a_whole_number_of_bytes_or_nothing() -> None:
    one = bench()
    brief = in_brief(one.propose(filled(one, 0)), 1)
    assert isinstance(brief, Brief)
    cut = Brief(brief.view, brief.view_changes, brief.header, brief.names + b"x", brief.signature)
    one.application.submit(transfer(0))
    assert not sent(one.hear(1, cut), Vote)


@pytest.mark.parametrize("scenario", ["calm", "lossy", "crash-partition", "leader-crash"])
def test_hosts_that_say_everything_in_brief_keep_every_promise(scenario: str) -> None:
    for seed in range(3):
        report = simulate(SCENARIOS[scenario], seed, nodes=4, make_replica=Tersest)
        assert not report.violations, report


# ---- breadth -----------------------------------------------------------------------------


def test_a_failed_view_makes_proposals_much_shorter_and_good_time_makes_them_longer() -> None:
    breadth = Breadth()
    assert breadth.most == limits.BLOCK_TRANSACTIONS
    breadth.view_failed()
    assert breadth.most == limits.BLOCK_TRANSACTIONS // CUT
    for _ in range(9):
        breadth.view_failed()
    least = breadth.most
    assert least == limits.NARROW_TRANSACTIONS, "a block of so many leaves nobody out"
    for late in ((least, 1, 100), (least, 0, 1_000), (least // 2 - 1, 0, 100)):
        breadth.decided(late[0], view=late[1], took_ms=late[2], view_ms=2_000)
    assert breadth.most == least, "a later view, too slow, too small to show anything"
    breadth.decided(least, view=0, took_ms=900, view_ms=2_000)
    assert breadth.most == least + STEP
    for _ in range(9):
        breadth.decided(breadth.most, view=0, took_ms=300, view_ms=2_000)
    assert breadth.most == limits.BLOCK_TRANSACTIONS
