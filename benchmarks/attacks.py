"""A network of four real validators is attacked, every way we know, and is asked for transfers all the while.

Who attacks is a process of its own (attacker.py): a stranger, a key that holds money, a program on the validator's own
computer, or a committee member whose key was taken, one of four. Each attack lasts some seconds; what is measured is
the share of honest requests that were certified within 10 s, what each validator's memory and open files did, what
its logs grew by, and whether honest members stay linked. Files are damaged too. Afterwards every store is judged.
``--table`` writes docs/attacks.md from the newest record.
"""

from __future__ import annotations

import asyncio
import json
import os
import re
import shutil
import socket
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field, replace
from pathlib import Path

from attacks_watch import Watch
from chains import GRAINS, key
from chaos import KEPT, SENDERS, SILENT_S, Tally, Town, judged
from record import RESULTS, ROOT, Figures, finish, parser

from potminer.base.errors import PotminerError
from potminer.devnet.plan import HOST, Member, Plan, make_plan
from potminer.devnet.processes import Processes
from potminer.node.genesisfile import read_genesis, write_genesis
from potminer.wire.genesis import GenesisAccount
from potminer.world.paths import locate

REST_S = 1.5
START_S = 90.0
TABLE = ROOT / "docs" / "attacks.md"


# ---- attacks --------------------------------------------------------------------------------


@dataclass
class Siege:
    """The network under attack."""

    town: Town
    folder: Path
    seconds: float
    api_ports: dict[str, int]
    honest: set[str]
    notes: Figures = field(default_factory=dict)
    silent_until: float = 0.0
    """When a wiped member votes again: before, a second that fails would be one too many of four."""

    def member(self, at: int) -> Member:
        return self.town.plan.validators[at]

    async def send(self, name: str, *, times: float = 1) -> None:
        """The attacker's own process, niced: it shares this machine's cores with those that it attacks."""
        taken = self.town.plan.validators[-1]
        committee = (await (await self.town.processes.face(self.member(0))).network()).committee
        told = {
            "chain": self.town.chain.hex(),
            "taken": str(taken.datadir / "keys" / "node.key"),
            "seats": [each.key for each in committee],
            "targets": [
                {"name": each.name, "port": each.port, "key": each.key.hex(), "api_port": self.api_ports[each.name],
                 "socket": str(locate({}, datadir=each.datadir).socket)}
                for each in self.town.plan.validators if each.name in self.honest
            ],
        }  # fmt: skip
        (self.folder / "attack.json").write_text(json.dumps(told))
        attacker = Path(__file__).with_name("attacker.py")
        process = await asyncio.create_subprocess_exec(
            "nice", "-n", "5", sys.executable, str(attacker), name, str(self.folder), str(times * self.seconds),
            stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE,
        )
        try:
            async with asyncio.timeout(times * self.seconds + 30):
                said, complained = await process.communicate()
        except TimeoutError:
            process.kill()
            self.notes["attacker"] = "did not end"
            return
        if process.returncode:
            self.notes["attacker"] = complained.decode(errors="replace").strip()[-300:]
        elif said.strip():
            self.notes.update(json.loads(said))

    async def down(self, member: Member) -> None:
        self.town.down.add(member.name)
        self.honest.discard(member.name)
        await self.town.processes.kill(member)

    async def up(self, member: Member) -> bool:
        """Whether *member* runs again and has the head; what it said where it did not start."""
        await self.town.processes.start(member)

        async def answers() -> bool:
            ended = self.town.processes.code(member) is not None
            return ended or await self.town.height_of(member) is not None

        await self.town.until(answers, START_S)
        if self.town.processes.code(member) is not None:
            said = (member.datadir / "output.log").read_text(errors="replace").strip().splitlines()
            self.notes["it_said"] = " ".join(said[-2:])[-200:]
            await self.town.processes.kill(member)
            return False

        async def has_head() -> bool:
            own, best = await self.town.height_of(member), await self.town.height_of(self.member(0))
            return own is not None and best is not None and own >= best - 1

        found = await self.town.until(has_head, START_S)
        self.town.down.discard(member.name)
        self.honest.add(member.name)
        return found


