"""The composition root: the only place that knows every room. What it returns is complete."""

from __future__ import annotations

import logging
import os
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

from potminer import __version__
from potminer.base.digest import Domain, digest
from potminer.base.errors import ConfigError, NotPermitted, PotminerError, UsageError
from potminer.core.gossip import events as gossip
from potminer.core.gossip.addresses import sign_address
from potminer.core.gossip.machine import Gossip
from potminer.core.leap.machine import Leap
from potminer.core.ledger.apply import RULES
from potminer.core.ledger.beacon import ONION_LAYERS, Onion
from potminer.core.ledger.ledger import Ledger
from potminer.core.ledger.state import State, genesis_state, restored
from potminer.core.misbehave import Censoring, Kind, Misbehaviour
from potminer.core.pbft.application import Application, Head, Timers
from potminer.core.pbft.memory import Memory
from potminer.core.pbft.terse import Terse
from potminer.core.rounds.conduct import conduct_of
from potminer.core.rounds.events import DutyChanged
from potminer.core.rounds.machine import Rounds
from potminer.core.steward import OWED, Steward
from potminer.core.sync.machine import Sync
from potminer.core.sync.proof import Tip
from potminer.node.answers import Answers, Books, Prices
from potminer.node.application import LedgerApplication
from potminer.node.config import Config
from potminer.node.daybook import KEY as DAY_KEY
from potminer.node.daybook import Daybook
from potminer.node.engine import Engine, Hands, Machines, StoredBlock
from potminer.node.gaps import KEY as LEAPT
from potminer.node.gaps import Gaps
from potminer.node.history import History
from potminer.node.hush import Hush
from potminer.node.inbox import Inbox, To
from potminer.node.leaping import Leaper, LightJudge, Snapshots, recalled
from potminer.node.logbook import LogBook
from potminer.node.onions import OwnOnions, secret_of
from potminer.node.outbox import Outbox
from potminer.node.outfit import Cards, outfit
from potminer.node.owned import OWNER, claim, long_ago, remember
from potminer.node.past import Past
from potminer.node.prover import Prover
from potminer.node.publish import Identity, Publisher
from potminer.node.recorder import Recorder
from potminer.node.rig import Rig, RigHands
from potminer.node.rigform import price_micro
from potminer.node.seats import Seats
from potminer.node.settings import settings_view
from potminer.node.silence import Silence
from potminer.node.terms import pay_of
from potminer.wire import record as records
from potminer.wire.codec import decode, encode
from potminer.wire.control import AlertLevel, Standing
from potminer.wire.genesis import Genesis, chain_id
from potminer.wire.gossip import AddressRecord
from potminer.wire.hello import Hello
from potminer.wire.record import Validator
from potminer.wire.seal import SigningKey
from potminer.world.api.lockfile import Lock
from potminer.world.api.serve import ApiServer
from potminer.world.keys import NODE_KEY, load_or_create_key, mark_used
from potminer.world.net.blobs import BlobExchange
from potminer.world.net.network import Network
from potminer.world.net.refusal import LinkRefused
from potminer.world.paths import Paths, private_folder
from potminer.world.reached import Reached
from potminer.world.rig.sight import Sight
from potminer.world.store.blobs import BlobStore
from potminer.world.store.chain import Applied
from potminer.world.store.store import Store

LOG = logging.getLogger("potminer")
FETCH_S = 30.0
FACTS_RECALLED = 50_000
RIG_BLOCKS = 2_000
"""Twice as many as somebody may miss before it leaps instead."""
RIG_BLOBS_GIB, BLOBS_GIB = 8, 64
TRAINER_CHEATS = ("garbage", "signflip", "labelflip", "stale", "guess")
CONDUCTS = ("copy", "rubber-stamp", "accuse", "parrot", "flatter")


