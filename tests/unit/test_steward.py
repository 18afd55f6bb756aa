"""A validator's own affairs: evidence is said until it counts, once; an onion is renewed before it ends."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from msgspec.structs import replace

from potminer.core.ledger.beacon import Onion, Onions
from potminer.core.ledger.bonds import evidence_holds
from potminer.core.machine import Persist
from potminer.core.pbft.events import DoubleVote
from potminer.core.steward import OWED, RenewOnion, SayEvidence, SeatSeen, Steward
from potminer.wire.record import Validator
from potminer.wire.seal import Purpose, statement
from tests.unit.ledger_world import blob, key

CHAIN = blob("chain")
OWN = Validator(blob("onion"), 10)


def double(name: str, *, view: int = 0) -> DoubleVote:
    said = [
        (blob(word), key(name).sign(statement(
            Purpose.COMMIT, chain=CHAIN, signer=key(name).public, digest=blob(word), epoch=3, height=7, view=view)))
        for word in ("one", "other")
    ]  # fmt: skip
    return DoubleVote(key(name).public, Purpose.COMMIT, 3, 7, view, said[0], said[1])


def seen(height: int, *, own: Validator | None = OWN, left: int | None = 1_000, slashed: frozenset[bytes] = frozenset(),
         epoch: int = 3) -> SeatSeen:  # fmt: skip
    return SeatSeen(height, epoch, own, left, slashed.__contains__)


def steward_of(persisted: Mapping[bytes, bytes] = {}) -> Steward:
    return Steward(renew_below=10, persisted=persisted)


def test_what_a_replica_found_is_evidence_that_holds_and_is_said_until_it_counts() -> None:
    steward = steward_of()
    assert steward.look(seen(7)) == []
    steward.accuse(double("dee"))
    steward.accuse(double("dee", view=1))
    (wish,) = steward.look(seen(8))
    assert isinstance(wish, SayEvidence)
    assert evidence_holds(wish.evidence, chain=CHAIN)
    assert not evidence_holds(wish.evidence, chain=blob("another"))
    assert [height for height in range(9, 40) if steward.look(seen(height))] == [18, 28, 38]
    gone = frozenset({key("dee").public})
    assert steward.look(seen(40, slashed=gone)) == [Persist(OWED + key("dee").public, None)]
    assert not any(steward.look(seen(height, slashed=gone)) for height in range(41, 70))


def test_a_restart_acquits_nobody() -> None:
    disk: dict[bytes, bytes] = {}

    def write(effects: Sequence[object]) -> None:
        for effect in effects:
            if isinstance(effect, Persist):
                if effect.value is None:
                    del disk[effect.key]
                else:
                    disk[effect.key] = effect.value

    first = steward_of(disk)
    write(first.accuse(double("dee")))
    write(first.accuse(double("dee", view=1)))
    write(first.accuse(double("cay")))
    assert len(disk) == 2
    again = steward_of({**disk, b"work/x": b"not ours", OWED + key("ann").public: b"damaged"})
    assert again.accuse(double("dee", view=2)) == [], "known already"
    said = [wish for wish in again.look(seen(8)) if isinstance(wish, SayEvidence)]
    assert {wish.evidence.validator for wish in said} == {key("cay").public, key("dee").public}
    assert all(evidence_holds(wish.evidence, chain=CHAIN) for wish in said)
    write(again.look(seen(9, slashed=frozenset({key("dee").public}))))
    assert list(disk) == [OWED + key("cay").public]


def test_an_onion_is_renewed_before_it_ends_and_once_at_a_time() -> None:
    steward = steward_of()
    assert steward.look(seen(1, left=10)) == []
    assert steward.look(seen(2, left=9)) == [RenewOnion()]
    assert steward.look(seen(3, left=8)) == [], "what was said just now may still be on its way"
    assert steward.look(seen(12, left=8)) == [RenewOnion()]
    waiting = replace(OWN, next_onion=blob("next"), next_epoch=5)
    assert steward.look(seen(30, left=7, own=waiting, epoch=4)) == []
    assert steward.look(seen(40, left=7, own=waiting, epoch=5)) == [RenewOnion()]


def test_nobody_else_renews_anything() -> None:
    for own, left in ((None, 3), (replace(OWN, slashed=True), 3), (OWN, None)):
        assert steward_of().look(seen(1, own=own, left=left)) == []


def test_onions_know_their_own_layers_and_how_many_are_left() -> None:
    first, second = (Onion(blob(word), layers=600) for word in ("first", "second"))
    onions = Onions(first)
    onions.add(second)
    onions.add(second)
    assert (onions.left(first.outside), onions.left(second.outside), onions.left(blob("no layer"))) == (600, 600, None)
    layer = first.outside
    for left in range(599, 590, -1):
        inside = onions.inside(layer)
        assert inside is not None
        layer = inside
        assert onions.left(layer) == left
    assert Onion(blob("tiny"), layers=1).inside(blob("tiny")) is None, "used up"
    assert Onion(blob("tiny"), layers=1).left(blob("tiny")) == 0
