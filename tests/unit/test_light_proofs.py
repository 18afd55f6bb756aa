"""What a light client is shown: everything true is believed, and nothing else, to the last bit."""

from __future__ import annotations

from random import Random

import pytest
from msgspec.structs import replace

from potminer.base.errors import Malformed
from potminer.core.ledger.refusal import Refusal
from potminer.core.light.flaw import Flaw
from potminer.core.light.header import follow
from potminer.core.light.shown import Fact, Fate, facts, fate, past_facts
from potminer.core.light.trust import Terms
from potminer.node.past import models
from potminer.wire import record as records
from potminer.wire.block import block_digest
from potminer.wire.codec import decode, encode
from potminer.wire.proof import CertifiedHeader, PastProof, Shown, TransactionProof
from potminer.wire.record import Account, TaskRecord
from potminer.wire.seal import Purpose
from potminer.wire.tx import Transfer, Unbond, transaction_digest
from tests.unit.ledger_world import blob, key
from tests.unit.light_world import Certified, certified

TERMS = Terms()


@pytest.fixture(scope="module")
def world() -> Certified:
    """Blocks: 1 empty, 2 with three transactions, 3 empty, 4 with one, 5 and 6 empty."""
    made = Certified()
    made.add()
    to = key("ann").public
    made.add(("rich", Transfer(to, 5)), ("rich", Unbond(1)), ("requester", Transfer(to, 7)))
    made.add()
    made.add(("requester", Transfer(to, 9)))
    made.add()
    made.add()
    return made


def seen(world: Certified, proof: TransactionProof, terms: Terms = TERMS) -> Fate | Flaw:
    return fate(proof, world.trust, terms, now_ms=world.now)


# ---- transactions ------------------------------------------------------------------------


def test_one_reply_shows_that_a_transaction_is_final_and_the_next_what_became_of_it(world: Certified) -> None:
    block = world.blocks[1]
    for index, refusal in enumerate([None, Refusal.NOT_REGISTERED, None]):
        name = transaction_digest(block.transactions[index].transaction)
        place = (name, 2, block_digest(block.header), index, block.header.time_ms)
        assert seen(world, world.proof(2, index)) == Fate(*place, False, None)
        next_one = world.proof(2, index, after=3)
        assert seen(world, next_one) == Fate(*place, True, refusal)
        assert next_one.outcome is not None
        later = replace(next_one.outcome, after=world.headers[3], record=world.states[3].prove(records.RECEIPTS))
        assert seen(world, replace(next_one, outcome=later)) == Fate(*place, True, refusal)


def test_receipts_are_not_shown_by_the_block_itself_nor_after_other_receipts(world: Certified) -> None:
    sound = world.proof(2, 0, after=3)
    assert sound.outcome is not None
    for after in (1, 2, 5):
        record = world.states[after - 1].prove(records.RECEIPTS)
        wrong = replace(sound.outcome, after=world.headers[after - 1], record=record)
        assert seen(world, replace(sound, outcome=wrong)) is (Flaw.NOT_SHOWN if after == 5 else Flaw.STALE)


def test_an_outcome_holds_for_its_own_transaction_only(world: Certified) -> None:
    first, second, later = world.proof(2, 0, after=3), world.proof(2, 1, after=3), world.proof(4, 0, after=5)
    for other in (second, later):
        assert seen(world, replace(first, outcome=other.outcome)) is Flaw.NOT_SHOWN
    assert first.outcome is not None
    for lie in ("not-registered", "late"):
        assert seen(world, replace(first, outcome=replace(first.outcome, refusal=lie))) is Flaw.NOT_SHOWN
    assert second.outcome is not None
    assert seen(world, replace(second, outcome=replace(second.outcome, refusal=None))) is Flaw.NOT_SHOWN


