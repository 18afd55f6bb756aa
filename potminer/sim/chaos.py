"""What a plan does to hosts and network, and the heal that ends it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Generic, Protocol, TypeVar

from potminer.base.quorum import is_quorum
from potminer.sim.disk import Disk
from potminer.sim.network import Network
from potminer.sim.plan import Fault, Kind, Plan

STAGGER_MS = 97
"""Hosts that crashed together come back one after the other."""


class Struck(Protocol):
    """What faults are done to: a host of the swarm, or a citizen of the town."""

    name: int
    member: int
    honest: bool
    forgetful: bool
    skew_ms: int
    fuse: int | None
    disk: Disk

    @property
    def height(self) -> int: ...
    @property
    def replica(self) -> object | None: ...
    @property
    def leader(self) -> int | None: ...
    def start(self) -> None: ...
    def crash(self) -> None: ...
    def crash_within(self, effects: int) -> None: ...
    def wipe(self) -> None: ...
    def freeze(self) -> None: ...
    def thaw(self) -> None: ...


H = TypeVar("H", bound=Struck)


class Chaos(Generic[H]):
    def __init__(self, plan: Plan, hosts: list[H], network: Network) -> None:
        self._plan = plan
        self._hosts = hosts
        self._network = network
        self._over = False
        self._skews = {host.name: host.skew_ms for host in hosts}

    def schedule(self) -> None:
        for fault in self._plan.faults:
            self._network.clock.after(fault.at_ms, self._begin, fault)

    def _begin(self, fault: Fault) -> None:
        if self._over:
            return
        side = frozenset(fault.hosts)
        network = self._network
        match fault.kind:
            case Kind.SPLIT:
                network.cut(network.split(side), for_ms=fault.for_ms)
            case Kind.ONE_WAY:
                network.cut(network.mute(side), for_ms=fault.for_ms)
            case Kind.RING:
                network.cut(network.ring(self._reach()), for_ms=fault.for_ms)
            case Kind.CLOG:
                network.clog(side, fault.for_ms)
            case Kind.LEADER_CRASH:
                self._crash_leader(fault)
            case _:
                for host in self._hosts:
                    if host.name in side:
                        self._strike(fault, host)

    def _strike(self, fault: Fault, host: H) -> None:
        match fault.kind:
            case Kind.CRASH:
                self._crash(host, fault)
            case Kind.TORN:
                host.disk.tear = fault.amount
                self._later(fault, host, self._restart)
            case Kind.PAUSE:
                host.freeze()
                self._later(fault, host, lambda host: host.thaw())
            case Kind.WIPE:
                if host.forgetful:
                    host.wipe()
                    self._later(fault, host, lambda host: host.start())
            case Kind.JUMP:
                host.skew_ms += fault.amount
                self._later(fault, host, self._set_clock)
            case Kind.DISK_FULL:
                host.disk.full = True
                self._later(fault, host, self._make_room)
            case Kind.DISK_UNREADABLE:
                host.disk.unreadable = True
                host.crash()
                self._later(fault, host, self._mend)
            case Kind.DISK_MISDIRECTED:
                if host.forgetful:
                    host.disk.misdirect()
                    self._later(fault, host, self._restart)

    def _later(self, fault: Fault, host: H, end: Callable[[H], None]) -> None:
        self._network.clock.after(fault.for_ms + host.name % 4 * STAGGER_MS, self._end, host, end)

    def _end(self, host: H, end: Callable[[H], None]) -> None:
        if not self._over:
            end(host)

    # ---- one host ------------------------------------------------------------------------

    def _crash(self, host: H, fault: Fault) -> None:
        if host.replica is not None and host.fuse is None:
            host.crash_within(max(0, fault.amount))
            self._later(fault, host, self._restart)

    def _crash_leader(self, fault: Fault) -> None:
        foremost = max((h for h in self._hosts if h.replica is not None), key=lambda h: h.height, default=None)
        if foremost is None:
            return
        leader = foremost.leader
        for host in self._hosts:
            if host.member == leader:
                self._crash(host, fault)

    def _restart(self, host: H) -> None:
        host.crash()
        self._start(host)

    def _start(self, host: H) -> None:
        """A disk that lies is not started on; its owner wipes it, which makes the member forgetful."""
        host.start()
        if host.replica is None and host.forgetful and not host.disk.unreadable:
            host.wipe()
            host.start()

    def _set_clock(self, host: H) -> None:
        host.skew_ms = self._skews[host.name]

    def _make_room(self, host: H) -> None:
        host.disk.full = False
        self._start(host)

    def _mend(self, host: H) -> None:
        host.disk.unreadable = False
        self._start(host)

    def _reach(self) -> int:
        """How far a host must hear on the ring so that those it hears are a quorum, whoever they are."""
        names = [host.name for host in self._hosts]
        power = {host.name: self._plan.powers[host.member] for host in self._hosts}
        total, count = sum(self._plan.powers), len(names)
        for reach in range(1, count):
            heard = (
                sum({names[(place + step) % count]: power[names[(place + step) % count]] for step in
                     range(-reach, reach + 1)}.values())
                for place in range(count)
            )
            if all(is_quorum(each, total) for each in heard):
                return reach
        return count

    # ---- the heal ------------------------------------------------------------------------

    def heal(self) -> list[H]:
        """The core, connected and running, faulty members among them; it must make progress from here.

        Honest members outside of the core stay cut off from everybody, or are dead.
        """
        self._over = True
        self._network.heal()
        core = [host for host in self._hosts if host.honest and (not self._plan.core or host.member in self._plan.core)]
        chosen = {host.name for host in core}
        rest = [host for host in self._hosts if host.honest and host.name not in chosen]
        for host in rest:
            host.thaw()
            self._network.cut(self._network.split(frozenset({host.name})), for_ms=None)
            if self._plan.rest_dead:
                host.crash()
        for host in self._hosts:
            if host not in rest:
                self._revive(host)
        return core

    def _revive(self, host: H) -> None:
        disk = host.disk
        disk.full, disk.unreadable, disk.tear, host.fuse = False, False, None, None
        host.skew_ms = self._skews[host.name]
        host.thaw()
        self._start(host)
