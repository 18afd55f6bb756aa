"""Real validators under kill -9, SIGSTOP, lost and full disks, wrong clocks: what share of requests is certified?

Networks of 4, 7 and 16 processes (``potminer run --headless``, kept by potminer's devnet) take a constant stream of
signed transfers, each brought in by the courier as a client would: to one validator, two seconds later also to the
next, believed by its certificate only. Every fault hits the same running network twice. Rows that need root, a mount
or libfaketime (Debian's package) say so where they are left out. Afterwards every store is judged: equal roots,
supply, nobody slashed, nobody convicted.
"""

from __future__ import annotations

import asyncio
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass, field, replace
from pathlib import Path

from chains import GRAINS, key, transfer
from record import Figures, finish, parser, percentile

from potminer.base.errors import PotminerError, Unreachable
from potminer.core.committee import committee_of
from potminer.core.light.trust import Terms, from_genesis
from potminer.devnet.plan import Member, Plan, make_plan
from potminer.devnet.processes import Processes
from potminer.devnet.verify import verify_members
from potminer.node.blame import hear, judge, seats_of
from potminer.node.build import unix_ms
from potminer.node.courier import Courier
from potminer.node.follower import Follower
from potminer.node.genesisfile import read_genesis, write_genesis
from potminer.wire import record as records
from potminer.wire.control import Until
from potminer.wire.genesis import GenesisAccount, chain_id
from potminer.wire.record import CommitteeRecord
from potminer.world.api.address import Address

DEADLINE_S = 10.0
GIVE_UP_S = 30.0
AGAIN_S = 0.5
SENDERS = 8_000
LOOK_S = 0.05
SETTLE_S = 5.0
CAUGHT_UP_S = 90.0
DISK_MIB = 48
FAKETIME = tuple(Path("/usr/lib").glob("*-linux-gnu/faketime/libfaketime.so.1"))
"""Where Debian's package puts it."""
SILENT_S = 65
"""A wiped member says nothing for a minute: another fault meanwhile would be the second of four."""
KEPT = ("keys", "genesis.json", "potminer.toml", "run")
TO = key("receiver").public


# ---- the network and its clients ---------------------------------------------------------


@dataclass
class Tally:
    """What was seen of one row. Times are of the monotonic clock, seconds."""

    latencies: list[float] = field(default_factory=list)
    failed: list[str] = field(default_factory=list)
    heights: list[tuple[float, int]] = field(default_factory=list)
    """When each new height was first seen anywhere."""
    recovered: list[float] = field(default_factory=list)
    """From the end of each fault until the member had the head again; of all, until the next commit."""
    answered: list[float] = field(default_factory=list)
    """From the same moment until the member's API answered: how long a process takes to start here."""
    ended: list[int] = field(default_factory=list)
    """Exit codes of nodes that ended by themselves."""

    def figures(self) -> Figures:
        requests = len(self.latencies) + len(self.failed)
        gaps = [after[0] - before[0] for before, after in zip(self.heights, self.heights[1:], strict=False)]
        within = sum(took <= DEADLINE_S for took in self.latencies)
        return {
            "requests": requests,
            "within_10s_percent": 100 * within / requests if requests else None,
            "p50_ms": 1_000 * percentile(self.latencies, 50) if self.latencies else None,
            "p99_ms": 1_000 * percentile(self.latencies, 99) if self.latencies else None,
            "worst_ms": 1_000 * max(self.latencies, default=0.0),
            "blocks": len(self.heights),
            "gap_p99_9_ms": 1_000 * percentile(gaps, 99.9) if gaps else None,
            "recovery_s": [round(each, 2) for each in self.recovered],
            "answers_s": [round(each, 2) for each in self.answered],
            **({"ended_with": self.ended} if self.ended else {}),
            **({"failed": sorted(set(self.failed))[:3]} if self.failed else {}),
        }


