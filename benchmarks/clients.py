"""Clients for the simulator: requests at a rate, retried as the client library does, and what became of them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from functools import partial
from itertools import pairwise

from potminer.base import limits
from potminer.base.digest import Domain, digest, number
from potminer.core.ledger.bonds import evidence_holds
from potminer.core.pbft.application import Head, Timers
from potminer.core.pbft.events import DoubleVote
from potminer.sim.host import Host
from potminer.sim.ledger import Chain
from potminer.sim.notary import Notary, NotedKey
from potminer.sim.plan import Plan
from potminer.sim.world import CHAIN, Report, World
from potminer.wire.block import CertifiedBlock
from potminer.wire.tx import (
    Evidence,
    SignedTransaction,
    Spoken,
    Transaction,
    Transfer,
    sign_transaction,
    transaction_digest,
)

BEGIN_MS = 1_000
"""By then everybody runs."""
RETRY_MS = 2_000
MORE = 3
"""Members asked besides when the one that was asked says nothing in time."""
SENDERS = 64
BLOCK_TRANSACTIONS = limits.BLOCK_TRANSACTIONS


@dataclass(slots=True)
class Asked:
    """One request: when it was first sent, whom it was sent to, when its certificate was in hand."""

    signed: SignedTransaction
    began_ms: int
    hosts: set[int] = field(default_factory=set)
    done_ms: int | None = None


class Slashing(Chain):
    """A tiny ledger with one more rule of the real one: who is proven to contradict itself has no turn any more."""

    __slots__ = ()

    def apply(self, certified: CertifiedBlock) -> None:
        super().apply(certified)
        for signed in certified.block.transactions:
            body = signed.transaction.body
            if not isinstance(body, Evidence) or not evidence_holds(body, chain=CHAIN):
                continue
            seat = self.committee.index_of(body.validator)
            if seat is not None:
                self.committee = replace(self.committee, skipped=self.committee.skipping([seat]))


class Accuser(Host):
    """A host that brings what it found to the ledger, as a node's steward does."""

    __slots__ = ()

    def _perform_one(self, effect: object) -> None:
        super()._perform_one(effect)
        if isinstance(effect, DoubleVote) and isinstance(self.world, Busy):
            seat = self.chain.committee.index_of(effect.signer)
            if seat is not None and seat not in self.chain.committee.skipped:
                self.world.accuse(self, effect)


