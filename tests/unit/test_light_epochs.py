"""From committee to committee over a made-up chain whose members all change, and every way to mislead on the way."""

from __future__ import annotations

from random import Random

import pytest
from msgspec.structs import replace

from potminer.base.digest import Domain, digest
from potminer.base.errors import Malformed
from potminer.core import trie
from potminer.core.light.epochs import KEYS, from_anchor, learn
from potminer.core.light.flaw import Flaw
from potminer.core.light.header import follow
from potminer.core.light.trust import Terms, Trust, from_genesis
from potminer.wire import record as records
from potminer.wire.block import Block, Header, block_digest, transactions_root
from potminer.wire.codec import decode, encode
from potminer.wire.genesis import Genesis, GenesisValidator, Parameters, chain_id
from potminer.wire.proof import CertifiedHeader, Shown
from potminer.wire.record import CommitteeRecord
from potminer.wire.seal import SigningKey
from tests.unit.ledger_world import key
from tests.unit.light_world import certified

BLOCKS = 4
"""In an epoch."""
TERMS = Terms()
HOUR = 3_600_000
START = 10**12


def members(epoch: int) -> list[SigningKey]:
    """Four of epoch e; three of them leave before e + 1."""
    return [key(f"member-{epoch}-{seat}") for seat in range(3)] + [key(f"member-{epoch + 1}-0")]


def committee_record(epoch: int) -> CommitteeRecord:
    return CommitteeRecord(epoch, tuple(member.public for member in members(epoch)), (3, 2, 2, 2))


GENESIS = Genesis(
    "testnet", START, Parameters(epoch_blocks=BLOCKS),
    tuple(GenesisValidator(k, p, bytes(32)) for k, p in zip(committee_record(0).members, (3, 2, 2, 2), strict=True)),
    (), bytes(32),
)  # fmt: skip
CHAIN = chain_id(GENESIS)


def state_before(height: int, **other: CommitteeRecord) -> trie.Node:
    """The state that header *height* names: the committees of its epoch and of the next. *other* replaces them."""
    epoch = (height - 1) // BLOCKS
    now, after = other.get("now", committee_record(epoch)), other.get("after", committee_record(epoch + 1))
    noise = [(digest(Domain.DRAW, b"%d" % at), b"noise") for at in range(40)]
    return trie.update(None, [(records.COMMITTEE, encode(now)), (records.FOLLOWING, encode(after)), *noise])


def block_at(height: int, parent: bytes, *, state: trie.Node | None = None) -> Block:
    header = Header(
        parent, height, (height - 1) // BLOCKS, transactions_root(()),
        trie.root(state_before(height) if state is None else state), key("anybody").public, START + height * HOUR,
        bytes(32),
    )  # fmt: skip
    return Block(header, ())


def chain(length: int) -> list[CertifiedHeader]:
    made: list[CertifiedHeader] = []
    parent = CHAIN
    for height in range(1, length + 1):
        block = block_at(height, parent)
        made.append(signed(block))
        parent = block_digest(block.header)
    return made


def signed(block: Block, *, by: int | None = None, seats: tuple[int, ...] = (0, 1, 3)) -> CertifiedHeader:
    signers = members(block.header.epoch if by is None else by)
    return certified(block, [(seat, signers[seat]) for seat in seats], chain=CHAIN)


def step(header: CertifiedHeader, state: trie.Node | None = None) -> Shown:
    state = state_before(header.header.height) if state is None else state
    return Shown(header, tuple(trie.prove(state, each) for each in KEYS))


HEADERS = chain(6 * BLOCKS)
NOW = START + 6 * BLOCKS * HOUR


def learnt(trust: Trust, *heights: int) -> Trust:
    for height in heights:
        moved = learn(trust, step(HEADERS[height - 1]), TERMS, now_ms=NOW)
        assert not isinstance(moved, Flaw), (height, moved)
        trust = moved
    return trust


def test_one_header_of_each_epoch_leads_to_the_last() -> None:
    for heights in ((4, 8, 12, 16, 20), (1, 5, 9, 13, 17), (1, 2, 3, 7, 8, 11, 16, 18)):
        trust = learnt(from_genesis(GENESIS), *heights)
        assert trust.newest_epoch == 5
        moved = follow(trust, HEADERS[-1], TERMS, now_ms=NOW)
        assert not isinstance(moved, Flaw)
        assert (moved.height, moved.digest) == (24, block_digest(HEADERS[-1].header))


def test_an_epoch_cannot_be_left_out() -> None:
    trust = learnt(from_genesis(GENESIS), 4)
    for height in (9, 20):
        assert follow(trust, HEADERS[height - 1], TERMS, now_ms=NOW) is Flaw.UNKNOWN_EPOCH
        assert learn(trust, step(HEADERS[height - 1]), TERMS, now_ms=NOW) is Flaw.UNKNOWN_EPOCH


