"""Churn: the real ledger under the real replica, with another committee in every epoch.

Everybody holds a replica from the beginning, whether it sits or follows. Bonds are made, raised, renewed
and taken out all the time, one genesis member says two things, hosts crash, the network loses and
splits. A witness with a ledger of its own judges every block by its own arithmetic.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from random import Random
from typing import Any

from potminer.base.digest import Domain, digest, number
from potminer.core.ledger.apply import Applied, apply_block
from potminer.core.ledger.beacon import Onion, Onions
from potminer.core.ledger.event import EpochBegan
from potminer.core.ledger.ledger import Ledger
from potminer.core.ledger.state import State, genesis_state, supply
from potminer.core.misbehave import Kind, Misbehaviour
from potminer.core.pbft.application import Head, Timers
from potminer.core.pbft.events import DoubleVote
from potminer.core.steward import SayEvidence, SeatSeen, Steward
from potminer.node.application import LedgerApplication
from potminer.sim.host import Host
from potminer.sim.ledger import GENESIS_MS, Chain
from potminer.sim.network import Clock, Network
from potminer.sim.plan import Weather
from potminer.wire import record as records
from potminer.wire import sync
from potminer.wire.block import CertifiedBlock, block_digest
from potminer.wire.codec import Wire
from potminer.wire.genesis import Genesis, GenesisAccount, GenesisValidator, Parameters, chain_id, genesis_supply
from potminer.wire.record import CommitteeRecord, Roster, Validator
from potminer.wire.seal import Purpose, SigningKey, statement, verify
from potminer.wire.tx import (
    Body,
    RegisterValidator,
    SignedTransaction,
    Transaction,
    Transfer,
    UnbondValidator,
    sign_transaction,
)

BOND = 1_000
"""The smallest bond of a validator here."""
LAYERS = 1_024
HEAL_MS = 90_000
CHAOS_MS = 30_000


class Book(LedgerApplication):
    """The ledger as a host holds it: what consensus asks, and a door for transactions."""

    def submit(self, signed: SignedTransaction) -> bool:
        return self._ledger.submit(signed) is None

    @property
    def full(self) -> bool:
        return self._ledger.is_full

    def forget_executed(self) -> None:
        """The ledger does so itself."""


class LedgerChain(Chain):
    """What survives a crash: the ledger's state and the certified blocks. The mempool does not."""

    __slots__ = ("_first", "ledger", "onions")

    def __init__(self, state: State, *, digest: bytes, onions: Onions) -> None:
        self.ledger = Ledger(state, head=digest, onions=onions)
        self.onions = onions
        self._first = (state, digest)
        super().__init__(head=self._head(), committee=self.ledger.committee)

    def _head(self) -> Head:
        head = self.ledger.state.head
        return Head(head.height, self.ledger.head, head.time_ms, self.ledger.state.root)

    def open(self, holds: Callable[[SignedTransaction], bool], most: int) -> Book:
        self.ledger = Ledger(self.ledger.state, head=self.ledger.head, onions=self.onions)
        return Book(self.ledger)

    def anew(self, head: Head) -> LedgerChain:
        state, first = self._first
        return LedgerChain(state, digest=first, onions=self.onions)

    def apply(self, certified: CertifiedBlock) -> None:
        self.ledger.execute(certified.block)
        self.blocks.append(certified)
        self.head, self.committee = self._head(), self.ledger.committee


class Member(Host):
    """A host with a steward, whose journal is lost in every crash: that costs time only, for everybody heard."""

    __slots__ = ("steward",)

    def start(self) -> None:
        if self.replica is None:
            self.steward = Steward(renew_below=8, persisted={})
        super().start()

    def _perform_one(self, effect: object) -> None:
        if isinstance(effect, DoubleVote):
            self.steward.accuse(effect)
        super()._perform_one(effect)


@dataclass(frozen=True, slots=True)
class Report:
    """*committees* counts the different ones that sat; *skipped* the blocks before which somebody had no turn."""

    seed: int
    violations: tuple[str, ...]
    blocks: int
    epochs: int
    committees: int
    slashed: tuple[int, ...]
    skipped: int
    restarts: int
    resumed_ms: int


