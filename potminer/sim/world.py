"""One run: a plan, two phases (faults, then heal), and a report.

The same plan gives the same run to the byte; the report's fingerprint shows it.
"""

from __future__ import annotations

from collections.abc import Callable
from hashlib import blake2b
from random import Random

from potminer.base.digest import Domain, digest, number
from potminer.base.errors import Malformed
from potminer.core import misbehave
from potminer.core.committee import Committee
from potminer.core.machine import MessageArrived
from potminer.core.pbft.application import Head, Timers
from potminer.core.pbft.machine import Replica
from potminer.sim import plan as plans
from potminer.sim.adversary import ADVERSARIES, Fault
from potminer.sim.chaos import Chaos
from potminer.sim.checkers import Members, Witnesses
from potminer.sim.host import Host
from potminer.sim.ledger import Chain, genesis
from potminer.sim.network import Clock, Network, Way
from potminer.sim.notary import SHARED, Notary, NotedCommittee, NotedKey
from potminer.sim.plan import TWIN, Plan, Role
from potminer.sim.report import Report, report_of
from potminer.sim.scenarios import Scenario, draw
from potminer.wire.block import CertifiedBlock
from potminer.wire.codec import Wire
from potminer.wire.registry import pack, unpack
from potminer.wire.seal import SigningKey
from potminer.wire.tx import SignedTransaction, Transaction, Transfer, sign_transaction, transaction_digest

CHAIN = digest(Domain.GENESIS, b"simulation")
CLIENTS = 3
EPOCH = 0
LOOK_MS = 250
_CHANCE = 0
"""The name of the chance that is nobody's way."""

MakeCommittee = Callable[[tuple[bytes, ...], tuple[int, ...]], Committee]
"""How hosts build their committee; tests put a broken rule here."""
Listen = Callable[[Wire], None]


