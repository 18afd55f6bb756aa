"""Catching up: only certificates are believed, one honest peer is enough, nothing grows without bound."""

from __future__ import annotations

from typing import ClassVar

import pytest

from potminer.core.asking import SLACK, TIMEOUT_MS
from potminer.core.committee import Committee, certificate_holds
from potminer.core.machine import (
    CancelTimer,
    Execute,
    Executed,
    MessageArrived,
    Offence,
    PeerDown,
    PeerUp,
    Penalize,
    Send,
    SetTimer,
    TimerFired,
)
from potminer.core.sync.machine import (
    TIMER,
    Behind,
    CommitteeKnown,
    Effect,
    Event,
    ReadBlocks,
    Sync,
)
from potminer.core.sync.proof import Tip
from potminer.core.sync.requests import OPEN_REQUESTS, READS_PER_WINDOW, WINDOW
from potminer.wire.block import Block, Certificate, CertifiedBlock, Header, block_digest, transactions_root
from potminer.wire.codec import Wire
from potminer.wire.seal import Purpose, SigningKey, statement
from potminer.wire.sync import RETRY_MS, Asked, Blocks, BlocksWanted, Busy, Head
from potminer.wire.tx import Transaction, Transfer, sign_transaction

CHAIN = b"c" * 32
KEYS = [SigningKey(bytes([n]) * 32) for n in range(1, 5)]
COMMITTEE = Committee(0, tuple(k.public for k in KEYS), (1, 1, 1, 1))
NEXT = Committee(1, tuple(k.public for k in reversed(KEYS)), (1, 1, 1, 1))
A, B, C = (bytes([n]) * 32 for n in (101, 102, 103))
GENESIS = Tip(0, b"g" * 32, b"\0" * 32)
SIGNED = sign_transaction(Transaction(CHAIN, KEYS[0].public, 0, 1, 100, Transfer(KEYS[1].public, 5)), KEYS[0])


def root(height: int) -> bytes:
    return height.to_bytes(32, "big")


def certify(
    header: Header, committee: Committee = COMMITTEE, *, purpose: Purpose = Purpose.COMMIT, height: int | None = None
) -> Certificate:
    """A certificate whose signatures all hold; in a prepared one the primary signs PRE_PREPARE."""
    digest, height = block_digest(header), header.height if height is None else height
    by_key = {k.public: k for k in KEYS}
    primary = committee.primary(height=height, view=0)
    signatures = []
    for index, member in enumerate(committee.members):
        said = Purpose.PRE_PREPARE if purpose is Purpose.PREPARE and index == primary else purpose
        words = statement(said, chain=CHAIN, signer=member, digest=digest, epoch=committee.epoch, height=height)
        signatures.append((index, by_key[member].sign(words)))
    return Certificate(purpose, committee.epoch, height, 0, digest, tuple(signatures))


def build(length: int, *, epoch_blocks: int = 10**6, salt: bytes = b"") -> list[CertifiedBlock]:
    """Blocks 1 .. length; block 2 carries a transaction. *salt* makes another history."""
    blocks: list[CertifiedBlock] = []
    parent = GENESIS.digest
    for height in range(1, length + 1):
        committee = COMMITTEE if height <= epoch_blocks else NEXT
        carried = (SIGNED,) if height == 2 else ()
        header = Header(
            parent=parent,
            height=height,
            epoch=committee.epoch,
            transactions_root=transactions_root(carried),
            state_root=root(height - 1),
            proposer=committee.members[0],
            time_ms=height,
            preimage=salt.ljust(32, b"\0"),
        )
        blocks.append(CertifiedBlock(Block(header, carried), certify(header, committee)))
        parent = block_digest(header)
    return blocks


CHAIN_OF_20 = build(20)


