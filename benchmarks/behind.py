"""Ten thousand blocks behind: CPU and wall time to catch up block by block, and by a leap onto a snapshot.

The node's own machines for sync and leaps, its ledger and its store on a real disk; every message is
packed and unpacked. There are no links: add the bytes at your line's speed. Each block carries
--transfers transfers among --accounts accounts, certified by three of four validators.
"""

from __future__ import annotations

import asyncio
import tempfile
import time
from collections.abc import Awaitable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

from chains import FEE, GRAINS, key
from record import Figures, finish, parser

from potminer.base.digest import Domain, digest
from potminer.core import machine as words
from potminer.core.committee import committee_of
from potminer.core.leap import events as leaps
from potminer.core.leap.machine import Leap
from potminer.core.ledger.apply import RULES, Applied, apply_block
from potminer.core.ledger.beacon import Onion
from potminer.core.ledger.ledger import Ledger
from potminer.core.ledger.state import State, genesis_state
from potminer.core.sync import machine as syncs
from potminer.core.sync.machine import Sync
from potminer.core.sync.proof import Tip
from potminer.node.gaps import Gaps
from potminer.node.history import History
from potminer.node.inbox import To
from potminer.node.leaping import Leaper, LightJudge, Snapshots
from potminer.node.past import Past
from potminer.wire import record as records
from potminer.wire.block import Block, Certificate, CertifiedBlock, Header, block_digest, transactions_root
from potminer.wire.codec import Wire, encode
from potminer.wire.genesis import Genesis, GenesisAccount, GenesisValidator, Parameters, chain_id
from potminer.wire.proof import CertifiedHeader
from potminer.wire.record import Validator
from potminer.wire.registry import pack, unpack
from potminer.wire.seal import Purpose, statement
from potminer.wire.sync import Blocks, BlocksWanted, Head
from potminer.wire.tx import SignedTransaction, Transaction, Transfer, sign_transaction
from potminer.world.store.chain import Applied as Row
from potminer.world.store.store import Store

PEERS = [bytes([n]) * 32 for n in (1, 2, 3)]
SEATS = 4


def silent(level: str, line: str) -> None:
    """Nobody reads the log of a benchmark."""


@dataclass
class World:
    """A chain of *blocks*, and the store of somebody who has it all."""

    accounts: int
    transfers: int
    blocks: list[CertifiedBlock] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.keys = [key("validator", seat) for seat in range(SEATS)]
        self.onions = {k.public: Onion(digest(Domain.ONION, k.public), layers=4_096) for k in self.keys}
        self.senders = [key("account", index) for index in range(self.transfers)]
        crowd = tuple(digest(Domain.DRAW, b"crowd", n.to_bytes(8, "big")) for n in range(self.accounts))
        self.genesis = Genesis(
            "benchmark", 1_000_000, Parameters(),
            tuple(GenesisValidator(k.public, 1, self.onions[k.public].outside) for k in self.keys),
            (*(GenesisAccount(k.public, GRAINS * 10**6) for k in self.senders),
             *(GenesisAccount(each, GRAINS) for each in crowd)),
            bytes(32),
        )  # fmt: skip
        self.chain = chain_id(self.genesis)
        self.start = genesis_state(self.genesis, chain=self.chain)

    def signed(self, height: int) -> tuple[SignedTransaction, ...]:
        to = digest(Domain.DRAW, b"crowd", (height % self.accounts).to_bytes(8, "big"))
        bodies = [(k, Transaction(self.chain, k.public, height - 1, FEE, 2**32, Transfer(to, 1))) for k in self.senders]
        return tuple(sign_transaction(transaction, k) for k, transaction in bodies)

    def next_block(self, state: State, parent: bytes) -> CertifiedBlock:
        committee, height = committee_of(state.committee), state.head.height + 1
        proposer = committee.members[committee.primary(height=height, view=0)]
        revealed = state.need(Validator, records.validator_key(proposer)).onion
        preimage = self.onions[proposer].inside(revealed)
        if preimage is None:
            raise AssertionError("the onion is used up: fewer blocks")
        carried = self.signed(height)
        header = Header(
            parent, height, committee.epoch, transactions_root(carried), state.root, proposer,
            state.head.time_ms + 1_000, preimage,
        )  # fmt: skip
        return CertifiedBlock(Block(header, carried), self.certificate(header))

    def certificate(self, header: Header) -> Certificate:
        name = block_digest(header)
        place = {"epoch": header.epoch, "height": header.height}
        signatures = tuple(
            (seat, k.sign(statement(Purpose.COMMIT, chain=self.chain, signer=k.public, digest=name, **place)))
            for seat, k in enumerate(self.keys[:3])
        )
        return Certificate(Purpose.COMMIT, header.epoch, header.height, 0, name, signatures)


