"""The swarm: every seed draws its own subset of faults, at its own rates. No two runs are of one kind.

Members that may break promises never hold a third of the power; everything else may happen to everybody.
"""

from __future__ import annotations

from collections.abc import Iterator
from random import Random

from potminer.sim.plan import TWIN, Delays, Fault, Kind, Plan, Role, Weather

NAME = "swarm"
ABOUT = "a random subset of all faults at random rates, drawn anew by every seed"
SIZES = {4: 44, 5: 12, 6: 6, 7: 22, 8: 4, 10: 6, 13: 4, 16: 2}
"""Committee sizes and their weights: small ones show most, and cost little."""
BYZANTINE = (
    Role.SILENT, Role.EQUIVOCATE, Role.SLOW_LEADER, Role.CENSOR, Role.TWINS, Role.MUTATOR, Role.WITHHOLDER,
    Role.VIEW_SPAMMER, Role.FLOOD,
)  # fmt: skip
ANYBODYS = {
    Kind.CRASH: (200, 6_000, 8),
    Kind.LEADER_CRASH: (200, 6_000, 8),
    Kind.TORN: (200, 4_000, 3),
    Kind.PAUSE: (200, 10_000, 0),
    Kind.SPLIT: (500, 7_000, 0),
    Kind.ONE_WAY: (500, 7_000, 0),
    Kind.RING: (500, 5_000, 0),
    Kind.CLOG: (200, 5_000, 0),
    Kind.JUMP: (200, 5_000, 30_000),
    Kind.DISK_FULL: (500, 5_000, 0),
    Kind.DISK_UNREADABLE: (500, 5_000, 0),
}
"""How long each may last, and the most of its amount."""
SIDES = (Kind.SPLIT, Kind.ONE_WAY)


def draw(seed: int, *, nodes: int | None = None) -> Plan:
    """The run of *seed*; *nodes* overrides its size."""
    chance = Random(f"{NAME}/{seed}")
    drawn = chance.choices(tuple(SIZES), tuple(SIZES.values()))[0]
    count = drawn if nodes is None else nodes
    powers = (1,) * count if chance.randrange(3) else tuple(chance.randint(1, 4) for _ in range(count))
    roles = _roles(chance, powers)
    chaos_ms = chance.randint(8_000, 40_000 if count <= 7 else 16_000)
    hosts = tuple(range(count)) + tuple(TWIN + seat for seat, role in roles.items() if role is Role.TWINS)
    storm = chance.randrange(4) == 0
    core, rest_dead = _core(chance, powers, roles)
    return Plan(
        name=NAME,
        seed=seed,
        powers=powers,
        weather=_weather(chance),
        roles=roles,
        skews_ms=_skews(chance, count, roles),
        faults=tuple(sorted(_faults(chance, hosts, roles, chaos_ms), key=lambda fault: fault.at_ms)),
        transactions=chance.choice((2, 8, 24)),
        chaos_ms=chaos_ms,
        heal_ms=240_000,
        view_base_ms=chance.choice((150, 300, 600)) if storm else 2_000,
        core=core,
        rest_dead=rest_dead,
    )


def _weather(chance: Random) -> Weather:
    return Weather(
        least_ms=chance.choice((1, 5, 50)),
        spread_ms=chance.choice((10, 30, 100, 200)),
        delays=chance.choice(tuple(Delays)),
        loss=chance.choice((0, 0, chance.randint(1, 100), chance.randint(1, 300))),
        repeat=chance.choice((0, 0, chance.randint(1, 500))),
    )


def _roles(chance: Random, powers: tuple[int, ...]) -> dict[int, Role]:
    """Faulty members as far as less than a third of the power goes, and as far as chance wants."""
    roles: dict[int, Role] = {}
    seats = list(range(len(powers)))
    chance.shuffle(seats)
    wanted = chance.choice((0, 1, 1, len(powers)))
    for seat in seats:
        if len(roles) < wanted and 3 * sum(powers[s] for s in (*roles, seat)) < sum(powers):
            roles[seat] = chance.choice((*BYZANTINE, Role.FORGETFUL, Role.FORGETFUL))
    return roles


def _skews(chance: Random, count: int, roles: dict[int, Role]) -> dict[int, int]:
    """Small skews for all, half a minute for those that are faulty anyway, now and then."""
    if chance.randrange(2):
        return {}
    skews = {seat: chance.randint(-400, 400) for seat in range(count)}
    for seat in roles:
        if chance.randrange(2):
            skews[seat] = chance.choice((-30_000, 30_000))
    return skews


def _core(chance: Random, powers: tuple[int, ...], roles: dict[int, Role]) -> tuple[tuple[int, ...], bool]:
    """Everybody (half of the time), or the fewest honest members that are a quorum."""
    if chance.randrange(2):
        return (), False
    core = [seat for seat in range(len(powers)) if seat not in roles]
    chance.shuffle(core)
    for seat in list(core):
        if 3 * sum(powers[s] for s in core if s != seat) > 2 * sum(powers):
            core.remove(seat)
    return tuple(sorted(core)), chance.randrange(2) == 0


def _faults(chance: Random, hosts: tuple[int, ...], roles: dict[int, Role], chaos_ms: int) -> Iterator[Fault]:
    for kind, (least_ms, most_ms, amount) in ANYBODYS.items():
        for _ in range(chance.choice((0, 0, 1, 3))):
            most = len(hosts) if chance.randrange(4) == 0 else 2
            whom = tuple(chance.sample(hosts, chance.randint(1, most)))
            if kind in SIDES:
                whom = tuple(host for host in hosts if chance.randrange(2)) or hosts[:1]
            much = chance.randint(-amount, amount) if kind is Kind.JUMP else chance.randrange(amount or 1)
            yield Fault(kind, chance.randrange(chaos_ms), chance.randint(least_ms, most_ms), whom, much)
    for seat, role in roles.items():
        if role is Role.FORGETFUL:
            kind = chance.choice((Kind.WIPE, Kind.DISK_MISDIRECTED))
            yield Fault(kind, chance.randrange(chaos_ms), chance.randint(500, 5_000), (seat,))
