"""Twenty per cent of the trainers cheat, in every way we know: what it does to the model, and to them.

Fashion-MNIST, ten trainers, two of them cheats (``--cheats 4`` for forty per cent). *Audited*: the real ledger, round
machines, audits, evaluations and money, in one process; the cheats begin at once (newcomers) or after eight honest
rounds (sleepers, with something to lose). *Unaudited*: every update is accepted, and the rule of aggregation alone
stands between the cheats and the model. *Honest*: nobody cheats, of ten and of the eight (six) that are left where
the cheats never join; three seeds, for what is less than they differ by is nothing. Models learn 10,000 images, under
rates at which eight learn as well as ten; accuracies are on all 10,000 test images.

A part plays its honest rounds once and goes on from there with every cheat in a process of its own.

Of the cheats, from their waking on: *caught_after* are the rounds until each is expelled, *gained* is all that was paid
or promised for what they did falsely (segments, audits or scores, also where it was forfeited afterwards), *lost* what
expulsion took from them: one throw of the dice. *expected_ratio* is what they had to expect of it: over all units that
they cheated in, stake and pay of the honest segments times the chance to be caught, to pay for false segments times the
chance not to be, from the stakes and rates that the ledger had; None where a catch was certain. Exits with 1 where that
is below ten, where who lies as auditor or evaluator gained more than a tenth of what it lost, where anybody honest was
expelled or refused, or where a model ends more than half a point below the honest ones of the newest record.
``--table`` prints the newest records as the page docs/cheating-matrix.md.
"""

from __future__ import annotations

import argparse
import os
import random
import shutil
import sys
import tempfile
from collections import Counter
from collections.abc import Iterator
from functools import lru_cache
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import numpy as np
from cheating_record import mean_of, newest, page
from efficiency import FASHION, _idx
from msgspec.structs import replace
from record import ROOT, Figures, finish, parser, rounded
from safetensors.numpy import save
from ways import AUDITORS, EVALUATORS, FALSE_SEGMENTS, WORDS, WORK, Invented, Late, Plot, manner, way

sys.path.insert(0, str(ROOT))

from potminer.core.ledger import event
from potminer.core.ledger.rewards import audited_ppm
from potminer.train.bench import Bench
from potminer.train.bookwork import aggregate_updates, read_model
from potminer.train.cheat import Cheat
from potminer.train.conduct import HONEST
from potminer.train.device import prepare
from potminer.train.folder import Folder
from potminer.train.refusal import Refused
from potminer.train.snap import decode_snapshot
from potminer.train.weights import Floats, encode_weights, initial_weights
from potminer.wire import record as records
from potminer.wire.held import HeldStake
from potminer.wire.model import Mlp
from potminer.wire.record import Outcome, Phase, RoundRecord
from potminer.wire.task import (
    Aggregation,
    AuditSpec,
    Clipped,
    DataSpec,
    Deadlines,
    Evaluation,
    InnerSpec,
    Mean,
    Momentum,
    Reward,
    TaskSpec,
    Trimmed,
    Unit,
)  # fmt: skip
from potminer.wire.trainer import AggregateJob, EvaluateJob, TrainJob
from tests.simulation.company import Company
from tests.unit.ledger_world import World, key
from tests.unit.train_kit import go_on

TRAINERS = tuple(f"trainer-{i}" for i in range(10))
ROUNDS, SLEEP, PRICE, TRAIN, VALIDATION, TEST = 20, 8, 10**9, 10_000, 2_000, 10_000
SEGMENTS, BATCHES = 4, 8
SAMPLES = SEGMENTS * BATCHES * 32 * len(TRAINERS)
SEEDS, WORSE = (1, 2, 3), 0.005
RULES: dict[str, Aggregation] = {"mean": Mean(), "trimmed": Trimmed(200_000), "clipped": Clipped(2, 1_000_000)}


# ---- the task ----------------------------------------------------------------------------


