"""The leap: a header first, then chunks that the state root proves; every lie names its teller, and nothing grows."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache

import pytest
from msgspec.structs import replace

from potminer.core import chunks, trie
from potminer.core.asking import TIMEOUT_MS
from potminer.core.leap.contents import KEY_SIZES, grains_in
from potminer.core.leap.events import (
    Begin,
    Effect,
    Event,
    GiveUp,
    Hold,
    Install,
    KeepChunk,
    Kept,
    Leapt,
    SendChunk,
    Shun,
)
from potminer.core.leap.machine import REST_MS, TIMER, Leap, Stage
from potminer.core.leap.peers import QUESTIONS_PER_WINDOW
from potminer.core.ledger.ledger import Ledger
from potminer.core.ledger.state import State
from potminer.core.machine import Executed, MessageArrived, Offence, PeerDown, PeerUp, Penalize, Send, TimerFired
from potminer.node.leaping import LightJudge
from potminer.wire import record as records
from potminer.wire.codec import Wire, decode, encode
from potminer.wire.leap import (
    Chunk,
    ChunkWanted,
    Items,
    Manifest,
    ManifestWanted,
    Pruned,
    SnapshotOffer,
    SnapshotWanted,
)
from potminer.wire.proof import CertifiedHeader, Shown
from potminer.wire.record import Account, ChainRecord
from potminer.wire.sync import Asked, Busy, Head
from tests.unit.light_world import Certified

A, B, C = (bytes([n]) * 32 for n in (101, 102, 103))
EPOCH, LENGTH, AT = 4, 26, 24
"""Blocks of an epoch, of the chain, and below the snapshot that everybody offers."""
FAR = 10
CROWD = 6_000


def widened(state: State, more: list[tuple[bytes, bytes | None]]) -> State:
    return State(state.chain, state.parameters, trie.update(state.tree, more))


@cache
def world(*, spoilt: tuple[tuple[bytes, bytes], ...] = (), crowd_of: int = CROWD) -> Certified:
    """A chain over six epochs with enough accounts for several chunks; *spoilt* records stand in its state."""
    made = Certified(epoch_blocks=EPOCH)
    crowd = [(records.account_key(n.to_bytes(32, "big")), encode(Account(0, 10**6 + n))) for n in range(crowd_of)]
    made.state = widened(made.state, [*crowd, *spoilt])
    made.states = [made.state]
    made.past.begin(made.state)
    for _ in range(LENGTH):
        made.step()
    return made


@cache
def listed(of: Certified, at: int) -> tuple[Manifest, list[Items]]:
    parts = [(depth, trie.root(n), chunks.items_of(n)) for depth, n in chunks.cut(of.states[at].tree)]
    return chunks.manifest(at, [(depth, digest) for depth, digest, _ in parts]), [items for _, _, items in parts]


class Server:
    """An honest peer, with the snapshot after block *at*."""

    def __init__(self, of: Certified, at: int = AT) -> None:
        self.of, self.at = of, at
        self.manifest, self.bodies = listed(of, at)
        self.asked: list[Wire] = []

    def step(self, epoch: int) -> Shown:
        return decode(Shown, self.of.rows["step", (epoch + 1) * EPOCH], max_bytes=1 << 20)

    @property
    def certified(self) -> CertifiedHeader:
        return self.of.headers[self.at]

    def answer(self, question: Wire) -> Wire | None:
        self.asked.append(question)
        match question:
            case SnapshotWanted(epoch):
                known = range(epoch, min(epoch + 2, len(self.of.headers) // EPOCH))
                return SnapshotOffer(tuple(self.step(each) for each in known), self.certified)
            case ManifestWanted(height):
                return self.manifest if height == self.at else Manifest(height, b"", b"")
            case ChunkWanted(height, index):
                return Chunk(height, index, self.bodies[index] if height == self.at else ())
        raise AssertionError(question)


class Liar(Server):
    """*lie* alters what an honest server would say; None says nothing."""

    def __init__(self, of: Certified, lie: Callable[[Wire], Wire | None], at: int = AT) -> None:
        super().__init__(of, at)
        self.lie = lie

    def answer(self, question: Wire) -> Wire | None:
        told = super().answer(question)
        return None if told is None else self.lie(told)


SERVERS = cache(Server)


class Node:
    """A leap among servers that answer at once, or never."""

    def __init__(self, of: Certified, *, kept: Kept | None = None, far: int = FAR) -> None:
        self.of = of
        ledger = Ledger(of.states[0], head=of.chain)
        self.leap = Leap(0, lambda: LightJudge.at_head(ledger), far=far, kept=kept)
        self.now = of.now
        self.effects: list[Effect] = []
        self.servers: dict[bytes, Server] = {}
        self.until: int | None = None

    def meets(self, peer: bytes, server: Server | None, *, height: int = LENGTH) -> None:
        if server is not None:
            self.servers[peer] = server
        self.does(PeerUp(peer, outbound=True))
        self.hears(peer, Head(height, bytes(32)))

    def hears(self, peer: bytes, message: Wire) -> None:
        self.does(MessageArrived(peer, message))

    def does(self, event: Event, most: int = 1_000) -> None:
        """Also all that the answers bring; *most* of them."""
        waiting: list[Event] = [event]
        while waiting and most:
            most -= 1
            for effect in self.leap.handle(waiting.pop(0), self.now):
                self.effects.append(effect)
                if isinstance(effect, Send) and effect.peer in self.servers:
                    told = self.servers[effect.peer].answer(effect.message)
                    if told is not None:
                        waiting.append(MessageArrived(effect.peer, told))

    def waits(self, ms: int = TIMEOUT_MS) -> None:
        self.now += ms
        self.does(TimerFired(TIMER))

    def said(self, kind: type) -> list:  # type: ignore[type-arg]
        return [effect for effect in self.effects if isinstance(effect, kind)]

    @property
    def shunned(self) -> set[bytes]:
        return {effect.peer for effect in self.said(Shun)}

    def landed(self) -> Install:
        (install,) = self.said(Install)
        assert trie.root(install.tree) == self.of.states[install.certified.header.height - 1].root
        return install  # type: ignore[no-any-return]


def test_a_header_then_a_manifest_then_chunks_of_all_and_the_state_is_whole() -> None:
    of = world()
    node, servers = Node(of), {A: Server(of), B: Server(of), C: Server(of)}
    for peer in servers:
        node.meets(peer, None)
    (asked_first,) = node.said(Send)
    node.servers = dict(servers)
    node.hears(asked_first.peer, servers[asked_first.peer].answer(asked_first.message) or Head(0, bytes(32)))
    install = node.landed()
    assert install.certified == of.headers[AT]
    assert [step.certified.header.height for step in install.steps] == [4, 8, 12, 16, 20, 24]
    assert node.leap.stage is Stage.INSTALLING
    asked = [sum(isinstance(each, ChunkWanted) for each in server.asked) for server in servers.values()]
    assert sum(asked) == len(servers[A].bodies) > 2, "no chunk twice"
    assert min(asked) > 0, "of several at once"
    assert [effect.on for effect in node.said(Hold)] == [True]
    assert len(node.said(Begin)) == 1
    assert not node.said(Shun)
    assert not node.said(Penalize)
    node.does(Leapt(AT))
    assert node.leap.stage is Stage.RESTING
    assert [effect.on for effect in node.said(Hold)] == [True, False]


def test_nobody_leaps_over_a_few_blocks_and_a_claim_alone_costs_one_question() -> None:
    of = world()
    node = Node(of, far=60)
    node.meets(A, Server(of))
    assert node.leap.stage is Stage.RESTING
    assert not node.said(Send)
    node.hears(A, Head(10**15, bytes(32)))  # a liar's claim: what it can show gains too little
    assert node.leap.stage is Stage.RESTING
    assert not node.said(Hold)
    assert not node.said(Install)
    node.waits(REST_MS - 1)
    before = len(node.said(Send))
    node.waits(1)
    assert len(node.said(Send)) > before, "and it is asked again after a while"


def test_where_all_peers_pruned_any_gain_is_taken() -> None:
    of = world()
    node = Node(of, far=10**6)
    node.meets(A, Server(of))
    node.meets(B, Server(of))
    node.hears(A, Pruned(5))
    assert not node.said(Send), "one of them still has the next block"
    node.hears(B, Pruned(9))
    assert node.landed().certified == of.headers[AT]


def bent(kind: type, change: Callable) -> Callable[[Wire], Wire | None]:  # type: ignore[type-arg]
    return lambda told: change(told) if isinstance(told, kind) else told


def few(certified: CertifiedHeader) -> CertifiedHeader:
    certificate = certified.certificate
    return CertifiedHeader(certified.header, replace(certificate, signatures=certificate.signatures[:2]))


def forged(certified: CertifiedHeader) -> CertifiedHeader:
    certificate = certified.certificate
    seats = tuple((seat, bytes(64)) for seat, _ in certificate.signatures)
    return CertifiedHeader(certified.header, replace(certificate, signatures=seats))


def other_root(certified: CertifiedHeader) -> CertifiedHeader:
    return CertifiedHeader(replace(certified.header, state_root=bytes(32)), certified.certificate)


def stepped(change: Callable[[CertifiedHeader], CertifiedHeader]) -> Callable[[SnapshotOffer], SnapshotOffer]:
    def bend(offer: SnapshotOffer) -> SnapshotOffer:
        steps = tuple(replace(step, certified=change(step.certified)) for step in offer.steps)
        return replace(offer, steps=steps)

    return bend


def headed(change: Callable[[CertifiedHeader], CertifiedHeader]) -> Callable[[SnapshotOffer], SnapshotOffer]:
    return lambda offer: offer if offer.certified is None else replace(offer, certified=change(offer.certified))


FORGERIES: dict[str, Callable[[Wire], Wire | None]] = {
    "header, few signatures": bent(SnapshotOffer, headed(few)),
    "header, forged": bent(SnapshotOffer, headed(forged)),
    "header, other root": bent(SnapshotOffer, headed(other_root)),
    "step, few signatures": bent(SnapshotOffer, stepped(few)),
    "step, forged": bent(SnapshotOffer, stepped(forged)),
    "steps without a committee": bent(
        SnapshotOffer, lambda o: replace(o, steps=tuple(replace(s, proofs=s.proofs[:1] * 2) for s in o.steps))
    ),
    "steps with a gap": bent(SnapshotOffer, lambda o: replace(o, steps=o.steps[1:])),
    "manifest of nothing": bent(Manifest, lambda m: Manifest(m.height, b"\x00", bytes(32))),
    "manifest cut": bent(Manifest, lambda m: Manifest(m.height, m.depths[:-1], m.digests[:-32])),
    "manifest swapped": bent(Manifest, lambda m: Manifest(m.height, m.depths, m.digests[32:] + m.digests[:32])),
    "chunk altered": bent(Chunk, lambda c: replace(c, items=((c.items[0][0], b"!"), *c.items[1:]))),
    "chunk short": bent(Chunk, lambda c: replace(c, items=c.items[:-1])),
    "chunk doubled": bent(Chunk, lambda c: replace(c, items=(*c.items, c.items[-1]))),
    "chunk in another order": bent(Chunk, lambda c: replace(c, items=c.items[::-1])),
}


@pytest.mark.parametrize("lie", FORGERIES)
def test_a_lie_bans_its_teller_and_the_others_bring_the_truth(lie: str) -> None:
    of = world()
    node = Node(of)
    node.meets(A, Liar(of, FORGERIES[lie]))
    node.waits(REST_MS)
    assert not node.said(Install)
    assert node.shunned == {A} or lie == "steps with a gap"  # a gap teaches nothing: no proof, no lie
    node.meets(B, SERVERS(of))
    node.waits(REST_MS)
    node.landed()
    assert node.shunned <= {A}


SILENCES: dict[str, Callable[[Wire], Wire | None]] = {
    "says nothing": lambda told: None,
    "offers and goes silent": bent(Manifest, lambda m: None),
    "lists and goes silent": bent(Chunk, lambda c: None),
    "has no snapshot": bent(SnapshotOffer, lambda o: replace(o, certified=None)),
    "let it go": bent(Chunk, lambda c: replace(c, items=())),
    "another chunk than asked": bent(Chunk, lambda c: replace(c, index=(c.index + 1) % 4)),
    "a chunk of another height": bent(Chunk, lambda c: replace(c, height=c.height - 4)),
    "a chunk out of range": bent(Chunk, lambda c: replace(c, index=65_535)),
    "a manifest of another height": bent(Manifest, lambda m: replace(m, height=m.height + 4)),
}


@pytest.mark.parametrize("silence", SILENCES)
def test_who_does_not_answer_what_was_asked_costs_time_only(silence: str) -> None:
    of = world()
    node = Node(of)
    node.meets(A, Liar(of, SILENCES[silence]))
    node.meets(B, Server(of))
    for _ in range(8):
        node.waits()
    node.landed()
    assert not node.shunned
    assert {effect.peer for effect in node.said(Penalize)} <= {A}
    assert all(effect.offence is Offence.WITHHELD for effect in node.said(Penalize))


def test_the_newest_that_is_proven_is_chosen_and_an_old_one_gains_nothing() -> None:
    of = world()
    node = Node(of)
    node.meets(A, None)
    node.meets(B, Server(of))
    node.hears(A, SnapshotOffer((), of.headers[3]))  # genuine and stale: block 3 of 26
    node.waits(REST_MS)
    node.waits(TIMEOUT_MS)
    assert node.landed().certified == of.headers[AT]
    alone = Node(of)
    alone.meets(A, Server(of, at=3))
    assert alone.leap.stage is Stage.RESTING
    assert not alone.said(Install)


def test_a_clock_that_is_behind_bans_nobody_and_keeps_nobody_from_leaping() -> None:
    """Who executes blocks does not ask it either: what a quorum certified is final whatever our clock says."""
    of = world()
    node = Node(of)
    node.now = 1
    node.meets(A, Server(of))
    assert not node.shunned
    node.landed()


def test_an_unasked_answer_is_not_even_looked_at() -> None:
    of = world()
    node = Node(of)
    node.meets(A, None, height=0)
    server = SERVERS(of)
    for message in (SnapshotOffer((), of.headers[AT]), server.manifest, Chunk(AT, 0, server.bodies[0])):
        node.hears(A, message)
        node.hears(C, message)
    assert node.leap.stage is Stage.RESTING
    assert not node.effects


def test_a_restart_goes_on_where_it_was_and_judges_its_own_disk() -> None:
    of = world()
    first = Node(of)
    first.meets(A, Liar(of, bent(Chunk, lambda c: None if c.index > 0 else c)))
    (begun,) = first.said(Begin)
    at_hand = {effect.digest: effect.items for effect in first.said(KeepChunk)}
    assert 0 < len(at_hand) < len(SERVERS(of).bodies)
    spoilt = next(iter(at_hand))
    kept = Kept(begun.certified, begun.manifest, {**at_hand, spoilt: at_hand[spoilt][1:]})
    node, server = Node(of, kept=kept), Server(of)
    node.meets(A, server)
    node.landed()
    assert sum(isinstance(each, ChunkWanted) for each in server.asked) == len(server.bodies) - len(at_hand) + 1
    assert not any(isinstance(each, ManifestWanted) for each in server.asked)


def test_what_an_earlier_life_fetched_is_given_up_where_nobody_has_it_any_more() -> None:
    of = world()
    old = Server(of, at=20)
    node = Node(of, kept=Kept(of.headers[20], old.manifest, {}))
    node.meets(A, Server(of))
    assert len(node.said(GiveUp)) == 1
    node.waits(REST_MS)
    assert node.landed().certified == of.headers[AT]


def test_blocks_that_come_faster_end_a_leap() -> None:
    of = world()
    node = Node(of)
    node.meets(A, Liar(of, bent(Chunk, lambda c: None)))
    assert node.leap.stage is Stage.FETCHING
    node.does(Executed(AT, bytes(32), bytes(32), 0))
    assert node.leap.stage is Stage.RESTING
    assert [effect.on for effect in node.said(Hold)] == [True, False]


def test_a_chunk_of_who_left_is_asked_of_somebody_else() -> None:
    of = world()
    node = Node(of)
    node.meets(A, Liar(of, bent(Chunk, lambda c: None)))
    assert node.leap.stage is Stage.FETCHING
    node.does(PeerDown(A))
    assert node.leap.stage is Stage.RESTING, "nobody is left"
    node.meets(B, Server(of))
    node.waits(REST_MS)
    node.landed()


MORE_GRAINS = (records.account_key(b"\xff" * 32), encode(Account(5, 0)))


@pytest.mark.parametrize(
    "spoilt",
    [
        (records.account_key(b"\xff" * 32), b"\x92\xff\x00"),
        (records.account_key(b"\xff" * 33), encode(Account(0, 0))),
        (b"zz", b"\x90"),
        (b"", b"\x90"),
        MORE_GRAINS,
    ],
    ids=["negative balance", "long key", "no table", "no key", "more grains"],
)
def test_a_certified_state_that_no_ledger_makes_is_refused_for_good(spoilt: tuple[bytes, bytes]) -> None:
    """It hashes right, and a quorum signed it."""
    of = world(spoilt=(spoilt,), crowd_of=0)
    node = Node(of)
    node.meets(A, Server(of))
    node.meets(B, Server(of))
    assert not node.said(Install)
    assert not node.shunned, "they sent what a quorum certified"
    assert len(node.said(GiveUp)) == 1
    node.waits(REST_MS)
    assert len(node.said(GiveUp)) == 1, "it is not fetched again"


def test_records_out_of_their_bounds_are_none() -> None:
    good = (records.account_key(bytes(32)), encode(Account(3, 1)))
    assert grains_in((good,)) == 3
    long = encode(replace(world().state.head, open_tasks=(bytes(31),)))
    assert grains_in((good, (records.CHAIN, long))) is None
    assert grains_in(((good[0], good[1] + b"\x00"),)) is None
    assert decode(ChainRecord, encode(world().state.head), max_bytes=1 << 20) == world().state.head


def test_every_table_has_its_keys_length() -> None:
    """A new table whose keys are longer would make every honest state look impossible."""
    name = bytes(32)
    keys = {
        records.CHAIN, records.COMMITTEE, records.FOLLOWING, records.ROSTER, records.RECEIPTS,
        records.account_key(name), records.trainer_key(name), records.validator_key(name), records.task_key(name),
        records.round_key(name, 1), records.unit_key(name, 1, 1), records.slice_key(name, 1),
        records.lengths_key(name, 1),
        records.pending_key(name, 1), records.evaluation_key(name), records.update_key(name, name),
        records.held_key(name),
    }
    assert {key[:1] for key in keys} == set(records.RECORD_TYPES)
    assert {key[:1]: KEY_SIZES.get(key[:1], 33) for key in keys} == {key[:1]: len(key) for key in keys}


def test_questions_of_a_peer_are_answered_within_its_quota() -> None:
    of = world()
    node = Node(of)
    node.meets(A, None, height=0)
    for _ in range(3 * QUESTIONS_PER_WINDOW):
        node.hears(A, ChunkWanted(AT, 0))
    assert len(node.said(SendChunk)) == 2 * QUESTIONS_PER_WINDOW
    words = {effect.message for effect in node.said(Send)}
    assert {word.asked for word in words if isinstance(word, Busy)} == {Asked.SNAPSHOT}


def test_what_a_busy_peer_puts_off_is_asked_elsewhere_and_nobody_is_blamed() -> None:
    of = world()
    told = iter([True] * 3)
    node = Node(of)
    busy = Liar(of, lambda answer: Busy(Asked.SNAPSHOT, 700) if isinstance(answer, Chunk) and next(told, 0) else answer)
    node.meets(A, busy)
    while not node.said(Install):
        node.waits(700)
    node.landed()
    assert next(told, None) is None
    assert not node.said(Penalize)
    assert not node.shunned
