"""A town of citizens: the same plans, faults and checkers, around the engine that ships.

What a swarm of hosts is for seeds, the town is for the node's own code between the machines: its
inbox and its priorities, writes that take time and are awaited, sync by its own machine, gossip
that carries transactions, the ledger with its money.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from hashlib import blake2b
from random import Random

from potminer.base.digest import Domain, digest, number
from potminer.base.errors import Malformed
from potminer.core import misbehave
from potminer.core.committee import Committee
from potminer.core.ledger.beacon import Onion
from potminer.core.ledger.state import State, grains_of
from potminer.core.pbft.application import Head
from potminer.node.engine import Engine
from potminer.sim.adversary import ADVERSARIES, Fault
from potminer.sim.chaos import Chaos
from potminer.sim.checkers import Members, Witnesses
from potminer.sim.citizen import CHECKPOINT_BLOCKS as CUT
from potminer.sim.citizen import Citizen, Life
from potminer.sim.ledger import GENESIS_MS
from potminer.sim.loop import LoopClock, VirtualLoop
from potminer.sim.network import Network
from potminer.sim.plan import TWIN, Plan, Role
from potminer.sim.report import Report, report_of
from potminer.sim.world import CLIENTS, LOOK_MS, client
from potminer.wire.block import Block, Certificate
from potminer.wire.codec import Wire
from potminer.wire.genesis import Genesis, GenesisAccount, GenesisValidator, Parameters, chain_id
from potminer.wire.registry import pack, unpack
from potminer.wire.seal import Purpose, SigningKey
from potminer.wire.tx import (
    Evidence,
    SignedTransaction,
    Transaction,
    Transfer,
    sign_transaction,
    transaction_digest,
)
from potminer.world.store.snapshots import Landing

ONION_LAYERS = 2_048
RICH = 10**12
RETRY_MS = 2_000
"""A client that has no receipt by then submits again, to somebody else."""
EPOCH_BLOCKS = 7
BLOCK_TRANSACTIONS = 1_000
"""Few, so that a run crosses epochs. Nobody is bonded, so nobody is elected and the same members sit on."""


class Town:
    """Citizens, network and witnesses of one run."""

    def __init__(self, plan: Plan, make_engine: type[Engine] = Engine) -> None:
        self.plan = plan
        self._make = make_engine
        self.chance = Random(f"town/{plan.name}/{plan.seed}")
        self.clock = LoopClock(asyncio.get_running_loop())
        self._trace = blake2b(digest_size=8)
        keys = [SigningKey(digest(Domain.DRAW, b"member", number(seat))) for seat in range(plan.nodes)]
        onions = [Onion(digest(Domain.ONION, key.public), layers=ONION_LAYERS) for key in keys]
        self.genesis = _genesis(keys, onions, plan.powers)
        self.chain = chain_id(self.genesis)
        members = tuple(key.public for key in keys)
        self._committee = Committee(0, members, plan.powers)
        self._supply = RICH * CLIENTS
        names = [*range(plan.nodes), *(TWIN + seat for seat, role in plan.roles.items() if role is Role.TWINS)]
        self.citizens = [self._citizen(name, keys[name % TWIN], onions[name % TWIN]) for name in names]
        honest = frozenset(range(plan.nodes)) - plan.faulty
        told = Members(
            chain=self.chain, epoch=0, keys=members, powers=plan.powers, honest=honest, epoch_blocks=EPOCH_BLOCKS
        )
        self.witnesses = Witnesses(told, self.citizens[0].shelf.head)
        self.network = Network(self.clock, f"town/{plan.name}/{plan.seed}", plan.weather, tuple(names))
        self.chaos = Chaos(plan, self.citizens, self.network)
        self.submitted: list[SignedTransaction] = []
        self.accused: set[bytes] = set()
        self._violated_ms: int | None = None
        self._executed_at: dict[bytes, int] = {}
        self.leaps = 0
        self._looked: dict[int, tuple[Life | None, int]] = {}

    def _citizen(self, name: int, key: SigningKey, onion: Onion) -> Citizen:
        seat = name % TWIN
        role = self.plan.roles.get(seat)
        return Citizen(
            self, self.genesis, key, onion, name=name, member=seat,
            skew_ms=self.plan.skews_ms.get(seat, 0) + (1 if name >= TWIN else 0),
            honest=role in (None, Role.ASTRAY, Role.FORGETFUL), forgetful=role is Role.FORGETFUL,
            false_server=role is Role.FALSE_SERVER,
            fault=self._fault(role, key), victims=frozenset({client(0).public}) if role is Role.CENSOR else frozenset(),
            make=self._make,
        )

    def _fault(self, role: Role | None, key: SigningKey) -> Fault | None:
        if role in ADVERSARIES and role is not None:
            chance = Random(f"{self.plan.seed}/adversary/{key.public.hex()}")
            return ADVERSARIES[role](key=key, chain=self.chain, committee=self._committee, chance=chance)
        if role in (Role.SILENT, Role.EQUIVOCATE, Role.SLOW_LEADER):
            return misbehave.Misbehaviour(
                misbehave.Kind(role), key=key, chain=self.chain, committee=self._newest_committee
            )
        return None

    def _newest_committee(self) -> Committee:
        """Of the citizen that is furthest; a liar knows what time it is."""
        lives = [citizen.life for citizen in self.citizens if citizen.life is not None]
        newest = max(lives, key=lambda life: life.ledger.state.head.height, default=None)
        return self._committee if newest is None else newest.ledger.committee

    # ---- what citizens ask of the town (citizen.Town) -------------------------------------

    def send(self, citizen: Citizen, peer: bytes, message: Wire) -> bool:
        row, body = pack(message)
        self.witnesses.said(
            member=citizen.member, honest=citizen.honest, message=message, durable=citizen.disk.records,
            bad_disk=citizen.forgetful,
        )
        for target in self.citizens:
            if target.key.public == peer and target.life is not None:
                self.network.carry(
                    citizen.name, target.name, self._deliver, citizen.key.public, target, row.number, body
                )
        return True

    def _deliver(self, peer: bytes, target: Citizen, kind: int, body: bytes) -> None:
        if target.life is None:
            return
        try:
            message = unpack(kind, body)
        except Malformed:
            return  # the link would end here
        self._trace.update(b"%d %d " % (self.clock.now, target.name) + body)
        target.life.hear(message)
        target.life.inbox.message(peer, message)

    def now(self) -> int:
        return self.clock.now

    def began(self, citizen: Citizen) -> None:
        for other, there in self._others(citizen):
            if citizen.life is not None and there.life is not None:
                citizen.life.link_up(other, outbound=citizen.name > there.name, height=there.height)
                there.life.link_up(citizen.key.public, outbound=there.name > citizen.name, height=citizen.height)

    def ended(self, citizen: Citizen) -> None:
        for _, there in self._others(citizen):
            if there.life is not None:
                there.life.inbox.link_down(citizen.key.public)

    def _others(self, citizen: Citizen) -> Iterator[tuple[bytes, Citizen]]:
        yield from ((other.key.public, other) for other in self.citizens if other.member != citizen.member)

    def executed(self, citizen: Citizen, head: Head, block: Block, certificate: Certificate, state: State) -> None:
        if not citizen.honest:
            return
        self._hear_evidence(block)
        self.witnesses.executed(
            member=citizen.member, head=head, block=block, certificate=certificate, known=citizen.shelf.executed
        )
        for signed in block.transactions:
            self._executed_at.setdefault(transaction_digest(signed.transaction), block.header.height)
        after = Head(block.header.height, b"", block.header.time_ms, state.root)
        self.witnesses.reached(member=citizen.member, head=after)
        self.witnesses.counted(member=citizen.member, height=block.header.height, state=state, supply=self._supply)

    def landed(self, citizen: Citizen, landing: Landing) -> None:
        """A member stands at a state that it did not execute: the same as whoever did, and as if it had."""
        self.leaps += 1
        if citizen.honest:
            head = Head(landing.snapshot.height, landing.digest, landing.time_ms, landing.state_root)
            self.witnesses.reached(member=citizen.member, head=head)
            grains = grains_of(citizen.shelf.ledger.items())
            if grains != self._supply:
                self.witnesses.report(f"supply: member {citizen.member} landed on {grains} grains")
            citizen.shelf.executed = {name for name, height in self._executed_at.items() if height <= head.height}

    def _hear_evidence(self, block: Block) -> None:
        """Members may submit one thing: evidence, and only against those who did sign twice."""
        honest = {self._committee.members[seat] for seat in range(self.plan.nodes) if seat not in self.plan.faulty}
        for signed in block.transactions:
            body = signed.transaction.body
            if isinstance(body, Evidence) and signed.transaction.sender in self._committee.members:
                self.witnesses.submitted(transaction_digest(signed.transaction))
                self.accused.add(body.validator)
                if body.validator in honest:
                    self.witnesses.report(f"justice: honest member {body.validator.hex()[:8]} is accused")

    def broke(self, citizen: Citizen, error: BaseException | str) -> None:
        if citizen.honest:
            self.witnesses.broke(member=citizen.member, error=error)

    # ---- clients -------------------------------------------------------------------------

    async def _client(self, index: int, count: int) -> None:
        """Submits its transactions at its own times, each again until somebody's chain has it."""
        spread = self.plan.chaos_ms // (count + 1)
        async with asyncio.TaskGroup() as group:
            for nonce in range(count):
                signed = transfer(self.chain, index, nonce, self.genesis.parameters.minimum_fee)
                group.create_task(self._insist(signed, nonce * spread + self.chance.randrange(spread)))

    async def _insist(self, signed: SignedTransaction, at_ms: int) -> None:
        await asyncio.sleep(at_ms / 1_000)
        name = transaction_digest(signed.transaction)
        self.submitted.append(signed)
        self.witnesses.submitted(name)
        while not any(name in citizen.shelf.executed for citizen in self.citizens if citizen.honest):
            asked = self.chance.choice(self.citizens)
            if asked.life is not None:
                asked.life.submit(signed)
            await asyncio.sleep(RETRY_MS / 1_000)

    # ---- phases --------------------------------------------------------------------------

    async def run(self) -> Report:
        for citizen in self.citizens:
            self.clock.after(self.chance.randrange(500), citizen.start)
        self.chaos.schedule()
        each, more = divmod(self.plan.transactions, CLIENTS)
        clients = [
            asyncio.create_task(self._client(index, each + (index < more))) for index in range(CLIENTS)
        ]
        while self.clock.now < self.plan.chaos_ms:
            await self._look()
        resumed = await self._recover()
        for task in clients:
            task.cancel()
        for citizen in self.citizens:
            citizen.crash()
        await asyncio.gather(*clients, return_exceptions=True)
        return self._report(resumed)

    async def _recover(self) -> int:
        healed = self.clock.now
        core = self.chaos.heal()
        goal = max(citizen.height for citizen in core) + 2
        while not all(self._done(citizen, goal) for citizen in core):
            if self.clock.now - healed > self.plan.heal_ms:
                lagging = [citizen.member for citizen in core if not self._done(citizen, goal)]
                self.witnesses.starved(f"members {lagging} did not execute everything after the heal")
                break
            await self._look()
        return self.clock.now - healed

    def _done(self, citizen: Citizen, goal: int) -> bool:
        asked = {transaction_digest(signed.transaction) for signed in self.submitted}
        all_in = len(asked) == self.plan.transactions and asked <= citizen.shelf.executed
        return citizen.height >= goal and all_in

    async def _look(self) -> None:
        """Every so often, how much everybody holds."""
        await asyncio.sleep(LOOK_MS / 1_000)
        if self._violated_ms is None and self.witnesses.violations:
            self._violated_ms = self.clock.now
        for citizen in self.citizens:
            if citizen.honest and citizen.replica is not None:
                records = sum(key.startswith(b"pbft/") for key in citizen.disk.records)
                self.witnesses.held(
                    member=citizen.member, items=citizen.replica.footprint(), records=records,
                    block=BLOCK_TRANSACTIONS,
                )
                self._cut(citizen)

    def _cut(self, citizen: Citizen) -> None:
        """Of heights that were over when it was looked at last nothing is left in its log, but for the newest
        CHECKPOINT vote."""
        life, over = self._looked.get(citizen.name, (None, 0))
        if life is citizen.life:
            kept = [key for key in citizen.disk.records if key.startswith(b"pbft/")]
            places = [(key[13], int.from_bytes(key[5:13], "big")) for key in kept]
            old = {(kind, at) for kind, at in places if at <= over - (kind == Purpose.CHECKPOINT) * 2 * CUT}
            if old:
                self.witnesses.report(f"log: member {citizen.member} keeps records of {sorted(old)} after block {over}")
        self._looked[citizen.name] = (citizen.life, citizen.height)

    def _report(self, resumed_ms: int) -> Report:
        return report_of(
            self.plan, self.citizens, violations=self.witnesses.violations, violated_ms=self._violated_ms,
            resumed_ms=resumed_ms, messages=self.network.carried, events=self.clock.steps, now=self.clock.now,
            fingerprint=self._trace.hexdigest(),
            leaps=self.leaps,
        )  # fmt: skip