class Town:
    """A running network, its clients and its observer."""

    def __init__(self, plan: Plan, processes: Processes) -> None:
        genesis = read_genesis(plan.genesis)
        self.plan, self.processes = plan, processes
        self.chain = chain_id(genesis)
        self.genesis = genesis
        self.down: set[str] = set()
        """Members that are not to be asked: whatever they say, they are not the network now."""
        self.tally = Tally()
        self.height = 0
        self._sent = 0
        self._addresses: dict[str, Address] = {}
        self._going: set[asyncio.Task[None]] = set()

    def follower(self) -> Follower:
        return Follower(from_genesis(self.genesis), Terms(), clock=unix_ms)

    async def begin(self) -> None:
        """Until everybody has executed a block."""
        for member in self.plan.validators:
            self._addresses[member.name] = (await self.processes.face(member)).address

        async def began() -> bool:
            return min([await self.height_of(member) or 0 for member in self.plan.validators]) >= 1

        await self.until(began, 60)

    async def until(self, holds: Callable[[], Awaitable[bool]], within_s: float) -> bool:
        end = time.monotonic() + within_s
        while not await holds():
            if time.monotonic() > end:
                return False
            await asyncio.sleep(LOOK_S)
        return True

    async def height_of(self, member: Member) -> int | None:
        """None where it does not answer at once."""
        try:
            async with asyncio.timeout(2):
                return (await (await self.processes.face(member)).chain()).height
        except (PotminerError, TimeoutError):
            return None

    def up(self) -> list[Member]:
        return [member for member in self.plan.validators if member.name not in self.down]

    # ---- clients -------------------------------------------------------------------------

    async def clients(self, rate: float) -> None:
        """One request every 1/*rate* seconds, whatever becomes of the others."""
        follower, began, count = self.follower(), time.monotonic(), 0
        try:
            while True:
                await asyncio.sleep(max(0.0, began + count / rate - time.monotonic()))
                count += 1
                task = asyncio.create_task(self._request(follower))
                self._going.add(task)
                task.add_done_callback(self._going.discard)
        finally:
            # What was asked for is waited for: an unanswered request counts as failed, not as never made.
            await asyncio.gather(*self._going, return_exceptions=True)

    async def _request(self, follower: Follower) -> None:
        names = [member.name for member in self.plan.validators]
        serial, self._sent = self._sent, self._sent + 1
        first = serial % len(names)
        addresses = [self._addresses[name] for name in (*names[first:], *names[:first])]
        signed = transfer(self.chain, key("sender", serial % SENDERS), TO, nonce=serial // SENDERS)
        tally, began = self.tally, time.monotonic()
        courier = Courier(addresses, follower)
        while True:
            try:
                await courier.send(signed, until=Until.INCLUDED, within_s=GIVE_UP_S)
            except PotminerError as error:
                # Nobody answers, so the same bytes again, as the error's hint says. It stays one transaction.
                if not isinstance(error, Unreachable) or time.monotonic() > began + GIVE_UP_S:
                    tally.failed.append(error.what[:80])
                    return
                await asyncio.sleep(AGAIN_S)
            else:
                tally.latencies.append(time.monotonic() - began)
                return

    # ---- observer ------------------------------------------------------------------------

    async def observe(self) -> None:
        """Note when a height is first seen. Asks one member that should answer, another where it does not."""
        turn = 0
        while True:
            members = self.up()
            if members:
                height = await self.height_of(members[turn % len(members)])
                if height is None:
                    turn += 1
                elif height > self.height:
                    self.height = height
                    self.tally.heights.append((time.monotonic(), height))
            await asyncio.sleep(LOOK_S)

    async def leader(self) -> Member:
        """Whose turn it is after the newest block, as a quorum has certified it; asked just after a block."""
        seen = self.height

        async def moved() -> bool:
            return self.height > seen

        await self.until(moved, CAUGHT_UP_S)
        node = await self.processes.face(self.up()[0])
        follower = self.follower()
        await follower.catch_up(node)
        (fact,) = await follower.facts(node, [records.COMMITTEE])
        record = fact.record(CommitteeRecord)
        if record is None:
            raise AssertionError("a ledger has a committee")
        leads = record.members[committee_of(record).primary(height=self.height + 1, view=0)]
        return next(member for member in self.plan.validators if member.key == leads)

    # ---- recovery ------------------------------------------------------------------------

    async def has_head(self, member: Member, since: float) -> None:
        """Wait until *member* has what the others have, or a block of difference."""

        async def caught_up() -> bool:
            await self.revive(member)
            others = [each for each in self.up() if each.name != member.name]
            own, best = await self.height_of(member), await self.height_of(others[0])
            return own is not None and best is not None and own >= best - 1

        if await self.until(lambda: self._answers(member), CAUGHT_UP_S):
            self.tally.answered.append(time.monotonic() - since)
        found = await self.until(caught_up, CAUGHT_UP_S)
        self.tally.recovered.append(time.monotonic() - since if found else float("inf"))

    async def _answers(self, member: Member) -> bool:
        await self.revive(member)
        return await self.height_of(member) is not None

    async def revive(self, member: Member) -> None:
        """Start a node that ended by itself again, as a service manager would."""
        code = self.processes.code(member)
        if code is not None:
            self.tally.ended.append(code)
            await self.processes.kill(member)
            await self.processes.start(member)

    async def commits(self, since: float) -> None:
        """Wait for the next block."""
        before = self.height
        for member in self.plan.validators:
            await self.processes.face(member)
        self.tally.answered.append(time.monotonic() - since)

        async def moved() -> bool:
            return self.height > before

        found = await self.until(moved, CAUGHT_UP_S)
        self.tally.recovered.append(time.monotonic() - since if found else float("inf"))


# ---- faults ------------------------------------------------------------------------------
Fault = Callable[[Town], Awaitable[None]]


async def nothing(town: Town) -> None:
    await asyncio.sleep(10)


async def _killed(town: Town, members: list[Member], dead_s: float, env: dict[str, str] | None = None) -> None:
    town.down |= {member.name for member in members}
    await asyncio.gather(*(town.processes.kill(member) for member in members))
    await asyncio.sleep(dead_s)
    for member in members:
        await town.processes.start(member, env)


async def kill_leader(town: Town) -> None:
    member = await town.leader()
    await _killed(town, [member], 5)
    await _back(town, member)


async def kill_member(town: Town) -> None:
    member = town.plan.validators[-1]
    await _killed(town, [member], 5)
    await _back(town, member)


async def _back(town: Town, member: Member) -> None:
    ended = time.monotonic()
    await town.has_head(member, ended)
    town.down.discard(member.name)


async def kill_all(town: Town) -> None:
    await _killed(town, list(town.plan.validators), 2)
    town.down.clear()
    await town.commits(time.monotonic())


async def freeze(town: Town) -> None:
    member = await town.leader()
    town.down.add(member.name)
    town.processes.freeze(member)
    await asyncio.sleep(10)
    town.processes.thaw(member)
    await _back(town, member)


async def wipe(town: Town) -> None:
    """The disk is new, the keys were kept elsewhere."""
    member = town.plan.validators[-1]
    town.down.add(member.name)
    await town.processes.kill(member)
    for path in member.datadir.iterdir():
        if path.name not in KEPT:
            shutil.rmtree(path) if path.is_dir() else path.unlink()
    await asyncio.sleep(2)
    await town.processes.start(member)
    await _back(town, member)
    await asyncio.sleep(SILENT_S)


async def fill_disk(town: Town) -> None:
    """Ten seconds without a free byte. A node goes on while its files have room inside, then ends."""
    member = _on_small_disk(town.plan)
    ballast = member.datadir / "ballast"
    town.down.add(member.name)
    with ballast.open("wb", buffering=0) as file, suppress(OSError):
        while file.write(bytes(65_536)):
            pass
    await asyncio.sleep(10)
    ballast.unlink()
    await _back(town, member)


def clock(seconds: int) -> Fault:
    async def wrong_clock(town: Town) -> None:
        member = town.plan.validators[1]
        told = {"LD_PRELOAD": str(FAKETIME[0]), "FAKETIME": f"{seconds:+d}s", "FAKETIME_DONT_FAKE_MONOTONIC": "1"}
        await _killed(town, [member], 0, told)
        await asyncio.sleep(20)
        await _killed(town, [member], 0)
        await _back(town, member)

    return wrong_clock


def _on_small_disk(plan: Plan) -> Member:
    return plan.validators[0]


@dataclass(frozen=True)
class Row:
    name: str
    about: str
    fault: Fault
    needs: Callable[[], str] = lambda: ""
    """Why the row cannot be run here, or nothing."""


def _no_faketime() -> str:
    return "" if FAKETIME else "libfaketime is not installed"


def _no_mount() -> str:
    return "" if sys.platform == "linux" and os.geteuid() == 0 else "mounting a small disk needs root on Linux"


ROWS = (
    Row("none", "no fault", nothing),
    Row("kill-leader", "kill -9 of whoever leads, back after 5 s", kill_leader),
    Row("kill-member", "kill -9 of one member, back after 5 s", kill_member),
    Row("kill-all", "kill -9 of everybody, back after 2 s", kill_all),
    Row("stop", "SIGSTOP of whoever leads, 10 s", freeze),
    Row("wipe", "a member loses its disk, not its keys", wipe),
    Row("full", "a member's disk is full for 10 s", fill_disk, _no_mount),
    Row("clock+30", "a member's clock is 30 s fast, 20 s", clock(30), _no_faketime),
    Row("clock-30", "a member's clock is 30 s slow, 20 s", clock(-30), _no_faketime),
)


# ---- one network -------------------------------------------------------------------------


def funded(plan: Plan, senders: int = SENDERS) -> None:
    """The plan's genesis again, with *senders* funded accounts."""
    genesis = read_genesis(plan.genesis)
    accounts = tuple(GenesisAccount(key("sender", index).public, GRAINS) for index in range(senders))
    genesis = type(genesis)(
        genesis.network, genesis.time_ms, genesis.parameters, genesis.validators, accounts, genesis.seed
    )
    write_genesis(plan.genesis, genesis)
    for member in plan.members:
        write_genesis(member.datadir / "genesis.json", genesis)


def small_disk(member: Member) -> None:
    """*member*'s folder on a memory disk of DISK_MIB: really full when it is full."""
    aside = member.datadir.with_suffix(".aside")
    member.datadir.rename(aside)
    member.datadir.mkdir(mode=0o700)
    options = f"size={DISK_MIB}m,mode=0700"
    subprocess.run(["mount", "-t", "tmpfs", "-o", options, "potminer-chaos", str(member.datadir)], check=True)
    shutil.copytree(aside, member.datadir, dirs_exist_ok=True)
    shutil.rmtree(aside)


def network(nodes: int, *, rate: float, repeat: int, rows: list[Row], folder: Path) -> Figures:
    plan = make_plan(folder, validators=nodes, trainers=1, seed=1, byzantine=[])
    plan = replace(plan, members=plan.validators)
    funded(plan)
    mounted = not _no_mount()
    if mounted:
        small_disk(_on_small_disk(plan))
    try:
        figures = asyncio.run(_run_rows(plan, rate=rate, repeat=repeat, rows=rows))
        figures["judged"] = asyncio.run(judged(plan))
    finally:
        if mounted:
            subprocess.run(["umount", "-l", str(_on_small_disk(plan).datadir)], check=False)
    return figures


async def _run_rows(plan: Plan, *, rate: float, repeat: int, rows: list[Row]) -> Figures:
    figures: Figures = {}
    async with Processes(plan) as processes:
        town = Town(plan, processes)
        await town.begin()
        observing = asyncio.create_task(town.observe())
        try:
            for row in rows:
                missing = row.needs()
                if missing:
                    figures[row.name] = {"skipped": missing}
                    continue
                figures[row.name] = await _run_row(town, row, rate=rate, repeat=repeat)
                print(f"n={len(plan.validators)} {row.name}: {figures[row.name]}", file=sys.stderr, flush=True)  # noqa: T201
        finally:
            observing.cancel()
    return figures


async def _run_row(town: Town, row: Row, *, rate: float, repeat: int) -> Figures:
    town.tally = Tally()
    requesting = asyncio.create_task(town.clients(rate))
    try:
        for _ in range(repeat):
            await asyncio.sleep(SETTLE_S)
            await row.fault(town)
        await asyncio.sleep(SETTLE_S)
    finally:
        requesting.cancel()
        await asyncio.gather(requesting, return_exceptions=True)
    return town.tally.figures()


async def judged(plan: Plan) -> Figures:
    """What all stores say together, after the end."""
    verified = await verify_members(plan)
    told = await hear([member.datadir for member in plan.members])
    genesis = read_genesis(plan.genesis)
    found = judge(told, seats_of(told, genesis), chain=chain_id(genesis))
    return {
        "height": verified.height,
        "roots_agree": verified.roots_agree,
        "supply_ok": verified.supply_ok,
        "slashed": len(verified.slashed),
        "forks": len(found.forks),
        "culprits": len(found.culprits),
        "statements": found.statements,
    }


def main() -> None:
    made = parser(__doc__ or "")
    made.add_argument("--nodes", default="4,7,16", help="sizes of networks")
    made.add_argument("--rate", type=float, default=10.0, help="requests a second")
    made.add_argument("--repeat", type=int, default=2, help="faults per row")
    made.add_argument("--only", default="", help="these rows, by name, comma-separated")
    made.add_argument("--keep", type=Path, default=None, help="leave the networks' folders here")
    options = made.parse_args()
    wanted = options.only.split(",") if options.only else [row.name for row in ROWS]
    rows = [row for row in ROWS if row.name in wanted]
    folder = options.keep or Path(tempfile.mkdtemp(prefix="potminer-chaos-"))
    # As installed: a program that compiles its own source at every start takes twice the CPU time for it.
    os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
    os.environ["PYTHONPYCACHEPREFIX"] = str(folder / "bytecode")
    figures: Figures = {"rate": options.rate, "repeat": options.repeat}
    try:
        for nodes in (int(each) for each in options.nodes.split(",")):
            where = folder / f"n{nodes}"
            figures[f"n{nodes}"] = network(
                nodes, rate=options.rate, repeat=options.repeat, rows=rows, folder=where
            )
    finally:
        if options.keep is None:
            shutil.rmtree(folder, ignore_errors=True)
    finish("chaos", figures, options, note="real processes on one machine: latencies depend on it")


if __name__ == "__main__":
    main()