def test_any_flipped_bit_of_a_transaction_s_proof_is_refused(world: Certified) -> None:
    chance = Random(11)
    data = encode(world.proof(2, 1, after=3))
    assert isinstance(seen(world, decode(TransactionProof, data, max_bytes=1 << 20)), Fate)
    reached = set()
    for at in range(2 * len(data)):
        bent = bytearray(data)
        bent[at // 2] ^= 1 << chance.randrange(8)
        try:
            proof = decode(TransactionProof, bytes(bent), max_bytes=1 << 20)
        except Malformed:
            continue
        told = seen(world, proof)
        assert isinstance(told, Flaw), at
        reached.add(told)
    assert reached >= {Flaw.OTHER, Flaw.FORGED, Flaw.NOT_SHOWN, Flaw.DUPLICATE}


# ---- records -----------------------------------------------------------------------------


def told(world: Certified, shown: Shown, *keys: bytes) -> tuple[Fact, ...] | Flaw:
    return facts(shown, keys, world.trust, TERMS, now_ms=world.now)


def test_balances_are_shown_as_they_were_after_each_block(world: Certified) -> None:
    ann, nobody = (records.account_key(key(name).public) for name in ("ann", "nobody"))
    balances = []
    for height in range(1, 6):
        shown = told(world, world.shown(ann, nobody, height=height), ann, nobody)
        assert isinstance(shown, tuple)
        assert [fact.height for fact in shown] == [height, height]
        assert shown[1].value is None
        record = shown[0].record(Account)
        balances.append(None if record is None else record.balance)
    assert balances == [None, 12, 12, 21, 21]


def test_presence_never_passes_for_absence_nor_one_record_for_another(world: Certified) -> None:
    ann, ben, rich = (records.account_key(key(name).public) for name in ("ann", "ben", "rich"))
    shown = world.shown(ann, ben, height=5)
    assert told(world, shown, ben, ann) is Flaw.NOT_SHOWN
    assert told(world, shown, ann) is Flaw.NOT_SHOWN
    assert told(world, shown, ann, ben, ben) is Flaw.NOT_SHOWN
    present, absent = shown.proofs
    assert present.end is not None
    for bent in (
        replace(present, end=None),
        replace(present, end=(ann, encode(Account(13)))),
        replace(present, end=(rich, present.end[1])),
        replace(present, siblings=present.siblings[:-1]),
        absent,
    ):
        assert told(world, replace(shown, proofs=(bent, absent)), ann, ben) is Flaw.NOT_SHOWN


def test_any_flipped_bit_of_a_record_s_proof_is_refused(world: Certified) -> None:
    ann, nobody = (records.account_key(key(name).public) for name in ("ann", "nobody"))
    chance = Random(12)
    data = encode(world.shown(ann, nobody, height=5))
    for at in range(len(data)):
        bent = bytearray(data)
        bent[at] ^= 1 << chance.randrange(8)
        try:
            shown = decode(Shown, bytes(bent), max_bytes=1 << 20)
        except Malformed:
            continue
        assert isinstance(told(world, shown, ann, nobody), Flaw), at


def test_what_is_older_than_what_is_known_is_stale(world: Certified) -> None:
    ann = records.account_key(key("ann").public)
    moved = follow(world.trust, world.headers[4], TERMS, now_ms=world.now)
    assert not isinstance(moved, Flaw)
    assert facts(world.shown(ann, height=3), [ann], moved, TERMS, now_ms=world.now) is Flaw.STALE
    assert isinstance(facts(world.shown(ann, height=4), [ann], moved, TERMS, now_ms=world.now), tuple)
    assert isinstance(fate(world.proof(2, 0, after=3), moved, TERMS, now_ms=world.now), Fate), "a fate may be older"


def test_the_model_after_every_round_is_shown_for_ever() -> None:
    world = Certified()
    world.calibrated = True
    world.submit()
    for _ in range(3):
        world.whole_round()
    world.add()
    name = records.task_key(world.task)
    shown: dict[int, Shown] = {}
    for number in (1, 2, 3):
        past = decode(PastProof, world.rows[models(world.task), number], max_bytes=1 << 20)
        shown[number] = Shown(world.headers[past.height], (past.proof,))
    moved = follow(world.trust, world.headers[-1], TERMS, now_ms=world.now)
    assert not isinstance(moved, Flaw)
    for number, each in shown.items():
        found = past_facts(each, [name], moved, TERMS, now_ms=world.now)
        assert not isinstance(found, Flaw)
        record = found[0].record(TaskRecord)
        assert record is not None
        assert (record.round, record.model) == (number, blob("theta", number))
        assert past_facts(each, [name], moved, Terms(trusting_ms=1), now_ms=world.now + 10) is Flaw.EXPIRED
    wrong = Shown(shown[2].certified, shown[1].proofs)
    assert past_facts(wrong, [name], moved, TERMS, now_ms=world.now) is Flaw.NOT_SHOWN


# ---- headers -----------------------------------------------------------------------------


def test_headers_are_followed_one_by_one_or_skipping(world: Certified) -> None:
    for path in ([1, 2, 3, 4, 5, 6], [6], [2, 5], [3, 3]):
        trust = world.trust
        for height in path:
            moved = follow(trust, world.headers[height - 1], TERMS, now_ms=world.now)
            assert not isinstance(moved, Flaw)
            trust = moved
        assert (trust.height, trust.digest) == (path[-1], block_digest(world.blocks[path[-1] - 1].header))


def test_a_certificate_must_be_the_committee_s_word_for_this_header(world: Certified) -> None:
    block = world.blocks[2]

    def judged(header: CertifiedHeader) -> object:
        return follow(world.trust, header, TERMS, now_ms=world.now)

    def signed(*indices: int, chain: bytes = world.chain, purpose: Purpose = Purpose.COMMIT) -> CertifiedHeader:
        return certified(block, world.keys(*indices), chain=chain, purpose=purpose)

    assert not isinstance(judged(signed(0, 2, 3)), Flaw)
    assert judged(signed(0, 1)) is Flaw.INSUFFICIENT
    assert judged(signed()) is Flaw.INSUFFICIENT
    assert judged(signed(0, 1, 1)) is Flaw.DUPLICATE
    assert judged(signed(0, 2, 1)) is Flaw.DUPLICATE
    assert judged(signed(0, 1, 2, chain=bytes(32))) is Flaw.FORGED
    assert judged(signed(0, 1, 2, purpose=Purpose.PREPARE)) is Flaw.OTHER
    first, second, third = (key(name) for name in world.validators[:3])
    swapped = certified(block, [(0, second), (1, first), (2, third)], chain=world.chain)
    assert judged(swapped) is Flaw.FORGED
    strangers = certified(block, [(index, key(f"stranger-{index}")) for index in range(3)], chain=world.chain)
    assert judged(strangers) is Flaw.FORGED
    outside = certified(block, [*world.keys(0, 1), (9, key("validator-2"))], chain=world.chain)
    assert judged(outside) is Flaw.DUPLICATE
    assert judged(replace(world.headers[2], certificate=world.headers[3].certificate)) is Flaw.OTHER
    later = replace(block, header=replace(block.header, epoch=1))
    assert judged(certified(later, world.keys(0, 1, 2), chain=world.chain)) is Flaw.WRONG_EPOCH


def test_old_future_and_unconnected_headers_are_not_followed(world: Certified) -> None:
    at_four = follow(world.trust, world.headers[3], TERMS, now_ms=world.now)
    assert not isinstance(at_four, Flaw)
    assert follow(at_four, world.headers[2], TERMS, now_ms=world.now) is Flaw.STALE
    assert follow(at_four, world.headers[5], TERMS, now_ms=world.now - 60_000) is Flaw.FUTURE
    strict = Terms(trusting_ms=10_000)
    assert follow(at_four, world.headers[5], strict, now_ms=at_four.time_ms + 10_001) is Flaw.EXPIRED
    assert not isinstance(follow(at_four, world.headers[5], strict, now_ms=at_four.time_ms + 10_000), Flaw)
    assert seen(world, world.proof(2, 0), Terms(trusting_ms=1)) is Flaw.EXPIRED


def test_two_final_blocks_of_one_height_and_another_parent_are_told_apart(world: Certified) -> None:
    at_four = follow(world.trust, world.headers[3], TERMS, now_ms=world.now)
    assert not isinstance(at_four, Flaw)
    four, five = world.blocks[3], world.blocks[4]
    forked = world.sign_block(replace(four, header=replace(four.header, state_root=bytes(32))))
    assert follow(at_four, forked, TERMS, now_ms=world.now) is Flaw.CONFLICT
    for changes in ({"parent": bytes(32)}, {"time_ms": four.header.time_ms}):
        other = world.sign_block(replace(five, header=replace(five.header, **changes)))  # type: ignore[arg-type]
        assert follow(at_four, other, TERMS, now_ms=world.now) is Flaw.BROKEN
