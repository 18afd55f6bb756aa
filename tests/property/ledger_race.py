"""The race: random histories, told to the ledger that ships and to the model of its spec.

Blocks are made by hand, so that bad ones are among them. After each block every record of both is compared, after
each transaction the reason why it was refused, and for a bad block the rule that refuses it.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from functools import lru_cache
from importlib import import_module
from pathlib import Path
from random import Random
from types import ModuleType
from typing import Any, NamedTuple

import click
from msgspec.structs import replace

from potminer.base import limits
from potminer.base.digest import Domain, digest
from potminer.core.committee import committee_of
from potminer.core.ledger.apply import Applied, apply_block
from potminer.core.ledger.beacon import peel
from potminer.core.ledger.event import Event
from potminer.core.ledger.state import State
from potminer.core.ledger.transact import largest_blob, smallest_budget
from potminer.wire import record as records
from potminer.wire.block import Block, Header, block_digest, transactions_root
from potminer.wire.codec import Wire, decode
from potminer.wire.model import Mlp
from potminer.wire.record import EvaluationRecord, Roster, RoundRecord, Trainer, Validator
from potminer.wire.residue import leaf_holds, leaf_number
from potminer.wire.seal import Purpose, statement, verify
from potminer.wire.task import (
    AuditSpec,
    Clipped,
    Deadlines,
    Evaluation,
    Mean,
    Reward,
    TaskSpec,
    model_bytes,
    snapshot_size,
    spec_fault,
    task_digest,
)
from potminer.wire.tx import (
    Bond,
    CancelTask,
    Evidence,
    RegisterTrainer,
    RegisterValidator,
    RevealWork,
    SignedTransaction,
    Spoken,
    SubmitTask,
    Transaction,
    Transfer,
    Unbond,
    UnbondValidator,
    commitment,
    sign_transaction,
    signature_holds,
)
from tests.property.test_ledger_histories import Act, Play
from tests.unit.ledger_world import SMALLEST_BOND, World, blob, key, onion, spec

MODEL = Path(__file__).parents[2] / "docs/spec/model"
BLOCKS = 100
TABLES = {
    b"C": "chain", b"K": "committee", b"F": "following", b"V": "roster", b"a": "account", b"t": "trainer",
    b"v": "validator", b"k": "task", b"r": "round", b"u": "unit", b"p": "pending", b"e": "evaluation", b"d": "update",
    b"s": "slice", b"l": "lengths", b"h": "held",
}  # fmt: skip
RULES = {
    "height or time does not follow the parent": "1",
    "built on another state": "2",
    "its transactions are not those of its header": "3",
    "another epoch": "4",
    "its proposer has no turn in this epoch's committee": "4",
    "the preimage is not the next layer of the proposer's onion": "4",
}
"""Why the ledger refuses a block, and the rule of ledger.md §2 that says so."""
PEOPLE = ("ann", "ben", "cy", "dee", "eve", "rich", "requester")


def load_model() -> ModuleType:
    """The model's files, as a package of their own: docs/ is none."""
    if "spec_model" not in sys.modules:
        package = sys.modules["spec_model"] = ModuleType("spec_model")
        package.__path__ = [str(MODEL)]
    import_module("spec_model.work")
    return import_module("spec_model.ledger")


model: Any = load_model()
whole: Any = sys.modules["spec_model.work"]
kept: Any = sys.modules["spec_model.records"]


# ---- what both are compared by -----------------------------------------------------------


def plain(value: Any) -> Any:
    """A record as the tuple of its fields."""
    if isinstance(value, Wire) and not hasattr(value, "units_per_trainer"):
        return tuple(plain(getattr(value, field)) for field in value.__struct_fields__)
    return tuple(plain(each) for each in value) if isinstance(value, tuple) else value


def differing(ours: Any, theirs: Any) -> str:
    if ours is None or theirs is None:
        return f"{ours}, in the model {theirs}"
    pairs = zip(theirs._fields, ours, theirs, strict=True)
    return ", ".join(f"{name} {one}, in the model {other}" for name, one, other in pairs if one != other)