@lru_cache
def images(name: str, most: int) -> bytes:
    x = _idx(FASHION / f"{name}-images-idx3-ubyte.gz", 16).reshape(-1, 1, 28, 28)[:most].astype(np.float32) / 255
    y = _idx(FASHION / f"{name}-labels-idx1-ubyte.gz", 8)[:most].astype(np.int64)
    return save({"x": x, "y": y})


def task(folder: Folder, rule: Aggregation = RULES["mean"], seed: int = 1) -> TaskSpec:
    """The first weights are always the same; batches, draws and auditors follow from the name."""
    train, validation = folder.write(images("train", TRAIN)), folder.write(images("t10k", VALIDATION))
    model = Mlp(784, (64,), 10)
    return TaskSpec(
        name=f"fashion-{seed}", model=model, data=DataSpec(train, validation, TRAIN, VALIDATION, (1, 28, 28)),
        objective="classification", mode="local",
        initial_model=folder.write(encode_weights(model, initial_weights(model, seed=1))), rounds=ROUNDS,
        units_per_trainer=1, segments=SEGMENTS, batches_per_segment=BATCHES, micro_batch=32, outer_rate_nano=10**9,
        outer_momentum_nano=800_000_000,
        audit=AuditSpec(30_000, 1_000), deadlines=Deadlines(60_000, 60_000, 60_000, 60_000, 60_000),
        reward=Reward(2 * ROUNDS * len(TRAINERS) * PRICE, PRICE), min_trainers=2, max_trainers=len(TRAINERS),
        inner=InnerSpec(Momentum(), rate_nano=30_000_000, decay_steps=ROUNDS * SEGMENTS * BATCHES), aggregation=rule,
        evaluation=Evaluation(4, 3),
    )  # fmt: skip


class Own(Folder):
    """A folder that somebody else's process goes on with elsewhere."""

    def move(self, root: Path) -> None:
        shutil.copytree(self.root, root, copy_function=os.link, dirs_exist_ok=True)
        self.root = root


def update(folder: Folder, spec: TaskSpec, unit: Unit, blob: bytes) -> Floats:
    data = folder.read(blob, size=folder.path(blob).stat().st_size)
    return decode_snapshot(data, spec=spec, unit=unit, segment=spec.segments).update.values()


def accuracy(bench: Bench, folder: Folder, spec: TaskSpec, model: bytes) -> float:
    """On all test images; the evaluators of the task had a fifth of them."""
    test = replace(spec.data, validation=folder.write(images("t10k", TEST)), validation_samples=TEST)
    return bench.evaluate(EvaluateJob(1, replace(spec, data=test), model), go_on).accuracy_ppm / 1e6


def step(folder: Folder, spec: TaskSpec, models: list[bytes]) -> Floats:
    """What the newest round took away from the weights."""
    if len(models) < 2:
        return np.zeros_like(read_model(folder, spec, models[-1]).weights)
    older, newer = (read_model(folder, spec, model).weights for model in models[-2:])
    return older - newer


# ---- audited -----------------------------------------------------------------------------