class World:
    """Hosts, network and witnesses of one run."""

    host: type[Host] = Host
    chain: type[Chain] = Chain
    """What stands here; a benchmark may have them do more."""

    def __init__(
        self,
        plan: Plan,
        *,
        make_committee: MakeCommittee | None = None,
        make_replica: type[Replica] = Replica,
        parameters: Timers | None = None,
        listen: Listen | None = None,
        notary: Notary | None = None,
    ) -> None:
        self.plan = plan
        self.notary = SHARED if notary is None else notary
        self.chance = Random(f"{plan.name}/{plan.seed}/{_CHANCE}")
        self.clock = Clock()
        self.after = self.clock.after
        self._trace = blake2b(digest_size=8)
        self._listen = listen
        self._timers = _timers(plan) if parameters is None else parameters
        self._make = make_replica
        keys = [NotedKey(digest(Domain.DRAW, b"member", number(seat)), self.notary) for seat in range(plan.nodes)]
        members = tuple(key.public for key in keys)
        if make_committee is None:
            self.committee: Committee = NotedCommittee(EPOCH, members, plan.powers, notary=self.notary)
        else:
            self.committee = make_committee(members, plan.powers)
        start = genesis(CHAIN)
        honest = frozenset(range(plan.nodes)) - plan.faulty
        told = Members(chain=CHAIN, epoch=EPOCH, keys=members, powers=plan.powers, honest=honest)
        self.witnesses = Witnesses(told, start, self.notary.verify)
        self._victims = frozenset({client(0).public})
        names = [*range(plan.nodes), *(TWIN + seat for seat, role in plan.roles.items() if role is Role.TWINS)]
        self.hosts = [self._host(name, keys[name % TWIN], start) for name in names]
        self.network = Network(self.clock, f"{plan.name}/{plan.seed}", plan.weather, tuple(names))
        self._roads: dict[int, dict[bytes | None, list[tuple[Host, Way]]]] = {host.name: {} for host in self.hosts}
        """By host and the key that a message names (None: everybody), where it goes; twins share a key."""
        self.chaos = Chaos(plan, self.hosts, self.network)
        self.submitted: list[SignedTransaction] = []
        self._violated_ms: int | None = None
        self._next_look = 0

    def _host(self, name: int, key: SigningKey, start: Head) -> Host:
        seat = name % TWIN
        role, chain = self.plan.roles.get(seat), self.chain(head=start, committee=self.committee)
        return self.host(
            name=name,
            member=seat,
            key=key,
            chain_id=CHAIN,
            parameters=self._timers,
            world=self,
            chain=chain,
            skew_ms=self.plan.skews_ms.get(seat, 0) + (1 if name >= TWIN else 0),  # twins build different blocks
            honest=role in (None, Role.ASTRAY, Role.FORGETFUL),
            forgetful=role is Role.FORGETFUL,
            fault=self._fault(role, key, seat, chain),
            victims=self._victims if role is Role.CENSOR else frozenset(),
            notary=self.notary,
            make=self._make,
        )

    def _fault(self, role: Role | None, key: SigningKey, seat: int, own: Chain) -> Fault | None:
        if role is None:
            return None
        adversary = ADVERSARIES.get(role)
        if adversary is not None:
            chance = Random(f"{self.plan.seed}/adversary/{seat}")
            return adversary(key=key, chain=CHAIN, committee=self.committee, chance=chance)
        if role in (Role.SILENT, Role.EQUIVOCATE, Role.SLOW_LEADER):
            slow_ms = self._timers.view_base_ms * 9 // 10
            return misbehave.Misbehaviour(
                misbehave.Kind(role), key=key, chain=CHAIN, committee=lambda: own.committee, slow_ms=slow_ms
            )
        return None

    # ---- what hosts ask of the world (host.World) ----------------------------------------

    def send(self, host: Host, message: Wire, *, to: bytes | None) -> None:
        row, body = pack(message)
        if not host.honest:
            try:
                message = unpack(row.number, body)  # what no link would let in reaches nobody
            except Malformed:
                return
        witnessed = host.honest and not host.forgetful
        self.witnesses.said(member=host.member, honest=witnessed, message=message, durable=host.disk.records)
        name = blake2b(body, digest_size=8).digest()
        carry_on, deliver, event = self.network.carry_on, self._deliver, MessageArrived(host.key.public, message)
        for target, way in self._roads[host.name].get(to) or self._road(host, to):
            carry_on(way, deliver, (target, event, name))

    def _road(self, host: Host, to: bytes | None) -> list[tuple[Host, Way]]:
        """Whom *host* reaches when it speaks to *to*, by ways that were asked for once."""
        heard = [other for other in self.hosts if other.member != host.member and to in (None, other.key.public)]
        road = self._roads[host.name][to] = [(other, self.network.way(host.name, other.name)) for other in heard]
        return road

    def _deliver(self, target: Host, event: MessageArrived, name: bytes) -> None:
        if target.replica is not None:
            self._trace.update(b"%d %d %b" % (self.clock.now, target.name, name))
            if self._listen is not None and target.honest:
                self._listen(event.message)
            target.hear(event)

    def now(self) -> int:
        return self.clock.now

    def executed(self, host: Host, *, head: Head, certified: CertifiedBlock) -> None:
        if host.honest:
            if self._listen is not None:
                self._listen(certified.certificate)
            self.witnesses.executed(
                member=host.member,
                head=head,
                block=certified.block,
                certificate=certified.certificate,
                known=host.chain.executed,
            )

    def reached(self, host: Host) -> None:
        if host.honest:
            self.witnesses.reached(member=host.member, head=host.chain.head)

    def broke(self, host: Host, error: Exception) -> None:
        if host.honest:
            self.witnesses.broke(member=host.member, error=error)

    def any_peer(self, host: Host) -> bytes:
        return self.chance.choice([key for key in self.committee.members if key != host.key.public])

    # ---- phases --------------------------------------------------------------------------

    def run(self, *, until_violated: bool = False) -> Report:
        """*until_violated*: the first violation ends the run; shrinking needs no more."""
        for host in self.hosts:
            self.clock.after(self.chance.randrange(500), host.start)
        self.chaos.schedule()
        self._plan_transactions()
        clock, step, found = self.clock, self.clock.step, self.witnesses.violations
        while step(self.plan.chaos_ms):
            if found or clock.now >= self._next_look:
                self._look()
                if until_violated and found:
                    return self._report(0)
        return self._report(self._recover())

    def _report(self, resumed_ms: int) -> Report:
        self._note_violation()
        return report_of(
            self.plan, self.hosts, violations=self.witnesses.violations, violated_ms=self._violated_ms,
            resumed_ms=resumed_ms, messages=self.network.carried, events=self.clock.steps, now=self.clock.now,
            fingerprint=self._trace.hexdigest(),
        )  # fmt: skip

    def _plan_transactions(self) -> None:
        for serial in range(self.plan.transactions):
            at = self.chance.randrange(self.plan.chaos_ms)
            self.clock.after(at, self._submit, transfer(serial, self.notary))

    def _submit(self, signed: SignedTransaction) -> None:
        self.submitted.append(signed)
        self.witnesses.submitted(transaction_digest(signed.transaction))
        for host in self.hosts:
            if self.chance.randrange(1_000) >= self.plan.weather.loss:
                self.clock.after(self.chance.randrange(5, 300), host.submit, signed)

    def _recover(self) -> int:
        """The second phase: no more new faults. Milliseconds until all is executed, or until patience ends."""
        healed = self.clock.now
        core = self.chaos.heal()
        for host in core:
            for signed in self.submitted:
                self.clock.after(self.chance.randrange(5, 300), host.submit, signed)
        goal = max(host.height for host in core) + 2
        clock, step, found, until = self.clock, self.clock.step, self.witnesses.violations, healed + self.plan.heal_ms
        last = core[0] if core else None
        """Somebody who was not done when last asked: while it is not, the others need not be asked."""
        while last is not None:
            if self._done(last, goal):
                last = next((host for host in core if not self._done(host, goal)), None)
                continue
            if not step(until):
                lagging = [host.member for host in core if not self._done(host, goal)]
                self.witnesses.starved(f"members {lagging} did not execute everything after the heal")
                break
            if found or clock.now >= self._next_look:
                self._look()
        return clock.now - healed

    def _done(self, host: Host, goal: int) -> bool:
        return host.height >= goal and len(host.chain.executed) >= len(self.submitted)

    def _look(self) -> None:
        """Every so often, how much everybody holds."""
        if self._violated_ms is None and self.witnesses.violations:
            self._note_violation()
        if self.clock.now < self._next_look:
            return
        self._next_look = self.clock.now + LOOK_MS
        for host in self.hosts:
            if host.honest and host.replica is not None:
                self.witnesses.held(
                    member=host.member, items=host.replica.footprint(), records=len(host.disk.records),
                    block=host.block_transactions,
                )

    def _note_violation(self) -> None:
        if self._violated_ms is None and self.witnesses.violations:
            self._violated_ms = self.clock.now


