"""Twenty per cent of the trainers cheat, in every way we know: what it does to the model, and to them.

Fashion-MNIST, ten trainers, two of them cheats (``--cheats 4`` for forty per cent). *Audited*: the real ledger, round
machines, audits, evaluations and money, in one process; the cheats begin at once (newcomers) or after eight honest
rounds (sleepers, with something to lose). *Unaudited*: every update is accepted, and the rule of aggregation alone
stands between the cheats and the model. Accuracies are on 2,000 validation images, of models trained on 10,000;
``honest`` is the same without cheats.

Of the cheats, from their waking on: *caught_after* are the rounds until each is expelled, *gained* is all that was paid
or promised for what they did falsely (segments, audits or scores, also where it was forfeited afterwards), *lost* what
expulsion took from them: one throw of the dice. *expected_ratio* is what they had to expect of it: over all units that
they cheated in, stake and pay of the honest segments times the chance to be caught, to pay for false segments times the
chance not to be, from the stakes and rates that the ledger had; None where a catch was certain. Exits with 1 where that
is below ten, where who lies as auditor or evaluator gained more than a tenth of what it lost, or where anybody honest
was expelled or refused.
"""

from __future__ import annotations

import argparse
import random
import sys
import tempfile
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from efficiency import FASHION, _idx
from msgspec.structs import replace
from record import ROOT, Figures, finish, parser
from safetensors.numpy import save

sys.path.insert(0, str(ROOT))

from potminer.core.ledger import event
from potminer.core.ledger.rewards import audited_ppm
from potminer.core.rounds.conduct import Conduct as Manner
from potminer.core.rounds.conduct import Stubborn, conduct_of
from potminer.train.bench import Bench
from potminer.train.bookwork import aggregate_updates, read_model
from potminer.train.cheat import Cheat, cheat
from potminer.train.conduct import HONEST, Conduct
from potminer.train.folder import Folder
from potminer.train.refusal import Refused
from potminer.train.snap import decode_snapshot
from potminer.train.weights import Floats, encode_weights, initial_weights
from potminer.wire import record as records
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
from potminer.wire.trainer import AggregateJob, EvaluateJob, Trained, TrainJob
from tests.simulation.company import Company
from tests.unit.ledger_world import World, key
from tests.unit.train_kit import go_on

TRAINERS = tuple(f"trainer-{i}" for i in range(10))
ROUNDS, SLEEP, PRICE, TRAIN, VALIDATION = 20, 8, 10**9, 10_000, 2_000
RULES: dict[str, Aggregation] = {"mean": Mean(), "trimmed": Trimmed(200_000), "clipped": Clipped(2, 1_000_000)}
WORK = (
    "garbage", "signflip", "labelflip", "labelflip-10%", "labelflip-1%", "stale", "lazy-2", "skip-1-of-16", "scale-10",
    "free-ride", "alie", "ipm", "mimic",
)  # fmt: skip
"""Cheats in the work itself."""
WORDS = ("copy", "false-residues", "rubber-stamp", "guess", "accuse", "friends", "parrot", "flatter")
"""Cheats in what is said: of others' updates, of one's own residues, as auditors, as evaluators of the model. *friends*
pass each other's garbage; *parrot* repeats the last score, *flatter* calls every model perfect."""
FALSE_SEGMENTS = {"skip-1-of-16": 1}
"""Of four, where it is not all."""
AUDITORS, EVALUATORS = ("rubber-stamp", "guess", "accuse"), ("parrot", "flatter")



# ---- the ways ----------------------------------------------------------------------------


@dataclass
class Plot:
    """What those who know everything would report: *look* gives this round's honest updates and the last step."""

    kind: str
    segments: int
    look: Callable[[], tuple[list[Floats], Floats]] = lambda: ([], np.zeros(0, np.float32))
    _known: object = None
    _aim: Floats = field(default_factory=lambda: np.zeros(0, np.float32))

    def renew(self, known: object) -> None:
        """Look, once for all that is *known* by one name."""
        if known == self._known:
            return
        self._known = known
        honest, last = self.look()
        every = np.array(honest)
        match self.kind:
            case "alie":
                aim = every.mean(axis=0) - 1.5 * every.std(axis=0)
            case "ipm":
                aim = -0.5 * every.mean(axis=0)
            case "mimic":
                aim = every[0]
            case _:
                aim = last
        self._aim = np.asarray(aim, np.float32)

    def follow(self, other: Plot) -> None:
        self._aim = other._aim

    def state(self, state: Floats, before: Floats) -> Floats:
        return np.asarray(before + self._aim / self.segments, np.float32)


