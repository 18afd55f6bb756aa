"""Proposals name transactions; a replica prepares only a block that it has whole."""

from __future__ import annotations

import msgspec

from potminer.base import limits
from potminer.core.machine import CancelTimer, Execute, Offence, Penalize, Persist, Send, SetTimer, TimerFired
from potminer.core.pbft.application import Timers
from potminer.core.pbft.events import DoubleVote, WorkArrived
from potminer.core.pbft.height import Stage
from potminer.core.pbft.repair import STATUS
from potminer.sim.ledger import FRESHNESS_MS
from potminer.wire.block import Block, block_digest, leaves_root, transactions_root
from potminer.wire.codec import encode
from potminer.wire.pbft import PreparedBlock, PrePrepare, Transactions, TransactionsWanted, ViewChange, Vote
from potminer.wire.registry import pack
from potminer.wire.seal import Purpose
from tests.unit.pbft_bench import KEYS, Bench, of, said, sent, transfer

# At height 1 of four, member 1 leads view 0, member 2 view 1.


def block_of(bench: Bench, *nonces: int, proposer: int = 1, salt: int = 0) -> Block:
    carried = tuple(transfer(nonce) for nonce in nonces)
    empty = bench.block(proposer, salt=salt)
    return Block(msgspec.structs.replace(empty.header, transactions_root=transactions_root(carried)), carried)


def answer(block: Block, *places: int) -> Transactions:
    return Transactions(block_digest(block.header), tuple(block.transactions[place] for place in places))


def asked(effects: list[object]) -> list[tuple[bytes, tuple[int, ...]]]:
    return [(e.peer, e.message.places) for e in of(Send, effects) if isinstance(e.message, TransactionsWanted)]


def test_what_is_in_the_mempool_is_prepared_at_once() -> None:
    bench = Bench(me=0)
    for nonce in range(3):
        bench.application.submit(transfer(nonce))
    effects = bench.hear(1, bench.propose(block_of(bench, 0, 1, 2)))
    assert said(Vote, effects)
    assert not asked(effects)


def test_what_is_missing_is_asked_of_the_primary_and_prepared_once_whole() -> None:
    bench = Bench(me=0)
    bench.application.submit(transfer(1))
    block = block_of(bench, 0, 1, 2)
    effects = bench.hear(1, bench.propose(block))
    assert SetTimer("pbft/gather/1/0", Timers().gossip_ms) in effects
    assert not asked(effects), "gossip may still bring it"
    effects += bench.ring("gather", effects)
    assert asked(effects) == [(KEYS[1].public, (0, 2))]
    assert SetTimer("pbft/gather/1/0", Timers().gather_ms) in effects
    assert not said(Vote, effects)
    assert not of(Persist, effects)
    assert bench.replica.stage is Stage.GATHERING
    assert not said(Vote, bench.hear(1, answer(block, 0)))
    effects = bench.hear(1, answer(block, 2))
    (vote,) = said(Vote, effects)
    assert (vote.purpose, vote.digest) == (Purpose.PREPARE, block_digest(block.header))
    assert encode(block) in [e.value for e in of(Persist, effects)]


def test_what_gossip_brings_in_time_is_asked_of_nobody_and_prepared_at_once() -> None:
    bench = Bench(me=0)
    effects = bench.hear(1, bench.propose(block_of(bench, 0, 1)))
    for nonce in range(2):
        assert not said(Vote, effects)
        bench.application.submit(transfer(nonce))
        effects += bench.do(WorkArrived())
    assert len(said(Vote, effects)) == 1
    assert CancelTimer("pbft/gather/1/0") in effects
    assert not asked(effects)


def test_a_transaction_that_the_block_does_not_name_helps_nobody() -> None:
    bench = Bench(me=0)
    block = block_of(bench, 0)
    bench.hear(1, bench.propose(block))
    resigned = msgspec.structs.replace(transfer(0), signature=bytes(64))
    effects = bench.hear(1, Transactions(block_digest(block.header), (resigned,)))
    assert [p.offence for p in of(Penalize, effects)] == [Offence.MALFORMED]
    assert not said(Vote, effects)
    assert said(Vote, bench.hear(3, answer(block, 0)))


def test_nobody_is_asked_twice_before_the_others_and_gossip_helps() -> None:
    bench = Bench(me=0)
    block = block_of(bench, 0, 1)
    effects = bench.hear(1, bench.propose(block))
    effects += bench.hear(3, bench.vote(Purpose.PREPARE, 3, block))
    effects = bench.ring("gather", effects)
    assert asked(effects) == [(KEYS[1].public, (0, 1))]
    effects = bench.ring("gather", effects)
    assert asked(effects) == [(KEYS[3].public, (0, 1))]
    bench.application.submit(transfer(0))
    effects = bench.ring("gather", effects)
    assert asked(effects) == [(KEYS[1].public, (1,))]
    bench.application.submit(transfer(1))
    assert said(Vote, bench.ring("gather", effects))


def test_a_primary_that_withholds_loses_its_turn() -> None:
    bench = Bench(me=0)
    effects = bench.hear(1, bench.propose(block_of(bench, 0)))
    (change,) = said(ViewChange, bench.ring("view", effects))
    assert change.view == 1
    assert change.prepared is None
    assert bench.replica.stage is Stage.CHANGING
    late = bench.hear(1, answer(block_of(bench, 0), 0))
    assert not said(Vote, late)


