"""Worlds that stand in a given phase, and who is who in them."""

from __future__ import annotations

from msgspec.structs import replace

from potminer.core.ledger.state import State
from potminer.wire.record import (
    Phase,
)
from potminer.wire.tx import (
    AggregateResult,
    CancelTask,
    RegisterTrainer,
    SignedTransaction,
    Transaction,
    Transfer,
    sign_transaction,
)
from tests.unit.ledger_world import World, blob, key


def signed(world: World, name: str = "rich", **changes: object) -> SignedTransaction:
    fields = {
        "chain": world.chain, "sender": key(name).public, "nonce": world.state.account(key(name).public).nonce,
        "fee": 10, "expiry": 1_000, "body": Transfer(blob("to"), 1), **changes,
    }
    return sign_transaction(Transaction(**fields), key(name))  # type: ignore[arg-type]


def stage(phase: Phase | None) -> World:
    """A world whose task stands in *phase*: 6 units, slot 0 in dispute."""
    world = World()
    world.submit()
    if phase is None or phase == Phase.COMMIT:
        return world
    world.commit_all()
    if phase == Phase.REVEAL:
        return world
    world.reveal_all()
    world.until(Phase.AUDIT)
    if phase == Phase.AUDIT:
        return world
    world.audit_all(bad=(0,))
    if phase == Phase.DISPUTE:
        return world
    world.judge(0, 3)
    assert world.round.phase == Phase.AGGREGATE
    return world


def owner(world: World, slot: int) -> str:
    return world.name_of(world.round.slots[slot])


def other(world: World, slot: int) -> str:
    return next(n for n in ("ann", "ben", "cy") if n != owner(world, slot))


def auditor(world: World, slot: int) -> str:
    found = next(a.auditor for a in world.round.audits if a.slot == slot)
    assert found is not None
    return world.name_of(found)


def cancelled() -> World:
    world = World()
    world.submit()
    world.step(("requester", CancelTask(world.task)))
    return world


def attestation(world: World, **changes: object) -> AggregateResult:
    return replace(AggregateResult(world.task, 0, 0, blob("theta", 1), ()), **changes)


def full_registry() -> World:
    world = World()
    world.state = State(world.chain, replace(world.genesis.parameters, trainers=1), world.state.tree)
    world.step(("ann", RegisterTrainer(blob("payout"))))
    return world


def copied() -> World:
    """Slot 0 repeats an update of the round before."""
    world = World()
    world.submit()
    stolen = world.reveal_of(0).snapshots
    world.whole_round()
    reveal = world.reveal_of(0, snapshots=stolen)
    world.step(*[(owner(world, s), world.commit_of(s, reveal if s == 0 else None)) for s in range(6)])
    world.step((owner(world, 0), reveal))
    return world
