"""Decisions and transactions per second: the real replica in virtual time, then real processes on loopback.

Part one runs potminer's simulator without faults; its figures are CPU seconds per decision of
all replicas together, and latencies in virtual time. Part two starts four validators as a user
would and feeds them signed transfers: by gossip from peers of its own, through their APIs one by
one, or through their APIs in batches. At its end one line a way says what a reader wants first.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import random
import shutil
import subprocess
import tempfile
import time
from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path

import msgspec
import psutil
from chains import GRAINS, key, transfer
from record import Figures, finish, parser, per_second, percentile

from potminer.base import limits
from potminer.base.errors import PotminerError
from potminer.core.committee import Committee
from potminer.core.pbft.application import Head, Timers
from potminer.devnet.plan import Plan, make_plan
from potminer.devnet.processes import Processes
from potminer.node.genesisfile import read_genesis, write_genesis
from potminer.sim.host import Host
from potminer.sim.ledger import GENESIS_MS
from potminer.sim.scenarios import SCENARIOS, draw
from potminer.sim.world import EPOCH, World
from potminer.wire.block import Block, CertifiedBlock
from potminer.wire.codec import Wire, decode, encode
from potminer.wire.genesis import GenesisAccount, chain_id
from potminer.wire.gossip import Item, Push, Topic
from potminer.wire.hello import Hello
from potminer.wire.tx import SignedTransaction, signature_holds, transaction_digest
from potminer.world.api.attach import Client
from potminer.world.net.network import Network
from potminer.world.store.store import Store

SENDERS = 4_000
PUSH_ITEMS = 64
WAITING_MOST = 6_000
"""The feeder holds back while a validator's mempool is fuller than this."""
POLL_S = 0.1


# ---- one: the replica in virtual time ----------------------------------------------------


class Timed(World):
    """A world that notes how old every block was when each replica executed it."""

    ages_ms: list[int]

    def executed(self, host: Host, *, head: Head, certified: CertifiedBlock) -> None:
        self.ages_ms.append(GENESIS_MS + self.clock.now - certified.block.header.time_ms)
        super().executed(host, head=head, certified=certified)


def simulated(nodes: int, *, transactions: int, one_way_ms: int, seed: int = 1) -> Figures:
    """A calm run in which every message takes *one_way_ms* and a little more."""
    calm = replace(
        SCENARIOS["calm"], transactions=transactions, chaos_ms=30_000, delay_ms=(one_way_ms, 2), skew_ms=0
    )
    timers = Timers(checkpoint_blocks=100)
    world = Timed(
        draw(calm, seed, nodes=nodes), parameters=timers,
        make_committee=lambda members, powers: Committee(EPOCH, members, powers),
    )
    world.ages_ms = []
    began = time.process_time()
    report = world.run()
    cpu_s = time.process_time() - began
    if report.violations:
        raise SystemExit(f"the run broke a promise: {report.violations}")
    return {
        "decisions": report.blocks,
        "decisions_per_cpu_s": report.blocks / cpu_s,
        "cpu_us_per_decision_and_replica": cpu_s / report.blocks / nodes * 1e6,
        "messages_per_decision": report.messages / report.blocks,
        "commit_p50_ms": percentile(world.ages_ms, 50),
        "commit_p99_ms": percentile(world.ages_ms, 99),
    }


# ---- two: real processes -----------------------------------------------------------------


def enriched(plan: Plan, *, block: int) -> None:
    """The plan's genesis again, with SENDERS funded accounts and blocks of at most *block* transactions."""
    accounts = tuple(GenesisAccount(key("sender", index).public, GRAINS) for index in range(SENDERS))
    genesis = read_genesis(plan.genesis)
    genesis = type(genesis)(
        genesis.network, genesis.time_ms, msgspec.structs.replace(genesis.parameters, block_transactions=block),
        genesis.validators, accounts, genesis.seed,
    )
    write_genesis(plan.genesis, genesis)
    for member in plan.members:
        write_genesis(member.datadir / "genesis.json", genesis)