def client(index: int) -> SigningKey:
    return SigningKey(digest(Domain.DRAW, b"client", number(index)))


def transfer(serial: int, notary: Notary) -> SignedTransaction:
    """What client number *serial* modulo CLIENTS submits as its next transaction."""
    sender = NotedKey(digest(Domain.DRAW, b"client", number(serial % CLIENTS)), notary)
    transaction = Transaction(
        chain=CHAIN,
        sender=sender.public,
        nonce=serial // CLIENTS,
        fee=1,
        expiry=2**32,
        body=Transfer(to=sender.public, amount=serial),
    )
    return sign_transaction(transaction, sender)


def _timers(plan: Plan) -> Timers:
    base = plan.view_base_ms
    return Timers(
        batch_ms=min(200, base // 3), view_base_ms=base, view_cap_ms=max(30_000, base), checkpoint_blocks=5,
        votes_ms=min(600, base // 3),
    )


def run(
    plan: Plan,
    *,
    make_committee: MakeCommittee | None = None,
    make_replica: type[Replica] = Replica,
    listen: Listen | None = None,
    notary: Notary | None = None,
    until_violated: bool = False,
) -> Report:
    """Runs *plan*. *listen* is told every message that an honest host hears, and the certificates it executed on."""
    world = World(plan, make_committee=make_committee, make_replica=make_replica, listen=listen, notary=notary)
    return world.run(until_violated=until_violated)


def simulate(
    scenario: Scenario,
    seed: int,
    *,
    nodes: int | None = None,
    make_committee: MakeCommittee | None = None,
    make_replica: type[Replica] = Replica,
    listen: Listen | None = None,
) -> Report:
    """Runs *scenario* with the chance of *seed*; *nodes* overrides the size that the seed draws."""
    drawn: plans.Plan = draw(scenario, seed, nodes=nodes)
    return run(drawn, make_committee=make_committee, make_replica=make_replica, listen=listen)
