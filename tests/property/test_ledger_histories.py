"""Random histories: honest and lying trainers, auditors, validators and strangers at random times. Whatever they do,
money is conserved, every unit has one outcome, and everybody who replays the blocks holds the same state."""

from __future__ import annotations

from collections import Counter
from fractions import Fraction
from functools import lru_cache
from random import Random

import pytest
from msgspec.structs import replace

from potminer.core.committee import committee_of
from potminer.core.ledger import event
from potminer.core.ledger.ahead import EARLY
from potminer.core.ledger.apply import Applied, apply_block
from potminer.core.ledger.beacon import Onions
from potminer.core.ledger.calibrate import is_calibrating
from potminer.core.ledger.ledger import Ledger
from potminer.core.ledger.progress import rounds_of, units_in, was_shown
from potminer.core.ledger.rewards import audited_ppm
from potminer.core.ledger.stake import needs, stakes
from potminer.core.ledger.state import Draft, State, genesis_state, restored, supply
from potminer.wire import record as records
from potminer.wire.block import Block, block_digest
from potminer.wire.codec import decode
from potminer.wire.record import Outcome, Phase, RoundRecord, TaskRecord, Trainer, UnitRecord, money
from potminer.wire.residue import leaf_number, leaf_path, leaves_of
from potminer.wire.task import AuditSpec, Deadlines, Evaluation, Reward
from potminer.wire.tx import (
    AggregateResult,
    AuditVerdict,
    Body,
    Bond,
    CancelTask,
    CommitWork,
    EvaluateModel,
    Finding,
    JoinTask,
    LeaveTask,
    OpenResidue,
    RegisterTrainer,
    RegisterValidator,
    RevealWork,
    ScoreModel,
    SliceResult,
    SubmitTask,
    Transaction,
    Transfer,
    Unbond,
    UnbondValidator,
    commitment,
    sign_transaction,
    signature_holds,
)
from tests.property.beside import check_ahead, check_expelled, check_outliers, in_progress, lengths
from tests.property.evaluations import scores
from tests.property.gambles import Gamble, check_never_pays, escapes, owed_to_all
from tests.property.hiding import Watch, held_of, shows, withheld
from tests.unit.ledger_world import LENGTH, SMALLEST_BOND, World, blob, key, onion, residues, root, spec, true_evidence

TRAINERS = ("ann", "ben", "cy", "dee", "eve")
CHEATS = ("dee", "eve")
PRICE = 1_000_003
BLOCKS = 150
BOND = 3 * SMALLEST_BOND
Act = tuple[str, Body]
holds = lru_cache(maxsize=8_192)(signature_holds)
"""The same bytes under the same key hold however often they are asked about."""
path = lru_cache(maxsize=1_024)(leaf_path)
"""Whoever was not heard says it again, and a path costs 255 digests."""


