"""Constant load for minutes on four real validators: what grows, and what a restart of all costs.

    .venv/bin/python benchmarks/steady.py --rate 2000 --seconds 180     memory at full load, a constant set of accounts
    .venv/bin/python benchmarks/steady.py --rate 200 --seconds 900      a long run under moderate load

Every ten seconds: resident memory, open files, bytes of store, write-ahead log and log file. The slope is that of a
straight line through the second half. At the end all are stopped, the ledger is counted, and all are started again.
"""

from __future__ import annotations

import argparse
import asyncio
import itertools
import shutil
import sqlite3
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import psutil
from chains import key, transfer
from commits import SENDERS, Feed, Sent, batching, begun, cpu_of, enriched, pids, settled
from record import Figures, finish, parser, percentile

from potminer.core.ledger.state import grains_of
from potminer.devnet.plan import Member, Plan, make_plan
from potminer.devnet.processes import Processes
from potminer.node.genesisfile import read_genesis
from potminer.wire.genesis import chain_id, genesis_supply
from potminer.wire.tx import SignedTransaction
from potminer.world.store.store import Store

SAMPLE_S = 10.0
STEP_S = 0.25
WAITING_MOST = 6_000
MIB = 2**20


@dataclass
class Course:
    """What was seen of one validator, a row every SAMPLE_S."""

    at_s: list[float] = field(default_factory=list)
    rss_mib: list[float] = field(default_factory=list)
    files: list[int] = field(default_factory=list)
    store_mib: list[float] = field(default_factory=list)
    wal_mib: list[float] = field(default_factory=list)
    log_kib: list[float] = field(default_factory=list)

    def look(self, at_s: float, pid: int, member: Member) -> None:
        process = psutil.Process(pid)
        self.at_s.append(at_s)
        self.rss_mib.append(process.memory_info().rss / MIB)
        self.files.append(process.num_fds())
        store = member.datadir / "potminer.sqlite"
        self.store_mib.append(size_of(store) / MIB)
        self.wal_mib.append(size_of(store.with_name(store.name + "-wal")) / MIB)
        self.log_kib.append(sum(map(size_of, member.datadir.rglob("*.log*"))) / 1024)

    def figures(self) -> Figures:
        half = len(self.at_s) // 2
        return {
            "rss_mib": [round(each, 1) for each in self.rss_mib],
            "rss_mib_per_minute_second_half": 60 * slope(self.at_s[half:], self.rss_mib[half:]),
            "rss_most_mib": max(self.rss_mib),
            "open_files": [self.files[0], max(self.files), self.files[-1]],
            "store_mib": [self.store_mib[0], self.store_mib[-1]],
            "wal_most_mib": max(self.wal_mib),
            "log_kib": [self.log_kib[0], self.log_kib[half], self.log_kib[-1]],
        }


def size_of(path: Path) -> int:
    return path.stat().st_size if path.is_file() else 0


def slope(xs: Sequence[float], ys: Sequence[float]) -> float:
    """Of the straight line with the least squares."""
    if len(xs) < 2:
        return 0.0
    x, y = sum(xs) / len(xs), sum(ys) / len(ys)
    return sum((a - x) * (b - y) for a, b in zip(xs, ys, strict=True)) / sum((a - x) ** 2 for a in xs)