def place(stored: bytes) -> tuple[object, ...]:
    """The model's key of a record."""
    table, name = TABLES[stored[:1]], stored[1:]
    if table == "unit":
        return table, name[:32], name[32], int.from_bytes(name[33:], "big")
    if table in ("round", "pending"):
        return table, name[:32], int.from_bytes(name[32:], "big")
    if table in ("slice", "lengths"):
        return table, name[:32], name[32]
    if table == "update":
        return table, name[:32], name[32:]
    return (table, name) if name else (table,)


@lru_cache(maxsize=4_096)
def holds(signed: SignedTransaction) -> bool:
    return signature_holds(signed)


@lru_cache
def layers(name: str) -> dict[bytes, bytes]:
    """Of an onion: to each layer the one inside."""
    inside, layer = dict[bytes, bytes](), digest(Domain.ONION, name.encode())
    for _ in range(2_048):
        inside[peel(layer)] = layer
        layer = peel(layer)
    return inside


@lru_cache(maxsize=4_096)
def once_verified(public: bytes, message: bytes, signature: bytes) -> bool:
    return verify(public, message, signature)


def facts_of(state: State) -> Any:
    def spoken(proof: Evidence, half: Spoken) -> bool:
        if half.purpose not in set(Purpose):
            return False
        said = statement(
            Purpose(half.purpose), chain=state.chain, signer=proof.validator, digest=half.digest, epoch=proof.epoch,
            height=proof.height, view=proof.view,
        )
        return once_verified(proof.validator, said, half.signature)

    def path_leads(root: bytes, body: Any, segments: int) -> bool:
        number = leaf_number(body.segment, body.leaf)
        return leaf_holds(root, body.residues, body.siblings, number=number, segments=segments)

    return kept.Facts(
        parameters=state.parameters,
        chain=state.chain,
        signed=holds,
        spoken=spoken,
        sound=lambda task: not spec_fault(task) and largest_blob(task) <= limits.BLOB_BYTES,
        model_bytes=model_bytes,
        update_bytes=lambda task: snapshot_size(task, task.segments),
        task_id=lambda task, requester, nonce: task_digest(task, requester=requester, nonce=nonce),
        commitment=lambda body, trainer: commitment(body, trainer=trainer),
        path_leads=path_leads,
    )


class Core(NamedTuple):
    """The ledger that runs against the model: ours, or a copy with a fault."""

    apply: Callable[..., Any] = apply_block
    state: Callable[..., State] = State


