"""What a replica does about a transaction that blocks leave out: relay it, then ask for another primary, in bounds."""

from __future__ import annotations

import msgspec

from potminer.core.machine import Penalize, TimerFired
from potminer.core.pbft.complaint import PERIOD, RELAYS, TRACKED, Complaints
from potminer.core.pbft.events import Offer, ProposalRefused
from potminer.core.pbft.height import Stage
from potminer.core.pbft.repair import STALLED_MS, STATUS
from potminer.sim.ledger import COMPLAINT_MS, RELAY_MS
from potminer.wire.block import Block, transactions_root
from potminer.wire.pbft import Relay, ViewChange, Vote
from potminer.wire.seal import Purpose
from tests.unit.pbft_bench import KEYS, Bench, of, said, transfer

# At height 1 of four, member 1 leads view 0, member 2 view 1.


def waiting(bench: Bench, for_ms: int, *nonces: int) -> None:
    """Transactions that blocks with room have left out for so long."""
    for nonce in nonces:
        bench.application.submit(transfer(nonce))
        bench.application._since[transfer(nonce).digest] = bench.head.time_ms - for_ms


def with_transfers(bench: Bench, *nonces: int, proposer: int = 1) -> Block:
    carried = tuple(transfer(nonce) for nonce in nonces)
    empty = bench.block(proposer)
    return Block(msgspec.structs.replace(empty.header, transactions_root=transactions_root(carried)), carried)


def test_a_primary_that_leaves_out_what_has_waited_loses_its_turn_at_once() -> None:
    bench = Bench(me=0)
    waiting(bench, COMPLAINT_MS, 0)
    effects = bench.hear(1, bench.propose(bench.block(1)))
    assert of(ProposalRefused, effects)
    assert not said(Vote, effects)
    (change,) = said(ViewChange, effects)
    assert (change.view, change.prepared) == (1, None)
    assert not said(ViewChange, bench.hear(1, bench.propose(bench.block(1))))


def test_a_block_that_holds_it_and_one_that_could_not_are_prepared() -> None:
    full = range(1, 9)
    for nonces in ((0,), full):
        bench = Bench(me=0)
        waiting(bench, COMPLAINT_MS, 0)
        for nonce in full:
            bench.application.submit(transfer(nonce))
        assert said(Vote, bench.hear(1, bench.propose(with_transfers(bench, *nonces))))


def test_nobody_complains_early() -> None:
    bench = Bench(me=0)
    waiting(bench, COMPLAINT_MS - 1, 0)
    assert said(Vote, bench.hear(1, bench.propose(bench.block(1))))


def test_a_block_that_was_prepared_before_is_prepared_again_whatever_it_leaves_out() -> None:
    """Or a committed block could be complained away."""
    bench = Bench(me=0)
    waiting(bench, COMPLAINT_MS, 0)
    block = bench.block(1)
    proof = bench.certificate(Purpose.PREPARE, block, view=0, signers=(1, 2, 3))
    changes = (bench.change(1, 1, prepared=proof), bench.change(2, 1), bench.change(3, 1))
    assert said(Vote, bench.hear(2, bench.new_view(changes, block, view=1)))


def test_who_complained_alone_executes_what_the_others_agree_on() -> None:
    bench = Bench(me=0)
    waiting(bench, COMPLAINT_MS, 0)
    block = bench.block(1)
    bench.hear(1, bench.propose(block))
    assert bench.replica.stage is Stage.CHANGING
    bench.hear(1, *(bench.vote(Purpose.COMMIT, member, block) for member in (1, 2, 3)))
    assert bench.replica.stage is Stage.EXECUTING


def test_complaints_are_bounded_per_transaction_and_per_hundred_heights() -> None:
    complaints = Complaints()
    assert [complaints.allowed(b"one", height=5, members=4) for _ in range(6)] == [True] * 4 + [False] * 2
    others = [complaints.allowed(bytes([n]), height=5, members=4) for n in range(15)]
    assert others.count(True) == 12
    assert complaints.allowed(b"other", height=5 + PERIOD, members=4)
    for n in range(1_000):
        complaints.allowed(n.to_bytes(2, "big"), height=n * PERIOD, members=4)
    assert complaints.size() <= TRACKED


def test_what_is_left_out_is_relayed_a_few_times() -> None:
    bench = Bench(me=0)
    waiting(bench, RELAY_MS, 0)
    bench.application.submit(transfer(1))
    heard = [said(Relay, bench.do(TimerFired(STATUS))) for _ in range(RELAYS + 2)]
    assert heard == [[Relay((transfer(0),))]] * RELAYS + [[], []]


def test_where_nothing_moves_what_is_ready_is_relayed() -> None:
    bench = Bench(me=0)
    bench.work()
    assert not said(Relay, bench.do(TimerFired(STATUS)))
    bench.now += STALLED_MS
    assert said(Relay, bench.do(TimerFired(STATUS))) == [Relay((transfer(0),))]


def test_what_is_relayed_is_offered_to_the_mempool() -> None:
    bench = Bench(me=0)
    effects = bench.hear(2, Relay((transfer(0),)))
    assert of(Offer, effects) == [Offer(KEYS[2].public, (transfer(0),))]
    assert not of(Penalize, effects)
