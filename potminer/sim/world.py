"""One run: a scenario, a seed, two phases (faults, then heal), and a report.

The same scenario, seed and size give the same run to the byte; the report's fingerprint shows it.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from hashlib import blake2b
from random import Random

from potminer.base.digest import Domain, digest, number
from potminer.core.committee import Committee
from potminer.core.misbehave import Misbehaviour
from potminer.core.pbft.application import Head, Timers
from potminer.core.pbft.machine import Replica
from potminer.sim.checkers import Members, Witnesses
from potminer.sim.host import Host
from potminer.sim.ledger import Chain, genesis
from potminer.sim.network import Clock, Network
from potminer.sim.scenarios import Scenario
from potminer.wire.block import CertifiedBlock
from potminer.wire.codec import Wire
from potminer.wire.registry import pack
from potminer.wire.seal import SigningKey
from potminer.wire.tx import SignedTransaction, Transaction, Transfer, sign_transaction, transaction_digest

CHAIN = digest(Domain.GENESIS, b"simulation")
CLIENTS = 3
EPOCH = 0

MakeCommittee = Callable[[tuple[bytes, ...], tuple[int, ...]], Committee]
"""How hosts build their committee; tests put a broken rule here."""
Listen = Callable[[Wire], None]


def honest_committee(members: tuple[bytes, ...], powers: tuple[int, ...]) -> Committee:
    return Committee(epoch=EPOCH, members=members, powers=powers)


@dataclass(frozen=True, slots=True)
class Report:
    scenario: str
    seed: int
    nodes: int
    faulty: tuple[int, ...]
    violations: tuple[str, ...]
    blocks: int
    highest_view: int
    restarts: int
    messages: int
    resumed_ms: int
    """From the heal until every honest replica had executed everything."""
    virtual_ms: int
    fingerprint: str

    @property
    def replay(self) -> str:
        return f"potminer simulate --scenario {self.scenario} --seed {self.seed}"


class World:
    """Hosts, network and witnesses of one run."""

    def __init__(
        self,
        scenario: Scenario,
        seed: int,
        *,
        nodes: int | None,
        make_committee: MakeCommittee,
        make_replica: type[Replica],
        parameters: Timers,
        listen: Listen,
    ) -> None:
        self.scenario = scenario
        self.chance = Random(f"{scenario.name}/{seed}")
        drawn = self.chance.choice(scenario.sizes)
        self.nodes = drawn if nodes is None else nodes
        self.clock = Clock()
        self.network = Network(self.clock, self.chance, scenario)
        self._trace = blake2b(digest_size=8)
        keys = [SigningKey(digest(Domain.DRAW, b"member", number(i))) for i in range(self.nodes)]
        members = tuple(key.public for key in keys)
        powers = self._powers()
        bearable = [i for i, power in enumerate(powers) if 3 * power < sum(powers)]
        self.astray = self.chance.choice(bearable) if bearable else None
        faulty = self._faulty(powers) if scenario.twins or scenario.faulty is not None else frozenset()
        self._listen = listen
        self.committee = make_committee(members, powers)
        start = genesis(CHAIN)
        honest = frozenset(range(self.nodes)) - faulty
        told = Members(chain=CHAIN, epoch=EPOCH, keys=members, powers=powers, honest=honest)
        self.witnesses = Witnesses(told, start)
        seats = list(range(self.nodes)) + (sorted(faulty) if scenario.twins else [])
        self.hosts = [
            self._host(name, seat, keys[seat], seat in faulty, start, parameters, make_replica)
            for name, seat in enumerate(seats)
        ]
        self.submitted: list[SignedTransaction] = []

    # ---- setting up ----------------------------------------------------------------------

    def _powers(self) -> tuple[int, ...]:
        if self.chance.randrange(3):
            return (1,) * self.nodes
        return tuple(self.chance.randint(1, 3) for _ in range(self.nodes))

    def _faulty(self, powers: tuple[int, ...]) -> frozenset[int]:
        """The astray member; where there are to be too many, its neighbours too, until they are more than a third."""
        if self.astray is None:
            return frozenset()
        found, following = {self.astray}, self.astray
        while self.scenario.too_many and 3 * sum(powers[i] for i in found) <= sum(powers):
            following = (following + 1) % self.nodes
            found.add(following)
        return frozenset(found)

    def _host(
        self,
        name: int,
        seat: int,
        key: SigningKey,
        faulty: bool,
        start: Head,
        parameters: Timers,
        make_replica: type[Replica],
    ) -> Host:
        fault = None
        if faulty and self.scenario.faulty is not None:
            fault = Misbehaviour(self.scenario.faulty, key=key, chain=CHAIN, committee=self.committee)
        return Host(
            name=name,
            member=seat,
            key=key,
            chain_id=CHAIN,
            committee=self.committee,
            parameters=parameters,
            world=self,
            chain=Chain(head=start),
            skew_ms=self._skew(seat),
            honest=not faulty,
            fault=fault,
            victims=frozenset({client(0).public}),
            make=make_replica,
        )

    def _skew(self, seat: int) -> int:
        astray = self.scenario.astray_ms if seat == self.astray else 0
        return self.chance.choice((-astray, astray)) + self.chance.randint(
            -self.scenario.skew_ms, self.scenario.skew_ms
        )

    # ---- what hosts ask of the world (host.World) ----------------------------------------

    def send(self, host: Host, message: Wire, *, to: bytes | None) -> None:
        _, body = pack(message)
        self.witnesses.said(member=host.member, honest=host.honest, message=message, durable=host.disk)
        for target in self.hosts:
            if target.member == host.member or (to is not None and target.key.public != to):
                continue
            self.network.carry(host.name, target.name, partial(self._deliver, host.key.public, target, message, body))

    def _deliver(self, peer: bytes, target: Host, message: Wire, body: bytes) -> None:
        if target.replica is not None:
            self._trace.update(number(self.clock.now) + number(target.name) + body)
            if target.honest:
                self._listen(message)
            target.receive(peer, message)

    def after(self, delay_ms: int, action: Callable[[], None]) -> None:
        self.clock.after(delay_ms, action)

    def now(self) -> int:
        return self.clock.now

    def executed(self, host: Host, *, head: Head, certified: CertifiedBlock) -> None:
        if host.honest:
            self._listen(certified.certificate)
            self.witnesses.executed(
                member=host.member,
                head=head,
                block=certified.block,
                certificate=certified.certificate,
                known=host.chain.executed,
            )

    def broke(self, host: Host, error: AssertionError) -> None:
        if host.honest:
            self.witnesses.broke(member=host.member, error=error)

    def any_peer(self, host: Host) -> bytes:
        return self.chance.choice([key for key in self.committee.members if key != host.key.public])

    # ---- phases --------------------------------------------------------------------------

    def run(self, seed: int) -> Report:
        for host in self.hosts:
            self.clock.after(self.chance.randrange(500), host.start)
        self._plan_faults()
        self._plan_transactions()
        while self.clock.step(self.scenario.chaos_ms):
            self._look()
        resumed = self._recover()
        return Report(
            scenario=self.scenario.name,
            seed=seed,
            nodes=self.nodes,
            faulty=tuple(sorted(set(range(self.nodes)) - self.witnesses.members.honest)),
            violations=tuple(self.witnesses.violations),
            blocks=max(host.height for host in self.hosts),
            highest_view=max(host.highest_view for host in self.hosts),
            restarts=sum(host.lives - 1 for host in self.hosts if host.lives),
            messages=self.network.carried,
            resumed_ms=resumed,
            virtual_ms=self.clock.now,
            fingerprint=self._trace.hexdigest(),
        )

    def _plan_faults(self) -> None:
        s, last = self.scenario, self.scenario.chaos_ms
        for _ in range(s.crashes):
            self.clock.after(self.chance.randrange(last), partial(self._crash, self.chance.choice(self.hosts)))
        for _ in range(s.leader_crashes):
            self.clock.after(self.chance.randrange(last), self._crash_leader)
        for _ in range(s.blackouts):
            begin = self.chance.randrange(last)
            for host in self.hosts:
                self.clock.after(begin + self.chance.randrange(50), partial(self._crash, host))
        for _ in range(s.partitions):
            begin = self.chance.randrange(last)
            self.clock.after(begin, partial(self.network.split, len(self.hosts)))
            self.clock.after(begin + self.chance.randint(1_000, 7_000), self.network.join)

    def _plan_transactions(self) -> None:
        for serial in range(self.scenario.transactions):
            sender = client(serial % CLIENTS)
            transaction = Transaction(
                chain=CHAIN,
                sender=sender.public,
                nonce=serial // CLIENTS,
                fee=1,
                expiry=2**32,
                body=Transfer(to=self.hosts[0].key.public, amount=serial),
            )
            signed = sign_transaction(transaction, sender)
            self.clock.after(self.chance.randrange(self.scenario.chaos_ms), partial(self._submit, signed))

    def _submit(self, signed: SignedTransaction) -> None:
        self.submitted.append(signed)
        self.witnesses.submitted(transaction_digest(signed.transaction))
        for host in self.hosts:
            if self.chance.randrange(1_000) >= self.scenario.loss:
                self.clock.after(self.chance.randrange(5, 300), partial(host.submit, signed))

    def _crash(self, host: Host) -> None:
        if host.replica is not None and host.fuse is None and not self.network.healed:
            host.crash_within(self.chance.randrange(8))
            down = self.chance.randint(200, 6_000)
            self.clock.after(down, partial(self._restart, host))

    def _restart(self, host: Host) -> None:
        """The end of a crash that was planned before the heal; the heal itself restarts everybody."""
        if not self.network.healed:
            host.crash()
            host.start()

    def _crash_leader(self) -> None:
        foremost = max((h for h in self.hosts if h.replica is not None), key=lambda h: h.height, default=None)
        if foremost is None or foremost.replica is None:
            return
        leader = self.committee.primary(height=foremost.replica.height, view=foremost.replica.view)
        for host in self.hosts:
            if host.member == leader:
                self._crash(host)

    def _recover(self) -> int:
        """The second phase: no more new faults. Milliseconds until all is executed, or until patience ends."""
        healed = self.clock.now
        self.network.heal()
        for host in self.hosts:
            host.fuse = None
            host.start()
            for signed in self.submitted:
                self.clock.after(self.chance.randrange(5, 300), partial(host.submit, signed))
        goal = max(host.height for host in self.hosts) + 2
        while not self._all_done(goal):
            if not self.clock.step(healed + self.scenario.heal_ms):
                lagging = [h.member for h in self.hosts if h.honest and not self._done(h, goal)]
                self.witnesses.starved(f"members {lagging} did not execute everything after the heal")
                break
            self._look()
        return self.clock.now - healed

    def _all_done(self, goal: int) -> bool:
        return all(self._done(host, goal) for host in self.hosts if host.honest)

    def _done(self, host: Host, goal: int) -> bool:
        return host.height >= goal and len(host.chain.executed) >= len(self.submitted)

    def _look(self) -> None:
        """Every so often, how much everybody holds."""
        if self.clock.now % 16 == 0:
            for host in self.hosts:
                if host.honest and host.replica is not None:
                    self.witnesses.held(member=host.member, items=host.replica.footprint(), records=len(host.disk))


def _nobody(message: Wire) -> None:
    """Listens to nothing."""


def client(index: int) -> SigningKey:
    return SigningKey(digest(Domain.DRAW, b"client", number(index)))


def simulate(
    scenario: Scenario,
    seed: int,
    *,
    nodes: int | None = None,
    make_committee: MakeCommittee = honest_committee,
    make_replica: type[Replica] = Replica,
    listen: Listen = _nobody,
) -> Report:
    """Runs *scenario* with the chance of *seed*; *nodes* overrides the size that the seed draws.

    *listen* is told every message that an honest host hears, and the certificates it executed on.
    """
    batch_ms = min(200, scenario.view_base_ms // 3)
    parameters = Timers(batch_ms=batch_ms, view_base_ms=scenario.view_base_ms, checkpoint_blocks=5)
    world = World(
        scenario,
        seed,
        nodes=nodes,
        make_committee=make_committee,
        make_replica=make_replica,
        parameters=parameters,
        listen=listen,
    )
    return world.run(seed)