def test_a_former_committee_decides_nothing_any_more() -> None:
    trust = learnt(from_genesis(GENESIS), 4, 8)
    own = block_at(9, bytes(32))
    assert follow(trust, signed(own, by=1), TERMS, now_ms=NOW) is Flaw.FORGED
    kept = replace(own, header=replace(own.header, epoch=1))
    assert follow(trust, signed(kept, by=1), TERMS, now_ms=NOW) is Flaw.WRONG_EPOCH
    past = block_at(7, bytes(32))
    assert follow(trust, signed(past, by=1), TERMS, now_ms=NOW) is Flaw.STALE
    other_end = block_at(8, bytes(32))
    assert follow(trust, signed(other_end, by=1), TERMS, now_ms=NOW) is Flaw.CONFLICT


def test_a_committee_is_learnt_from_its_record_only() -> None:
    trust = from_genesis(GENESIS)
    forged = CommitteeRecord(1, tuple(key(f"thief-{seat}").public for seat in range(4)), (3, 2, 2, 2))
    header = HEADERS[3]
    for state in (state_before(4, after=forged), state_before(4, now=forged)):
        assert learn(trust, step(header, state), TERMS, now_ms=NOW) is Flaw.NOT_SHOWN
    sound = step(header)
    for proofs in (sound.proofs[::-1], sound.proofs[:1], sound.proofs * 2, (sound.proofs[0], sound.proofs[0])):
        assert learn(trust, replace(sound, proofs=proofs), TERMS, now_ms=NOW) is Flaw.NOT_SHOWN


@pytest.mark.parametrize(
    "bad",
    [
        CommitteeRecord(2, committee_record(1).members, (3, 2, 2, 2)),
        CommitteeRecord(1, committee_record(1).members, (3, 2, 2)),
        CommitteeRecord(1, committee_record(1).members, (3, 2, 2, 0)),
        CommitteeRecord(1, (committee_record(1).members[0],) * 4, (3, 2, 2, 2)),
    ],
    ids=["of another epoch", "fewer powers", "no power", "one member four times"],
)
def test_what_a_quorum_certified_but_cannot_be_a_committee_is_refused(bad: CommitteeRecord) -> None:
    state = state_before(4, after=bad)
    header = signed(block_at(4, bytes(32), state=state))
    assert learn(from_genesis(GENESIS), step(header, state), TERMS, now_ms=NOW) is Flaw.BAD_COMMITTEE
    other = state_before(4, now=replace(committee_record(0), powers=(4, 2, 2, 2)))
    header = signed(block_at(4, bytes(32), state=other))
    assert learn(from_genesis(GENESIS), step(header, other), TERMS, now_ms=NOW) is Flaw.BAD_COMMITTEE


def test_keys_of_long_ago_cannot_write_another_past() -> None:
    """Whoever holds the keys of epoch 0 writes a whole other chain. Only the trusting period stops them."""
    thieves = CommitteeRecord(1, tuple(key(f"thief-{seat}").public for seat in range(4)), (1, 1, 1, 1))
    state = state_before(4, after=thieves)
    forged = signed(block_at(4, bytes(32), state=state))
    early = START + 5 * HOUR
    strict = Terms(trusting_ms=8 * HOUR)
    assert not isinstance(learn(from_genesis(GENESIS), step(forged, state), strict, now_ms=early), Flaw)
    assert learn(from_genesis(GENESIS), step(forged, state), strict, now_ms=NOW) is Flaw.EXPIRED
    fresh = learnt(from_genesis(GENESIS), 4, 8, 12, 16, 20)
    assert learn(fresh, step(forged, state), strict, now_ms=NOW) is Flaw.STALE


def test_an_anchor_is_a_beginning_like_the_genesis() -> None:
    anchor = step(HEADERS[15])
    name = block_digest(HEADERS[15].header)
    trust = from_anchor(GENESIS, name, anchor)
    assert not isinstance(trust, Flaw)
    assert (trust.height, [each.epoch for each in trust.committees]) == (16, [3, 4])
    moved = learnt(trust, 20, 21)
    assert moved.newest_epoch == 6
    assert from_anchor(GENESIS, name, step(HEADERS[16])) is Flaw.OTHER
    assert from_anchor(GENESIS, name, step(HEADERS[15], state_before(12))) is Flaw.BAD_COMMITTEE
    assert follow(trust, HEADERS[10], TERMS, now_ms=NOW) is Flaw.STALE


def test_any_flipped_bit_of_a_step_is_refused() -> None:
    chance = Random(13)
    data = encode(step(HEADERS[3]))
    trust = from_genesis(GENESIS)
    for at in range(len(data)):
        bent = bytearray(data)
        bent[at] ^= 1 << chance.randrange(8)
        try:
            shown = decode(Shown, bytes(bent), max_bytes=1 << 20)
        except Malformed:
            continue
        assert isinstance(learn(trust, shown, TERMS, now_ms=NOW), Flaw), at