class Play:
    """One history. *random* decides everything."""

    def __init__(self, seed: int) -> None:
        self.random = Random(seed)
        second = self.random.choice((0, 300_000))
        self.world = World(
            escrow_rounds=self.random.choice((0, 1, 3)), bond=BOND, epoch_blocks=self.random.choice((4, 20, 60)),
            second_audit_ppm=second,
        )
        self.state = self.world.state
        self.head = self.world.head
        self.names = {key(name).public: name for name in (*TRAINERS, *self.world.validators, "rich")}
        self.blocks: list[Block] = []
        self.events: list[event.Event] = []
        self.stored = dict(self.state.items())
        self.seen: list[tuple[bytes, ...]] = []
        self.bonded = self.random.random() < 0.5
        """Everybody bonds, and cheats are patient: with nothing at stake no round trains beside another's audits."""

    # ---- who does what --------------------------------------------------------------------

    def opening(self) -> list[Act]:
        tasks = [
            spec(
                name=f"task-{number}", rounds=(4, 12)[number], min_trainers=self.random.choice((1, 2)),
                max_trainers=self.random.choice((3, 8)), units_per_trainer=self.random.choice((1, 2)),
                deadlines=Deadlines(5_000, 4_000, 4_000, 4_000, 4_000),
                audit=AuditSpec(300_000, 1_000, overlap=self.random.random() < 0.7),
                reward=Reward(10**8, PRICE), evaluation=Evaluation(*((2, 3, 0), (3, 2, 990_000))[number]),
            )
            for number in range(2)
        ]
        acts: list[Act] = [("requester", SubmitTask(task)) for task in tasks]
        acts += [(name, RegisterTrainer(key(name + "-wallet").public)) for name in TRAINERS]
        return acts + [("rich", Transfer(key(name).public, 10**9)) for name in TRAINERS]

    def acts(self) -> list[Act]:
        return [act for task in self.state.head.open_tasks for act in self._of_task(task)] + self._noise() + shows(self)

    def _of_task(self, task: bytes) -> list[Act]:
        acts: list[Act] = [(name, JoinTask(task)) for name in TRAINERS if self.random.random() < 0.3]
        acts += scores(self, task)
        for current in rounds_of(Draft(self.state), task):
            acts += self._of_round(task, current) if self.random.random() >= 0.15 else []
        return acts

    def _of_round(self, task: bytes, current: RoundRecord) -> list[Act]:
        acts: list[Act] = []
        for slot, unit in enumerate(units_in(Draft(self.state), task, current)):
            name = self.names[unit.trainer]
            if current.phase == Phase.COMMIT and self.random.random() < 0.8:
                acts.append((name, self._commit(task, current, slot)))
            elif current.phase == Phase.REVEAL and self.random.random() < 0.8:
                acts.append((name, self._reveal(task, current, slot)))
        if current.phase in (Phase.AUDIT, Phase.DISPUTE):
            acts += self._verdicts(task, current)
        if current.phase in (Phase.AUDIT, Phase.OPEN):
            acts += self._openings(task, current)
        if current.phase == Phase.AGGREGATE or current.phase in EARLY:
            acts += self._attestations(task, current)
        return acts

    def _snapshots(self, task: bytes, current: RoundRecord, slot: int) -> tuple[bytes, ...]:
        """A cheat repeats one update for all its units of an attempt, or one that was seen before."""
        trainer = current.slots[slot]
        if self.names[trainer] in CHEATS:
            choice = Random(f"{task.hex()}{current.number}{current.attempt}")
            if self.bonded and choice.random() < 0.8:
                return tuple(blob(task, current.number, current.attempt, slot, i) for i in range(4))
            if choice.random() < 0.2:
                return tuple(blob("same", trainer, current.attempt, current.number, i) for i in range(4))
            if choice.random() < 0.2 and self.seen:
                return self.seen[choice.randrange(min(3, len(self.seen)))]
            if choice.random() < 0.2:
                first = next(s for s, t in enumerate(current.slots) if t != trainer or len(set(current.slots)) == 1)
                return tuple(blob(task, current.number, current.attempt, first, i) for i in range(4))
        return tuple(blob(task, current.number, current.attempt, slot, i) for i in range(4))

    def _work(self, task: bytes, current: RoundRecord, slot: int) -> RevealWork:
        key_ = records.unit_key(task, current.number, slot)
        bound = self.state.need(UnitRecord, key_).commitment
        place = (task, current.number, current.attempt, slot)
        long = lengths(current, slot, wild=self.names[current.slots[slot]] in CHEATS)
        made = RevealWork(*place, blob("salt", slot), 500_000, (), root(*self._bound_to(*place)), long)
        honest = tuple(blob(task, current.number, current.attempt, slot, i) for i in range(4))
        for snapshots in (self._snapshots(task, current, slot), honest, *self.seen[:3]):
            work = replace(made, snapshots=snapshots)
            if bound is None or commitment(work, trainer=current.slots[slot]) == bound:
                return work
        return replace(made, snapshots=honest)

    def _commit(self, task: bytes, current: RoundRecord, slot: int) -> CommitWork:
        bound = commitment(self._work(task, current, slot), trainer=current.slots[slot])
        base = blob("old") if self.random.random() < 0.03 else current.base
        device = self.random.choice(("cpu",) * (200 if self.bonded else 30) + ("cuda-8.6", f"toaster-{current.number}"))
        return CommitWork(task, current.number, current.attempt, slot, base, bound, device)

    def _reveal(self, task: bytes, current: RoundRecord, slot: int) -> RevealWork:
        work = self._work(task, current, slot)
        self.seen = [work.snapshots, *self.seen[:5]]
        return work

    def _verdicts(self, task: bytes, current: RoundRecord) -> list[Act]:
        acts: list[Act] = []
        for audit in current.audits:
            caught = self.random.random() < (0.1 if self.bonded else 0.7)
            guilty = caught and self.names[current.slots[audit.slot]] in CHEATS
            finding = self.random.choice((Finding.MEASURED, Finding.MEASURED, Finding.MALFORMED))
            place = task, current.number, current.attempt, audit.slot, audit.segment
            found = (finding, 500_000) if guilty else (Finding.MEASURED, 3)
            true = withheld(self, AuditVerdict(*place, *found, b"", 44_000))
            leaves = leaves_of(residues(task, current.number, current.attempt, audit.slot))
            sketch = leaves[leaf_number(audit.segment, audit.leaf)]
            judges = self.world.validators if current.phase == Phase.DISPUTE else [self.names.get(audit.auditor or b"")]
            for judge in judges:
                said = true
                if judge in (*CHEATS, "validator-3") and self.random.random() < 0.5:
                    finding = self.random.choice(list(Finding))
                    numbers = self.random.choice((0, 10**6)), self.random.choice((0, 1, 10**7))
                    said = replace(true, finding=finding, error_ppm=numbers[0], cheat_ppm=numbers[1])
                if said.finding == Finding.MEASURED:
                    lazy = judge in (*CHEATS, "validator-3") and self.random.random() < 0.6
                    said = replace(said, sketch=self.random.randbytes(64) if lazy else sketch)
                if judge is not None and self.random.random() < 0.7:
                    acts.append((judge, said))
        return acts

    def _bound_to(self, task: bytes, number: int, attempt: int, slot: int) -> tuple[object, ...]:
        """Which residues: a cheat's are sometimes not those of its unit."""
        place = (task, number, attempt, slot)
        owner = self.names[self.state.need(UnitRecord, records.unit_key(task, number, slot)).trainer]
        return ("false", *place) if owner in CHEATS and Random(repr(place)).random() < 0.3 else place

    def _openings(self, task: bytes, current: RoundRecord) -> list[Act]:
        acts: list[Act] = []
        for audit in current.audits:
            place, owner = (task, current.number, current.attempt, audit.slot), self.names[current.slots[audit.slot]]
            wrong = {"leaf": self.random.randrange(32), "residues": self.random.randbytes(64)} if (
                self.random.random() < 0.1
            ) else {}
            if self.random.random() < (0.5 if owner in CHEATS else 0.7):
                made, at = residues(*self._bound_to(*place)), leaf_number(audit.segment, audit.leaf)
                opening = OpenResidue(*place, audit.segment, audit.leaf, leaves_of(made)[at], path(made, at))
                acts.append((owner, replace(opening, **wrong)))
        return acts

    def _attestations(self, task: bytes, current: RoundRecord) -> list[Act]:
        early, units = current.phase != Phase.AGGREGATE, units_in(Draft(self.state), task, current)
        ended = [unit.judgement.outcome if unit.judgement is not None else None for unit in units]
        made = [slot for slot, unit in enumerate(units) if was_shown(unit) and (early or ended[slot] == "accepted")]
        model = blob("theta", current.number + 1, current.base, made)
        result = AggregateResult(task, current.number, current.attempt, model, (), early)
        acts: list[Act] = []
        for validator in self.world.validators:
            said = result
            if validator == "validator-3":
                slots = tuple(self.random.sample(range(len(current.slots) + 2), 2))
                said = replace(result, model=blob("forged"), malformed=slots)
            if self.random.random() < (0.4 if current.slices == 1 else 0.15):  # words on slices take a few blocks
                acts.append((validator, said))
        return acts + self._words_on_slices(task, current)

    def _words_on_slices(self, task: bytes, current: RoundRecord) -> list[Act]:
        acts: list[Act] = []
        for _ in range(self.random.choice((0, 0, 1, 3)) if current.slices > 1 else 0):
            slots = tuple(sorted(self.random.sample(range(4), self.random.randrange(3))))
            index = self.random.randrange(current.slices + 1)
            clips = hasattr(self.state.need(TaskRecord, records.task_key(task)).spec.aggregation, "bucket")
            word = current.number, current.attempt, index, blob("part", slots), slots, clips and sum(slots) % 3 == 0
            acts.append((self.random.choice((*self.world.validators, "ann")), SliceResult(task, *word)))
        return acts

    def _noise(self) -> list[Act]:
        """Nonsense, and money that moves between all this."""
        somebody = self.random.choice((*TRAINERS, "requester", "rich"))
        task = self.random.choice((*self.state.head.open_tasks, blob("no task")))
        place = (task, self.random.randrange(3), self.random.randrange(2), self.random.randrange(12))
        nonsense: list[Body] = [
            Transfer(key(self.random.choice(TRAINERS)).public, self.random.choice((0, 1, 10**8, 10**13))),
            Bond(self.random.choice((0, 10**6, 5 * 10**7))),
            Unbond(self.random.choice((0, 1, 10**6, 3 * 10**7))),
            RegisterTrainer(key(somebody + "-wallet").public),
            LeaveTask(task),
            CommitWork(*place, blob("base"), blob("commitment")),
            RevealWork(*place, blob("salt"), 2**62, (blob("snapshot"),), blob("residues"), (LENGTH,)),
            AuditVerdict(*place, 1, Finding.MEASURED, 2**40, bytes(64)),
            AggregateResult(task, place[1], place[2], blob("model"), (0, 65_535)),
            SliceResult(task, place[1], place[2], 0, blob("part"), (), place[3] % 2 == 0),
            EvaluateModel(task, place[1], blob("commitment")),
            ScoreModel(task, place[1], 10**6, 2**62, 0, blob("salt")),
        ]
        acts = [(somebody, self.random.choice(nonsense)) for _ in range(self.random.randrange(3))]
        acts += self._bonds()
        if self.bonded and self.random.random() < 0.3:
            acts.append((self.random.choice(TRAINERS), Bond(10**8)))
        return [*acts, ("requester", CancelTask(task))] if self.random.random() < 0.003 else acts

    def _bonds(self) -> list[Act]:
        """Validators and those who would be one move their bonds; now and then one is caught, or falsely accused."""
        name = self.random.choice((*self.world.validators, "rich", "ann"))
        layer = onion(name + self.random.choice(("", "-renewed"))).outside
        moves: list[Body] = [
            RegisterValidator(layer, self.random.choice((0, SMALLEST_BOND, 10**13))),
            RegisterValidator(None, self.random.choice((0, 1, SMALLEST_BOND))),
            UnbondValidator(self.random.choice((0, 1, SMALLEST_BOND, BOND))),
        ]
        acts: list[Act] = [(name, self.random.choice(moves))] if self.random.random() < 0.15 else []
        if self.random.random() < 0.03:
            said = true_evidence(self.world, self.random.choice(("validator-3", "rich", "ann")))
            false = replace(said, height=said.height + 1)
            accusers = self.random.sample((*TRAINERS, *self.world.validators), 2)
            acts += [(accuser, self.random.choice((said, said, false))) for accuser in accusers]
        return acts

    # ---- blocks ---------------------------------------------------------------------------

    def step(self, acts: list[Act], fees: tuple[int, ...] = (0, 10, 10, 25)) -> Applied:
        """One block, as a validator builds it from what it was sent. *acts* may come in any order."""
        world, state = self.world, self.state
        committee = committee_of(state.committee)
        view = self.random.choice((0, 0, 0, 1, 5))
        member = committee.members[committee.primary(height=state.head.height + 1, view=view)]
        proposer = self.names[member]
        ledger = Ledger(state, head=self.head, onions=Onions(onion(proposer), onion(proposer + "-renewed")))
        acts = self.random.sample(acts, len(acts))
        for name, body in acts:
            sender = key(name)
            fee = self.random.choice(fees)
            nonce = ledger.mempool.next_nonce(sender.public, state)
            ledger.submit(sign_transaction(Transaction(world.chain, sender.public, nonce, fee, 10**9, body), sender))
        now = state.head.time_ms + self.random.choice((1, 200, 1_000, 1_000, 2_500))
        block = ledger.build(height=state.head.height + 1, parent=self.head, proposer=member, now=now)
        assert block is not None
        assert ledger.refusal(block, fresh=True, now=block.header.time_ms) is None
        applied = ledger.execute(block)
        again = apply_block(state, block, verifier=holds)
        assert isinstance(again, Applied)
        assert (again.state.root, again.receipts, again.events, again.changes) == (
            applied.state.root, applied.receipts, applied.events, applied.changes
        )
        self.state, self.head = applied.state, block_digest(block.header)
        self.blocks.append(block)
        self.events += applied.events
        for changed, value in applied.changes:
            if value is None:
                del self.stored[changed]
            else:
                self.stored[changed] = value
        return applied