def way(kind: str, segments: int) -> tuple[Cheat, Plot | None]:
    """How a worker cheats in the work; for ``honest``, and for cheats in words, not at all."""
    if kind in ("free-ride", "alie", "ipm", "mimic"):
        plot = Plot(kind, segments)
        return Cheat(Conduct(weight=lambda _: 0, state=plot.state)), plot
    if kind.startswith("labelflip-"):
        share, chance = int(kind[10:-1]) / 100, np.random.default_rng(7)
        return Cheat(Conduct(labels=lambda y: np.where(chance.random(len(y)) < share, (y + 1) % 10, y))), None
    if kind == "skip-1-of-16":
        return Cheat(Conduct(weight=lambda batch: int(batch % 16 != 15))), None
    if kind == "scale-10":
        return Cheat(Conduct(state=lambda state, before: np.asarray(before + 10 * (state - before), np.float32))), None
    if kind == "friends":
        return cheat("garbage"), None
    if kind == "false-residues":
        return Cheat(HONEST), None
    return cheat(kind if kind in WORK or kind == "guess" else None), None


class Invented(Bench):
    """Trains honestly and binds itself to residues out of nothing, once awake: honest auditors shall look lazy."""

    awake = False

    def train(self, job: TrainJob, checkpoint: Any) -> Trained:
        made = super().train(job, checkpoint)
        chance = np.random.default_rng(job.unit.slot)
        return replace(made, residues=chance.bytes(len(made.residues))) if self.awake else made


class Friend(Stubborn):
    """Passes what *friends* did, whatever it is; audits others honestly."""

    def __init__(self, world: World, friends: tuple[bytes, ...]) -> None:
        self._world, self._friends = world, friends

    def verdict(self, blank: Any) -> Any:
        if self._world.round.slots[blank.slot] not in self._friends:
            return None
        return conduct_of("rubber-stamp", own=b"").verdict(blank)


# ---- the task ----------------------------------------------------------------------------


def task(folder: Folder, rule: Aggregation = RULES["mean"]) -> TaskSpec:
    blobs = []
    for name, most in (("train", TRAIN), ("t10k", VALIDATION)):
        x = _idx(FASHION / f"{name}-images-idx3-ubyte.gz", 16).reshape(-1, 1, 28, 28)[:most].astype(np.float32) / 255
        y = _idx(FASHION / f"{name}-labels-idx1-ubyte.gz", 8)[:most].astype(np.int64)
        blobs.append(folder.write(save({"x": x, "y": y})))
    model = Mlp(784, (64,), 10)
    return TaskSpec(
        name="fashion", model=model, data=DataSpec(blobs[0], blobs[1], TRAIN, VALIDATION, (1, 28, 28)),
        objective="classification", mode="local",
        initial_model=folder.write(encode_weights(model, initial_weights(model, seed=1))), rounds=ROUNDS,
        units_per_trainer=1, segments=4, batches_per_segment=4, micro_batch=32, outer_rate_nano=10**9,
        audit=AuditSpec(30_000, 1_000), deadlines=Deadlines(60_000, 60_000, 60_000, 60_000, 60_000),
        reward=Reward(2 * ROUNDS * len(TRAINERS) * PRICE, PRICE), min_trainers=2, max_trainers=len(TRAINERS),
        inner=InnerSpec(Momentum(), rate_nano=30_000_000), aggregation=rule, evaluation=Evaluation(4, 3),
    )  # fmt: skip


def update(folder: Folder, spec: TaskSpec, unit: Unit, blob: bytes) -> Floats:
    data = folder.read(blob, size=folder.path(blob).stat().st_size)
    return decode_snapshot(data, spec=spec, unit=unit, segment=spec.segments).update.values()


def accuracy(bench: Bench, spec: TaskSpec, model: bytes) -> float:
    return bench.evaluate(EvaluateJob(1, spec, model), go_on).accuracy_ppm / 1e6


def step(folder: Folder, spec: TaskSpec, models: list[bytes]) -> Floats:
    """What the newest round took away from the weights."""
    if len(models) < 2:
        return np.zeros_like(read_model(folder, spec, models[-1]).weights)
    older, newer = (read_model(folder, spec, model).weights for model in models[-2:])
    return older - newer


# ---- audited -----------------------------------------------------------------------------


