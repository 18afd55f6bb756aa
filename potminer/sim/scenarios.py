"""Scenarios by name: what is done to the replicas in the first phase of a run, and how a seed draws the run from it.

In the second phase the network is healed, everybody is restarted, faulty members stay faulty,
and the rest must make progress.
"""

from __future__ import annotations

from dataclasses import dataclass
from random import Random

from potminer.sim.plan import TWIN, Delays, Fault, Kind, Plan, Role, Weather


@dataclass(frozen=True, slots=True)
class Scenario:
    """Chances are in parts per thousand per message; times in virtual milliseconds."""

    name: str
    about: str
    chaos_ms: int = 24_000
    sizes: tuple[int, ...] = (4, 5, 7)
    delay_ms: tuple[int, int] = (5, 30)
    """Smallest delay of a message, and what comes on top in the mean (messages overtake)."""
    delays: Delays = Delays.EXPONENTIAL
    loss: int = 0
    repeat: int = 0
    """Chance that a message arrives once more, up to five seconds later."""
    partitions: int = 0
    """How many partitions, one after the other; about half of them cut one direction only."""
    rings: int = 0
    """Partitions in which everybody hears a quorum and no two hear the same."""
    clogs: int = 0
    pauses: int = 0
    crashes: int = 0
    leader_crashes: int = 0
    blackouts: int = 0
    """How often everybody crashes at nearly the same time: only what was written is left in the world."""
    torn: int = 0
    full: int = 0
    unreadable: int = 0
    misdirected: int = 0
    wipes: int = 0
    jumps: int = 0
    faulty: Role | None = None
    too_many: bool = False
    """More than a third of the power is faulty: agreement may break, and must be seen to."""
    transactions: int = 24
    skew_ms: int = 400
    """Every host's clock is off by up to this."""
    astray_ms: int = 0
    """One member's clock is off by this: its proposals are refused, and it refuses those of others."""
    view_base_ms: int = 2_000
    """A base below the network's delay makes views fail all the time, with blocks prepared in several of them."""
    heal_ms: int = 90_000
    """Within this time after the heal every honest replica must have executed everything."""


SCENARIOS = {
    scenario.name: scenario
    for scenario in (
        Scenario("calm", "no faults at all", chaos_ms=16_000),
        Scenario("lossy", "a fifth of all messages lost, a fifth repeated, long delays", loss=200, repeat=200,
                 delay_ms=(5, 150)),
        Scenario("crash-partition", "crashes between any two effects, partitions of both kinds, some loss",
                 chaos_ms=36_000, loss=80, repeat=60, partitions=8, crashes=8,
                 blackouts=1),
        Scenario("leader-crash", "whoever leads crashes, again and again", leader_crashes=6, loss=10),
        Scenario("byzantine-equivocate", "a member proposes and votes both ways, under loss and a partition",
                 faulty=Role.EQUIVOCATE, loss=30, repeat=60, partitions=2, crashes=2),
        Scenario("byzantine-silent", "one says nothing while others crash", faulty=Role.SILENT, loss=20, crashes=2),
        Scenario("byzantine-slow", "a member proposes as late as it can", faulty=Role.SLOW_LEADER, loss=10),
        Scenario("byzantine-censor", "a member leaves one sender's transactions out", faulty=Role.CENSOR, loss=10),
        Scenario("clock-astray", "one member's clock is half a minute off", astray_ms=30_000, loss=20, crashes=2),
        Scenario("storm", "views shorter than the network is fast, heavy loss, crashes: many views per height",
                 chaos_ms=20_000, view_base_ms=150, delay_ms=(5, 60), loss=150, repeat=60, crashes=4,
                 partitions=2, blackouts=5),
        Scenario("storm-equivocate", "the storm, with a member that says one thing here and another there",
                 chaos_ms=20_000, view_base_ms=150, delay_ms=(5, 60), loss=100, crashes=4, blackouts=2,
                 faulty=Role.EQUIVOCATE),
        Scenario("storm-lossy", "four members, two messages in five lost: blocks prepared by one of them alone",
                 sizes=(4,), chaos_ms=12_000, view_base_ms=150, delay_ms=(5, 60), loss=400, repeat=60,
                 transactions=4),
        Scenario("storm-lossy-equivocate", "the same, with a member that ignores what was prepared",
                 sizes=(4,), chaos_ms=12_000, view_base_ms=150, delay_ms=(5, 60), loss=350, repeat=60,
                 faulty=Role.EQUIVOCATE, transactions=4),
        Scenario("storm-twins", "the storm, with one key that runs two replicas",
                 chaos_ms=20_000, view_base_ms=150, delay_ms=(5, 60), loss=100, crashes=4, blackouts=2,
                 partitions=3, faulty=Role.TWINS),
        Scenario("mutator", "a member alters what it says: views, heights, digests, parts of certificates",
                 faulty=Role.MUTATOR, loss=50, repeat=100, crashes=3, partitions=2),
        Scenario("withholder", "a member proposes to a few and gives nobody a body", faulty=Role.WITHHOLDER, loss=50,
                 crashes=2),
        Scenario("view-spam", "a member asks for huge views and votes in them", faulty=Role.VIEW_SPAMMER, loss=30,
                 leader_crashes=2),
        Scenario("flood", "a member floods everybody with votes that nobody signed", faulty=Role.FLOOD, loss=30,
                 leader_crashes=2),
        Scenario("pauses", "processes are stopped and go on where they were, with all that waited", pauses=8,
                 clogs=3),
        Scenario("rings", "everybody hears a quorum, no two the same", rings=5, loss=30),
        Scenario("heavy-tail", "a few messages take a hundred times as long as the others", delays=Delays.HEAVY,
                 delay_ms=(5, 90), repeat=500),
        Scenario("loss-and-replay", "three messages in ten lost, every second one repeated", loss=300, repeat=500,
                 delay_ms=(5, 60)),
        Scenario("bad-disks", "disks that tear, fill up and cannot be read; everybody's", torn=6, full=3, unreadable=2,
                 blackouts=1, loss=30),
        Scenario("misdirected-write", "one member's disk writes a record over another", misdirected=2, torn=3, loss=50,
                 crashes=2),
        Scenario("wiped", "one member loses its disk and comes back by sync", wipes=2, loss=50, crashes=3),
        Scenario("jumping-clocks", "clocks jump back and forth by half a minute", jumps=8, loss=20, crashes=2),
        Scenario("twins", "one key runs two replicas, under partitions and crashes", faulty=Role.TWINS, loss=20,
                 repeat=60, partitions=4, crashes=3),
    )
}  # fmt: skip

