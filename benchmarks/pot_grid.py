"""The grid published for the other implementation of Proof of Training, on shaped links, in virtual time.

Published (README of github.com/P-HOW/proof-of-training, 2023): seconds until a batch of
transactions is agreed on, for three bandwidths and several sizes, on one host with emulated links.
The emulated latency is "10 % to 100 % of the given value", which is not given; here it is drawn
from 35 to 350 ms for every message. Their times do not grow with the number of nodes, so a
bandwidth is a link's, not a node's; --shared shapes each node's whole uplink instead, which is
harder.

Here: one client hands the batch to the validator whose turn it is (theirs goes to the one primary); the time
ends when the last node has executed
the last transaction. Real messages with their real sizes, consensus before gossip on a link, 60
bytes of frames and headers a message. A committee has at most 31 members, so of 50 nodes 19 only
follow: each is sent the certified blocks by one validator. Computing takes no virtual time; what it
takes is in the column of CPU seconds, for all nodes together.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from random import Random
from typing import Any

from clients import BLOCK_TRANSACTIONS, SENDERS
from record import Figures, finish, parser

from potminer.base.digest import Domain, digest, number
from potminer.core.pbft.application import Head, Timers
from potminer.sim.host import Host
from potminer.sim.ledger import Chain, genesis
from potminer.sim.network import Action, Network
from potminer.sim.notary import NotedKey
from potminer.sim.plan import Plan
from potminer.sim.world import CHAIN, World
from potminer.wire import sync
from potminer.wire.block import CertifiedBlock
from potminer.wire.codec import Wire, encode
from potminer.wire.registry import pack
from potminer.wire.tx import SignedTransaction, Transaction, Transfer, sign_transaction, transaction_digest

PUBLISHED_S: dict[tuple[int, int], tuple[float | None, float, float]] = {
    (100, 10): (8.609, 1.494, 1.497),
    (100, 30): (8.707, 1.685, 1.755),
    (1_000, 30): (73.536, 1.682, 1.833),
    (100, 50): (8.697, 1.842, 1.752),
    (200, 50): (15.984, 1.908, 1.893),
    (5_000, 50): (37.532, 1.767, 1.678),
    (10_000, 50): (None, 7.215, 2.074),
}
"""(transactions, nodes): seconds at 0.1, 30 and 125 Mbit/s."""
MBIT = (0.1, 30.0, 125.0)
LEAST_MS, MOST_MS = 35, 350
MESSAGE_BYTES = 60
PUSH = 64
"""Transactions in one message of gossip."""
COMMITTEE = 31
FOLLOWER = 100
BEGIN_MS = 1_000
PATIENCE_MS = 600_000


@dataclass(slots=True)
class Queue:
    """Until when a link is busy, in fractions of a millisecond: with consensus, and with everything."""

    consensus: float = 0.0
    everything: float = 0.0


class Shaped(Network):
    """Every message takes its bytes' time on its link (or its node's uplink), then a drawn latency."""

    mbit: float
    shared: bool
    chance: Random
    size: int = 0
    """Of the message that is sent now."""
    first: bool = True
    """It goes before what is gossiped."""
    queues: dict[tuple[int, int], Queue]
    sent_bytes: int = 0

    def carry(self, source: int, target: int, deliver: Action, *arguments: Any) -> None:
        queue = self.queues.setdefault((source, -1 if self.shared else target), Queue())
        now, takes = float(self.clock.now), (self.size + MESSAGE_BYTES) * 8 / (self.mbit * 1_000)
        if self.first:
            queue.consensus = done = max(now, queue.consensus) + takes
            queue.everything = max(now, queue.everything) + takes
        else:
            queue.everything = done = max(now, queue.everything, queue.consensus) + takes
        self.carried += 1
        self.sent_bytes += self.size + MESSAGE_BYTES
        self.clock.after(round(done - now) + self.chance.randint(LEAST_MS, MOST_MS), deliver, *arguments)


class Grid(World):
    """A world on shaped links, with followers."""

    def __init__(self, count: int, nodes: int, mbit: float, *, shared: bool) -> None:
        plan = Plan(name="grid", seed=nodes, powers=(1,) * min(nodes, COMMITTEE), transactions=0)
        super().__init__(plan, parameters=Timers())
        self.count = count
        names = tuple(host.name for host in self.hosts)
        self.network = shaped = Shaped(self.clock, "grid", plan.weather, names)
        shaped.mbit, shaped.shared, shaped.chance, shaped.queues = mbit, shared, Random(nodes), {}
        self.shaped = shaped
        self.followers = [self._follower(index) for index in range(nodes - len(self.hosts))]
        for host in self.hosts:
            host.block_transactions = BLOCK_TRANSACTIONS

    def _follower(self, index: int) -> Host:
        key = NotedKey(digest(Domain.DRAW, b"follower", number(index)), self.notary)
        return Host(
            name=FOLLOWER + index, member=FOLLOWER + index, key=key, chain_id=CHAIN, parameters=Timers(), world=self,
            chain=Chain(head=genesis(CHAIN), committee=self.committee), notary=self.notary,
        )

    def send(self, host: Host, message: Wire, *, to: bytes | None) -> None:
        if host.name < FOLLOWER:
            self.shaped.size, self.shaped.first = len(pack(message)[1]), True
            super().send(host, message, to=to)

    def executed(self, host: Host, *, head: Head, certified: CertifiedBlock) -> None:
        super().executed(host, head=head, certified=certified)
        for follower in self.followers:
            if (follower.name - FOLLOWER) % len(self.hosts) == host.name:
                news = sync.Blocks(blocks=(certified,))
                self.shaped.size, self.shaped.first = len(pack(news)[1]), False
                self.network.carry(host.name, follower.name, follower.receive, host.key.public, news)

    def submit_all(self) -> None:
        """The client's batch reaches one validator, which tells the others."""
        door = self.hosts[self.committee.primary(height=1, view=0)]
        senders = [NotedKey(digest(Domain.DRAW, b"sender", number(index)), self.notary) for index in range(SENDERS)]
        batch = [_transfer(senders[serial % SENDERS], serial) for serial in range(self.count)]
        for signed in batch:
            self.witnesses.submitted(transaction_digest(signed.transaction))
        for begin in range(0, len(batch), PUSH):
            push = batch[begin : begin + PUSH]
            self.shaped.size, self.shaped.first = sum(len(encode(signed)) + 4 for signed in push), False
            for other in self.hosts:
                if other is not door:
                    self.network.carry(door.name, other.name, _submit_all, other, push)
        _submit_all(door, batch)

    def seconds(self) -> float | None:
        """From the client's batch to the last node's last transaction."""
        for host in (*self.hosts, *self.followers):
            host.start()
        self.clock.after(BEGIN_MS, self.submit_all)
        nodes = (*self.hosts, *self.followers)
        while self.clock.step(PATIENCE_MS):
            if all(len(host.chain.executed) == self.count for host in nodes):
                if self.witnesses.violations:
                    raise SystemExit(f"a promise was broken: {self.witnesses.violations}")
                return (self.clock.now - BEGIN_MS) / 1_000
        return None