@dataclass(frozen=True, slots=True)
class Node:
    """Everything that runs. ``node/life.py`` runs it."""

    key: bytes
    chain: bytes
    config: Config
    engine: Engine
    rig: Rig
    network: Network
    publisher: Publisher
    journal: dict[bytes, bytes]
    save_addresses: Callable[[], Awaitable[None]]
    """Keep what gossip knows of other nodes over a restart."""
    look: Callable[[], None]
    """Note for the day's picture what the rig does now."""
    save_day: Callable[[], Awaitable[None]]
    until_damaged: Callable[[], Coroutine[None, None, None]]
    """Raises once the disk gave back something else than was written, whoever asked it."""


@dataclass(frozen=True, slots=True)
class Thrift:
    """What is kept on disk. *keep_blocks* below the head, 0 for all; *forgets*: their receipts go with them."""

    keep_blocks: int
    forgets: bool
    blob_bytes: int


def thrift_of(config: Config) -> Thrift:
    """A rig's stick has to last for years; whoever votes or observes keeps the past for others."""
    rig, said = config.node.role == "trainer", config.node.keep_blocks
    gib = config.store.blobs_gib or (RIG_BLOBS_GIB if rig else BLOBS_GIB)
    return Thrift((RIG_BLOCKS if rig else 0) if said < 0 else said, rig and said < 0, gib << 30)


def unix_ms() -> int:
    return time.time_ns() // 1_000_000


def is_cheat(kind: str) -> bool:
    """Whether *kind* names a fault a devnet can have."""
    named = (*TRAINER_CHEATS, *CONDUCTS, *Kind)
    return kind in named or (kind.startswith("lazy-") and kind[5:].isdecimal())


@asynccontextmanager
async def open_node(
    config: Config, paths: Paths, genesis: Genesis, *, byzantine: str | None = None, record: Path | None = None
) -> AsyncIterator[Node]:
    """A node of *config* on *paths*, listening and ready to run. *byzantine* is refused outside devnets. *record*: a
    new file for what the rig's senses say."""
    _check_byzantine(byzantine, genesis)
    async with AsyncExitStack() as stack:
        private_folder(paths.datadir)
        lock = Lock.acquire(paths.lock)
        stack.callback(lock.release)
        key = load_or_create_key(private_folder(paths.keys) / NODE_KEY)
        store = await stack.enter_async_context(Store.open(config.store.url or paths.database, rules=RULES))
        node = await _compose(config, paths, genesis, key, store, byzantine, stack, record)
        server = await ApiServer.open(
            node.publisher, paths, clock=unix_ms, tcp_port=config.api.port or None,
            token_file=config.api.token_file,
        )
        stack.push_async_callback(server.close)
        lock.publish(server.address)
        yield node


def _check_byzantine(byzantine: str | None, genesis: Genesis) -> None:
    if byzantine is None:
        return
    if not genesis.network.startswith("devnet"):
        raise NotPermitted("cheating is for devnets", f"{genesis.network} is not one.")
    if not is_cheat(byzantine):
        raise UsageError(f"no fault is called {byzantine}", "See potminer devnet --help.")