class Node:
    """A Sync that executes at once what it is told to, from a peer's chain the test hands over."""

    make: ClassVar[type[Sync]] = Sync

    def __init__(self) -> None:
        self.sync = self.make(CHAIN, COMMITTEE, GENESIS)
        self.now = 0
        self.executed: list[int] = []
        self.effects: list[Effect] = []

    def does(self, event: Event) -> list[Effect]:
        effects = self.sync.handle(event, self.now)
        self.effects += effects
        return effects

    def hears(self, peer: bytes, message: Wire) -> list[Effect]:
        return self.does(MessageArrived(peer, message))

    def execute(self, effects: list[Effect]) -> list[Effect]:
        """Answer every Execute, also those that the answers bring. All effects."""
        seen = list(effects)
        for effect in seen:
            if isinstance(effect, Execute):
                header = effect.block.header
                self.executed.append(header.height)
                done = Executed(header.height, block_digest(header), root(header.height), header.time_ms)
                seen += self.does(done)
        return seen

    def meets(self, *peers: bytes, height: int) -> list[Effect]:
        effects: list[Effect] = []
        for peer in peers:
            effects += self.does(PeerUp(peer, outbound=True))
            effects += self.hears(peer, Head(height, b"?" * 32))
        return effects


def asked(effects: list[Effect]) -> list[tuple[bytes, int, int]]:
    return [
        (e.peer, e.message.first, e.message.count)
        for e in effects
        if isinstance(e, Send) and isinstance(e.message, BlocksWanted)
    ]


def offences(effects: list[Effect]) -> list[tuple[bytes, Offence]]:
    return [(e.peer, e.offence) for e in effects if isinstance(e, Penalize)]


def reply(blocks: list[CertifiedBlock], first: int, count: int) -> Blocks:
    return Blocks(tuple(blocks[first - 1 : first - 1 + count]))


def test_a_new_peer_is_told_our_head_and_a_higher_claim_is_asked_for() -> None:
    node = Node()
    assert node.does(PeerUp(A, outbound=False)) == [Send(A, Head(0, GENESIS.digest))]
    effects = node.hears(A, Head(20, b"?" * 32))
    assert asked(effects) == [(A, 1, 20)]
    assert SetTimer(TIMER, TIMEOUT_MS) in effects


def test_blocks_are_proven_and_executed_one_at_a_time_in_order() -> None:
    node = Node()
    node.meets(A, height=20)
    effects = node.hears(A, reply(CHAIN_OF_20, 1, 20))
    assert [e.block.header.height for e in effects if isinstance(e, Execute)] == [1]
    after = node.execute(effects)
    assert node.executed == list(range(1, 21))
    assert node.sync.tip == Tip(20, block_digest(CHAIN_OF_20[-1].block.header), root(20))
    told = [e.message for e in after if isinstance(e, Send) and isinstance(e.message, Head)]
    assert told == [Head(20, node.sync.tip.digest)]
    assert offences(node.effects) == []
    assert CancelTimer(TIMER) in after


def test_a_short_answer_is_continued() -> None:
    node = Node()
    node.meets(A, height=20)
    effects = node.execute(node.hears(A, reply(CHAIN_OF_20, 1, 7)))
    assert asked(effects) == [(A, 8, 7)], "as much as fitted"
    effects = node.execute(node.hears(A, reply(CHAIN_OF_20, 8, 7)))
    assert asked(effects) == [(A, 15, 6)]
    node.execute(node.hears(A, reply(CHAIN_OF_20, 15, 6)))
    assert node.sync.tip.height == 20


def with_header(certified: CertifiedBlock, **changes: object) -> Header:
    header = certified.block.header
    fields = {name: getattr(header, name) for name in header.__struct_fields__} | changes
    return Header(**fields)


def spoilt(kind: str) -> CertifiedBlock:
    """Block 2 of the chain, with one lie."""
    good = CHAIN_OF_20[1]
    header, certificate = good.block.header, good.certificate
    match kind:
        case "few signatures":
            few = Certificate(
                certificate.purpose, 0, 2, certificate.view, certificate.digest, certificate.signatures[:2]
            )
            return CertifiedBlock(good.block, few)
        case "prepared only":
            return CertifiedBlock(good.block, certify(header, purpose=Purpose.PREPARE))
        case "another height":
            return CertifiedBlock(good.block, certify(header, height=3))
        case "another block's certificate":
            return CertifiedBlock(good.block, CHAIN_OF_20[2].certificate)
        case "another header":
            return CertifiedBlock(Block(with_header(good, time_ms=99), good.block.transactions), certificate)
        case "no transactions":
            return CertifiedBlock(Block(header, ()), certificate)
        case "spoilt signature":
            bad = type(SIGNED)(SIGNED.transaction, bytes(64))
            return CertifiedBlock(Block(header, (bad,)), certificate)
        case "former committee":
            moved = with_header(good, epoch=7)
            return CertifiedBlock(Block(moved, good.block.transactions), certify(moved))
        case _:
            raise AssertionError(kind)