def signed_transfers(chain: bytes, count: int) -> Iterator[SignedTransaction]:
    """Nonce after nonce, every sender in turn: a lost one holds up its own sender only."""
    to = key("receiver").public
    for serial in range(count):
        yield transfer(chain, key("sender", serial % SENDERS), to, nonce=serial // SENDERS)


class Deaf:
    """A feeder's handler: what validators say to it does not matter."""

    offences: list[str]

    def __init__(self) -> None:
        self.offences = []

    def link_up(self, peer: bytes, hello: Hello, outbound: bool, address: tuple[str, int]) -> None:
        pass

    def link_down(self, peer: bytes) -> None:
        pass

    def message(self, peer: bytes, message: Wire) -> None:
        pass

    def offence(self, peer: bytes, offence: str, detail: str) -> None:
        self.offences.append(f"{offence}: {detail}")


@dataclass
class Sent:
    """When each transaction was handed over, by digest; Unix milliseconds."""

    at_ms: dict[bytes, int] = field(default_factory=dict)
    refused: Counter[str] = field(default_factory=Counter)


Feed = Callable[[Sequence[SignedTransaction]], "asyncio.Future[None]"]


@asynccontextmanager
async def gossiping(plan: Plan, sent: Sent, feeders: int) -> AsyncIterator[Feed]:
    """Every transaction goes to every validator in pushes of PUSH_ITEMS, by *feeders* peers in turn."""
    chain = chain_id(read_genesis(plan.genesis))
    async with AsyncExitStack() as stack:
        networks = []
        for index in range(feeders):
            hello = Hello("benchmark", 0, 0)
            network = Network(key("feeder", index), chain, None, lambda hello=hello: hello, Deaf(), lambda _: True)
            await stack.enter_async_context(network)
            for member in plan.validators:
                await network.dial("127.0.0.1", member.port, member.key)
            networks.append(network)
        turn = 0

        async def feed(batch: Sequence[SignedTransaction]) -> None:
            nonlocal turn
            for at in range(0, len(batch), PUSH_ITEMS):
                part = batch[at : at + PUSH_ITEMS]
                push = Push(tuple(Item(Topic.TRANSACTION, encode(signed)) for signed in part))
                now = int(time.time() * 1000)
                for signed in part:
                    sent.at_ms[transaction_digest(signed.transaction)] = now
                network = networks[turn % feeders]
                turn += 1
                for member in plan.validators:
                    if not network.send(member.key, push):
                        sent.refused["push dropped by the link"] += 1
                await asyncio.sleep(0)

        yield feed  # type: ignore[misc]


@asynccontextmanager
async def batching(plan: Plan, processes: Processes, sent: Sent) -> AsyncIterator[Feed]:
    """Transactions are posted together, as many as one request takes, to the validator that is their sender's."""
    faces = [await processes.face(member) for member in plan.validators]

    async def one(face: Client, part: Sequence[SignedTransaction]) -> None:
        now = int(time.time() * 1000)
        sent.at_ms.update((signed.digest, now) for signed in part)
        try:
            handed = await face.submit_all(part)
            sent.refused.update(each.refusal for each in handed.transactions if each.refusal is not None)
        except PotminerError as error:
            sent.refused[error.what[:60]] += len(part)

    async def feed(batch: Sequence[SignedTransaction]) -> None:
        doors: list[list[SignedTransaction]] = [[] for _ in faces]
        for signed in batch:
            doors[signed.transaction.sender[0] % len(faces)].append(signed)
        most = limits.BATCH_TRANSACTIONS
        await asyncio.gather(
            *(one(face, door[at : at + most])
              for face, door in zip(faces, doors, strict=True) for at in range(0, len(door), most))
        )  # fmt: skip

    yield feed  # type: ignore[misc]


@asynccontextmanager
async def asking(plan: Plan, processes: Processes, sent: Sent, clients: int) -> AsyncIterator[Feed]:
    """Every transaction is posted to one validator's API, the same for one sender; the nodes gossip it on."""
    faces = [await processes.face(member) for member in plan.validators]

    async def one(lane: Sequence[SignedTransaction]) -> None:
        for signed in lane:
            face = faces[signed.transaction.sender[0] % len(faces)]
            sent.at_ms[transaction_digest(signed.transaction)] = int(time.time() * 1000)
            try:
                await face.submit(signed)
            except PotminerError as error:
                sent.refused[error.what[:60]] += 1

    async def feed(batch: Sequence[SignedTransaction]) -> None:
        # One sender's transactions stay in one lane, in order.
        lanes: list[list[SignedTransaction]] = [[] for _ in range(clients)]
        for signed in batch:
            lanes[signed.transaction.sender[1] % clients].append(signed)
        await asyncio.gather(*(one(lane) for lane in lanes))

    yield feed  # type: ignore[misc]


async def drive(
    plan: Plan, processes: Processes, feed: Feed, transactions: list[SignedTransaction], *, seconds: float, batch: int
) -> tuple[int, dict[str, float]]:
    """Feed for *seconds*, never more than WAITING_MOST ahead; how many went out, and CPU seconds by process."""
    face = await processes.face(plan.validators[0])
    before, began, at = cpu_of(processes), time.monotonic(), 0
    while (spent := time.monotonic() - began) < seconds and at < len(transactions):
        if (await face.snapshot()).chain.mempool > WAITING_MOST:
            await asyncio.sleep(POLL_S)
            continue
        await feed(transactions[at : at + batch])
        at += batch
    after = cpu_of(processes)
    spent = time.monotonic() - began
    return min(at, len(transactions)), {name: (after[name] - before[name]) / spent for name in after}


def cpu_of(processes: Processes) -> dict[str, float]:
    found = {name: pid for name, pid in pids(processes).items()} | {"feeder": os.getpid()}
    return {name: sum(psutil.Process(pid).cpu_times()[:2]) for name, pid in found.items()}


def memory_of(processes: Processes) -> float:
    """MiB that the largest validator has resident."""
    return max(psutil.Process(pid).memory_info().rss for pid in pids(processes).values()) / 2**20


def written_by(processes: Processes) -> int:
    """Bytes that all validators handed to their disks."""
    return sum(psutil.Process(pid).io_counters().write_bytes for pid in pids(processes).values())


def signatures(figures: Figures, *, validators: int = 4, cores: int = 2) -> Figures:
    """What the signatures alone take: a validator verifies each transaction once, and per decision the proposal and a
    quorum each of PREPAREs and COMMITs at most; three durable commits (PREPARE, COMMIT, block) stand beside them."""
    quorum = 2 * validators // 3 + 1
    each_s = figures["committed_tx_per_s"] + figures["blocks_per_s"] * (1 + 2 * quorum)
    signed = transfer(bytes(32), key("sender"), key("receiver").public)
    rate = per_second(lambda: signature_holds(signed))
    return {
        "verifies_per_s_and_validator": each_s,
        "verify_us": 1e6 / rate,
        "share_of_signature_bound": each_s * validators / (rate * cores),
        "durable_commits_per_decision": 3,
    }


def pids(processes: Processes) -> dict[str, int]:
    """Children of ours that run a validator, by the name of their data folder."""
    found = {}
    for child in psutil.Process().children():
        words = [] if child.status() == psutil.STATUS_ZOMBIE else child.cmdline()
        if "--datadir" in words:
            found[Path(words[words.index("--datadir") + 1]).name] = child.pid
    return found


async def real(options: argparse.Namespace, how: str) -> Figures:
    folder = Path(tempfile.mkdtemp(prefix="potminer-commits-"))
    try:
        plan = make_plan(folder / "devnet", validators=4, trainers=1, seed=1, byzantine=[])
        plan = replace(plan, members=plan.validators)
        enriched(plan, block=options.block)
        chain = chain_id(read_genesis(plan.genesis))
        most = int(options.seconds * (2_000 * options.feeders if how == "gossip" else 5_000))
        transactions = list(signed_transfers(chain, most))
        sent = Sent()
        async with Processes(plan) as processes:
            faces = [await processes.face(member) for member in plan.validators]
            await begun(faces)
            async with feeding(plan, processes, sent, options, how) as feed:
                spy = Spy(options.py_spy, pids(processes).get("validator-1"), folder, options.seconds)
                batch = {"gossip": PUSH_ITEMS * options.feeders, "api": 1_024, "batch": 2_048}[how]
                began_ms = int(time.time() * 1000)
                idle, written, resident = cpu_of(processes), written_by(processes), memory_of(processes)
                count, cpu = await drive(plan, processes, feed, transactions, seconds=options.seconds, batch=batch)
                ended_ms = int(time.time() * 1000)
                await settled(faces)
                spent = {name: used - idle[name] for name, used in cpu_of(processes).items()}
                written, grown = written_by(processes) - written, memory_of(processes) - resident
            snapshots = [await face.snapshot() for face in faces]
        figures = await counted(plan, sent, began_ms, ended_ms)
        chain_views = [snapshot.chain for snapshot in snapshots]
        return {
            **figures,
            "handed_over": count,
            "refused": dict(sent.refused.most_common(5)),
            "node_commit_p50_ms": max(view.commit_p50_ms or 0 for view in chain_views),
            "node_commit_p99_ms": max(view.commit_p99_ms or 0 for view in chain_views),
            "highest_view": max(view.view for view in chain_views),
            "bytes_per_tx_all_validators": sum(v.sent_bytes for v in chain_views) / max(1, figures["committed"]),
            "cores_used": cpu,
            "cpu_us_per_tx_and_validator": _cpu_us(spent, figures),
            "bytes_per_decision_all_validators": sum(v.sent_bytes for v in chain_views) / max(1, chain_views[0].height),
            "resident_mib": resident,
            "resident_grown_mib": grown,
            "written_bytes_per_tx_and_validator": written / 4 / max(1, figures["committed"]),
            **signatures(figures),
            "profile_of_validator_1": spy.read(),
        }
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def feeding(
    plan: Plan, processes: Processes, sent: Sent, options: argparse.Namespace, how: str
) -> AbstractAsyncContextManager[Feed]:
    match how:
        case "gossip":
            return gossiping(plan, sent, options.feeders)
        case "batch":
            return batching(plan, processes, sent)
        case _:
            return asking(plan, processes, sent, options.clients)


def summary(how: str, figures: Figures) -> str:
    return (
        f"{how}: {figures['committed_tx_per_s']:,.0f} tx/s committed for {figures['seconds']:.0f} s; commit p50, p99 "
        f"{figures['node_commit_p50_ms']}, {figures['node_commit_p99_ms']} ms; "
        f"{figures['cpu_us_per_tx_and_validator']:.0f} us of CPU per transaction and validator; "
        f"{figures['verifies_per_s_and_validator']:,.0f} verifications/s and validator, "
        f"{figures['share_of_signature_bound']:.2f} of the signature bound; per decision "
        f"{figures['bytes_per_decision_all_validators'] / 1024:,.0f} KiB on all links, "
        f"{figures['durable_commits_per_decision']} fsyncs a validator; memory "
        f"{figures['resident_mib']:.0f} + {figures['resident_grown_mib']:.0f} MiB"
    )


def _cpu_us(spent_s: dict[str, float], figures: Figures) -> float | None:
    """CPU time of a validator per committed transaction, from the first hand-over until nothing waited any more."""
    mean = sum(used for name, used in spent_s.items() if name != "feeder") / 4
    return mean / figures["committed"] * 1e6 if figures["committed"] else None


async def begun(faces: Sequence[object]) -> None:
    """Until every validator has executed a block."""
    lowest = 0
    while lowest < 1:
        await asyncio.sleep(POLL_S)
        lowest = min([(await face.snapshot()).chain.height for face in faces])  # type: ignore[attr-defined]


async def settled(faces: Sequence[object]) -> None:
    """Until the mempools do not shrink any more, at most 20 s."""
    last, deadline = -1, time.monotonic() + 20
    while time.monotonic() < deadline:
        waiting = sum([(await face.snapshot()).chain.mempool for face in faces])  # type: ignore[attr-defined]
        if waiting in (0, last):
            return
        last = waiting
        await asyncio.sleep(1.5)


async def counted(plan: Plan, sent: Sent, began_ms: int, ended_ms: int) -> Figures:
    """What the first validator stored: transfers in blocks made between the first and the last hand-over."""
    waits: list[int] = []
    sizes: list[int] = []
    committed = 0
    async with Store.open(plan.validators[0].datadir / "potminer.sqlite") as store:
        head = await store.head()
        height = 0 if head is None else head.height
        for first in range(1, height + 1, 50):
            for raw, _ in await store.blocks(first, 50, 64 * limits.BLOCK_BYTES):
                block = decode(Block, raw, max_bytes=limits.BLOCK_MESSAGE_BYTES)
                inside = began_ms <= block.header.time_ms <= ended_ms
                committed += len(block.transactions)
                if not inside:
                    continue
                sizes.append(len(block.transactions))
                for signed in block.transactions:
                    at = sent.at_ms.get(transaction_digest(signed.transaction))
                    if at is not None:
                        waits.append(block.header.time_ms - at)
    seconds = (ended_ms - began_ms) / 1000
    return {
        "seconds": seconds,
        "committed": committed,
        "committed_tx_per_s": sum(sizes) / seconds,
        "blocks_per_s": len(sizes) / seconds,
        "block_size_p50": percentile(sizes, 50) if sizes else 0,
        "block_size_most": max(sizes, default=0),
        "wait_for_block_p50_ms": percentile(waits, 50) if waits else None,
        "wait_for_block_p99_ms": percentile(waits, 99) if waits else None,
    }


class Spy:
    """py-spy on one validator in the middle of the run; nothing where its path is not given."""

    def __init__(self, program: str | None, pid: int | None, folder: Path, seconds: float) -> None:
        self._out = folder / "stacks.txt"
        self._process = None
        if program and pid:
            self._process = subprocess.Popen(
                [program, "record", "-p", str(pid), "-d", str(max(2, int(seconds * 0.6))), "-r", "100", "-F", "-f",
                 "raw", "-o", str(self._out)],
                stdout=subprocess.DEVNULL, stderr=(folder / "py-spy.err").open("wb"),
            )

    def read(self) -> Figures:
        """Shares of the event loop's busy samples: with a function of ours on the stack, and with one on top."""
        if self._process is None:
            return {}
        self._process.wait()
        if not self._out.is_file():
            return {"py-spy": self._out.with_name("py-spy.err").read_text(errors="replace")[-400:]}
        inside: Counter[str] = Counter()
        top: Counter[str] = Counter()
        total = store = 0
        for line in self._out.read_text().splitlines():
            stack, _, count = line.rpartition(" ")
            frames = [short(frame) for frame in stack.split(";")]
            store += int(count) if any(frame.startswith("Store._transact") for frame in frames) else 0
            if not any("BaseEventLoop._run_once" in frame for frame in frames) or "select" in frames[-1]:
                continue
            total += int(count)
            inside.update(dict.fromkeys({frame for frame in frames if "potminer" in frame}, int(count)))
            top[frames[-1]] += int(count)
        if not total:
            return {"py-spy": "saw no busy moment"}
        return {
            "with_on_stack": {f: f"{count / total:.0%}" for f, count in inside.most_common(50) if count / total > 0.04},
            "on_top": {f: f"{count / total:.0%}" for f, count in top.most_common(14)},
            "store_thread_to_loop": round(store / total, 3),
        }


def short(frame: str) -> str:
    """``function (file)``: py-spy names the line where a function begins, too."""
    return frame.rpartition(":")[0] + ")" if frame.endswith(")") and ":" in frame else frame


def main() -> None:
    made = parser(__doc__ or "")
    made.add_argument("--seconds", type=float, default=20.0)
    made.add_argument("--feeders", type=int, default=2, help="gossiping peers; each may push 2,000 items a second")
    made.add_argument("--clients", type=int, default=48, help="lanes of API requests")
    made.add_argument(
        "--block", type=int, default=2_000,
        help="most transactions of a block: where much waits, more raise the latency and name what has only just come",
    )
    made.add_argument("--only", choices=("simulated", "gossip", "api", "batch"), default=None)
    made.add_argument("--py-spy", default=shutil.which("py-spy"), help="path of py-spy, for the profile")
    options = made.parse_args()
    random.seed(1)
    figures: Figures = {}
    if options.only in (None, "simulated"):
        for nodes in (4, 16, 31):
            figures[f"simulated_n{nodes}_rtt100"] = simulated(nodes, transactions=400, one_way_ms=50)
    for how in ("gossip", "api", "batch"):
        if options.only in (None, how):
            figures[f"real_{how}"] = asyncio.run(real(options, how))
    finish("commits", figures, options)
    if not options.json:
        for how in ("gossip", "api", "batch"):
            if f"real_{how}" in figures:
                print(summary(how, figures[f"real_{how}"]))  # noqa: T201


if __name__ == "__main__":
    main()