def test_a_thousand_invented_leaves_cost_one_question_at_a_time() -> None:
    bench = Bench(me=0)
    invented = tuple(number.to_bytes(32, "big") for number in range(limits.BLOCK_TRANSACTIONS))
    header = msgspec.structs.replace(bench.block(1).header, transactions_root=leaves_root(invented))
    hollow = bench.propose(Block(header, ()))
    before, proposal = bench.replica.footprint(), msgspec.structs.replace(hollow, leaves=invented)
    assert len(pack(proposal)[1]) < limits.PROPOSAL_BYTES
    effects = bench.hear(1, proposal, proposal, proposal)
    assert not asked(effects)
    assert bench.replica.footprint() == before + 1
    for _ in range(20):
        effects = bench.ring("gather", effects)
        assert len(asked(effects)) == 1
    bench.ring("view", [SetTimer("pbft/view/1/0", 0)])
    assert bench.replica.stage is Stage.CHANGING
    assert not asked(bench.do(TimerFired("pbft/gather/1/0")))


def test_a_mempool_that_forgets_does_not_tear_what_was_gathered() -> None:
    bench = Bench(me=0)
    bench.application.submit(transfer(0))
    block = block_of(bench, 0, 1)
    bench.hear(1, bench.propose(block))
    bench.application._pending.clear()
    assert said(Vote, bench.hear(1, answer(block, 1)))


def test_a_second_proposal_convicts_also_while_the_first_is_gathered() -> None:
    bench = Bench(me=0)
    bench.hear(1, bench.propose(block_of(bench, 0)))
    assert of(DoubleVote, bench.hear(1, bench.propose(block_of(bench, 0, salt=1))))
    assert bench.replica.stage is Stage.GATHERING


def test_a_certificate_ends_the_gathering() -> None:
    bench = Bench(me=0)
    block = block_of(bench, 0)
    bench.hear(1, bench.propose(block))
    bench.hear(1, *(bench.vote(Purpose.COMMIT, member, block) for member in (1, 2, 3)))
    (execute,) = of(Execute, bench.hear(2, PreparedBlock(block)))
    assert execute.block == block
    assert not bench.hear(1, answer(block, 0))


def test_a_refused_block_is_judged_again_without_asking_again() -> None:
    bench = Bench(me=0)
    block = block_of(bench, 0, salt=FRESHNESS_MS + 1)
    bench.hear(1, bench.propose(block))
    assert not said(Vote, bench.hear(1, answer(block, 0)))
    assert bench.replica.stage is Stage.WAITING
    bench.now += 1_000
    effects = bench.hear(1, bench.propose(block))
    assert said(Vote, effects)
    assert not asked(effects)


def test_a_proposal_again_is_gathered_from_those_who_prepared_it() -> None:
    bench = Bench(me=0)
    block = block_of(bench, 0)
    proof = bench.certificate(Purpose.PREPARE, block, view=0, signers=(1, 2, 3))
    changes = (bench.change(1, 1, prepared=proof), bench.change(2, 1), bench.change(3, 1))
    bench.hear(1, changes[0])
    effects = bench.hear(2, bench.new_view(changes, block, view=1))
    assert asked(effects) == [(KEYS[2].public, (0,))]
    assert asked(bench.ring("gather", effects)) == [(KEYS[1].public, (0,))]
    (vote,) = said(Vote, bench.hear(1, answer(block, 0)))
    assert (vote.purpose, vote.view) == (Purpose.PREPARE, 1)


# ---- serving -----------------------------------------------------------------------------


def serving(bench: Bench) -> Block:
    """Replica 0 holds a block of three."""
    for nonce in range(3):
        bench.application.submit(transfer(nonce))
    block = block_of(bench, 0, 1, 2)
    bench.hear(1, bench.propose(block))
    return block


def test_places_are_served_once_per_period_and_block() -> None:
    bench = Bench(me=0)
    block = serving(bench)
    wanted = TransactionsWanted(1, block_digest(block.header), (0, 2))
    assert sent(Transactions, bench.hear(2, wanted, wanted)) == [answer(block, 0, 2)]
    assert sent(Transactions, bench.hear(3, wanted)) == [answer(block, 0, 2)]
    bench.do(TimerFired(STATUS))
    assert sent(Transactions, bench.hear(2, wanted))


def test_a_question_that_no_honest_member_asks_is_an_offence() -> None:
    bench = Bench(me=0)
    digest = block_digest(serving(bench).header)
    for places in ((3,), (0, 0), (2, 1)):
        effects = bench.hear(2, TransactionsWanted(1, digest, places))
        assert [p.offence for p in of(Penalize, effects)] == [Offence.MALFORMED]
        assert not sent(Transactions, effects)
        bench.do(TimerFired(STATUS))


def test_what_is_not_held_whole_is_not_served() -> None:
    bench = Bench(me=0)
    block = block_of(bench, 0)
    bench.hear(1, bench.propose(block))
    assert not sent(Transactions, bench.hear(2, TransactionsWanted(1, block_digest(block.header), (0,))))
    assert not sent(Transactions, bench.hear(2, TransactionsWanted(2, block_digest(block.header), (0,))))


def test_after_a_restart_with_an_empty_mempool_the_block_is_served_whole() -> None:
    for leads in (False, True):
        bench = Bench(me=1 if leads else 0)
        if leads:
            (proposal,) = said(PrePrepare, bench.ring("batch", bench.work()))
            digest = block_digest(proposal.header)
        else:
            digest = block_digest(serving(bench).header)
        bench.start()
        (found,) = sent(Transactions, bench.hear(2, TransactionsWanted(1, digest, (0,))))
        assert found.transactions == (transfer(0),)
        assert bench.replica.stage is Stage.PREPARING