def check(play: Play) -> None:
    state = play.state
    assert supply(state) == state.head.supply
    assert dict(state.items()) == play.stored, "the changes of a block are all its changes"
    assert restored(state.chain, state.parameters, play.stored.items()).root == state.root
    for record_key, value in state.items():
        record = decode(records.RECORD_TYPES[record_key[:1]], value, max_bytes=1 << 24)
        assert money(record) >= 0  # type: ignore[arg-type]
        if isinstance(record, TaskRecord):
            assert record.escrow >= 0
            active = sum(member.standing == 0 for member in record.members)
            assert active <= record.spec.max_trainers


def of(play: Play, kind: type) -> list:  # type: ignore[type-arg]
    return [each for each in play.events if isinstance(each, kind)]


def check_outcomes(play: Play) -> None:
    places = [(e.task, e.round, e.attempt, e.slot) for e in of(play, event.UnitEnded)]
    assert len(places) == len(set(places)), "a unit with two outcomes"
    failed = {(e.task, e.round, e.attempt) for e in of(play, event.RoundFailed)}
    assert all(e.paid == 0 for e in of(play, event.UnitEnded) if (e.task, e.round, e.attempt) in failed)


def check_money(play: Play) -> None:
    rewarded = {(e.task, e.round): sum(s.amount for s in e.shares) for e in of(play, event.Rewarded)}
    held: Counter[tuple[bytes, int]] = Counter()
    for e in of(play, event.PayHeld):
        held[e.task, e.round] += e.amount
    for closed in of(play, event.RoundClosed):
        units = [e for e in of(play, event.UnitEnded) if e.round == closed.round and e.task == closed.task]
        paid = [e for e in units if e.attempt == closed.attempt and e.paid]
        assert closed.pot == PRICE * len(paid)
        assert closed.pot == rewarded[closed.task, closed.round] + held[closed.task, closed.round]
        assert all(e.judgement.outcome == Outcome.ACCEPTED for e in paid)
    for task in {e.task for e in of(play, event.TaskOpened)}:
        earned = sum(e.pot for e in of(play, event.RoundClosed) if e.task == task)
        paid_out = sum(s.amount for e in of(play, event.Paid) if e.task == task for s in e.shares)
        refunded = sum(e.refunded for e in of(play, event.TaskEnded) if e.task == task)
        assert paid_out <= earned
        if task not in play.state.head.open_tasks:
            scored = sum(s.amount for e in of(play, event.ModelEvaluated) if e.task == task for s in e.shares)
            assert refunded >= 10**8 - earned - scored, "what was not earned goes back to the requester"