async def _compose(
    config: Config, paths: Paths, genesis: Genesis, key: SigningKey, store: Store, byzantine: str | None,
    stack: AsyncExitStack, record: Path | None,
) -> Node:
    chain = chain_id(genesis)
    blobs = BlobStore(paths.blobs, thrift_of(config).blob_bytes)
    journal = await store.load_journal()
    await claim(journal, key.public, store.persist)
    state, head = await _recover(genesis, chain, store)
    known = state.get(Validator, records.validator_key(key.public))
    today = Seats(Ledger(state, head=head.digest))
    sits, may_sit = today.sits(key.public), today.standing(key.public) not in (Standing.NONE, Standing.SLASHED)
    # Whoever may sit one day holds a replica from the beginning; without a seat it only follows.
    votes = config.node.role == "validator" or sits or may_sit
    reached = stack.enter_context(Reached(paths.keys / f"{NODE_KEY}.reached", chain))
    memory = await remember(
        journal, store.persist, head, votes=votes, used=votes and mark_used(paths.keys / NODE_KEY), now=unix_ms(),
        reached=reached.height, silent_s=config.node.silent_s, note=LOG.warning,
    )  # fmt: skip
    if word := long_ago(head, unbonding_ms=genesis.parameters.unbonding_ms, now=unix_ms()):
        LOG.warning(word)
    trains = config.node.role == "trainer" and not sits
    onions = OwnOnions(key, known, paths.keys / f"{NODE_KEY}.onions") if votes else None
    ledger = Ledger(
        state, head=head.digest, onions=onions.held if onions is not None else None,
        follows=None if votes else secret_of(key, b"spot"),
    )
    seats = Seats(ledger)
    past = Past(state)
    fault = _fault(byzantine, key, chain, seats)
    history = History(key.public)
    history.recall(await store.facts(FACTS_RECALLED))
    await _recall_takings(history, store)
    gaps = Gaps(key.public, history, store.persist, saved=journal.get(LEAPT), head=head.height)
    gaps.settle(state)

    # The rest is one ring: each lambda names what stands below it, and nothing runs before all stands.
    def say(level: str, line: str) -> None:
        LOG.log(getattr(logging, level.upper()), "%s", line)
        if level == "error":
            publisher.alert(AlertLevel.FAULT, line)

    note = Hush(say, unix_ms)

    inbox = Inbox(
        on_blob=lambda peer, message: exchange.message(peer, message),
        on_link_down=lambda peer: exchange.link_down(peer),
        note=note,
    )
    cards = Cards.look(unix_ms) if trains else Cards({}, Sight((), ""))
    cheat = byzantine if byzantine in TRAINER_CHEATS or (byzantine or "").startswith("lazy-") else None
    rig = Rig(
        outfit(
            config, paths, trains=trains, cheat=cheat, clock=unix_ms, cards=cards,
            pay=pay_of(ledger, history, price_micro(config.prices.pot)),
            recorder=None if record is None else Recorder(record, note),
        ),
        RigHands(
            clock=unix_ms,
            persist=store.persist,
            may_train=lambda workers, finishing: inbox.post(
                To.ROUNDS, DutyChanged(workers > 0, max(1, workers), finishing)
            ),
            note=note,
            changed=lambda: publisher.changed(),
            kernels=cards.kernels,
            worked=history.worked,
        ),
    )
    network = Network(
        key, chain,
        (config.node.host, config.node.port) if config.node.port or config.node.host == "127.0.0.1" else None,
        lambda: Hello(config.node.agent, _listening_port(network), ledger.state.head.height),
        inbox,
        seats.may_speak,
    )
    exchange = BlobExchange(
        blobs, network.send, lambda: [peer.key for peer in network.peers()],
        lambda peer, word: inbox.offence(peer, word, "a false piece of a blob"),
    )
    machines = Machines(
        ledger=ledger,
        replica=_replica(
            key, chain, _application(ledger, fault, seats), head, journal, memory, network.is_behind
        ) if votes else None,
        gossip=Gossip(key.public, chain, os.urandom(32)),
        sync=Sync(
            chain, seats.committee, Tip(head.height, head.digest, head.state_root), follows=not votes, decides=votes
        ),
        leap=Leap(head.height, lambda: LightJudge.at_head(ledger), kept=recalled(await store.target())),
        leaper=Leaper(ledger, past, _snapshots(store, note, genesis, config), gaps, note),
        rounds=Rounds(
            key=key.public, payout=(config.payout.address or key.public) if trains else None, validator=sits,
            salt_secret=secret_of(key, b"salt"), persisted=journal, conduct=conduct_of(byzantine, own=key.public),
        ),
        outbox=Outbox(key, ledger),
        history=history,
        steward=Steward(
            renew_below=min(4 * genesis.parameters.epoch_blocks, ONION_LAYERS // 2), persisted=journal
        ),
        past=past,
    )
    hands = Hands(
        send=network.send,
        dial=lambda host, port, expected: _dial(network, host, port, expected),
        ban=lambda peer, seconds: network.ban(peer, seconds),
        fetch=lambda blob, max_bytes: _fetch(blobs, exchange, blob, max_bytes),
        keep=blobs.keep,
        excerpt=lambda blob, size, ranges: exchange.excerpt(blob, size=size, ranges=ranges, timeout=FETCH_S),
        work=rig.work,
        cancel=rig.cancel,
        persist=store.persist,
        store_block=lambda stored: _store_block(store, stored, reached),
        witness=lambda height, body: store.keep_statement(height, digest(Domain.MESSAGE, body), body),
        read_blocks=store.blocks,
        clock=unix_ms,
        changed=lambda: publisher.changed(),
        note=note,
        next_onion=lambda revealed: _following(onions, revealed),
        transform=lambda effects: list(effects) if fault is None else fault.transform(effects),
    )
    engine = Engine(machines, hands, inbox, own=key.public, seats=seats)
    identity = Identity(
        config.node.agent or f"potminer/{__version__}", genesis.network, config.rig.name, key.public,
        "validator" if votes else config.node.role,
    )
    log = LogBook(unix_ms())
    LOG.addHandler(log)
    stack.callback(LOG.removeHandler, log)
    daybook = Daybook(journal.get(DAY_KEY))
    books = Books(log, daybook, settings_view(config, paths.config, os.environ), _prices(config), gaps)
    answers = Answers(key.public, ledger, history, network, engine, books, unix_ms)
    prover = Prover(genesis, ledger, past, store, engine.submit, lambda: machines.sync.heads, unix_ms)
    silence = Silence(
        lambda: None if machines.replica is None else machines.replica.silent_until_ms,
        lambda: set(seats.committee.members) - {key.public}, lambda: [peer.key for peer in network.peers()], note,
    )
    publisher = Publisher(identity, ledger, history, rig, blobs, network, engine, answers, prover, silence, unix_ms)

    def look() -> None:
        now = unix_ms()
        daybook.look(rig.devices(now), now)
        publisher.heed_network()
        silence.look(now)

    await stack.enter_async_context(network)
    await stack.enter_async_context(exchange)
    committee = seats.peers_of(key.public)
    inbox.post(To.GOSSIP, gossip.Seek(committee) if votes else gossip.Follow(committee))
    await _introduce(config, key, chain, network, store, inbox)
    return Node(
        key.public, chain, config, engine, rig, network, publisher, journal,
        lambda: store.save_addresses([encode(record) for record in machines.gossip.records()]),
        look,
        lambda: store.persist([(DAY_KEY, daybook.saved())]),
        store.until_damaged,
    )


# ---- state -------------------------------------------------------------------------------


async def _recover(genesis: Genesis, chain: bytes, store: Store) -> tuple[State, Head]:
    """The ledger where the store left it. A state that does not have the stored root is damaged."""
    head = await store.head()
    if head is None:
        start = genesis_state(genesis, chain=chain)
        await store.append(
            Applied(0, chain, start.root, genesis.time_ms, b"", b"", changes=tuple(start.items()), rules=RULES)
        )
        return start, Head(0, chain, genesis.time_ms, start.root)
    first = await store.genesis_digest()
    if first != chain:
        raise ConfigError("the stored chain grew from another genesis", "Use another --datadir for this network.")
    state = restored(chain, genesis.parameters, (await store.load_state()).items())
    if state.root != head.state_root:
        raise ConfigError(
            "the stored ledger does not have the root of its head",
            "Move potminer.sqlite away: the node fetches the chain again. Keys are kept elsewhere.",
        )
    return state, Head(head.height, head.digest, head.time_ms, head.state_root)


async def _recall_takings(history: History, store: Store) -> None:
    """The sums as the store added them up; a store that never did begins with what the facts still tell."""
    rows = await store.takings()
    if rows:
        history.takings.restore(rows)
    else:
        await store.add_takings(history.takings.drain())


async def _store_block(store: Store, stored: StoredBlock, reached: Reached) -> None:
    await store.append(
        Applied(
            stored.height, stored.digest, stored.state_root, stored.time_ms, stored.block, stored.certificate,
            changes=stored.changes, receipts=stored.receipts, facts=stored.facts,
            takings=stored.takings, proofs=stored.proofs,
        )
    )
    reached.rise(stored.height)


async def _following(onions: OwnOnions | None, revealed: bytes) -> Onion:
    if onions is None:
        raise AssertionError("only who holds a replica renews its onion")
    return await onions.following(revealed)


# ---- machines ----------------------------------------------------------------------------


def _replica(
    key: SigningKey, chain: bytes, application: Application, head: Head, journal: dict[bytes, bytes], memory: Memory,
    busy: Callable[[bytes], bool],
) -> Terse:
    others = (b"work/", b"duty/", OWED, DAY_KEY, LEAPT, OWNER)
    persisted = {name: value for name, value in journal.items() if not name.startswith(others)}
    return Terse(
        key=key, chain=chain, application=application, head=head, persisted=persisted,
        parameters=Timers(), memory=memory, busy=busy,
    )


def _snapshots(store: Store, note: Callable[[str, str], None], genesis: Genesis, config: Config) -> Snapshots:
    kept = thrift_of(config)
    return Snapshots(
        store, note, epoch_blocks=genesis.parameters.epoch_blocks, keep_blocks=kept.keep_blocks, forgets=kept.forgets
    )


def _fault(byzantine: str | None, key: SigningKey, chain: bytes, seats: Seats) -> Misbehaviour | None:
    if byzantine not in set(Kind):
        return None
    return Misbehaviour(Kind(byzantine), key=key, chain=chain, committee=lambda: seats.committee)


class _Outsiders:
    """Everybody who is not of the committee."""

    def __init__(self, seats: Seats) -> None:
        self._seats = seats

    def __contains__(self, key: object) -> bool:
        return key not in self._seats


def _application(ledger: Ledger, fault: Misbehaviour | None, seats: Seats) -> Application:
    honest = LedgerApplication(ledger)
    if fault is None or fault.kind is not Kind.CENSOR:
        return honest
    return Censoring(honest, _Outsiders(seats))


# ---- hands -------------------------------------------------------------------------------


def _prices(config: Config) -> Prices:
    return Prices(
        price_micro(config.prices.pot), price_micro(config.power.kwh_price), config.power.currency.upper() or None
    )


def _listening_port(network: Network) -> int:
    return network.listening[1] if network.listening is not None else 0


async def _dial(network: Network, host: str, port: int, expected: bytes | None) -> None:
    try:
        await network.dial(host, port, expected)
    except LinkRefused as refused:
        raise PotminerError(str(refused)) from refused


async def _fetch(blobs: BlobStore, exchange: BlobExchange, blob: bytes, max_bytes: int) -> bool:
    return blobs.has(blob) or await exchange.fetch(blob, max_bytes=max_bytes, timeout=FETCH_S)


async def _introduce(
    config: Config, key: SigningKey, chain: bytes, network: Network, store: Store, inbox: Inbox
) -> None:
    """What gossip is told before it starts: seeds, remembered addresses, and our own."""
    for seed in config.node.bootstrap:
        inbox.post(To.GOSSIP, gossip.Introduce(seed.host, seed.port, seed.key))
    remembered = tuple(decode(AddressRecord, record, max_bytes=1_024) for record in await store.load_addresses())
    inbox.post(To.GOSSIP, gossip.Remembered(remembered))
    if network.listening is not None and network.listening[0] not in ("0.0.0.0", "::"):
        host, port = network.listening
        inbox.post(To.GOSSIP, gossip.Listening(sign_address(key, chain=chain, host=host, port=port, time_ms=unix_ms())))
