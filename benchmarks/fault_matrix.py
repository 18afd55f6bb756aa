"""The fault matrix: requests under every fault, in virtual time. What share has its certificate within ten seconds?

Each row runs the real replicas on simulated links for --seconds of virtual time at --rate requests
a second (defaults: 60 and 50, larger committees shorter; --long: 1,000 and 100, so 100,000 requests in
every row). Nothing that is measured depends on the machine. Certificates are in hand when an honest
member that the client asked has executed the block and its answer has come back.
A client asks one member, another at once where
its process is dead (the connection is refused), and three more every two seconds.
"""

from __future__ import annotations

import random
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from itertools import pairwise

from clients import measured
from record import Figures, finish, parser, percentile

from potminer.base.digest import Domain, digest, number
from potminer.core.pbft.application import Head, Timers
from potminer.sim.churn import Churn
from potminer.sim.host import Host
from potminer.sim.plan import Delays, Fault, Kind, Plan, Role, Weather
from potminer.wire.block import CertifiedBlock
from potminer.wire.seal import SigningKey
from potminer.wire.tx import Transaction, Transfer, sign_transaction

DEADLINE_MS = 10_000
RTT_100 = Weather(least_ms=50, spread_ms=4, delays=Delays.UNIFORM)
LAN = Weather(least_ms=5, spread_ms=30)

Make = Callable[[int], Plan]


def plan(name: str, ms: int, nodes: int = 4, **changes: object) -> Plan:
    base = Plan(name=name, seed=1, powers=(1,) * nodes, weather=RTT_100, transactions=0, chaos_ms=ms, heal_ms=240_000)
    return replace(base, **changes)  # type: ignore[arg-type]