def transfer(chain: bytes, index: int, nonce: int, fee: int) -> SignedTransaction:
    sender = client(index)
    transaction = Transaction(chain, sender.public, nonce, fee, 10**6, Transfer(client(index + 1).public, 1 + nonce))
    return sign_transaction(transaction, sender)


def _genesis(keys: list[SigningKey], onions: list[Onion], powers: tuple[int, ...]) -> Genesis:
    validators = tuple(
        GenesisValidator(key.public, power, onion.outside)
        for key, onion, power in zip(keys, onions, powers, strict=True)
    )
    accounts = tuple(GenesisAccount(client(index).public, RICH) for index in range(CLIENTS))
    parameters = Parameters(epoch_blocks=EPOCH_BLOCKS, block_transactions=BLOCK_TRANSACTIONS)
    return Genesis("devnet-town", GENESIS_MS, parameters, validators, accounts, bytes(32))


def run_town(plan: Plan, *, make_engine: type[Engine] = Engine, accused: set[bytes] | None = None) -> Report:
    """Runs *plan* on the node's own engines; *accused* is told whom evidence on the ledger names."""

    async def life() -> Report:
        town = Town(plan, make_engine)
        report = await town.run()
        if accused is not None:
            accused.update(town.accused)
        return report

    with asyncio.Runner(loop_factory=VirtualLoop) as runner:
        return runner.run(life())