class Play:
    """A network that is honest until it is woken. *cheating* of its trainers, the last, are who will cheat; *waiting*
    more would train if there was a place."""

    def __init__(
        self, rule: str, folder: Folder, *, trainers: int = 10, cheating: int = 0, waiting: int = 0, seed: int = 1
    ) -> None:
        self.spec = task(folder, RULES[rule], seed)
        self.world = World(bond=10**6, epoch_blocks=10**6, second_audit_ppm=50_000, calibrated=False)
        names = TRAINERS[:trainers]
        self.cheats = names[trainers - cheating :]
        self.publics = tuple(key(name).public for name in self.cheats)
        self._kind = "honest"
        self._ways: dict[str, tuple[Cheat, Plot | None]] = {
            name: way("honest", self.spec.segments) for name in self.cheats
        }
        self._manners = {name: Late() for name in self.cheats}
        self.company = Company(
            self.world, folder, random.Random(1), names + tuple(f"waiting-{i}" for i in range(waiting)),
            cheats={name: each for name, (each, _) in self._ways.items()}, conducts=self._manners,
        )  # fmt: skip
        self.world.submit(self.spec, trainers=names)
        self.company.start()
        self._models = [self.spec.initial_model]

    def until(self, number: int) -> Play:
        """Go on until round *number* trains."""
        while self.world.record.round < number:
            self.block()
        return self

    def wake(self, kind: str) -> None:
        """Empty blocks, for every kind another number, stir the beacon: each of them throws dice of its own."""
        for _ in range((*WORK, *WORDS).index(kind) + 1 if self.cheats else 0):
            self.world.step(after_ms=1)  # nobody is late for it
        self._kind = kind
        for name, (each, _) in self._ways.items():
            made, plot = way(kind, self.spec.segments)
            each.conduct, each.stale, each.guesses = made.conduct, made.stale, made.guesses
            self._ways[name] = (each, plot)
            self._manners[name].wake(manner(kind, self.world, key(name).public, self.publics))
            if kind == "false-residues":
                folder = self.company.folder
                self.company.benches[name] = Invented(folder, device="cpu", threads=1, max_bytes=2**32, cheat=each)

    def block(self) -> None:
        if self.world.record.model != self._models[-1]:
            self._models.append(self.world.record.model)
        self._plot()
        if self._kind == "hide":
            self.company.lost |= self._withheld()
        self.company.block()
        if len(self.world.blocks) > 240 * ROUNDS:  # what nobody can fetch is waited for
            raise SystemExit(f"{self._kind}: the task does not end")

    def _withheld(self) -> set[bytes]:
        """All that cheats have revealed of this round, but the updates: without these it would not be aggregated."""
        slots = current.slots if (current := round_of(self.world)) is not None else ()
        mine = (self.world.unit(slot) for slot, trainer in enumerate(slots) if trainer in self.publics)
        return {snapshot for unit in mine for snapshot in unit.snapshots[:-1]}

    def _plot(self) -> None:
        """Those who know everything look at the round once it trains; one looks for all."""
        plots = [plot for _, plot in self._ways.values() if plot is not None]
        current = round_of(self.world)
        if not plots or current is None or current.phase != Phase.COMMIT:
            return
        plots[0].look = lambda: (self._honest(), step(self.company.folder, self.spec, self._models))
        plots[0].renew((current.number, current.attempt))
        for other in plots[1:]:
            other.follow(plots[0])

    def _honest(self) -> list[Floats]:
        """Every honest trainer's update of the round in progress: the seeds are public, so a cheat can have them."""
        world, bench = self.world, self.company.benches[TRAINERS[0]]
        current = round_of(world)
        if current is None:
            return []
        found = []
        for slot, trainer in enumerate(current.slots):
            if trainer not in self.publics:
                unit = Unit(world.task, current.number, current.attempt, slot, trainer, current.seed)
                made = bench.train(TrainJob(1, self.spec, unit, current.base), go_on)
                found.append(update(self.company.folder, self.spec, unit, made.snapshots[-1]))
        return found


def round_of(world: World) -> RoundRecord | None:
    """The round in progress; none while the last model is scored."""
    if not world.state.head.open_tasks:
        return None
    return world.state.get(RoundRecord, records.round_key(world.task, world.record.round))


def audited(play: Play, kind: str) -> Figures:
    """One run under the whole protocol, from where *play* stands."""
    world, sleeps = play.world, play.world.record.round
    play.wake(kind)
    out: dict[bytes, int] = {}
    first = first_false(kind, sleeps)
    odds = Odds(play.spec, kind, first)
    while world.state.head.open_tasks:
        play.block()
        if kind in (*WORK, "copy", "friends", "hide"):
            odds.look(world, play.publics)
        for event_ in world.happened(event.Expelled):
            out.setdefault(event_.trainer, world.record.round - first + 1)
    return {**_verdict(play, kind, first, out), "expected_ratio": odds.ratio()}