def endless(chain: bytes) -> Iterator[SignedTransaction]:
    """Nonce after nonce, every sender in turn, signed when they are due."""
    to = key("receiver").public
    for serial in itertools.count():
        yield transfer(chain, key("sender", serial % SENDERS), to, nonce=serial // SENDERS)


async def feed_for(plan: Plan, processes: Processes, feed: Feed, *, rate: float, seconds: float) -> dict[str, Course]:
    """Hands over *rate* transactions a second, fewer while WAITING_MOST wait; looks at everybody meanwhile."""
    face = await processes.face(plan.validators[0])
    made, courses = endless(chain_id(read_genesis(plan.genesis))), {m.name: Course() for m in plan.validators}
    members = {member.datadir.name: member for member in plan.validators}
    began, due, looked = time.monotonic(), 0.0, -SAMPLE_S
    while (now := time.monotonic() - began) < seconds:
        if now - looked >= SAMPLE_S:
            looked = now
            for folder, pid in pids(processes).items():
                courses[members[folder].name].look(now, pid, members[folder])
        if (await face.snapshot()).chain.mempool > WAITING_MOST:
            due = now * rate  # what could not be handed over is not made up for
        count = int(min(now * rate - due, 2_048))
        due += count
        if count:
            await feed(list(itertools.islice(made, count)))
        await asyncio.sleep(max(0.0, STEP_S - (time.monotonic() - began - now)))
    return courses


async def counted(plan: Plan) -> Figures:
    """What the stores hold after all were stopped: one chain, the whole supply, and how many bytes of what."""
    expected, heads, stored = genesis_supply(read_genesis(plan.genesis)), set(), list[Figures]()
    for member in plan.validators:
        path = member.datadir / "potminer.sqlite"
        async with Store.open(path) as store:
            head = await store.head()
            assert head is not None
            heads.add((head.height, head.digest))
            grains = grains_of((await store.load_state()).items())
        connection = sqlite3.connect(path)
        receipts = connection.execute("SELECT count(*) FROM receipts").fetchone()[0]
        blocks = connection.execute("SELECT sum(length(block) + length(certificate)) FROM blocks").fetchone()[0]
        facts = connection.execute("SELECT count(*) FROM facts").fetchone()[0]
        connection.close()
        stored.append({
            "height": head.height, "supply_is_exact": grains == expected, "committed": receipts,
            "blocks_mib": blocks / MIB, "file_mib": size_of(path) / MIB, "facts": facts,
            "file_bytes_per_tx": size_of(path) / max(1, receipts),
        })  # fmt: skip
    return {"lowest_height": min(each["height"] for each in stored), "stores": stored}


async def restarted(plan: Plan) -> Figures:
    """Seconds from starting all again until each answers, and until a transfer handed in then is committed."""
    began = time.monotonic()
    sent = Sent()
    async with Processes(plan) as processes:
        faces = [await processes.face(member) for member in plan.validators]
        answered = time.monotonic() - began
        before = (await faces[0].snapshot()).chain.height
        chain = chain_id(read_genesis(plan.genesis))
        async with batching(plan, processes, sent) as feed:
            await feed([transfer(chain, key("sender", SENDERS - 1), key("receiver").public, nonce=nonce)
                        for nonce in range(256)])
        height = before
        while height <= before:
            await asyncio.sleep(0.1)
            height = (await faces[0].snapshot()).chain.height
        return {"all_answer_after_s": answered, "first_commit_after_s": time.monotonic() - began}


async def steady(options: argparse.Namespace) -> Figures:
    folder = Path(tempfile.mkdtemp(prefix="potminer-steady-"))
    try:
        plan = make_plan(folder / "devnet", validators=4, trainers=1, seed=1, byzantine=[])
        plan = replace(plan, members=plan.validators)
        enriched(plan, block=options.block)
        sent = Sent()
        async with Processes(plan) as processes:
            faces = [await processes.face(member) for member in plan.validators]
            await begun(faces)
            async with batching(plan, processes, sent) as feed:
                idle = cpu_of(processes)
                courses = await feed_for(plan, processes, feed, rate=options.rate, seconds=options.seconds)
                await settled(faces)
                spent = [used - idle[name] for name, used in cpu_of(processes).items() if name != "feeder"]
            views = [(await face.snapshot()).chain for face in faces]
        stored = await counted(plan)
        committed = max(each["committed"] for each in stored["stores"])
        return {
            "rate": options.rate, "seconds": options.seconds, "handed_over": len(sent.at_ms), "committed": committed,
            "committed_tx_per_s": committed / options.seconds, "refused": dict(sent.refused.most_common(5)),
            "cpu_us_per_tx_and_validator": 1e6 * sum(spent) / len(spent) / max(1, committed),
            "commit_p50_ms": percentile([view.commit_p50_ms or 0 for view in views], 100),
            "commit_p99_ms": percentile([view.commit_p99_ms or 0 for view in views], 100),
            "highest_view": max(view.view for view in views),
            "validators": {name: course.figures() for name, course in courses.items()},
            **stored,
            "restart": await restarted(plan),
        }  # fmt: skip
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def main() -> None:
    made = parser(__doc__ or "")
    made.add_argument("--rate", type=float, default=200.0, help="transactions a second")
    made.add_argument("--seconds", type=float, default=900.0)
    made.add_argument("--block", type=int, default=2_000, help="most transactions of a block")
    options = made.parse_args()
    finish("steady", asyncio.run(steady(options)), options)


if __name__ == "__main__":
    main()
