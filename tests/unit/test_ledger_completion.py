"""The last word of a phase does not wait for company: whether what a mempool holds would move a round on."""

from __future__ import annotations

from potminer.core.ledger.completion import MOST, completes_a_phase
from potminer.core.ledger.ledger import Ledger
from potminer.wire.record import Phase
from potminer.wire.tx import AggregateResult, Body, JoinTask, SignedTransaction
from tests.unit.ledger_world import World, blob, key, spec
from tests.unit.test_ledger_ahead import at_audit, early

Said = list[tuple[str, Body]]


def signed(world: World, said: Said) -> list[SignedTransaction]:
    """*said* as a mempool holds it: nonces follow one another, and the world's own are left alone."""
    mine, nonces = [], dict[str, int]()
    for name, body in said:
        nonce = nonces.setdefault(name, world.state.account(key(name).public).nonce)
        nonces[name] += 1
        mine.append(world.sign(name, body, nonce=nonce))
    return mine


def completes(world: World, said: Said) -> bool:
    return completes_a_phase(world.state, signed(world, said), now=world.state.head.time_ms)


def commits(world: World) -> Said:
    return [(world.name_of(trainer), world.commit_of(slot)) for slot, trainer in enumerate(world.round.slots)]


def results(world: World) -> Said:
    result = AggregateResult(world.task, world.round.number, world.round.attempt, blob("next"), ())
    return [(validator, result) for validator in world.validators]


def test_the_last_commitment_reveal_verdict_and_opening_complete_their_phases_and_none_before() -> None:
    world = World()
    world.submit(spec(units_per_trainer=1))
    said = commits(world)
    assert [completes(world, said[:count]) for count in range(4)] == [False, False, False, True]
    world.commit_all(but=(1,))
    assert not completes(world, [])
    assert completes(world, [said[1]]), "the others are on the ledger"
    world.step(said[1])
    said = [(world.name_of(trainer), world.reveal_of(slot)) for slot, trainer in enumerate(world.round.slots)]
    assert [completes(world, said[:count]) for count in range(4)] == [False, False, False, True]
    world.reveal_all()
    world.until(Phase.AUDIT)
    audits = [audit for audit in world.round.audits if audit.auditor is not None]
    said = [
        (world.name_of(audit.auditor), world.verdict_of(audit.slot, 3, segment=audit.segment))
        for audit in audits if audit.auditor is not None
    ]  # fmt: skip
    assert not completes(world, said[:-1])
    assert completes(world, said)
    world.step(*said)
    assert world.round.phase == Phase.OPEN
    said = [
        (world.name_of(world.unit(audit.slot).trainer), world.opening_of(audit.slot, audit.segment, audit.leaf))
        for audit in audits
    ]
    assert not completes(world, said[:-1])
    assert completes(world, said)


def test_a_result_waits_for_all_who_are_paid_for_it() -> None:
    world = World()
    world.submit()
    world.commit_all()
    world.reveal_all()
    world.audit_all()
    assert world.round.phase == Phase.AGGREGATE
    said = results(world)
    assert not completes(world, said[:2]), "it would close the round, and two would not be paid"
    assert completes(world, said)
    world.step(said[0])
    assert completes(world, said[1:])


def test_an_early_result_waits_for_nobody() -> None:
    world = at_audit()
    said: Said = [(validator, early(world)) for validator in world.validators]
    assert [completes(world, said[:count]) for count in range(3)] == [False, False, True]


def test_what_is_refused_completes_nothing() -> None:
    world = World()
    world.submit(spec(units_per_trainer=1))
    wrong: Said = [(name, world.reveal_of(slot)) for slot, (name, _) in enumerate(commits(world))]
    assert not completes(world, wrong), "nothing is to be revealed yet"
    assert not completes(world, [("rich", body) for _, body in commits(world)]), "another's units"


def test_what_else_waits_changes_nothing_until_there_is_much_of_it() -> None:
    world = World()
    world.submit(spec(units_per_trainer=1))
    others: Said = [("rich", JoinTask(blob(number))) for number in range(MOST - 3)]
    assert not completes(world, others)
    assert completes(world, others + commits(world))
    assert not completes(world, [*others, ("requester", JoinTask(world.task)), *commits(world)])


def test_a_ledger_does_not_let_a_complete_phase_wait() -> None:
    world = World()
    world.submit(spec(units_per_trainer=1))
    ledger, now = Ledger(world.state, head=world.head), world.state.head.time_ms
    *most, last = signed(world, commits(world))
    for each in most:
        assert ledger.submit(each) is None
    assert ledger.wants_block(now)
    assert not ledger.waits(now)
    ledger.submit(last)
    assert ledger.waits(now)
    assert ledger.completes(now)
    assert not ledger.is_full