def row_of(applied: Applied, certified: CertifiedBlock, proofs: tuple[tuple[str, int, bytes], ...]) -> Row:
    header = certified.block.header
    receipts = tuple((r.transaction, r.index, r.refusal or "", "") for r in applied.receipts)
    return Row(
        header.height, block_digest(header), applied.state.root, header.time_ms, certified.block.encoded,
        encode(certified.certificate), applied.changes, receipts, proofs=proofs,
    )  # fmt: skip


async def begin(store: Store, world: World) -> None:
    entries = tuple(world.start.items())
    await store.append(Row(0, world.chain, world.start.root, world.start.head.time_ms, b"", b"", entries, rules=RULES))


async def make(world: World, store: Store, count: int, snapshots: Snapshots) -> Figures:
    """The chain, and its snapshots as they come; how long one made the loop wait at most."""
    await begin(store, world)
    state, parent, past = world.start, world.chain, Past(world.start)
    longest, making_s, made = 0.0, 0.0, 0
    for _ in range(count):
        certified = world.next_block(state, parent)
        applied = apply_block(state, certified.block)
        if not isinstance(applied, Applied):
            raise AssertionError(applied.reason)
        proven = CertifiedHeader(certified.block.header, certified.certificate)
        await store.append(row_of(applied, certified, past.follow(applied, proven)))
        making = snapshots.after(applied.state, proven) if count - state.head.height <= 202 else None
        if making is not None:
            task, began = asyncio.ensure_future(making), time.perf_counter()
            while not task.done():
                turn = time.perf_counter()
                await asyncio.sleep(0)
                longest = max(longest, time.perf_counter() - turn)
            making_s, made = making_s + time.perf_counter() - began, made + 1
        before, state, parent = state, applied.state, block_digest(certified.block.header)
        state.follow(before, [name for name, _ in applied.changes])
        world.blocks.append(certified)
    return {"snapshot_s": making_s / max(made, 1), "longest_stall_ms": longest * 1_000}


def no_gaps() -> Gaps:
    """The books of who never worked: what it leapt over is written down nowhere."""

    async def forget(entries: Sequence[tuple[bytes, bytes | None]]) -> None:
        del entries

    return Gaps(bytes(32), History(bytes(32)), forget, saved=None, head=0)


