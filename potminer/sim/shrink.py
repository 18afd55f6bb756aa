"""Shrinking: of a plan that fails, the smallest that still fails in the same way.

Deterministic: candidates come in a fixed order and each is run once; the number of runs is
bounded. Every way of the network has its own chance, so what is dropped disturbs little else.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace

from potminer.sim.plan import TWIN, Delays, Fault, Plan, Role, Weather, to_json

TRIES = 300
FAIR = Weather(least_ms=5, spread_ms=1, delays=Delays.UNIFORM)


@dataclass(frozen=True, slots=True)
class Shrunk:
    plan: Plan
    tries: int


def shrink(
    plan: Plan, fails: Callable[[Plan], bool], *, tries: int = TRIES, stop: Callable[[], bool] = lambda: False
) -> Shrunk:
    """*fails* says whether a plan still shows the violation; *stop* may end the search early."""
    spent, seen, smaller = 0, {to_json(plan)}, True
    while smaller:
        smaller = False
        for candidate in _candidates(plan):
            data = to_json(candidate)
            if data in seen:
                continue
            if spent >= tries or stop():
                return Shrunk(plan, spent)
            seen.add(data)
            spent += 1
            if fails(candidate):
                plan, smaller = candidate, True
                break
    return Shrunk(plan, spent)


def kind_of(violation: str) -> str:
    """What makes two violations the same: the promise that was broken."""
    return violation.partition(":")[0]


def size_of(plan: Plan) -> int:
    """Faults, roles and members: what a reader has to keep in mind."""
    return len(plan.faults) + len(plan.roles) + plan.nodes


# ---- smaller plans, the boldest first ----------------------------------------------------


def _candidates(plan: Plan) -> Iterator[Plan]:
    yield from _fewer_faults(plan)
    yield from _shorter(plan)
    for seat in reversed(range(plan.nodes)):
        if plan.nodes > 1:
            yield _without(plan, seat)
    for seat in plan.roles:
        yield replace(plan, roles={s: role for s, role in plan.roles.items() if s != seat})
    yield from _simpler(plan)
    yield from _milder_faults(plan)


def _fewer_faults(plan: Plan) -> Iterator[Plan]:
    """Halves, quarters, and so on down to each single one."""
    count = len(plan.faults)
    part = count
    while part:
        for begin in range(0, count, part):
            yield replace(plan, faults=plan.faults[:begin] + plan.faults[begin + part :])
        part //= 2


def _shorter(plan: Plan) -> Iterator[Plan]:
    for chaos_ms in (plan.chaos_ms // 2, plan.chaos_ms * 9 // 10):
        if chaos_ms >= 1_000:
            yield replace(plan, chaos_ms=chaos_ms, faults=tuple(f for f in plan.faults if f.at_ms < chaos_ms))
    for transactions in (1, plan.transactions // 2):
        if transactions < plan.transactions:
            yield replace(plan, transactions=transactions)


def _without(plan: Plan, seat: int) -> Plan:
    """One member less; those after it move up."""

    def moved(host: int) -> int:
        return host - 1 if host % TWIN > seat else host

    faults = []
    for fault in plan.faults:
        hosts = tuple(moved(host) for host in fault.hosts if host % TWIN != seat)
        if hosts or not fault.hosts:
            faults.append(replace(fault, hosts=hosts))
    return replace(
        plan,
        powers=plan.powers[:seat] + plan.powers[seat + 1 :],
        roles={moved(s): role for s, role in plan.roles.items() if s != seat},
        skews_ms={moved(s): skew for s, skew in plan.skews_ms.items() if s != seat},
        faults=tuple(faults),
        core=(),
        rest_dead=False,
    )


def _simpler(plan: Plan) -> Iterator[Plan]:
    weather = plan.weather
    yield replace(plan, weather=FAIR)
    yield replace(plan, weather=replace(weather, loss=0))
    yield replace(plan, weather=replace(weather, repeat=0))
    yield replace(plan, weather=replace(weather, delays=Delays.UNIFORM))
    yield replace(plan, skews_ms={})
    yield replace(plan, core=(), rest_dead=False)
    yield replace(plan, powers=(1,) * plan.nodes)
    for seat, role in plan.roles.items():
        if role is not Role.SILENT:
            yield replace(plan, roles={**plan.roles, seat: Role.SILENT})


def _milder_faults(plan: Plan) -> Iterator[Plan]:
    for place, fault in enumerate(plan.faults):
        for milder in _milder(fault):
            yield replace(plan, faults=(*plan.faults[:place], milder, *plan.faults[place + 1 :]))


def _milder(fault: Fault) -> Iterator[Fault]:
    for host in fault.hosts:
        if len(fault.hosts) > 1:
            yield replace(fault, hosts=tuple(h for h in fault.hosts if h != host))
    if fault.for_ms > 500:
        yield replace(fault, for_ms=fault.for_ms // 2)
    if fault.amount > 0:
        yield replace(fault, amount=0)
