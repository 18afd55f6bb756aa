"""What it costs to follow the ledger: trainers that have nothing to train beside the four validators they follow.

    .venv/bin/python benchmarks/follow.py --rate 500               one trainer, transfers through the validators' APIs
    .venv/bin/python benchmarks/follow.py --rate 500 --trainers 6  how a validator's upload grows with those who follow

Counted from the first transfer until nothing waits any more, less what the same processes take in ten idle seconds:
CPU time and bytes on all links per committed transaction, resident memory, growth of the store. CPU time and bytes do
not mind a busy machine. Then a newcomer's data folder is emptied and the time until it is at the head again is taken.
"""

from __future__ import annotations

import argparse
import asyncio
import itertools
import shutil
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

import psutil
from commits import WAITING_MOST, Sent, batching, begun, enriched, pids, settled
from record import Figures, finish, parser
from steady import endless, size_of

from potminer.devnet.plan import Member, Plan, make_plan
from potminer.devnet.processes import Processes
from potminer.node.genesisfile import read_genesis
from potminer.wire.genesis import chain_id

IDLE_S = 10.0
STEP_S = 0.25
ABREAST_S = 60.0
KINDS = ("validator", "trainer")


@dataclass(frozen=True, slots=True)
class Look:
    """One process at one moment: CPU seconds, bytes on its links, bytes of its store, resident MiB."""

    cpu_s: float
    received: int
    sent: int
    stored: int
    rss_mib: float
    height: int


async def look(processes: Processes, member: Member) -> Look:
    view = (await (await processes.face(member)).snapshot()).chain
    process = psutil.Process(pids(processes)[member.datadir.name])
    store = member.datadir / "potminer.sqlite"
    cpu, rss = sum(process.cpu_times()[:2]), process.memory_info().rss / 2**20
    return Look(cpu, view.received_bytes, view.sent_bytes, size_of(store), rss, view.height)


async def look_at_all(processes: Processes, plan: Plan) -> dict[str, Look]:
    return {member.name: await look(processes, member) for member in plan.members}


async def abreast(processes: Processes, plan: Plan) -> None:
    """Until every node has executed what the first validator has by now."""
    head = (await look(processes, plan.members[0])).height
    deadline = time.monotonic() + ABREAST_S
    while time.monotonic() < deadline:
        if min(each.height for each in (await look_at_all(processes, plan)).values()) >= head:
            return
        await asyncio.sleep(0.2)
    raise SystemExit("a node is not at the head after a minute")


def grown(before: dict[str, Look], after: dict[str, Look], kind: str) -> tuple[float, float, float]:
    """Mean CPU seconds, bytes received and bytes sent of the members of *kind*."""
    pairs = [(before[name], after[name]) for name in before if name.startswith(kind)]
    sums = [(b.cpu_s - a.cpu_s, b.received - a.received, b.sent - a.sent) for a, b in pairs]
    return tuple(sum(column) / len(pairs) for column in zip(*sums, strict=True))  # type: ignore[return-value]


async def feed_for(plan: Plan, processes: Processes, sent: Sent, *, rate: float, seconds: float) -> None:
    made, first = endless(chain_id(read_genesis(plan.genesis))), await processes.face(plan.validators[0])
    async with batching(plan, processes, sent) as feed:
        began, due = time.monotonic(), 0.0
        while (now := time.monotonic() - began) < seconds:
            if (await first.snapshot()).chain.mempool > WAITING_MOST:
                due = now * rate
            count = int(min(now * rate - due, 2_048))
            due += count
            if count:
                await feed(list(itertools.islice(made, count)))
            await asyncio.sleep(max(0.0, STEP_S - (time.monotonic() - began - now)))


async def newcomer(processes: Processes, plan: Plan) -> Figures:
    """The last trainer loses its chain and begins again."""
    member = plan.trainers[-1]
    head = (await look(processes, plan.members[0])).height
    await processes.kill(member)
    for path in member.datadir.glob("potminer.sqlite*"):
        path.unlink()
    began = time.monotonic()
    await processes.start(member)
    await abreast(processes, plan)
    seen = await look(processes, member)
    return {"blocks": head, "seconds": time.monotonic() - began, "cpu_s": seen.cpu_s, "received_bytes": seen.received}


async def measured(options: argparse.Namespace) -> Figures:
    folder = Path(tempfile.mkdtemp(prefix="potminer-follow-"))
    try:
        plan = make_plan(folder / "devnet", validators=4, trainers=options.trainers, seed=1, byzantine=[])
        enriched(plan, block=options.block)
        sent = Sent()
        async with Processes(plan) as processes:
            faces = [await processes.face(member) for member in plan.members]
            await begun(faces)
            await asyncio.sleep(3.0)
            start = await look_at_all(processes, plan)
            await asyncio.sleep(IDLE_S)
            idle = await look_at_all(processes, plan)
            began = time.monotonic()
            await feed_for(plan, processes, sent, rate=options.rate, seconds=options.seconds)
            await settled(faces[:4])
            await abreast(processes, plan)
            spent = time.monotonic() - began
            after = await look_at_all(processes, plan)
            again = await newcomer(processes, plan) if options.newcomer else {}
        # A file grows only when its log is written back, at the latest when the node ends.
        whole = {member.name: size_of(member.datadir / "potminer.sqlite") for member in plan.members}
        count = len(sent.at_ms) - sum(sent.refused.values())
        figures: Figures = {
            "rate": options.rate, "trainers": options.trainers, "transactions": count, "seconds": spent,
            "blocks": after["validator-0"].height - idle["validator-0"].height, "refused": dict(sent.refused),
        }  # fmt: skip
        for kind in KINDS:
            rest = [each * spent / IDLE_S for each in grown(start, idle, kind)]
            cpu, received, out = (a - b for a, b in zip(grown(idle, after, kind), rest, strict=True))
            figures[kind] = {
                "cpu_us_per_tx": 1e6 * cpu / count, "received_bytes_per_tx": received / count,
                "sent_bytes_per_tx": out / count,
                "stored_bytes_per_tx": max(
                    whole[name] - each.stored for name, each in idle.items() if name.startswith(kind)
                ) / count,
                "idle_cpu_ms_per_s": 1e3 * rest[0] / spent, "idle_bytes_per_s": (rest[1] + rest[2]) / spent,
                "rss_mib": max(each.rss_mib for name, each in after.items() if name.startswith(kind)),
                "rss_idle_mib": max(each.rss_mib for name, each in idle.items() if name.startswith(kind)),
            }  # fmt: skip
        return {**figures, "newcomer": again}
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def main() -> None:
    made = parser(__doc__ or "")
    made.add_argument("--rate", type=float, default=500.0, help="transfers a second")
    made.add_argument("--seconds", type=float, default=30.0)
    made.add_argument("--trainers", type=int, default=1)
    made.add_argument("--block", type=int, default=2_000, help="most transactions of a block")
    made.add_argument("--newcomer", action="store_true", help="the last trainer loses its chain and begins again")
    options = made.parse_args()
    finish("follow", asyncio.run(measured(options)), options)


if __name__ == "__main__":
    main()