class Node:
    """Behind by everything. Peers answer at once; what they say is counted."""

    def __init__(self, world: World, store: Store, server: Leaper, *, far: int) -> None:
        self.world, self.store, self.server = world, store, server
        self.ledger = Ledger(world.start, head=world.chain)
        self.past = Past(world.start)
        snapshots = Snapshots(store, silent, epoch_blocks=100)
        self.leaper = Leaper(self.ledger, self.past, snapshots, no_gaps(), silent)
        self.sync = Sync(world.chain, self.ledger.committee, Tip(0, world.chain, world.start.root))
        self.leap = Leap(0, lambda: LightJudge.at_head(self.ledger), far=far)
        self.waiting: list[object] = []
        self.bytes = 0

    async def catch_up(self, height: int) -> None:
        for peer in PEERS:
            self.waiting += [words.PeerUp(peer, True), words.MessageArrived(peer, Head(height, bytes(32)))]
        while self.ledger.state.head.height < height:
            event, now = self.waiting.pop(0), int(time.time() * 1_000)
            ours = [] if isinstance(event, leaps.Leapt) else self.sync.handle(event, now)  # type: ignore[arg-type]
            for effect in [*ours, *self.leap.handle(event, now)]:  # type: ignore[arg-type]
                await self.perform(effect)

    async def perform(self, effect: object) -> None:
        match effect:
            case words.Send(peer, message):
                await self.ask(peer, message)
            case words.Execute(block, certificate):
                await self.execute(CertifiedBlock(block, certificate))
            case leaps.Hold() | leaps.Begin() | leaps.KeepChunk() | leaps.Install() | leaps.GiveUp() | leaps.Shun():
                told = await self.leaper.perform(effect)
                self.waiting += [event for to, event in told if to is To.SYNC]
            case _:
                pass

    async def execute(self, certified: CertifiedBlock) -> None:
        if certified.block.header.height != self.ledger.state.head.height + 1:
            return  # the leap landed meanwhile
        before = self.ledger.committee.epoch
        applied = self.ledger.execute(certified.block)
        proven = CertifiedHeader(certified.block.header, certified.certificate)
        await self.store.append(row_of(applied, certified, self.past.follow(applied, proven)))
        header = certified.block.header
        if self.ledger.committee.epoch != before:
            self.waiting.append(syncs.CommitteeKnown(header.height + 1, self.ledger.committee))
        self.waiting.append(words.Executed(header.height, self.ledger.head, applied.state.root, header.time_ms))

    async def ask(self, peer: bytes, question: Wire) -> None:
        """Through the registry's bytes, as over a link."""
        for asked in self.effects_of(question):
            begun: list[Awaitable[None]] = []
            send = partial(self._answered, peer)
            self.server.asked(asked, self.store.blocks, send, member=True, spawn=begun.append)
            for answer in begun:
                await answer
        if isinstance(question, BlocksWanted):
            chosen = self.world.blocks[question.first - 1 : question.first - 1 + question.count]
            self.hear(peer, Blocks(tuple(chosen)))

    def effects_of(self, question: Wire) -> Iterator[leaps.Answering]:
        """What a server's own leap would have its node answer."""
        server = Leap(0, lambda: LightJudge.at_head(self.ledger))
        server.handle(words.PeerUp(PEERS[0], True), 0)
        for effect in server.handle(words.MessageArrived(PEERS[0], question), 0):
            if isinstance(effect, leaps.Offer | leaps.SendManifest | leaps.SendChunk):
                yield effect

    def _answered(self, peer: bytes, asker: bytes, told: Wire) -> bool:
        del asker
        return self.hear(peer, told)

    def hear(self, peer: bytes, told: Wire) -> bool:
        row, body = pack(told)
        self.bytes += len(body)
        self.waiting.append(words.MessageArrived(peer, unpack(row.number, body)))
        return True


async def measured(folder: Path, blocks: int, accounts: int, transfers: int) -> Figures:
    world = World(accounts, transfers)
    async with Store.open(folder / "server.sqlite") as store:
        snapshots = Snapshots(store, silent, epoch_blocks=100)
        made = await make(world, store, blocks, snapshots)
        ledger = Ledger(world.start, head=world.chain)
        server = Leaper(ledger, Past(world.start), snapshots, no_gaps(), silent)
        figures: Figures = {"blocks": blocks, "accounts": accounts, "transfers_a_block": transfers} | made
        for name, far in (("by_leap", 1_000), ("by_blocks", 10**12)):
            async with Store.open(folder / f"{name}.sqlite") as own:
                await begin(own, world)
                node = Node(world, own, server, far=far)
                cpu, wall = time.process_time(), time.perf_counter()
                await node.catch_up(blocks)
                took = {"cpu_s": time.process_time() - cpu, "wall_s": time.perf_counter() - wall}
                figures[name] = took | {"mib": node.bytes / 2**20, "executed": blocks + 1 - await own.lowest()}
    figures["leap_is_faster"] = figures["by_blocks"]["cpu_s"] / figures["by_leap"]["cpu_s"]
    return figures


def main() -> None:
    made = parser(__doc__ or "")
    made.add_argument("--blocks", type=int, default=10_050)
    made.add_argument("--accounts", type=int, default=20_000)
    made.add_argument("--transfers", type=int, default=2, help="in every block")
    options = made.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        work = measured(Path(folder), options.blocks, options.accounts, options.transfers)
        finish("behind", asyncio.run(work), options, note="no links; one process sends and receives, both are counted")


if __name__ == "__main__":
    main()