@pytest.mark.parametrize(
    "kind",
    [
        "few signatures",
        "prepared only",
        "another height",
        "another block's certificate",
        "another header",
        "no transactions",
        "spoilt signature",
        "former committee",
    ],
)
def test_no_lie_is_executed_its_teller_pays_and_the_next_peer_is_asked(kind: str) -> None:
    node = Node()
    node.meets(A, B, height=2)
    effects = node.execute(node.hears(A, Blocks((CHAIN_OF_20[0], spoilt(kind)))))
    assert node.executed == [1]
    assert offences(effects) == [(A, Offence.FORGED)]
    assert asked(effects) == [(B, 2, 1)]
    node.execute(node.hears(B, reply(CHAIN_OF_20, 2, 1)))
    assert node.executed == [1, 2]


def test_nothing_that_a_liar_sent_is_kept() -> None:
    node = Node()
    node.meets(A, B, height=5)
    effects = node.execute(node.hears(A, Blocks((CHAIN_OF_20[0], spoilt("few signatures"), *CHAIN_OF_20[2:5]))))
    assert asked(effects) == [(B, 2, 4)]


def test_a_prepared_certificate_of_the_tests_is_genuine_as_such() -> None:
    """Else "prepared only" would be refused for a wrong reason."""
    assert certificate_holds(spoilt("prepared only").certificate, COMMITTEE, chain=CHAIN)
    assert certificate_holds(spoilt("another height").certificate, COMMITTEE, chain=CHAIN)


def test_another_history_under_its_own_keys_is_refused() -> None:
    """Headers that link among themselves but not to us."""
    node = Node()
    node.meets(A, height=1)
    node.execute(node.hears(A, reply(CHAIN_OF_20, 1, 1)))
    node.hears(A, Head(3, b"?" * 32))
    foreign = build(3, salt=b"other")
    effects = node.hears(A, Blocks(tuple(foreign[1:])))
    assert offences(effects) == [(A, Offence.FORGED)]
    assert node.executed == [1]


@pytest.mark.parametrize(
    "blocks",
    [
        tuple(CHAIN_OF_20[:3]),
        tuple(CHAIN_OF_20[1:3]),
        (CHAIN_OF_20[0], CHAIN_OF_20[2]),
        (CHAIN_OF_20[0], build(2, salt=b"other")[1]),
    ],
    ids=["too many", "wrong place", "a gap", "no link"],
)
def test_an_answer_to_another_question_is_malformed(blocks: tuple[CertifiedBlock, ...]) -> None:
    node = Node()
    node.meets(A, height=2)
    effects = node.hears(A, Blocks(blocks))
    assert offences(effects) == [(A, Offence.MALFORMED)]
    assert not any(isinstance(e, Execute) for e in effects)


def test_silence_is_penalised_and_the_next_peer_is_asked() -> None:
    node = Node()
    effects = node.meets(A, B, height=5)
    assert asked(effects) == [(A, 1, 5)]
    node.now = TIMEOUT_MS
    effects = node.does(TimerFired(TIMER))
    assert offences(effects) == [(A, Offence.WITHHELD)]
    assert asked(effects) == [(B, 1, 5)]
    late = node.hears(A, reply(CHAIN_OF_20, 1, 5))
    assert offences(late) == []
    assert not any(isinstance(e, Execute) for e in late)


def test_a_lone_silent_peer_is_asked_again_after_a_growing_pause() -> None:
    node = Node()
    node.meets(A, height=5)
    pauses = []
    for turn in range(8):
        node.now += TIMEOUT_MS
        effects = node.does(TimerFired(TIMER))
        assert asked(effects) == []
        [timer] = [e for e in effects if isinstance(e, SetTimer)]
        pauses.append(timer.delay_ms)
        node.now += timer.delay_ms
        assert asked(node.does(TimerFired(TIMER))) == [(A, 1, 1 if turn else 2)], "its line may be slow: for fewer"
    assert pauses == [2_000, 4_000, 8_000, 16_000, 32_000, 60_000, 60_000, 60_000]