def wiped(siege: Siege, member: Member) -> None:
    """Its disk is new; it says nothing for a minute of the chain."""
    siege.silent_until = time.monotonic() + SILENT_S
    for path in member.datadir.iterdir():
        if path.name not in KEPT:
            shutil.rmtree(path) if path.is_dir() else path.unlink()


Act = Callable[[Siege], Awaitable[None]]


def sent(name: str, *, times: float = 1) -> Act:
    """*times* as long as the others, where the attack must wait for its turn."""

    async def act(siege: Siege) -> None:
        await siege.send(name, times=times)

    return act


async def calm(siege: Siege) -> None:
    await asyncio.sleep(siege.seconds)


async def two_on_one_home(siege: Siege) -> None:
    """A second daemon is started on a home in which one runs."""
    member = siege.member(1)
    second = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "potminer.cli.main", "--datadir", str(member.datadir), "run", "--headless",
        stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT,
    )
    said, _ = await second.communicate()
    siege.notes.update(code=second.returncode, it_said=said.decode(errors="replace").strip()[-160:])


async def damaged_file(siege: Siege, damage: Callable[[Path], None]) -> None:
    """One member is killed, its files are damaged, it is started; where it refuses, its disk is made anew."""
    member = siege.member(2)
    await siege.down(member)
    damage(member.datadir)
    started = await siege.up(member)
    siege.notes["started"] = started
    if not started:
        wiped(siege, member)
        siege.notes["came_back_wiped"] = await siege.up(member)


def corrupt_pages(home: Path) -> None:
    """Rubbish in every fourth page of the database, the first excepted: it still looks like one."""
    path = home / "potminer.sqlite"
    with path.open("r+b") as file:
        for at in range(4_096 * 4, path.stat().st_size, 4_096 * 4):
            file.seek(at)
            file.write(os.urandom(4_096))