@dataclass(slots=True)
class Witness:
    """Judges what honest hosts execute with a ledger that nobody else touches."""

    state: State
    supply: int
    names: dict[bytes, int]
    liar: int
    violations: list[str] = field(default_factory=list)
    seated: list[CommitteeRecord] = field(default_factory=list)
    skipped: int = 0
    _final: dict[int, tuple[bytes, bytes]] = field(default_factory=dict)

    def executed(self, who: int, certified: CertifiedBlock) -> None:
        header = certified.block.header
        name = block_digest(header)
        if header.height == self.state.head.height + 1:
            self._first(certified, name)
        elif self._final[header.height][0] != name:
            self.report(f"agreement: {who} executed another block {header.height}")
        if header.state_root != self._final[header.height][1]:
            self.report(f"state: {who} had another state before block {header.height}")

    def _first(self, certified: CertifiedBlock, name: bytes) -> None:
        header, committee = certified.block.header, self.state.committee
        self._final[header.height] = (name, self.state.root)
        self.seated.append(committee)
        self.skipped += bool(committee.skipped)
        self._certificate(certified, name, committee)
        applied = apply_block(self.state, certified.block)
        if not isinstance(applied, Applied):
            self.report(f"validity: block {header.height}: {applied.reason}")
            return
        self.state = applied.state
        for event in applied.events:
            if isinstance(event, EpochBegan):
                self._election(event)
        if supply(self.state) != self.supply:
            self.report(f"supply: changed by block {header.height}")

    def _certificate(self, certified: CertifiedBlock, name: bytes, committee: CommitteeRecord) -> None:
        proof, header = certified.certificate, certified.block.header
        place = (proof.purpose, proof.epoch, proof.height, proof.digest)
        voters = [seat for seat, _ in proof.signatures]
        power = sum(committee.powers[seat] for seat in set(voters))
        sound = all(
            verify(
                committee.members[seat],
                statement(
                    Purpose.COMMIT, chain=self.state.chain, signer=committee.members[seat], digest=name,
                    epoch=committee.epoch, height=header.height, view=proof.view,
                ),
                signature,
            )
            for seat, signature in proof.signatures
        )  # fmt: skip
        expected = (Purpose.COMMIT, committee.epoch, header.height, name)
        if place != expected or not sound or len(set(voters)) != len(voters) or 3 * power <= 2 * sum(committee.powers):
            self.report(f"certificate: block {header.height} is not its epoch's committee's")

    def _election(self, began: EpochBegan) -> None:
        bonds = {k: self._validator(k).bond for k in self.state.need(Roster, records.ROSTER).candidates}
        ranked = sorted(bonds, key=lambda key: (-bonds[key], key))[:31]
        before, after = self.state.committee.members, self.state.following.members
        if after[: len(ranked)] != tuple(ranked) or (len(ranked) >= 4 and len(after) > len(ranked)):
            self.report(f"election: of epoch {began.epoch + 1} is not by bond")
        stayed = after[len(ranked) :]
        if not set(stayed) <= set(before) or len(after) < min(4, len(before)):
            self.report(f"election: of epoch {began.epoch + 1} was filled up with strangers, or not at all")
        if len(after) > 4 and ranked and any(self._validator(key).slashed for key in stayed):
            self.report(f"election: of epoch {began.epoch + 1} keeps a cheat without need")
        for key, who in self.names.items():
            found = self.state.get(Validator, records.validator_key(key))
            if found is not None and found.slashed and who != self.liar:
                self.report(f"slashed: {who} is honest")

    def _validator(self, key: bytes) -> Validator:
        return self.state.need(Validator, records.validator_key(key))

    def report(self, violation: str) -> None:
        if violation not in self.violations and len(self.violations) < 32:
            self.violations.append(violation)