def audited(kind: str, rule: str, sleeps: int, cheating: int, root: Path) -> Figures:
    """One run under the whole protocol."""
    folder = Folder(root)
    spec, cheats = task(folder, RULES[rule]), TRAINERS[-cheating:] if kind != "honest" else ()
    world = World(bond=10**6, epoch_blocks=10**6, second_audit_ppm=50_000, calibrated=False)
    ways = {name: way("honest", spec.segments) for name in cheats}
    publics = tuple(key(name).public for name in cheats)
    manners = {name: _Late(_manner(kind, world, key(name).public, publics)) for name in cheats}
    company = Company(
        world, folder, random.Random(1), TRAINERS, cheats={name: each for name, (each, _) in ways.items()},
        conducts=manners,
    )  # fmt: skip
    if kind == "false-residues":
        inventing = {n: Invented(folder, device="cpu", threads=1, max_bytes=2**32, cheat=ways[n][0]) for n in cheats}
        company.benches |= inventing
    world.submit(spec, trainers=TRAINERS)
    company.start()
    models, awake, out = [spec.initial_model], False, dict[bytes, int]()
    first = first_false(kind, sleeps)
    odds = Odds(spec, kind, first)
    while world.state.head.open_tasks:
        record = world.record
        if record.model != models[-1]:
            models.append(record.model)
        if not awake and record.round >= sleeps:
            awake = True
            for name, (each, _) in ways.items():
                made, plot = way(kind, spec.segments)
                each.conduct, each.stale, each.guesses = made.conduct, made.stale, made.guesses
                ways[name] = (each, plot)
                manners[name].awake = True
                bench = company.benches[name]
                if isinstance(bench, Invented):
                    bench.awake = True
        _plot(company, spec, ways, publics, models)
        company.block()
        if awake and kind in (*WORK, "copy", "friends"):
            odds.look(world, publics)
        for event_ in world.happened(event.Expelled):
            out.setdefault(event_.trainer, record.round - first + 1)
        if len(world.blocks) > 60 * ROUNDS:
            raise SystemExit(f"{kind}: the task does not end")
    return {**_verdict(world, company, spec, kind, publics, first, out), "expected_ratio": odds.ratio()}


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
        current, segments = _round(world), self._spec.segments
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


def _round(world: World) -> RoundRecord | None:
    """The round in progress; none while the last model is scored."""
    if not world.state.head.open_tasks:
        return None
    return world.state.get(RoundRecord, records.round_key(world.task, world.record.round))


def _plot(company: Company, spec: TaskSpec, ways: Any, publics: tuple[bytes, ...], models: list[bytes]) -> None:
    """Those who know everything look at the round once it trains; one looks for all."""
    plots = [plot for _, plot in ways.values() if plot is not None]
    current = _round(company.world)
    if not plots or current is None or current.phase != Phase.COMMIT:
        return
    known = (current.number, current.attempt)
    plots[0].look = lambda: (_honest(company, spec, publics), step(company.folder, spec, models))
    plots[0].renew(known)
    for other in plots[1:]:
        other.follow(plots[0])


class _Late(Stubborn):
    """Honest until awake."""

    def __init__(self, then: Manner) -> None:
        self.then, self.awake = then, False

    def observe(self, unit: Any) -> None:
        self.then.observe(unit)

    def reveal(self, work: Any) -> Any:
        return self.then.reveal(work) if self.awake else work

    def verdict(self, blank: Any) -> Any:
        return self.then.verdict(blank) if self.awake else None

    def score(self, task: Any, closed: int) -> Any:
        return self.then.score(task, closed) if self.awake else None


def _manner(kind: str, world: World, own: bytes, friends: tuple[bytes, ...]) -> Manner:
    if kind == "friends":
        return Friend(world, friends)
    return conduct_of(kind if kind in WORDS else None, own=own)


def _honest(company: Company, spec: TaskSpec, publics: tuple[bytes, ...]) -> list[Floats]:
    """Every honest trainer's update of the round in progress: the seeds are public, so a cheat can have them."""
    world, bench = company.world, company.benches[TRAINERS[0]]
    current = _round(world)
    if current is None:
        return []
    found = []
    for slot, trainer in enumerate(current.slots):
        if trainer not in publics:
            unit = Unit(world.task, current.number, current.attempt, slot, trainer, current.seed)
            made = bench.train(TrainJob(1, spec, unit, current.base), go_on)
            found.append(update(company.folder, spec, unit, made.snapshots[-1]))
    return found