OVERRUN = {
    scenario.name: scenario
    for scenario in (
        Scenario("too-many-twins", "more than a third run two replicas with one key: agreement breaks, to be seen",
                 faulty=Role.TWINS, too_many=True, sizes=(4,), chaos_ms=60_000, partitions=12, crashes=2,
                 transactions=12, heal_ms=20_000),
    )
}  # fmt: skip
"""More faults than the protocol bears: witnesses must report, forensics must name the culprits."""


CATALOGUE = SCENARIOS | OVERRUN


# ---- drawing -----------------------------------------------------------------------------


def draw(scenario: Scenario, seed: int, *, nodes: int | None = None) -> Plan:
    """The run of *seed*; *nodes* overrides the size that the seed draws."""
    chance = Random(f"{scenario.name}/{seed}")
    drawn = chance.choice(scenario.sizes)
    count = drawn if nodes is None else nodes
    powers = (1,) * count if chance.randrange(3) else tuple(chance.randint(1, 3) for _ in range(count))
    bearable = [seat for seat, power in enumerate(powers) if 3 * power < sum(powers)]
    chosen = chance.choice(bearable) if bearable else None
    roles: dict[int, Role] = {}
    role = scenario.faulty or (Role.FORGETFUL if scenario.wipes or scenario.misdirected else None)
    if role is None and scenario.astray_ms:
        role = Role.ASTRAY
    if role is not None and chosen is not None:
        roles = dict.fromkeys(_culprits(chosen, powers, too_many=scenario.too_many), role)
    skews = {seat: chance.randint(-scenario.skew_ms, scenario.skew_ms) for seat in range(count) if scenario.skew_ms}
    for seat, given in roles.items():
        if given is Role.ASTRAY:
            skews[seat] = skews.get(seat, 0) + chance.choice((-1, 1)) * scenario.astray_ms
    hosts = tuple(range(count)) + tuple(TWIN + seat for seat, given in roles.items() if given is Role.TWINS)
    least, spread = scenario.delay_ms
    return Plan(
        name=scenario.name,
        seed=seed,
        powers=powers,
        weather=Weather(least, spread, scenario.delays, scenario.loss, scenario.repeat),
        roles=roles,
        skews_ms=skews,
        faults=tuple(_faults(scenario, chance, hosts, chosen if roles else None)),
        transactions=scenario.transactions,
        chaos_ms=scenario.chaos_ms,
        heal_ms=scenario.heal_ms,
        view_base_ms=scenario.view_base_ms,
    )


def _culprits(chosen: int, powers: tuple[int, ...], *, too_many: bool) -> list[int]:
    """The one that was chosen; where there are to be too many, its neighbours too, until they are more than a third."""
    found = [chosen]
    while too_many and 3 * sum(powers[seat] for seat in found) <= sum(powers):
        found.append((found[-1] + 1) % len(powers))
    return found


def _faults(s: Scenario, chance: Random, hosts: tuple[int, ...], forgetful: int | None) -> list[Fault]:
    found: list[Fault] = []

    def some(kind: Kind, count: int, least_ms: int, most_ms: int, whom: tuple[int, ...] = (), amount: int = 0) -> None:
        for _ in range(count):
            of = whom or (chance.choice(hosts),)
            at, lasts = chance.randrange(s.chaos_ms), chance.randint(least_ms, most_ms)
            found.append(Fault(kind, at, lasts, of, chance.randrange(amount) if amount > 0 else amount))

    some(Kind.CRASH, s.crashes, 200, 6_000, amount=8)
    some(Kind.LEADER_CRASH, s.leader_crashes, 200, 6_000, amount=8)
    some(Kind.CRASH, s.blackouts, 200, 6_000, whom=hosts, amount=8)
    some(Kind.TORN, s.torn, 200, 4_000, amount=3)
    some(Kind.DISK_FULL, s.full, 1_000, 5_000)
    some(Kind.DISK_UNREADABLE, s.unreadable, 1_000, 5_000)
    some(Kind.PAUSE, s.pauses, 500, 10_000)
    some(Kind.CLOG, s.clogs, 500, 5_000)
    some(Kind.RING, s.rings, 1_000, 5_000)
    for _ in range(s.jumps):
        some(Kind.JUMP, 1, 500, 5_000, amount=-30_000 if chance.randrange(2) else 30_000)
    for _ in range(s.partitions):
        side = tuple(host for host in hosts if chance.randrange(2))
        some(Kind.SPLIT if chance.randrange(2) else Kind.ONE_WAY, 1, 1_000, 7_000, whom=side or hosts[:1])
    if forgetful is not None:
        some(Kind.WIPE, s.wipes, 500, 5_000, whom=(forgetful,))
        some(Kind.DISK_MISDIRECTED, s.misdirected, 1_000, 5_000, whom=(forgetful,))
    return found
