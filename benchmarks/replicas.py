"""A committee of real replicas in one process: real ledgers and signatures, the real codec, links in memory, no store.

One core does the work of the whole committee, so decisions a second of CPU time are a floor for what n machines do.
"""

from __future__ import annotations

import time
from collections import deque
from dataclasses import dataclass, field

from chains import GRAINS, key, transfer
from record import Figures, finish, parser

from potminer.base.digest import Domain, digest, number
from potminer.core.committee import Committee
from potminer.core.ledger.beacon import Onion, Onions
from potminer.core.ledger.ledger import Ledger
from potminer.core.ledger.state import genesis_state
from potminer.core.machine import (
    Broadcast,
    CancelTimer,
    Execute,
    Executed,
    MessageArrived,
    Send,
    SetTimer,
    TimerFired,
)
from potminer.core.pbft.application import Head, Timers
from potminer.core.pbft.events import Event, Started, WorkArrived
from potminer.core.pbft.machine import Replica
from potminer.node.application import LedgerApplication
from potminer.wire.codec import Wire, encode
from potminer.wire.genesis import Genesis, GenesisAccount, GenesisValidator, Parameters, chain_id
from potminer.wire.registry import pack, unpack
from potminer.wire.tx import decode_signed

SENDERS = 500
LAYERS = 2_048


@dataclass(frozen=True, slots=True)
class Counting(Committee):
    """Counts the signatures that all members verify."""

    count: list[int] = field(default_factory=lambda: [0])
    """Shared by every committee that is counted together."""

    def signed_by(self, index: int, message: bytes, signature: bytes) -> bool:
        self.count[0] += 1
        return Committee.signed_by(self, index, message, signature)


class Counted(LedgerApplication):
    """The ledger's committees, counting."""

    def __init__(self, ledger: Ledger, count: list[int]) -> None:
        super().__init__(ledger)
        self._count = count

    @property
    def committee(self) -> Committee:
        return self._counting(super().committee)

    @property
    def following(self) -> Committee:
        return self._counting(super().following)

    def _counting(self, plain: Committee) -> Counting:
        return Counting(plain.epoch, plain.members, plain.powers, plain.skipped, self._count)


class Room:
    """*nodes* members and the queue between them. Timers fire when nothing else is left to do."""

    def __init__(self, nodes: int) -> None:
        keys = [key("validator", seat) for seat in range(nodes)]
        onions = [Onion(digest(Domain.ONION, number(seat)), layers=LAYERS) for seat in range(nodes)]
        validators = tuple(GenesisValidator(k.public, 1, o.outside) for k, o in zip(keys, onions, strict=True))
        accounts = tuple(GenesisAccount(key("sender", at).public, GRAINS) for at in range(SENDERS))
        genesis = Genesis("benchmark", 1_000_000, Parameters(), validators, accounts, bytes(32))
        self.chain = chain_id(genesis)
        self.now = genesis.time_ms + 1_000
        self.members = tuple(k.public for k in keys)
        self.count = [0]
        self.queue: deque[tuple[int, Event]] = deque()
        self.timers: dict[tuple[int, str], None] = {}
        self.messages = self.bytes = 0
        self.ledgers, self.replicas = [], []
        for k, onion in zip(keys, onions, strict=True):
            state = genesis_state(genesis, chain=self.chain)
            ledger = Ledger(state, head=self.chain, onions=Onions(onion))
            self.ledgers.append(ledger)
            self.replicas.append(
                Replica(
                    key=k, chain=self.chain, application=Counted(ledger, self.count),
                    head=Head(0, self.chain, genesis.time_ms, state.root), persisted={}, parameters=Timers(),
                )
            )
        for seat in range(nodes):
            self.queue.append((seat, Started()))
        self.work()

    def work(self) -> None:
        while self.queue:
            seat, event = self.queue.popleft()
            for effect in self.replicas[seat].handle(event, self.now):
                self.perform(seat, effect)

    def perform(self, seat: int, effect: object) -> None:
        match effect:
            case Broadcast(message):
                self.say(seat, message, [other for other in range(len(self.replicas)) if other != seat])
            case Send(peer, message):
                self.say(seat, message, [self.members.index(peer)])
            case SetTimer(name, _):
                self.timers[(seat, name)] = None
            case CancelTimer(name):
                self.timers.pop((seat, name), None)
            case Execute(block, _):
                ledger = self.ledgers[seat]
                applied = ledger.execute(block)
                header = block.header
                done = Executed(header.height, ledger.head, applied.state.root, header.time_ms)
                self.queue.appendleft((seat, done))

    def say(self, seat: int, message: Wire, targets: list[int]) -> None:
        row, body = pack(message)
        for target in targets:
            self.messages += 1
            self.bytes += len(body)
            arrived = MessageArrived(self.members[seat], unpack(row.number, body))
            self.queue.append((target, arrived))

    def submit(self, transactions: list[bytes]) -> None:
        """As gossip would: every member decodes and verifies for itself."""
        for seat, ledger in enumerate(self.ledgers):
            refusals = [ledger.submit(decode_signed(raw)) for raw in transactions]
            if any(refusals):
                raise SystemExit(f"refused: {refusals}")
            self.queue.append((seat, WorkArrived()))

    def decide(self) -> None:
        """One block more, by whoever may propose it."""
        before, self.now = self.ledgers[0].state.head.height, self.now + 250
        self.work()
        while self.ledgers[0].state.head.height == before:
            for kind in ("pbft/batch", "pbft/empty"):
                due = [timer for timer in self.timers if timer[1].startswith(kind)]
                if due:
                    break
            for timer in due:
                del self.timers[timer]
                self.queue.append((timer[0], TimerFired(timer[1])))
            self.work()


def measured(nodes: int, *, decisions: int, per_block: int) -> Figures:
    room = Room(nodes)
    room.decide()
    verified, messages, size = room.count[0], room.messages, room.bytes
    receiver, serial = key("receiver").public, 0
    spent = 0.0
    for _ in range(decisions):
        carried = []
        for _ in range(per_block):
            sender = key("sender", serial % SENDERS)
            carried.append(encode(transfer(room.chain, sender, receiver, nonce=serial // SENDERS)))
            serial += 1
        began = time.process_time()
        if carried:
            room.submit(carried)
        room.decide()
        spent += time.process_time() - began
    if len({ledger.state.root for ledger in room.ledgers}) != 1:
        raise SystemExit("the members disagree")
    return {
        "decisions_per_cpu_s": decisions / spent,
        "cpu_ms_per_decision_and_member": spent / decisions / nodes * 1e3,
        "verifies_per_decision_and_member": (room.count[0] - verified) / decisions / nodes,
        "messages_per_decision_and_member": (room.messages - messages) / decisions / nodes,
        "bytes_per_decision_and_member": (room.bytes - size) / decisions / nodes,
        "transactions_per_block": per_block,
    }


def main() -> None:
    options = parser(__doc__ or "").parse_args()
    figures = {
        f"n{nodes}_{per_block}tx": measured(nodes, decisions=decisions, per_block=per_block)
        for nodes, per_block, decisions in ((4, 0, 60), (16, 0, 20), (31, 0, 12), (31, 100, 6))
    }
    finish("replicas", figures, options)


if __name__ == "__main__":
    main()