def _submit_all(host: Host, push: list[SignedTransaction]) -> None:
    for signed in push:
        host.submit(signed)


def _transfer(sender: NotedKey, serial: int) -> SignedTransaction:
    transaction = Transaction(
        chain=CHAIN, sender=sender.public, nonce=serial // SENDERS, fee=1_000, expiry=2**32,
        body=Transfer(to=sender.public, amount=serial),
    )
    return sign_transaction(transaction, sender)


def main() -> None:
    made = parser(__doc__ or "")
    made.add_argument("--shared", action="store_true", help="shape every node's uplink instead of every link")
    made.add_argument("--most", type=int, default=10_000, help="leave out batches above this")
    options = made.parse_args()
    figures: Figures = {"shared": options.shared}
    for (count, nodes), published in PUBLISHED_S.items():
        if count > options.most:
            continue
        for mbit, theirs in zip(MBIT, published, strict=True):
            began = time.process_time()
            world = Grid(count, nodes, mbit, shared=options.shared)
            took = world.seconds()
            name = f"{count}x{nodes}@{mbit:g}"
            figures[name] = {
                "s": took, "published_s": theirs, "blocks": max(host.height for host in world.hosts),
                "mbytes": world.shaped.sent_bytes / 1e6, "cpu_s": time.process_time() - began,
            }
            if not options.json:
                print(name, figures[name], flush=True)  # noqa: T201
    finish("pot_grid", figures, options, note="virtual time; latency 35 to 350 ms; committee of at most 31")


if __name__ == "__main__":
    main()