class Churn:
    """One run, decided by its seed. *founders* sit from the genesis, the last of them says two things; the others
    may be elected."""

    def __init__(
        self, seed: int, *, founders: int = 5, others: int = 3, epoch_blocks: int = 4, loss: int = 30,
        weather: Weather | None = None, clients: tuple[bytes, ...] = (),
    ) -> None:  # fmt: skip
        """*clients* own something besides, and are nobody's validators."""
        self.seed = seed
        self.chance = Random(f"churn/{seed}")
        self.clock = Clock()
        keys = [SigningKey(digest(Domain.DRAW, b"churn", number(name))) for name in range(founders + others)]
        onions = [[Onion(digest(Domain.ONION, key.public, number(n)), LAYERS) for n in range(2)] for key in keys]
        genesis = Genesis(
            "churn",
            GENESIS_MS,
            Parameters(epoch_blocks=epoch_blocks, validator_bond=BOND, minimum_fee=1, unbonding_ms=2_000),
            tuple(GenesisValidator(keys[n].public, 1, onions[n][0].outside, 3 * BOND) for n in range(founders)),
            tuple(GenesisAccount(key, 1_000 * BOND) for key in (*(key.public for key in keys), *clients)),
            digest(Domain.DRAW, b"churn", number(seed)),
        )
        self.chain = chain_id(genesis)
        self.onions = onions
        start = genesis_state(genesis, chain=self.chain)
        self.liar = founders - 1
        self.witness = Witness(
            start, genesis_supply(genesis), {key.public: n for n, key in enumerate(keys)}, liar=self.liar
        )
        weather = Weather(5, 30, loss=loss, repeat=loss) if weather is None else weather
        self.network = Network(self.clock, f"churn/{seed}", weather, tuple(range(len(keys))))
        self.hosts = [self._host(name, key, start) for name, key in enumerate(keys)]
        self._by_key = {host.key.public: host for host in self.hosts}

    def _host(self, name: int, key: SigningKey, start: State) -> Member:
        own = LedgerChain(start, digest=self.chain, onions=Onions(*self.onions[name]))
        fault = None
        if name == self.liar:
            fault = Misbehaviour(Kind.EQUIVOCATE, key=key, chain=self.chain, committee=lambda: own.committee)
        return Member(
            name=name, member=name, key=key, chain_id=self.chain, parameters=Timers(checkpoint_blocks=6), world=self,
            chain=own, skew_ms=self.chance.randint(-300, 300), honest=name != self.liar, fault=fault,
        )  # fmt: skip

    # ---- what hosts ask of the world (host.World) ----------------------------------------

    def send(self, host: Host, message: Wire, *, to: bytes | None) -> None:
        """As a node does: said to all, it goes to the members of the committee as the speaker knows it."""
        for key in host.chain.committee.members if to is None else (to,):
            target = self._by_key[key]
            if target is not host:
                self.network.carry(host.name, target.name, self._deliver, host.key.public, target, message)

    def _deliver(self, peer: bytes, target: Host, message: Wire) -> None:
        if target.replica is not None:
            target.receive(peer, message)

    def after(self, delay_ms: int, action: Callable[..., None], *arguments: Any) -> None:
        self.clock.after(delay_ms, action, *arguments)

    def now(self) -> int:
        return self.clock.now

    def executed(self, host: Host, *, head: Head, certified: CertifiedBlock) -> None:
        if host.honest:
            self.witness.executed(host.name, certified)

    def reached(self, host: Host) -> None:
        """Everybody hears of a new head, as sync tells it; and the steward looks at its seat."""
        for other in self.hosts:
            if other is not host:
                head = sync.Head(height=host.height, digest=host.chain.head.digest)
                self.network.carry(host.name, other.name, self._deliver, host.key.public, other, head)
        ledger = _ledger(host)
        seat = SeatSeen(host.height, ledger.committee.epoch, None, None, ledger.is_slashed)
        for wish in host.steward.look(seat) if isinstance(host, Member) else ():
            if isinstance(wish, SayEvidence):
                self.say(host, wish.evidence)

    def broke(self, host: Host, error: Exception) -> None:
        if host.honest:
            self.witness.report(f"broken: {host.name}: {type(error).__name__}: {error}")

    def any_peer(self, host: Host) -> bytes:
        return self.chance.choice([other.key.public for other in self.hosts if other is not host])

    # ---- people --------------------------------------------------------------------------

    def say(self, host: Host, body: Body) -> None:
        """A transaction of *host*'s key, given to it and, a little later, to everybody."""
        ledger = _ledger(host)
        nonce = ledger.mempool.next_nonce(host.key.public, ledger.state)
        transaction = Transaction(self.chain, host.key.public, nonce, 1, 2**32, body)
        signed = sign_transaction(transaction, host.key)
        for other in self.hosts:
            self.clock.after(0 if other is host else self.chance.randrange(5, 200), other.submit, signed)

    def _act(self) -> None:
        """Somebody does something about its bond, or pays somebody."""
        host = self.chance.choice(self.hosts)
        if host.replica is not None:
            self.say(host, self._wish(host))

    def _wish(self, host: Host) -> Body:
        known = _ledger(host).state.get(Validator, records.validator_key(host.key.public))
        first, second = (onion.outside for onion in self.onions[host.name])
        if known is None:
            return RegisterValidator(first, self.chance.randint(1, 6) * BOND)
        wishes: list[Body] = [
            RegisterValidator(None, self.chance.randint(1, 4) * BOND),
            UnbondValidator(self.chance.randint(1, 3) * BOND),
            UnbondValidator(max(1, known.bond)),
            RegisterValidator(second, 0),
            Transfer(self.any_peer(host), 7),
            Transfer(self.any_peer(host), 9),
        ]
        return self.chance.choice(wishes)

    def _crash(self) -> None:
        host = self.chance.choice(self.hosts)
        if host.replica is not None and host.fuse is None:
            host.crash_within(self.chance.randrange(8))
            self.clock.after(self.chance.randint(300, 3_000), self._restart, host)

    def _restart(self, host: Host) -> None:
        host.crash()
        host.start()

    def _split(self) -> None:
        side = frozenset(self.chance.sample(range(len(self.hosts)), self.chance.randint(1, 2)))
        self.network.cut(self.network.split(side), for_ms=self.chance.randint(500, 3_000))

    # ---- phases --------------------------------------------------------------------------

    def run(self, *, crashes: int = 5, splits: int = 3, acts: int = 120, chaos_ms: int = CHAOS_MS) -> Report:
        for host in self.hosts:
            self.clock.after(self.chance.randrange(300), host.start)
        for action, times in ((self._crash, crashes), (self._split, splits), (self._act, acts)):
            for _ in range(times):
                self.clock.after(self.chance.randrange(500, chaos_ms), action)
        while self.clock.step(chaos_ms):
            pass
        return self._report(self._recover())

    def _recover(self) -> int:
        """Nothing is lost any more. Milliseconds until every honest host is in another epoch than all were."""
        healed = self.clock.now
        self.network.heal()
        for host in self.hosts:
            host.fuse = None
            host.start()
        for later in range(0, HEAL_MS, 700):
            self.clock.after(later, self._act)
        goal = max(host.chain.committee.epoch for host in self.hosts) + 3
        while not all(host.chain.committee.epoch >= goal for host in self.hosts if host.honest):
            if not self.clock.step(healed + HEAL_MS):
                late = [(h.name, h.height) for h in self.hosts if h.honest and h.chain.committee.epoch < goal]
                self.witness.report(f"liveness: {late} did not come to epoch {goal}")
                break
        return self.clock.now - healed

    def _report(self, resumed_ms: int) -> Report:
        state = self.witness.state
        slashed = (
            name
            for key, name in self.witness.names.items()
            if (found := state.get(Validator, records.validator_key(key))) is not None and found.slashed
        )
        return Report(
            self.seed,
            tuple(self.witness.violations),
            state.head.height,
            state.committee.epoch,
            len({record.members for record in self.witness.seated}),
            tuple(slashed),
            self.witness.skipped,
            sum(host.lives - 1 for host in self.hosts if host.lives),
            resumed_ms,
        )


def _ledger(host: Host) -> Ledger:
    if not isinstance(host.chain, LedgerChain):
        raise AssertionError("here everybody keeps a ledger")
    return host.chain.ledger