def test_a_peer_that_leaves_frees_its_range() -> None:
    node = Node()
    node.meets(A, B, height=5)
    assert asked(node.does(PeerDown(A))) == [(B, 1, 5)]


def test_an_invented_height_costs_little_and_an_empty_answer_to_a_claim_is_withholding() -> None:
    node = Node()
    effects = node.meets(A, height=2**62)
    assert asked(effects) == [(A, 1, 64)]
    effects = node.hears(A, Blocks(()))
    assert offences(effects) == [(A, Offence.WITHHELD)]
    assert asked(effects) == []


def test_behind_asks_peers_that_claimed_nothing_and_does_not_blame_the_empty_handed() -> None:
    node = Node()
    node.meets(A, B, height=0)
    assert asked(node.does(Behind(3))) == [(A, 1, 3)]
    effects = node.hears(A, Blocks(()))
    assert offences(effects) == []
    assert asked(effects) == [(B, 1, 3)]
    node.execute(node.hears(B, reply(CHAIN_OF_20, 1, 3)))
    assert node.sync.tip.height == 3


def test_requests_are_spread_one_per_peer_and_bounded_in_all() -> None:
    peers = [bytes([n]) * 32 for n in range(1, 9)]
    node = Node()
    effects = node.meets(*peers, height=10_000)
    questions = asked(effects)
    assert len(questions) == OPEN_REQUESTS
    assert len({peer for peer, _, _ in questions}) == OPEN_REQUESTS
    assert [first for _, first, _ in questions] == [1, 65, 129, 193]
    assert max(first + count - 1 for _, first, count in questions) <= WINDOW


def test_what_is_held_stays_bounded_while_the_first_gap_is_open() -> None:
    """Peers answer everything but the next block, and only one block at a time."""
    peers = [bytes([n]) * 32 for n in range(1, 9)]
    chain = build(WINDOW)
    node = Node()
    questions = asked(node.meets(*peers, height=WINDOW))
    answered = 0
    while questions:
        peer, first, _ = questions.pop()
        if first > 1:
            answered += 1
            questions += asked(node.hears(peer, reply(chain, first, 1)))
    assert answered == OPEN_REQUESTS - 1


def test_blocks_that_consensus_decided_meanwhile_are_not_executed_twice() -> None:
    node = Node()
    node.meets(A, height=5)
    first = CHAIN_OF_20[0].block.header
    node.does(Executed(1, block_digest(first), root(1), 1))
    node.execute(node.hears(A, reply(CHAIN_OF_20, 1, 5)))
    assert node.executed == [2, 3, 4, 5]


def test_the_committee_changes_between_two_blocks_of_one_answer() -> None:
    chain = build(6, epoch_blocks=3)
    node = Node()
    node.meets(A, height=6)
    effects = node.hears(A, reply(chain, 1, 6))
    node.does(CommitteeKnown(4, NEXT))
    node.execute(effects)
    assert node.executed == [1, 2, 3, 4, 5, 6]
    assert offences(node.effects) == []


def test_the_former_committee_certifies_nothing_any_more() -> None:
    node = Node()
    node.does(CommitteeKnown(4, NEXT))
    node.meets(A, height=6)
    node.execute(node.hears(A, reply(CHAIN_OF_20, 1, 6)))
    assert node.executed == [1, 2, 3]
    assert (A, Offence.FORGED) in offences(node.effects)


def test_a_certified_block_over_another_state_is_our_bug() -> None:
    node = Node()
    node.meets(A, height=3)
    node.hears(A, reply(CHAIN_OF_20, 1, 3))
    first = CHAIN_OF_20[0].block.header
    with pytest.raises(AssertionError, match="another state"):
        node.does(Executed(1, block_digest(first), b"diverged" * 4, 1))