# ---- cheating never pays -----------------------------------------------------------------


def gambles_of(play: Play, trainer: bytes, *, moved: str, cheated: int, most_units: int) -> list[Gamble]:
    """The units of *trainer* in progress, and what a cheat in *cheated* segments of each would come to if it
    *moved* its bond away before the audits are drawn. A calibrating unit is audited whole, and expels nobody."""
    draft, result = Draft(play.state), []
    for task_id, current in in_progress(play.state):
        if trainer not in current.slots or current.phase == Phase.AGGREGATE:
            continue
        task = play.state.need(TaskRecord, records.task_key(task_id))
        drawn = current.phase in (Phase.AUDIT, Phase.OPEN, Phase.DISPUTE)
        mine = [u for u in units_in(draft, task_id, current) if u.trainer == trainer and proves(task, u, drawn=drawn)]
        false = [u for u in mine if u.judgement is None][:most_units]
        if drawn:
            stake = max((u.stake for u in mine), default=0)
        else:
            bond = play.state.need(Trainer, records.trainer_key(trainer)).bond
            stake = stakes(draft, task_id, task, [trainer])[trainer]
            least = needs(draft).get(trainer)
            if moved == "unbond":
                stake -= max(0, bond - (least.least if least is not None else 0))
            elif moved == "leave":
                stake -= bond
        spec_ = task.spec
        wanted = audited_ppm(
            price=PRICE, stake=stake, units=max(1, len(mine)), segments=spec_.segments, factor=10,
            floor_ppm=spec_.audit.rate_ppm,
        )  # fmt: skip
        missed = escapes(wanted, segments=spec_.segments, cheated=cheated)
        gain = Fraction(PRICE)
        result.append((stake, len(mine) * PRICE - gain * len(false), [(missed, gain) for _ in false]))
    return result