def _verdict(
    world: World, company: Company, spec: TaskSpec, kind: str, publics: tuple[bytes, ...], first: int,
    out: dict[bytes, int],
) -> Figures:
    expelled = {e.trainer: e for e in world.happened(event.Expelled) if e.task == world.task}
    refused = Counter(
        e.judgement.outcome.value
        for e in world.happened(event.UnitEnded)
        if e.trainer not in publics and e.judgement.outcome != Outcome.ACCEPTED
    )
    gained = _gained(world, kind, publics, first)
    lost = sum(e.forfeited for e in expelled.values() if e.trainer in publics)
    return {
        "accuracy": accuracy(company.benches[TRAINERS[0]], spec, world.record.model),
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
        return sum(e.paid for e in units) * FALSE_SEGMENTS.get(kind, 4) // 4
    closed = [e for e in world.happened(event.Rewarded) if e.round >= first]
    return sum(s.amount for e in closed for s in e.shares if s.earner in publics) - sum(e.paid for e in units)


# ---- unaudited ---------------------------------------------------------------------------


def unaudited(kind: str, rule: str, cheating: int, root: Path) -> float:
    """Accuracy where every update is taken as it comes."""
    folder = Folder(root)
    spec = task(folder, RULES[rule])
    bench = Bench(folder, device="cpu", threads=1, max_bytes=2**32, cheat=Cheat(HONEST))
    bad = cheating if kind != "honest" else 0
    ways = [way(kind, spec.segments) for _ in range(bad)]
    benches = [Bench(folder, device="cpu", threads=1, max_bytes=2**32, cheat=each) for each, _ in ways]
    models = [spec.initial_model]
    for number in range(ROUNDS):
        seed = bytes([number]) * 32
        units = [Unit(bytes(32), number, 0, at, key(name).public, seed) for at, name in enumerate(TRAINERS)]
        good = len(units) - bad
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
    return accuracy(bench, spec, models[-1])


# ---- all of them -------------------------------------------------------------------------


Cell = tuple[str, str, str, int]
"""Part, kind of cheat, rule of aggregation, how many cheat."""
PARTS = ("newcomers", "sleepers", "sleepers-trimmed", "sleepers-clipped", "unaudited")


def cells_of(part: str, kinds: tuple[str, ...], cheating: int) -> list[Cell]:
    """Newcomers are audited whole, so that no update of theirs is aggregated by any rule."""
    if part == "unaudited":
        return [(part, kind, rule, cheating) for kind in kinds if kind in ("honest", *WORK) for rule in RULES]
    rule = part.partition("-")[2] or "mean"
    return [(part, kind, rule, cheating) for kind in kinds]


def run(cell: Cell) -> tuple[Cell, Any]:
    part, kind, rule, cheating = cell
    with tempfile.TemporaryDirectory(prefix="potminer-cheating-") as folder:
        if part != "unaudited":
            return cell, audited(kind, rule, 0 if part == "newcomers" else SLEEP, cheating, Path(folder))
        try:
            return cell, unaudited(kind, rule, cheating, Path(folder))
        except Refused as refused:
            return cell, f"{refused.reason}: {refused.detail}"


def faults_of(cell: Cell, found: Any) -> list[str]:
    """What must not be: rule 3 broken, a cheat at large, or somebody honest who pays for it."""
    part, kind, _, _ = cell
    if part == "unaudited":
        return []
    faults, expected = [], found["expected_ratio"]
    if found["honest_expelled"] or found["honest_units_refused"]:
        faults.append("somebody honest was refused")
    if expected is not None and expected < 10:
        faults.append("it had to expect to lose less than ten times what it would gain")
    if kind in (*AUDITORS, *EVALUATORS) and found["pot_gained"] and found["lost_to_gained"] < 10:
        faults.append("it lost less than ten times what it gained")
    return [f"{part} {kind}: {fault}" for fault in faults]


def main() -> None:
    made = parser(__doc__ or "")
    made.add_argument("--part", choices=PARTS, nargs="*", default=list(PARTS), help="these parts only")
    made.add_argument("--only", nargs="*", help="these cheats only")
    made.add_argument("--cheats", type=int, default=2, help="how many of the ten cheat")
    made.add_argument("--jobs", type=int, default=2)
    options: argparse.Namespace = made.parse_args()
    kinds = ("honest", *WORK, *WORDS) if not options.only else tuple(options.only)
    cells = [cell for part in options.part for cell in cells_of(part, kinds, options.cheats)]
    figures: Figures = {}
    faults: list[str] = []
    with ProcessPoolExecutor(options.jobs) as pool:
        for cell, found in pool.map(run, cells):
            part, kind, rule, _ = cell
            place = figures.setdefault(part, {})
            place.setdefault(kind, {}).update({rule: found}) if part == "unaudited" else place.update({kind: found})
            faults += faults_of(cell, found)
            sys.stderr.write(f"{part} {kind} {rule}: {found}\n")
            sys.stderr.flush()
    figures["faults"] = faults
    note = f"10 trainers, {options.cheats} cheats, 20 rounds of 5,120 samples, MLP 784-64-10"
    finish("cheating", figures, options, note=note)
    sys.exit(1 if faults else 0)


if __name__ == "__main__":
    main()