def test_others_are_served_from_the_store_within_what_we_have() -> None:
    node = Node()
    node.meets(A, height=5)
    node.execute(node.hears(A, reply(CHAIN_OF_20, 1, 5)))
    assert node.hears(A, BlocksWanted(2, 64)) == [ReadBlocks(A, 2, 4)]
    assert node.hears(A, BlocksWanted(6, 1)) == [Send(A, Blocks(()))]
    assert node.hears(A, BlocksWanted(0, 1)) == [Send(A, Blocks(()))]
    assert node.hears(C, BlocksWanted(1, 1)) == []


def test_one_peer_cannot_keep_the_disk_busy_and_is_told_so() -> None:
    node = Node()
    node.meets(A, B, height=5)
    node.execute(node.hears(A, reply(CHAIN_OF_20, 1, 5)))
    answers = [effect for _ in range(500) for effect in node.hears(A, BlocksWanted(1, 5))]
    assert sum(isinstance(each, ReadBlocks) for each in answers) == SLACK * READS_PER_WINDOW
    (word,) = {each.message for each in answers if isinstance(each, Send)}
    assert isinstance(word, Busy)
    assert word.asked is Asked.BLOCKS
    assert node.hears(B, BlocksWanted(1, 1)) == [ReadBlocks(B, 1, 1)]
    node.now += word.retry_ms
    assert node.hears(A, BlocksWanted(1, 1)) == [ReadBlocks(A, 1, 1)], "it keeps its word"
    assert not [effect for effect in node.effects if isinstance(effect, Penalize)]


def test_who_is_busy_is_not_blamed_and_others_are_asked_meanwhile() -> None:
    node = Node()
    assert asked(node.meets(A, B, height=20)) == [(A, 1, 20)]
    effects = node.hears(A, Busy(Asked.BLOCKS, 3_000))
    assert asked(effects) == [(B, 1, 20)]
    effects = node.hears(B, Busy(Asked.BLOCKS, 5_000))
    assert not asked(effects)
    assert node.effects[-1] == SetTimer(TIMER, 3_000), "the first that is free again"
    node.now += 3_000
    assert asked(node.does(TimerFired(TIMER))) == [(A, 1, 20)]
    assert not node.hears(B, Busy(Asked.BLOCKS, RETRY_MS)), "nobody asked it"
    node.execute(node.hears(A, reply(CHAIN_OF_20, 1, 20)))
    assert node.sync.tip.height == 20
    assert not offences(node.effects)


def test_who_was_busy_is_asked_last() -> None:
    node = Node()
    node.meets(A, B, height=5)
    node.hears(A, Busy(Asked.BLOCKS, 1))
    node.execute(node.hears(B, reply(CHAIN_OF_20, 1, 5)))
    node.now += 1
    node.hears(C, Head(6, b"?" * 32))
    node.does(Behind(6))
    assert asked(node.effects)[-1] == (B, 6, 1)


def test_blocks_nobody_asked_for_are_not_kept() -> None:
    node = Node()
    node.meets(A, height=0)
    assert node.hears(A, reply(CHAIN_OF_20, 1, 20)) == []
    assert node.hears(C, reply(CHAIN_OF_20, 1, 20)) == []


def test_a_network_of_liars_and_one_honest_peer_still_catches_up() -> None:
    """Every liar has a trick of its own; the honest one is last in line."""
    liars = [bytes([n]) * 32 for n in range(1, 6)]
    node = Node()
    questions = asked(node.meets(*liars, C, height=20))
    tricks = dict(zip(liars, ("few signatures", "no transactions", "another header", "empty", "silent"), strict=True))
    for _ in range(200):
        if not questions:
            node.now += 10_000
            questions = asked(node.execute(node.does(TimerFired(TIMER))))
            continue
        peer, first, count = questions.pop(0)
        trick = tricks.get(peer)
        if trick == "silent":
            continue
        lie = [*CHAIN_OF_20[:1], spoilt(trick), *CHAIN_OF_20[2:]] if trick and trick != "empty" else CHAIN_OF_20
        answer = Blocks(()) if trick == "empty" else reply(lie, first, count)
        questions += asked(node.execute(node.hears(peer, answer)))
        if node.sync.tip.height == 20:
            break
    assert node.executed == list(range(1, 21))
    assert C not in {peer for peer, _ in offences(node.effects)}