class Busy(World):
    """A world whose clients send *rate* requests a second for as long as the faults last."""

    host, chain = Accuser, Slashing

    def __init__(self, plan: Plan, *, rate: int, timers: Timers | None = None, notary: Notary | None = None) -> None:
        super().__init__(plan, parameters=timers, notary=notary)
        self.rate = rate
        self.requests: dict[bytes, Asked] = {}
        self.first_executed: dict[int, int] = {}
        self.resumed_after: list[int] = []
        self.accused = 0
        """Proofs that were brought to the ledger."""
        self._told: set[tuple[int, bytes]] = set()
        for host in self.hosts:
            host.block_transactions = BLOCK_TRANSACTIONS

    def _plan_transactions(self) -> None:
        count = (self.plan.chaos_ms - BEGIN_MS) * self.rate // 1_000
        senders = [NotedKey(digest(Domain.DRAW, b"sender", number(index)), self.notary) for index in range(SENDERS)]
        for serial in range(count):
            at = BEGIN_MS + serial * 1_000 // self.rate
            self.clock.after(at, partial(self._request, senders[serial % SENDERS], serial))

    def _request(self, sender: NotedKey, serial: int) -> None:
        """Signed when it is sent, so that a long run holds no more than what is under way."""
        transaction = Transaction(
            chain=CHAIN, sender=sender.public, nonce=serial // SENDERS, fee=1, expiry=2**32,
            body=Transfer(to=sender.public, amount=serial),
        )
        signed = sign_transaction(transaction, sender)
        name = transaction_digest(transaction)
        self.witnesses.submitted(name)
        self.requests[name] = Asked(signed, self.clock.now)
        self._ask(name, 1)

    def _ask(self, name: bytes, count: int) -> None:
        asked = self.requests[name]
        if asked.done_ms is None:
            self._also(name, count)
            self.clock.after(RETRY_MS, partial(self._ask, name, MORE))

    def _also(self, name: bytes, count: int) -> None:
        asked = self.requests[name]
        others = [host for host in self.hosts if host.name not in asked.hosts] or self.hosts
        for host in self.chance.sample(others, min(count, len(others))):
            asked.hosts.add(host.name)
            self.clock.after(self._hop(), partial(self._reaches, host, name))

    def _hop(self) -> int:
        return self.plan.weather.least_ms + self.chance.randrange(self.plan.weather.spread_ms)

    def _reaches(self, host: Host, name: bytes) -> None:
        asked = self.requests[name]
        if host.replica is None:  # its system refuses the connection, so the library asks another one at once
            self.clock.after(self._hop(), partial(self._refused, name))
            return
        if name in host.chain.executed:
            self._answered(asked)
            return
        host.submit(asked.signed)
        if (host.name, name) not in self._told:
            self._told.add((host.name, name))
            for other in self.hosts:
                if other.member != host.member:
                    self.network.carry(host.name, other.name, other.submit, asked.signed)

    def accuse(self, host: Host, double: DoubleVote) -> None:
        """The proof that *host* found, as a transaction of its own key, to everybody."""
        first, second = (Spoken(double.purpose, *said) for said in (double.first, double.second))
        body = Evidence(
            validator=double.signer, epoch=double.epoch, height=double.height, view=double.view, first=first,
            second=second,
        )
        self.accused += 1
        transaction = Transaction(
            chain=CHAIN, sender=host.key.public, nonce=self.accused, fee=1, expiry=2**32, body=body
        )
        signed = sign_transaction(transaction, host.key)
        self.witnesses.submitted(signed.digest)
        self.clock.after(0, host.submit, signed)
        for other in self.hosts:
            if other.member != host.member:
                self.network.carry(host.name, other.name, other.submit, signed)

    def _refused(self, name: bytes) -> None:
        if self.requests[name].done_ms is None:
            self._also(name, 1)

    def _answered(self, asked: Asked) -> None:
        if asked.done_ms is None:
            asked.done_ms = self.clock.now + self._hop()

    def executed(self, host: Host, *, head: Head, certified: CertifiedBlock) -> None:
        super().executed(host, head=head, certified=certified)
        if host.honest:
            self.first_executed.setdefault(certified.block.header.height, self.clock.now)
            for signed in certified.block.transactions:
                asked = self.requests.get(transaction_digest(signed.transaction))
                if asked is not None and host.name in asked.hosts:
                    self._answered(asked)

    def _done(self, host: Host, goal: int) -> bool:
        return host.height >= goal and all(asked.done_ms is not None for asked in self._open())

    def _open(self) -> list[Asked]:
        """Requests that were still unanswered when last looked at."""
        self._waiting = [asked for asked in getattr(self, "_waiting", self.requests.values()) if asked.done_ms is None]
        return self._waiting

    # ---- what became of it ---------------------------------------------------------------

    def latencies(self, chosen: Callable[[Asked], bool] = lambda asked: True) -> list[int]:
        """Milliseconds from request to certificate, of those that got one."""
        return [a.done_ms - a.began_ms for a in self.requests.values() if a.done_ms is not None and chosen(a)]

    def gaps(self) -> list[int]:
        """Milliseconds between two blocks, of those in the first phase."""
        times = sorted(at for at in self.first_executed.values() if at <= self.plan.chaos_ms)
        return [after - before for before, after in pairwise(times)]


def measured(plan: Plan, *, rate: int, timers: Timers | None = None) -> tuple[Busy, Report]:
    world = Busy(plan, rate=rate, timers=timers)
    report = world.run()
    if report.violations:
        raise SystemExit(f"{plan.name}: the run broke a promise: {report.violations}")
    return world, report