def every(
    period_ms: int, ms: int, kind: Kind, for_ms: int, hosts: tuple[int, ...] = (), amount: int = 0,
    first_ms: int | None = None,
) -> tuple[Fault, ...]:  # fmt: skip
    """One fault after the other; without *hosts* the members take turns."""
    turns = random.Random(kind)
    return tuple(
        Fault(kind, at, for_ms, hosts or (turns.randrange(4),), amount)
        for at in range(period_ms // 2 if first_ms is None else first_ms, ms - for_ms, period_ms)
    )


def roles(seats: int, role: Role) -> dict[int, Role]:
    return dict.fromkeys(range(seats), role)


ALL = (0, 1, 2, 3)


@dataclass(frozen=True)
class Row:
    name: str
    about: str
    target: str
    make: Make
    cost: int = 1
    """How many times shorter the row is without --long, because every message of a large committee costs."""
    least_ms: int = 20_000


ROWS = (
    Row("none-4", "no fault, 100 ms round trip, n = 4", "p50 ≤ 0.5 s, p99 ≤ 1.5 s", lambda ms: plan("none-4", ms)),
    Row("none-16", "the same, n = 16", "p50 ≤ 0.6 s", lambda ms: plan("none-16", ms, 16), 4),
    Row("leader-crash", "whoever leads crashes, every 20 s, for 5 s", "next commit ≤ 3 s p99",
        lambda ms: plan("leader-crash", ms, faults=every(20_000, ms, Kind.LEADER_CRASH, 5_000))),
    Row("f-dead", "f of n = 7 crash at once and stay dead", "throughput ≥ 80 %",
        lambda ms: plan("f-dead", ms, 7, faults=(Fault(Kind.CRASH, 5_000, 86_400_000, (0, 1)),))),
    Row("slow-leader", "a leader at 0.9 of the view's time", "loss ≤ 40 %",
        lambda ms: plan("slow-leader", ms, roles=roles(1, Role.SLOW_LEADER))),
    Row("equivocator", "a member says two things", "holds", lambda ms: plan("equivocator", ms, roles=roles(
        1, Role.EQUIVOCATE))),
    Row("twins", "one key runs two replicas", "holds", lambda ms: plan("twins", ms, roles=roles(1, Role.TWINS))),
    Row("mutator", "a member alters what it says", "holds", lambda ms: plan("mutator", ms, roles=roles(
        1, Role.MUTATOR))),
    Row("withholder", "a member withholds proposals and bodies", "holds",
        lambda ms: plan("withholder", ms, roles=roles(1, Role.WITHHOLDER))),
    Row("view-spam", "huge views, stale replays", "no view change of its making",
        lambda ms: plan("view-spam", ms, roles=roles(1, Role.VIEW_SPAMMER))),
    Row("flood", "24 forged votes a second to everybody", "loss ≤ 20 %",
        lambda ms: plan("flood", ms, roles=roles(1, Role.FLOOD))),
    Row("torrent", "1,000 forged votes a second to everybody", "loss ≤ 20 %",
        lambda ms: plan("torrent", ms, roles=roles(1, Role.TORRENT))),
    Row("loss-30-replay-50", "30 % lost, 50 % repeated", "p99 ≤ 10 s",
        lambda ms: plan("loss-30-replay-50", ms, weather=replace(LAN, loss=300, repeat=500))),
    Row("heavy-tail", "a few messages take a hundred times as long", "progress",
        lambda ms: plan("heavy-tail", ms, weather=replace(LAN, spread_ms=90, delays=Delays.HEAVY))),
    Row("one-way", "one member is not heard, 10 s of every 20 s", "progress",
        lambda ms: plan("one-way", ms, faults=every(20_000, ms, Kind.ONE_WAY, 10_000))),
    Row("ring", "everybody hears a quorum, no two the same, 10 s of every 20 s", "progress",
        lambda ms: plan("ring", ms, faults=every(20_000, ms, Kind.RING, 10_000, ALL))),
    Row("partition", "two against two, 20 s of every 60 s", "zero commits; resume ≤ 5 s p50, ≤ 20 s p99",
        lambda ms: plan("partition", ms, faults=every(60_000, ms, Kind.SPLIT, 20_000, (0, 1)))),
    Row("blackout", "everybody crashes within 8 effects, every 30 s, for 2 s", "resume ≤ 10 s",
        lambda ms: plan("blackout", ms, faults=every(30_000, ms, Kind.CRASH, 2_000, ALL, 4))),
    Row("pauses", "a process stopped for 10 s, every 20 s", "progress",
        lambda ms: plan("pauses", ms, faults=every(20_000, ms, Kind.PAUSE, 10_000))),
    Row("disks", "a torn write, a full disk, a read error: one every 10 s", "stops or repairs, never signs twice",
        lambda ms: plan("disks", ms, faults=(
            *every(30_000, ms, Kind.TORN, 3_000, amount=1, first_ms=5_000),
            *every(30_000, ms, Kind.DISK_FULL, 5_000, first_ms=15_000),
            *every(30_000, ms, Kind.DISK_UNREADABLE, 5_000, first_ms=25_000)))),
    Row("disks-at-once", "all three at one moment, mostly of two or three members, every 30 s", "resume ≤ 10 s",
        lambda ms: plan("disks-at-once", ms, faults=(
            *every(30_000, ms, Kind.TORN, 3_000, amount=1), *every(30_000, ms, Kind.DISK_FULL, 5_000),
            *every(30_000, ms, Kind.DISK_UNREADABLE, 5_000)))),
    Row("clock-30s", "one clock half a minute off", "no effect on commits",
        lambda ms: plan("clock-30s", ms, roles=roles(1, Role.ASTRAY), skews_ms={0: 30_000})),
    Row("wiped", "one member loses its disk every 60 s", "caught up while committing",
        lambda ms: plan("wiped", ms, roles=roles(1, Role.FORGETFUL), faults=every(60_000, ms, Kind.WIPE, 5_000, (0,)))),
    Row("none-31", "the same, n = 31", "p50 ≤ 0.8 s", lambda ms: plan("none-31", ms, 31), 20),
    Row("f-silent-31", "10 of 31 members say nothing", "first commit ≤ 45 s",
        lambda ms: plan("f-silent-31", ms, 31, roles=roles(10, Role.SILENT)), 20, 180_000),
)  # fmt: skip


def row(each: Row, *, seconds: int, rate: int, whole: bool) -> Figures:
    began, ms = time.process_time(), max(each.least_ms, seconds * 1_000 // (1 if whole else each.cost))
    world, report = measured(each.make(ms), rate=rate, timers=Timers())
    latencies, gaps = world.latencies(), world.gaps()
    silent = [fault for fault in world.plan.faults if fault.kind in (Kind.SPLIT, Kind.CRASH) and len(fault.hosts) > 1]
    figures: Figures = {
        "requests": len(world.requests),
        "within_10s_percent": 100 * sum(ms <= DEADLINE_MS for ms in latencies) / len(world.requests),
        "p50_ms": percentile(latencies, 50),
        "p99_ms": percentile(latencies, 99),
        "worst_ms": max(latencies),
        "first_commit_ms": min(world.first_executed.values()),
        "gap_p99_9_ms": percentile(gaps, 99.9) if gaps else None,
        "worst_gap_ms": max(gaps, default=None),
        "blocks": report.blocks,
        "highest_view": report.highest_view,
        "cpu_s": time.process_time() - began,
    }
    if each.name in ("partition", "blackout"):
        resumed = [_resumed(world.first_executed.values(), fault) for fault in silent]
        figures |= {"resume_p50_ms": percentile(resumed, 50), "resume_worst_ms": max(resumed)}
    return figures


class Served(Churn):
    """Another committee every ten blocks, one equivocator slashed on the way, while clients send *rate* requests a
    second, each to a member that sits or follows, which passes it on. The ledger is the real one."""

    def __init__(self, *, rate: int, ms: int) -> None:
        self.keys = [SigningKey(digest(Domain.DRAW, b"served", number(index))) for index in range(16)]
        own = tuple(key.public for key in self.keys)
        super().__init__(1, epoch_blocks=10, weather=RTT_100, clients=own)
        self.began: dict[bytes, int] = {}
        self.done: dict[bytes, int] = {}
        self.blocks: dict[int, int] = {}
        for serial in range((ms - 1_000) * rate // 1_000):
            self.clock.after(1_000 + serial * 1_000 // rate, self._request, serial)

    def _request(self, serial: int) -> None:
        key, nonce = self.keys[serial % len(self.keys)], serial // len(self.keys)
        transaction = Transaction(self.chain, key.public, nonce, 1, 2**32, Transfer(key.public, serial))
        signed = sign_transaction(transaction, key)
        self.began[signed.digest] = self.clock.now
        first = self.chance.choice(self.hosts)
        for other in self.hosts:
            hops = 1 if other is first else 2
            self.clock.after(sum(50 + self.chance.randrange(4) for _ in range(hops)), other.submit, signed)

    def executed(self, host: Host, *, head: Head, certified: CertifiedBlock) -> None:
        super().executed(host, head=head, certified=certified)
        if host.honest:
            self.blocks.setdefault(certified.block.header.height, self.clock.now)
            for signed in certified.block.transactions:
                if signed.digest in self.began:
                    self.done.setdefault(signed.digest, self.clock.now + 50 + self.chance.randrange(4))


def committees(*, seconds: int, rate: int) -> Figures:
    began, ms = time.process_time(), max(20_000, seconds * 1_000)
    world = Served(rate=rate, ms=ms)
    report = world.run(crashes=0, splits=0, acts=ms // 500, chaos_ms=ms)
    if report.violations:
        raise SystemExit(f"committees: the run broke a promise: {report.violations}")
    latencies = sorted(world.done[name] - at for name, at in world.began.items() if name in world.done)
    times = sorted(at for at in world.blocks.values() if at <= ms)
    gaps = [after - before for before, after in pairwise(times)]
    return {
        "requests": len(world.began),
        "within_10s_percent": 100 * sum(each <= DEADLINE_MS for each in latencies) / len(world.began),
        "p50_ms": percentile(latencies, 50),
        "p99_ms": percentile(latencies, 99),
        "worst_ms": max(latencies),
        "gap_p99_9_ms": percentile(gaps, 99.9),
        "worst_gap_ms": max(gaps),
        "blocks": report.blocks,
        "epochs": report.epochs,
        "committees": report.committees,
        "cpu_s": time.process_time() - began,
    }


def _resumed(commits: object, fault: Fault) -> int:
    """From the end of *fault* to the first block after it."""
    end = fault.at_ms + fault.for_ms
    return min(at for at in commits if at >= end) - end  # type: ignore[attr-defined]


def main() -> None:
    made = parser(__doc__ or "")
    made.add_argument("--seconds", type=int, default=60, help="virtual seconds of faults per row")
    made.add_argument("--rate", type=int, default=50, help="requests a virtual second")
    made.add_argument("--long", action="store_true", help="1,000 s at 100 a second: 100,000 a row; 30 CPU minutes")
    made.add_argument("--only", default=None, help="some rows, with commas between them")
    options = made.parse_args()
    seconds, rate = (1_000, 100) if options.long else (options.seconds, options.rate)
    figures: Figures = {"seconds": seconds, "rate": rate}
    for each in ROWS:
        if options.only is None or each.name in options.only.split(","):
            figures[each.name] = row(each, seconds=seconds, rate=rate, whole=options.long)
            if not options.json:
                print(each.name, figures[each.name], flush=True)  # noqa: T201
    if options.only is None or "committees" in options.only.split(","):
        figures["committees"] = committees(seconds=seconds, rate=rate)
        if not options.json:
            print("committees", figures["committees"], flush=True)  # noqa: T201
    finish("fault_matrix", figures, options, note="virtual time: no figure but cpu_s depends on the machine")


if __name__ == "__main__":
    main()