def truncate_log(home: Path) -> None:
    """The write-ahead log loses its second half, and the database its last pages, as after a disk that lied."""
    log, base = home / "potminer.sqlite-wal", home / "potminer.sqlite"
    if log.exists():
        os.truncate(log, log.stat().st_size // 2)
    os.truncate(base, max(4_096, base.stat().st_size * 3 // 4))


async def pages(siege: Siege) -> None:
    await damaged_file(siege, corrupt_pages)


async def torn(siege: Siege) -> None:
    await damaged_file(siege, truncate_log)


async def anothers_votes(siege: Siege) -> None:
    """A member is given the database of another, what that has signed included."""
    theirs = siege.member(1).datadir

    def swap(home: Path) -> None:
        for path in home.glob("potminer.sqlite*"):
            path.unlink()
        for path in theirs.glob("potminer.sqlite*"):
            shutil.copy(path, home)  # it is open, and locked for every other program

    await damaged_file(siege, swap)


async def went_back(siege: Siege) -> None:
    """A member's database is what it was some blocks ago: whole and sound, but for what was signed since."""
    member = siege.member(2)
    copy = siege.folder / "older"
    await siege.down(member)
    shutil.copytree(member.datadir, copy, ignore=lambda _, names: [n for n in names if "sqlite" not in n])
    await siege.up(member)
    await asyncio.sleep(siege.seconds)
    await siege.down(member)
    for path in member.datadir.glob("potminer.sqlite*"):
        path.unlink()
    shutil.copytree(copy, member.datadir, dirs_exist_ok=True)
    siege.silent_until = time.monotonic() + SILENT_S
    siege.notes["started"] = await siege.up(member)
    log = (member.datadir / "logs" / "potminer.log").read_text(errors="replace")
    siege.notes["seen"] = "this disk went back" in log


async def liar_at_the_wiped(siege: Siege) -> None:
    """A member that has lost its disk asks for everything, and strangers answer first, with nothing true."""
    member = siege.member(2)
    await siege.down(member)
    wiped(siege, member)
    siege.honest.add(member.name)
    attacking = asyncio.create_task(siege.send("head-lies"))
    siege.notes["came_back"] = await siege.up(member)
    await attacking


async def taken_equivocates(siege: Siege) -> None:
    """The taken key at a node of ours that says two things at every chance: its evidence goes to the ledger."""
    member = siege.member(3)
    await siege.town.processes.start(replace(member, byzantine="equivocate"))
    await asyncio.sleep(3 * siege.seconds)
    await siege.town.processes.kill(member)


async def take_key(siege: Siege) -> None:
    """From here on the fourth validator is the attacker's: its process is gone, its key speaks for others."""
    await siege.down(siege.member(3))
    await asyncio.sleep(siege.seconds)


@dataclass(frozen=True)
class Row:
    name: str
    who: str
    about: str
    act: Act


STRANGER, RICH, LOCAL, DISK, MEMBER = "stranger", "funded key", "program on the computer", "disk", "member, one of 4"
ROWS = (
    Row("none", "–", "no attack", calm),
    Row("junk", STRANGER, "random bytes, lengths that lie, handshakes cut off", sent("junk")),
    Row("slow-loris", STRANGER, "600 handshakes of a byte a second", sent("slow-loris")),
    Row("half-open", STRANGER, "2,000 connections that say nothing, replaced for ever", sent("half-open")),
    Row("replay-handshake", STRANGER, "a recorded handshake again", sent("replay-handshake")),
    Row("foreign-genesis", STRANGER, "peers of another chain dial without end", sent("foreign-genesis")),
    Row("frames", STRANGER, "lengths that lie, fragments of nothing, messages never finished", sent("frames")),
    Row("links", STRANGER, "fresh keys take every place for strangers", sent("links")),
    Row("have", STRANGER, "unique hashes announced, never an item", sent("have")),
    Row("push-junk", STRANGER, "unique junk, transactions nobody signed", sent("push-junk")),
    Row("transactions", RICH, "duplicates, nonces far ahead, every field at its bound", sent("transactions")),
    Row("questions", STRANGER, "blocks, blobs, snapshots, chunks asked without end", sent("questions", times=3)),
    Row("deaf", STRANGER, "30 links each ask for blocks and read no answer", sent("deaf")),
    Row("head-lies", STRANGER, "longer chains, false blocks, offers and chunks", sent("head-lies")),
    Row("two-on-one-home", DISK, "a second daemon on one home", two_on_one_home),
    Row("anothers-votes", DISK, "a member is given another's database, votes included", anothers_votes),
    Row("corrupt-pages", DISK, "a quarter of a member's database is rubbish", pages),
    Row("torn-log", DISK, "a member's write-ahead log and database are cut short", torn),
    Row("went-back", DISK, "a member's database is an older copy of itself", went_back),
    Row("wiped-and-lied-to", DISK, "a wiped member, and liars that answer it", liar_at_the_wiped),
    Row("api-bodies", LOCAL, "huge, deep and lying bodies", sent("api-bodies")),
    Row("api-words", LOCAL, "unknown methods, paths that climb, floods of headers", sent("api-words")),
    Row("api-slow", LOCAL, "800 heads and bodies of a byte a second", sent("api-slow")),
    Row("api-open", LOCAL, "10,000 connections kept open", sent("api-open")),
    Row("api-streams", LOCAL, "every stream and every waiting place taken", sent("api-streams")),
    Row("key-taken", MEMBER, "its process is gone: what that alone costs", take_key),
    Row("votes", MEMBER, "900 votes a second: mis-signed, other epochs, huge heights and views, replays",
        sent("votes")),
    Row("status-lies", MEMBER, "false heights, views, clocks; all votes wanted", sent("status-lies")),
    Row("view-storm", MEMBER, "signed VIEW-CHANGEs of a thousand views, false NEW-VIEWs", sent("view-storm")),
    Row("want-bodies", MEMBER, "bodies wanted, brought and relayed that nobody has", sent("want-bodies")),
    Row("member-gossip", MEMBER, "2,880 junk items a second by who is never cut off", sent("member-gossip")),
    Row("nobodys-bodies", MEMBER, "contradicting proposals of bodies that nobody has", sent("nobodys-bodies", times=3)),
    Row("equivocate", MEMBER, "a real node that says two things", taken_equivocates),
)  # fmt: skip
TAKES_KEY = next(at for at, row in enumerate(ROWS) if row.name == "key-taken")


# ---- the run --------------------------------------------------------------------------------


def funded(plan: Plan) -> None:
    """The plan's genesis again, with the clients' and the attacker's accounts."""
    genesis = read_genesis(plan.genesis)
    accounts = (
        *(GenesisAccount(key("sender", at).public, GRAINS) for at in range(SENDERS)),
        *(GenesisAccount(key("rich", at).public, GRAINS) for at in range(50)),
    )
    genesis = type(genesis)(
        genesis.network, genesis.time_ms, genesis.parameters, genesis.validators, accounts, genesis.seed
    )
    write_genesis(plan.genesis, genesis)
    for member in plan.members:
        write_genesis(member.datadir / "genesis.json", genesis)


def open_tcp(plan: Plan) -> dict[str, int]:
    """Every validator's API listens on loopback TCP too."""
    ports = {}
    for member in plan.validators:
        with socket.socket() as held:
            held.bind((HOST, 0))
            ports[member.name] = int(held.getsockname()[1])
        path = member.datadir / "potminer.toml"
        path.write_text(path.read_text().replace("[api]\n", f"[api]\nport = {ports[member.name]}\n", 1))
    return ports


async def linked(siege: Siege) -> bool:
    """Whether every honest member is linked to every other, at the latest after some seconds."""
    honest = [member for member in siege.town.plan.validators if member.name in siege.honest]

    async def all_linked() -> bool:
        for member in honest:
            try:
                view = await (await siege.town.processes.face(member)).network()
            except PotminerError:
                return False
            if sum(bool(each.linked) for each in view.committee) < len(honest) - 1:
                return False
        return True

    return await siege.town.until(all_linked, 20)


async def run_row(siege: Siege, watch: Watch, row: Row, rate: float) -> Figures:
    town = siege.town
    town.tally, siege.notes = Tally(), {}
    watch.begin()
    watching, requesting = asyncio.create_task(watch.run()), asyncio.create_task(town.clients(rate))
    try:
        await asyncio.sleep(REST_S)
        await row.act(siege)
        await asyncio.sleep(REST_S)
    finally:
        requesting.cancel()
        await asyncio.gather(requesting, return_exceptions=True)
        watching.cancel()
    all_linked = await linked(siege)
    ended = [m.name for m in town.plan.validators if m.name in siege.honest and town.processes.code(m) is not None]
    seen = town.tally.figures()
    kept = {name: seen[name] for name in ("requests", "within_10s_percent", "p50_ms", "p99_ms", "worst_ms", "failed")
            if name in seen}
    return {**kept, **watch.figures(), "honest_linked": all_linked, "ended": ended, "attack": dict(siege.notes)}


async def besieged(plan: Plan, rows: list[Row], *, seconds: float, rate: float, ports: dict[str, int]) -> Figures:
    figures: Figures = {}
    async with Processes(plan) as processes:
        town = Town(plan, processes)
        await town.begin()
        siege = Siege(town, plan.folder, seconds, ports, {member.name for member in plan.validators})
        watch, observing = Watch(plan, processes), asyncio.create_task(town.observe())
        try:
            for row in rows:
                if ROWS.index(row) >= TAKES_KEY:
                    await asyncio.sleep(max(0.0, siege.silent_until - time.monotonic()))
                if ROWS.index(row) > TAKES_KEY and siege.member(3).name in siege.honest:
                    await siege.down(siege.member(3))
                figures[row.name] = await run_row(siege, watch, row, rate)
                print(f"{row.name}: {figures[row.name]}", file=sys.stderr, flush=True)  # noqa: T201
        finally:
            observing.cancel()
    return figures


ABOUT = """# What attackers did

Made by `benchmarks/attacks.py --table` from its newest record: four real validators on one machine, asked for
{rate:g} transfers a second and attacked for {seconds:g} s each way by a process beside them. MiB and open files are
of the largest validator: before, at most, after. *Grave* are lines of error in all logs. From `key-taken` on one
member of four is the attacker's: it is silent in its own turns besides, which costs a view change now and then.

Commit {commit}, {date}, {cores} cores, load {load} afterwards. {note}

| attack | who | what | within 10 s | p50 · p99, ms | MiB | files | log KiB · grave | what happened |
|---|---|---|---|---|---|---|---|---|
"""
END = """
Afterwards, in the honest stores: height {height}, roots agree: {roots_agree}, supply holds: {supply_ok},
forks: {forks}, slashed: {slashed} and convicted: {culprits} (the taken key alone may be).
"""


def table(record: Figures) -> str:
    figures = record["figures"]
    about = ABOUT.format(
        **figures, commit=record["commit"], date=record["date"], cores=record["machine"]["cores"],
        load=record["load_1min_after"], note=record["note"],
    )  # fmt: skip
    rows = [told(row, figures[row.name]) for row in ROWS if row.name in figures]
    return about + "\n".join(rows) + "\n" + END.format(**figures["judged"])


def told(row: Row, seen: Figures) -> str:
    """One line of the table."""
    did = [f"{name} {value:,}" if type(value) is int else f"{name}: {value}" for name, value in seen["attack"].items()]
    did += [] if seen["honest_linked"] else ["**honest members not linked**"]
    did += [f"**ended: {', '.join(seen['ended'])}**"] if seen["ended"] else []
    cells = (
        row.name, row.who, row.about, f"{seen['within_10s_percent']:.4g} % of {seen['requests']}",
        f"{seen['p50_ms']:,.0f} · {seen['p99_ms']:,.0f}", " → ".join(map(str, seen["memory_mib"])),
        " → ".join(map(str, seen["files"])), f"{seen['log_kib']:,} · {seen['log_grave']}",
        " ".join(re.sub(r"\S*/net/", "", ", ".join(did)).replace("|", "/").split()),
    )  # fmt: skip
    return f"| {' | '.join(cells)} |"


def main() -> None:
    made = parser(__doc__ or "")
    made.add_argument("--seconds", type=float, default=6.0, help="of each attack")
    made.add_argument("--rate", type=float, default=4.0, help="honest requests a second")
    made.add_argument("--only", default="", help="these attacks, by name, comma-separated")
    made.add_argument("--note", default="", help="stands in the record: what else the machine did")
    made.add_argument("--keep", type=Path, default=None, help="leave the network's folder here")
    made.add_argument("--table", action="store_true", help="write docs/attacks.md from the newest record")
    options = made.parse_args()
    if options.table:
        records = [json.loads(line) for line in RESULTS.read_text().splitlines() if line]
        newest = [each for each in records if each["name"] == "attacks" and "judged" in each["figures"]][-1]
        TABLE.write_text(table(newest))
        return
    wanted = options.only.split(",") if options.only else [row.name for row in ROWS]
    unknown = set(wanted) - {row.name for row in ROWS}
    if unknown:
        made.error(f"no attack is called {', '.join(sorted(unknown))}")
    rows = [row for row in ROWS if row.name in wanted]
    folder = options.keep or Path(tempfile.mkdtemp(prefix="potminer-attacks-"))
    os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
    os.environ["PYTHONPYCACHEPREFIX"] = str(folder.with_suffix(".bytecode"))
    figures: Figures = {"seconds": options.seconds, "rate": options.rate}
    try:
        plan = make_plan(folder / "net", validators=4, trainers=1, seed=1, byzantine=[])
        plan = replace(plan, members=plan.validators)
        funded(plan)
        ports = open_tcp(plan)
        figures |= asyncio.run(besieged(plan, rows, seconds=options.seconds, rate=options.rate, ports=ports))
        honest = plan.members[:3] if rows and ROWS.index(rows[-1]) >= TAKES_KEY else plan.members
        figures["judged"] = asyncio.run(judged(replace(plan, members=honest)))
    finally:
        shutil.rmtree(folder.with_suffix(".bytecode"), ignore_errors=True)
        if options.keep is None:
            shutil.rmtree(folder, ignore_errors=True)
    finish("attacks", figures, options, note=options.note)


if __name__ == "__main__":
    main()