def proves(task: TaskRecord, unit: UnitRecord, *, drawn: bool) -> bool:
    """Whether a cheat in *unit* is one of those that are drawn together and expel."""
    if drawn:
        return unit.allowed_ppm is not None and not unit.calibrating
    known = task.calibration is not None and (not unit.device or not is_calibrating(task, unit.device))
    return known and unit.judgement is None


def check_cheats(play: Play) -> None:
    """At this height, for everybody with work in progress, every cheat of the matrix."""
    busy = {trainer for _, current in in_progress(play.state) for trainer in current.slots}
    owed = owed_to_all(play.state) if busy else Counter()
    for trainer in sorted(busy):
        found = play.state.need(Trainer, records.trainer_key(trainer))
        if found.expelled:
            continue
        loss = found.bond + found.unbonding + owed[trainer] + held_of(play.state, trainer)
        for moved in ("", "unbond", "leave"):
            for cheated in (1, 2, 4):
                for most_units in (1, 2):
                    gambles = gambles_of(play, trainer, moved=moved, cheated=cheated, most_units=most_units)
                    check_never_pays(loss, gambles)
                    check_never_pays(loss, gambles[::-1])
                    for gamble in gambles:
                        check_never_pays(loss, [gamble])
    for task_id, current in in_progress(play.state):
        for slot, unit in enumerate(units_in(Draft(play.state), task_id, current)) if current.audits else ():
            drawn = {audit.segment for audit in current.audits if audit.slot == slot}
            assert not unit.calibrating or unit.judgement is not None or drawn == {1, 2, 3, 4}
    # A new key has no stake: everything it does is audited, and its cheat is worth nothing.
    assert escapes(
        audited_ppm(price=PRICE, stake=0, units=2, segments=4, factor=10, floor_ppm=1), segments=4, cheated=1
    ) == 0  # fmt: skip