def first_false(kind: str, sleeps: int) -> int:
    """The first round of which something is false: what sleepers trained or scored when they woke is honest."""
    return sleeps + 1 if sleeps and kind not in AUDITORS else sleeps


class Odds:
    """What cheats had to expect, by the stakes that the ledger noted when it drew their audits."""

    def __init__(self, spec: TaskSpec, kind: str, first: int) -> None:
        self._first = first
        self._spec, self._false = spec, FALSE_SEGMENTS.get(kind, spec.segments)
        self._seen: set[tuple[int, int]] = set()
        self._gain = self._loss = 0.0

    def look(self, world: World, publics: tuple[bytes, ...]) -> None:
        current, segments = round_of(world), self._spec.segments
        if current is None or current.number < self._first or not Phase.AUDIT <= current.phase <= Phase.DISPUTE:
            return
        if (current.number, current.attempt) in self._seen:
            return
        self._seen.add((current.number, current.attempt))
        for slot, trainer in enumerate(current.slots):
            unit = world.unit(slot)
            if trainer in publics and not unit.calibrating:
                drawn = audited_ppm(
                    price=PRICE, stake=unit.stake, units=1, segments=segments,
                    factor=world.state.parameters.audit_factor, floor_ppm=self._spec.audit.rate_ppm,
                ) / 1e6  # fmt: skip
                caught = min(1.0, self._false * drawn / segments)
                self._loss += (unit.stake + PRICE * (segments - self._false) // segments) * caught
                self._gain += PRICE * self._false / segments * (1 - caught)

    def ratio(self) -> float | None:
        return self._loss / self._gain if self._gain else None


def _verdict(play: Play, kind: str, first: int, out: dict[bytes, int]) -> Figures:
    world, publics = play.world, play.publics
    expelled = {e.trainer: e for e in world.happened(event.Expelled) if e.task == world.task}
    refused = Counter(
        e.judgement.outcome.value
        for e in world.happened(event.UnitEnded)
        if e.trainer not in publics and e.judgement.outcome != Outcome.ACCEPTED
    )
    gained = _gained(world, kind, publics, first)
    lost = sum(e.forfeited for e in expelled.values() if e.trainer in publics)
    held = (world.state.get(HeldStake, records.held_key(public)) for public in publics)
    lost += sum(each.amount for each in held if each is not None)
    return {
        "accuracy": accuracy(play.company.benches[TRAINERS[0]], play.company.folder, play.spec, world.record.model),
        "caught_after": [out.get(public) for public in publics],
        "honest_expelled": len(set(expelled) - set(publics)),
        "honest_units_refused": dict(refused),
        "pot_gained": gained / 1e9,
        "pot_lost": lost / 1e9,
        "lost_to_gained": lost / gained if gained else None,
        "reasons": sorted({e.reason for e in expelled.values()}),
        "audits": sum(e.phase == Phase.AUDIT for e in world.happened(event.PhaseEntered)),
    }


def _gained(world: World, kind: str, publics: tuple[bytes, ...], first: int) -> int:
    """Pay for what was done falsely: units of those who cheat in the work, audits and scores of those who lie there."""
    units = [e for e in world.happened(event.UnitEnded) if e.trainer in publics and e.round >= first]
    scores = [e for e in world.happened(event.ModelEvaluated) if e.closed >= first]
    if kind in EVALUATORS:
        return sum(s.amount for e in scores for s in e.shares if s.earner in publics)
    if kind not in AUDITORS:
        kept_back = sum(e.amount for e in world.happened(event.PayHeld) if e.trainer in publics and e.round >= first)
        return max(0, sum(e.paid for e in units) - kept_back) * FALSE_SEGMENTS.get(kind, 4) // 4
    closed = [e for e in world.happened(event.Rewarded) if e.round >= first]
    return sum(s.amount for e in closed for s in e.shares if s.earner in publics) - sum(e.paid for e in units)


# ---- unaudited ---------------------------------------------------------------------------


def unaudited(kind: str, rule: str, cheating: int, seed: int, root: Path) -> float:
    """Accuracy where every update is taken as it comes."""
    folder = Folder(root)
    spec = task(folder, RULES[rule], seed)
    bench = Bench(folder, device="cpu", threads=1, max_bytes=2**32, cheat=Cheat(HONEST))
    names = TRAINERS[: controls(kind)] if kind.startswith("honest") else TRAINERS
    ways = [] if kind.startswith("honest") else [way(kind, spec.segments) for _ in range(cheating)]
    benches = [Bench(folder, device="cpu", threads=1, max_bytes=2**32, cheat=each) for each, _ in ways]
    models = [spec.initial_model]
    for number in range(ROUNDS):
        drawn = bytes([seed, number]) * 16
        units = [Unit(bytes(32), number, 0, at, key(name).public, drawn) for at, name in enumerate(names)]
        good = len(units) - len(ways)
        blobs = [bench.train(TrainJob(1, spec, unit, models[-1]), go_on).snapshots[-1] for unit in units[:good]]
        seen = [update(folder, spec, unit, blob) for unit, blob in zip(units, blobs, strict=False)]
        for at, unit in enumerate(units[good:]):
            plot = ways[at][1]
            if plot is not None:
                plot.look = lambda seen=seen: (seen, step(folder, spec, models))  # type: ignore[misc]
                plot.renew(number)
            blobs.append(benches[at].train(TrainJob(1, spec, unit, models[-1]), go_on).snapshots[-1])
        made = aggregate_updates(folder, AggregateJob(1, spec, models[-1], tuple(units), tuple(blobs)), go_on)
        models.append(made.model or models[-1])
    return accuracy(bench, folder, spec, models[-1])


# ---- all of them -------------------------------------------------------------------------


Cell = tuple[str, str, str, int, int]
"""Part, kind of cheat, rule of aggregation, how many cheat, seed."""
PARTS = ("honest", "newcomers", "replaced", "sleepers", "sleepers-trimmed", "sleepers-clipped", "unaudited")
"""*replaced*: newcomers where as many honest trainers wait for their places."""
REPLACED = ("garbage", "lazy-2", "copy", "accuse")
_played: list[Play] = []
"""What the processes of a part begin with."""


def controls(kind: str) -> int:
    """How many trainers ``honest`` (all) or ``honest-8`` has."""
    return int(kind.partition("-")[2] or len(TRAINERS))


def rule_of(part: str) -> str:
    """Newcomers are audited whole, so that no update of theirs is aggregated by any rule."""
    return part.partition("-")[2] or "mean"


def cells_of(part: str, kinds: tuple[str, ...], rules: list[str], cheating: int, seed: int) -> list[Cell]:
    fewer = f"honest-{len(TRAINERS) - cheating}"
    if part == "honest":
        return [(part, kind, rule, 0, each) for rule in rules for kind in ("honest", fewer) for each in SEEDS]
    if part == "unaudited":
        work = ("honest", fewer, *(kind for kind in kinds if kind in WORK))
        return [(part, kind, rule, cheating, seed) for kind in work for rule in rules]
    some = tuple(kind for kind in kinds if kind in REPLACED) if part == "replaced" else kinds
    return [(part, kind, rule_of(part), cheating, seed) for kind in some]


def play(cells: list[Cell], jobs: int) -> Iterator[tuple[Cell, Any]]:
    """Every cell of one part in a process of its own, which goes on where this one stands."""
    prepare(1)
    part, _, rule, cheating, seed = cells[0]
    with tempfile.TemporaryDirectory(prefix="potminer-cheating-") as home:
        if part not in ("honest", "unaudited"):
            waiting = cheating if part == "replaced" else 0
            begun = Play(rule, Own(Path(home)), cheating=cheating, waiting=waiting, seed=seed)
            _played[:] = [begun.until(SLEEP if part.startswith("sleepers") else 0)]
        with get_context("fork").Pool(jobs, maxtasksperchild=1) as pool:
            yield from pool.imap(run, cells, chunksize=1)


def run(cell: Cell) -> tuple[Cell, Any]:
    part, kind, rule, cheating, seed = cell
    with tempfile.TemporaryDirectory(prefix="potminer-cheating-") as home:
        if part == "honest":
            return cell, audited(Play(rule, Folder(Path(home)), trainers=controls(kind), seed=seed), kind)
        if part != "unaudited":
            folder = _played[0].company.folder
            if isinstance(folder, Own):
                folder.move(Path(home))
            return cell, audited(_played[0], kind)
        try:
            return cell, unaudited(kind, rule, cheating, seed, Path(home))
        except Refused as refused:
            return cell, f"{refused.reason}: {refused.detail}"


def put(figures: Figures, cell: Cell, found: Any) -> None:
    part, kind, rule, _, seed = cell
    place = figures.setdefault(part, {})
    if part == "honest":
        place.setdefault(rule, {}).setdefault(kind, {})[str(seed)] = found
    elif part == "unaudited":
        place.setdefault(kind, {})[rule] = found
    else:
        place[kind] = found


def faults_of(cell: Cell, found: Any) -> list[str]:
    """What must not be: rule 3 broken, a cheat at large, a model spoilt, or somebody honest who pays for it."""
    part, kind, rule, _, _ = cell
    if part == "unaudited":
        return []
    faults, expected = [], found["expected_ratio"]
    if found["honest_expelled"] or found["honest_units_refused"]:
        faults.append("somebody honest was refused")
    if expected is not None and expected < 10:
        faults.append("it had to expect to lose less than ten times what it would gain")
    if kind in (*AUDITORS, *EVALUATORS) and found["pot_gained"] and found["lost_to_gained"] < 10:
        faults.append("it lost less than ten times what it gained")
    honest = mean_of(newest("honest"), rule, "honest")
    if part != "honest" and honest is not None and found["accuracy"] < honest - WORSE:
        faults.append(f"the model is {100 * (honest - found['accuracy']):.2f} points worse than without cheats")
    return [f"{part} {kind}: {fault}" for fault in faults]


def main() -> None:
    made = parser(__doc__ or "")
    made.add_argument("--part", choices=PARTS, nargs="*", default=list(PARTS), help="these parts only")
    made.add_argument("--only", nargs="*", help="these cheats only")
    made.add_argument("--rules", choices=RULES, nargs="*", default=list(RULES), help="of honest and unaudited")
    made.add_argument("--cheats", type=int, default=2, help="how many of the ten cheat")
    made.add_argument("--seed", type=int, default=1, help="another throw of all dice")
    made.add_argument("--jobs", type=int, default=2)
    made.add_argument("--table", action="store_true", help="print docs/cheating-matrix.md; run nothing")
    options: argparse.Namespace = made.parse_args()
    if options.table:
        sys.stdout.write("\n".join(page(PARTS, options.seed, tuple(RULES))) + "\n")
        return
    kinds = tuple(options.only or (*WORK, *WORDS))
    note = f"10 trainers, {options.cheats} cheats, {ROUNDS} rounds of {SAMPLES:,} samples, MLP 784-64-10"
    faulty = False
    for part in options.part:
        figures: Figures = {"cheats": options.cheats, "seed": options.seed}
        faults: list[str] = []
        cells = cells_of(part, kinds, options.rules, options.cheats, options.seed)
        for cell, found in play(cells, options.jobs):
            put(figures, cell, found)
            faults += faults_of(cell, rounded(found))
            sys.stderr.write(f"{' '.join(map(str, cell))}: {found}\n")
            sys.stderr.flush()
        finish("cheating", figures | {"faults": faults}, options, note=note)
        faulty = faulty or bool(faults)
    sys.exit(1 if faulty else 0)


if __name__ == "__main__":
    main()