class Race(Play):
    """One history. ``run`` returns what differed, or None."""

    ideal: type[Any] = whole.Whole

    def __init__(self, seed: int, *, blocks: int = BLOCKS, core: Core = Core()) -> None:  # noqa: B008
        self.random = chance = Random(f"ledger/{seed}")
        self.world = World(
            validators=chance.choice((3, 4, 5, 7)), escrow_rounds=chance.choice((0, 1, 3)),
            bond=chance.choice((0, 1, 3)) * SMALLEST_BOND, epoch_blocks=chance.choice((2, 4, 20)),
            second_audit_ppm=chance.choice((0, 300_000)),
        )  # fmt: skip
        fewer = replace(
            self.world.genesis.parameters, trainers=chance.choice((3, 6, 100, 100, 100)),
            whole_bytes=chance.choice((0, 2**22, 2**40)),
        )  # fmt: skip
        self.core = core
        self.state = core.state(self.world.chain, fewer, self.world.state.tree)
        self.head, self.left = self.world.head, blocks
        self.names = {key(name).public: name for name in (*PEOPLE, *self.world.validators)}
        self.blocks: list[Block] = []
        self.events: list[Event] = []
        self.seen: list[tuple[bytes, ...]] = []
        self.bonded = seed % 3 == 2
        self.told: list[str] = []
        """What happened: kinds of transactions with what became of them, and rules that refused a block."""
        genesis = replace(self.world.genesis, parameters=fewer)
        self.model = self.ideal(genesis, facts_of(self.state))
        self.ours = {place(stored): self._decoded(stored, value) for stored, value in self.state.items()}

    @staticmethod
    def _decoded(stored: bytes, value: bytes) -> Any:
        return plain(decode(records.RECORD_TYPES[stored[:1]], value, max_bytes=1 << 24))

    # ---- the race ------------------------------------------------------------------------

    def run(self) -> str | None:
        found = self._differs(self.opening())
        for _ in range(self.left):
            if found is not None:
                return f"at height {self.state.head.height}: {found}"
            found = self._differs([*self.acts(), *self.money(), *self.reckless()])
        return found

    def _differs(self, acts: list[Act]) -> str | None:
        block, root, own = self._block(self._signed(self.random.sample(acts, len(acts))))
        theirs = self.model.apply(block, root_is_ours=root, lists_its_own=own)
        applied = self.core.apply(self.state, block, verifier=holds)
        if not hasattr(applied, "receipts"):
            ours = RULES.get(applied.reason) or "5 " + applied.reason.partition(": ")[2].upper().replace("-", "_")
            self.told.append(f"refused by {ours}")
            return None if ours == theirs else f"the block is refused by {ours}, in the model {theirs}"
        if isinstance(theirs, str):
            return f"the block is taken, and in the model refused by {theirs}"
        return self._compare(block, applied, theirs)

    def _compare(self, block: Block, applied: Applied, theirs: list[str | None]) -> str | None:
        for signed, receipt, its in zip(block.transactions, applied.receipts, theirs, strict=True):
            ours = None if receipt.refusal is None else receipt.refusal.upper().replace("-", "_")
            said = f"{type(signed.transaction.body).__name__}: {ours or 'done'}"
            self.told.append(said)
            if ours != its:
                return f"{said}, in the model {its or 'done'}: {signed.transaction.body}"
        self.state, self.head = applied.state, block_digest(block.header)
        self.events += applied.events
        for stored, value in applied.changes:
            if stored[:1] == b"R":
                continue  # a root over what was just compared
            if value is None:
                del self.ours[place(stored)]
            else:
                self.ours[place(stored)] = self._decoded(stored, value)
        if self.ours == self.model.records:
            return None
        keys = [k for k in {**self.ours, **self.model.records} if self.ours.get(k) != self.model.records.get(k)]
        return "; ".join(f"{k}: {differing(self.ours.get(k), self.model.records.get(k))}" for k in keys[:3])

    # ---- blocks --------------------------------------------------------------------------

    def _signed(self, acts: list[Act]) -> list[SignedTransaction]:
        """With the nonces that they need, and now and then something that no proposer would take."""
        chance, used, made = self.random, dict[bytes, int](), list[SignedTransaction]()
        for name, body in acts:
            sender = key(name)
            nonce = used.get(sender.public, self.state.account(sender.public).nonce)
            fee = chance.choice((10, 10, 25)) if self.state.account(sender.public).balance >= 10_000 else 0
            if fee == 0 and not self._is_free(sender.public, body):
                continue
            said = Transaction(self.world.chain, sender.public, nonce, fee, 10**9, body)
            flaw = chance.randrange(1_000)
            changes: dict[str, Any] = (
                {0: {"chain": blob("other")}, 1: {"expiry": self.state.head.height}, 2: {"fee": chance.choice((0, 9))},
                 3: {"fee": 10**15}, 4: {"nonce": nonce + 1}}.get(flaw, {})
            )  # fmt: skip
            signed = sign_transaction(replace(said, **changes), sender)
            made.append(replace(signed, signature=bytes(64)) if flaw == 5 else signed)
            used[sender.public] = nonce + 1
        return made

    def _is_free(self, sender: bytes, body: object) -> bool:
        moves = isinstance(body, Transfer | Bond | Unbond | SubmitTask | CancelTask)
        known = self.state.get(Trainer, records.trainer_key(sender)) or self.state.get(
            Validator, records.validator_key(sender)
        )
        return not moves and known is not None

    def _block(self, transactions: list[SignedTransaction]) -> tuple[Block, bool, bool]:
        """A block, whether it is built on our root, and whether its header lists its transactions."""
        chance, head, committee = self.random, self.state.head, committee_of(self.state.committee)
        view = chance.choice((0, 0, 0, 0, 1, 2))
        proposer = committee.members[committee.primary(height=head.height + 1, view=view)]
        flaw = chance.randrange(100)
        if flaw == 0:
            proposer = chance.choice((*committee.members, key("rich").public))
        validator = self.state.get(Validator, records.validator_key(proposer))
        preimage = None
        if validator is not None:
            inside = {**layers(self.names[proposer]), **layers(self.names[proposer] + "-renewed")}
            preimage = inside.get(validator.onion_in(committee.epoch))
        now = head.time_ms + chance.choice((1, 200, 1_000, 1_000, 2_500))
        edges = [at for at in self._edges() if head.time_ms < at <= head.time_ms + 6_000]
        if edges and chance.randrange(4) == 0:
            now = chance.choice(edges)
        header = Header(
            self.head, head.height + 1, committee.epoch, transactions_root(tuple(transactions)), self.state.root,
            proposer, now, preimage or blob("preimage"),
        )
        wrong: dict[str, Any] = {
            1: {"preimage": blob("preimage")}, 2: {"epoch": committee.epoch + 1}, 3: {"height": head.height + 2},
            4: {"time_ms": head.time_ms}, 5: {"state_root": blob("root")}, 6: {"transactions_root": blob("root")},
        }.get(flaw, {})  # fmt: skip
        return Block(replace(header, **wrong), tuple(transactions)), flaw != 5, flaw != 6

    def _edges(self) -> list[int]:
        """Times at which something is still in time, and the milliseconds after them."""
        state, found = self.state, list[int]()
        for task in state.head.open_tasks:
            rounds = [state.get(RoundRecord, records.round_key(task, number)) for number in (0, 1)]
            scored = state.get(EvaluationRecord, records.evaluation_key(task))
            found += [each.deadline_ms for each in (*rounds, scored) if each is not None]
        leaving = (*state.head.releases, *state.need(Roster, records.ROSTER).unbondings)
        found += [each.time_ms for each in leaving]
        return [at + late for at in found for late in (0, 1)]

    # ---- work ------------------------------------------------------------------------------

    def opening(self) -> list[Act]:
        """Tasks of every kind: short and long, well paid and barely paid, scored or not."""
        acts = [act for act in super().opening() if not isinstance(act[1], SubmitTask)]
        return [("requester", SubmitTask(self._ordered(number))) for number in range(2)] + acts

    def _ordered(self, number: int) -> TaskSpec:
        chance = self.random
        made = spec(
            name=f"task-{number}", rounds=chance.choice((1, 3, 12)), min_trainers=chance.choice((1, 1, 2)),
            max_trainers=chance.choice((3, 8)), units_per_trainer=chance.choice((1, 2, 3)),
            deadlines=Deadlines(5_000, 4_000, 4_000, 4_000, 4_000),
            audit=AuditSpec(chance.choice((30_000, 300_000)), chance.choice((1_000, 1_000, 6_000)), bool(number)),
            evaluation=chance.choice((Evaluation(), Evaluation(1, 3, 0), Evaluation(1, 2, 900_000))),
            compression=chance.choice(("lan", "lan", "wan2")), aggregation=chance.choice((Mean(), Mean(), Clipped())),
            model=chance.choice((Mlp(64, (8,), 10), Mlp(64, (45_000,), 10))),
        )  # fmt: skip
        price = chance.choice((7, 1_000_003))
        made = replace(made, reward=Reward(10**8, price))
        made = replace(made, reward=Reward(chance.choice((10**8, smallest_budget(made))), price))
        if not (number and self.bonded):
            return made
        # Long enough that trainers are trusted with a round beside the one that is audited.
        evaluation = chance.choice((Evaluation(), Evaluation(3, 3, 0), Evaluation(5, 2, 900_000)))
        return replace(made, rounds=12, min_trainers=1, reward=Reward(10**9, price), evaluation=evaluation)

    def _reveal(self, task: bytes, current: RoundRecord, slot: int) -> RevealWork:
        """Now and then something that was not committed to."""
        work = super()._reveal(task, current, slot)
        return work if self.random.randrange(12) else replace(work, loss_micro=work.loss_micro + 1)

    # ---- acts at the edges ---------------------------------------------------------------

    def money(self) -> list[Act]:
        """Amounts that are just enough, or just not; stakes that move while they count."""
        name = self.random.choice((*PEOPLE, *self.world.validators))
        return [(name, self.random.choice(self._moves(name))) for _ in range(self.random.choice((0, 1, 1, 2, 3)))]

    def _moves(self, name: str) -> list[Any]:
        chance, who = self.random, key(name).public
        balance = self.state.account(who).balance
        trainer = self.state.get(Trainer, records.trainer_key(who))
        validator = self.state.get(Validator, records.validator_key(who))
        bond, staked = (0 if each is None else each.bond for each in (trainer, validator))
        around = [0, 1, bond, bond + 1, max(0, bond - 1), chance.randrange(bond + 1), chance.randrange(bond + 1)]
        stakes = [0, 1, staked, staked + 1, SMALLEST_BOND, SMALLEST_BOND - 1, 3 * SMALLEST_BOND, staked // 2]
        to = key(chance.choice((*PEOPLE, *self.world.validators))).public
        layer = chance.choice((None, onion(name).outside, onion(name + "-renewed").outside))
        return [
            Transfer(to, chance.choice((0, 1, 10**6, balance, balance + 1))),
            Bond(chance.choice((0, 10**6, 5 * 10**7, balance + 1))),
            Unbond(chance.choice(around)),
            Unbond(chance.choice(around)),
            RegisterTrainer(key(name + chance.choice(("-wallet", "-other"))).public),
            RegisterValidator(layer, chance.choice(stakes)),
            RegisterValidator(layer, chance.choice(stakes)),
            UnbondValidator(chance.choice(stakes)),
        ]

    def reckless(self) -> list[Act]:
        """Tasks that make no sense or cannot be paid, and accusations."""
        chance, acts = self.random, list[Act]()
        if chance.randrange(12) == 0:
            acts.append((chance.choice(("requester", "rich", "ann")), SubmitTask(self._some_task())))
        if chance.randrange(40) == 0:
            acts.append((chance.choice(("requester", "rich")), CancelTask(self._some_id())))
        if chance.randrange(15) == 0:
            acts.append((chance.choice((*PEOPLE, *self.world.validators)), self._accusation()))
        return acts

    def _some_id(self) -> bytes:
        known = (*self.state.head.open_tasks, *(k[1:] for k, _ in self.state.items() if k[:1] == b"k"))
        return self.random.choice((*known, blob("no task")))

    def _some_task(self) -> TaskSpec:
        chance = self.random
        changes: dict[str, Any] = chance.choice((
            {}, {"min_trainers": 9}, {"units_per_trainer": 64, "max_trainers": 65}, {"objective": "regression"},
            {"initial_model": blob("a")}, {"name": "other"}, {"rounds": 2}, {"max_trainers": 3},
        ))  # fmt: skip
        made = spec(**changes)
        least = made.rounds * made.min_trainers * made.units_per_trainer * made.reward.price_per_unit
        budget = chance.choice((least, least, least - 1, least + 1, 10**13))
        return replace(made, reward=replace(made.reward, budget=budget))

    def _accusation(self) -> Evidence:
        name, chance = chance_name(self.random, self.world.validators), self.random
        place = {"epoch": 0, "height": 9, "view": 1}
        halves = []
        for word in chance.choice((("one", "other"), ("one", "other"), ("one", "one"))):
            purpose = chance.choice((Purpose.PREPARE, Purpose.PRE_PREPARE, Purpose.PREPARE, Purpose.COMMIT, Purpose(4)))
            signer = key(chance.choice((name, name, name, name, "rich")))
            said = statement(purpose, chain=self.world.chain, signer=key(name).public, digest=blob(word), **place)
            halves.append(Spoken(purpose, blob(word), signer.sign(said)))
        return Evidence(key(name).public, 0, 9, 1, *halves)


def chance_name(chance: Random, validators: list[str]) -> str:
    return chance.choice((*validators, *validators, "rich", "ann"))


class MoneyRace(Race):
    """Without work: nobody joins a task. This is the model of ledger.md alone."""

    ideal = model.Ledger

    def opening(self) -> list[Act]:
        acts: list[Act] = [(name, RegisterTrainer(key(name + "-wallet").public)) for name in PEOPLE[:4]]
        return acts + [("rich", Transfer(key(name).public, 10**9)) for name in PEOPLE[:5]]

    def acts(self) -> list[Act]:
        return [act for _ in range(4) for act in self.money()]


@click.command()
@click.argument("histories", type=click.IntRange(1), default=100)
def main(histories: int) -> None:
    """Race so many histories; the first that differs ends it."""
    for seed in range(histories):
        for kind in (MoneyRace, Race):
            found = kind(seed).run()
            if found is not None:
                raise click.ClickException(f"{kind.__name__} {seed}: {found}")
    click.echo(f"{histories} histories of each kind, no difference")


if __name__ == "__main__":
    main()