def replayed(play: Play) -> State:
    state = genesis_state(play.world.genesis, chain=play.world.chain)
    for block in play.blocks:
        applied = apply_block(state, block, verifier=holds)
        assert isinstance(applied, Applied)
        state = applied.state
    return state


SEEDS = range(8)
SEEN: dict[int, set[object]] = {}
"""What happened in the histories that were played already: none is played twice."""


def seen_in(play: Play) -> set[object]:
    seen: set[object] = {e.judgement.outcome for e in of(play, event.UnitEnded)} | {type(e) for e in play.events}
    seen |= {str(e.reason) for e in of(play, event.Expelled)}
    seen |= {"rolled back" for e in of(play, event.RoundFailed) if e.reason.startswith("a unit of the round")}
    return seen | {"kept" for e in of(play, event.Paid) if e.kept}


@pytest.mark.parametrize("seed", SEEDS)
def test_whatever_they_do_the_books_balance(seed: int) -> None:
    play = Play(seed)
    play.step(play.opening(), (10,))
    watch = Watch(play)
    for _ in range(BLOCKS):
        play.step(play.acts())
        check(play)
        watch.look()
        check_ahead(play.state)
        check_outliers(play.state)
        check_cheats(play)
    check_outcomes(play)
    check_money(play)
    check_expelled(play.events)
    assert replayed(play).root == play.state.root
    SEEN[seed] = seen_in(play)


def test_the_histories_are_eventful() -> None:
    """A history in which nothing happens proves nothing. A few of them have seen everything."""
    wanted = {
        *event.Event.__args__, *(set(Outcome) - {Outcome.FALSE_RESIDUES}),
        "false-accusation", "duplicate", "out-of-tolerance", "lazy-audit", "kept", "rolled back",
    }  # fmt: skip
    seen: set[object] = set()
    for seed in (*SEEDS, *range(100, 130)):
        if seed not in SEEN:
            play = Play(seed)
            play.step(play.opening(), (10,))
            for _ in range(BLOCKS):
                play.step(play.acts())
            SEEN[seed] = seen_in(play)
        seen |= SEEN[seed]
        if wanted <= seen:
            return
    raise AssertionError(f"never seen: {wanted - seen}")
