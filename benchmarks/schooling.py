"""What the benchmarks of quality share: tasks, a network without sockets, and plain PyTorch beside it.

``network`` does what a devnet does with a task whose trainers are all honest: every trainer computes its units at a
bench of the product (samples by unit, snapped segments, payloads in files), and the product's aggregation makes the
next model of them. Left out is what changes no number: sockets, blocks, audits. ``plain`` knows nothing of units: a
torch module, torch's optimiser and batches drawn by numpy, from the same first weights. ``unsnapped`` is the same
algorithm as the network's, in float64 and without a single rounded update.
"""

from __future__ import annotations

import math
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from efficiency import FASHION
from msgspec.structs import replace
from record import ROOT
from safetensors.numpy import load, load_file
from torch.nn.functional import cross_entropy

from potminer.base.digest import Domain, digest
from potminer.train import tensors
from potminer.train.bench import Bench
from potminer.train.bookwork import aggregate_updates
from potminer.train.cheat import cheat
from potminer.train.data import Split, training_split, validation_split
from potminer.train.device import prepare
from potminer.train.evaluate import evaluate
from potminer.train.folder import Folder
from potminer.train.model import build
from potminer.train.shapes import parameters
from potminer.train.snap import State
from potminer.train.step import Engine, Work, run_segment
from potminer.train.weights import Floats, encode_weights, initial_weights
from potminer.wire.model import Cnn, Gpt, Mlp, ModelSpec
from potminer.wire.task import (
    AdamW,
    AuditSpec,
    DataSpec,
    Deadlines,
    InnerSpec,
    Momentum,
    Reward,
    TaskSpec,
    Unit,
    carries,
)
from potminer.wire.trainer import AggregateJob, EvaluateJob, TrainJob

CNN = Cnn(channels=1, height=28, width=28, filters=(32, 64), kernel=5, hidden=512, classes=10)
GPT = Gpt(vocabulary=128, context=64, layers=4, heads=4, width=128)
MLP = Mlp(784, (128,), 10)
Curve = list[dict[str, float]]
"""Accuracy in per cent and loss after so many samples."""


def go_on(done: int, total: int) -> None:
    """A checkpoint that lets everything pass."""


# ---- tasks -------------------------------------------------------------------------------


HELD = 10_000
"""Training pictures that tuning looks at instead of the test's."""


def fashion(folder: Folder, *, held: bool = False) -> DataSpec:
    """Debian's Fashion-MNIST, whole; or *held*: the test split unseen, the last of the training split in its place."""
    if not FASHION.is_dir():
        raise SystemExit("this needs Fashion-MNIST: apt-get install dataset-fashion-mnist")
    with tempfile.TemporaryDirectory() as place:
        make = ROOT / "assets" / "make_fashion.py"
        subprocess.run([sys.executable, make, FASHION, place], check=True, stdout=subprocess.DEVNULL)
        files = [(Path(place) / f"{name}.safetensors").read_bytes() for name in ("train", "validation")]
    if held:
        whole = load(files[0])
        files = [_encode(whole, slice(0, -HELD)), _encode(whole, slice(-HELD, None))]
    return DataSpec(folder.write(files[0]), folder.write(files[1]), 50_000 if held else 60_000, 10_000, (1, 28, 28))


def _encode(whole: dict[str, np.ndarray[Any, Any]], part: slice) -> bytes:
    return tensors.encode({"x": whole["x"][part], "y": whole["y"][part]})


def shakespeare(folder: Folder, made: Path) -> DataSpec:
    """The plays as ``assets/make_shakespeare.py`` left them in *made*."""
    files = [made / f"{name}.safetensors" for name in ("train", "validation")]
    if not all(file.is_file() for file in files):
        raise SystemExit(f"no Shakespeare in {made}: assets/make_shakespeare.py says how it is made")
    blobs = [folder.write(file.read_bytes()) for file in files]
    sizes = [_tokens(file) - GPT.context for file in files]
    return DataSpec(blobs[0], blobs[1], sizes[0], sizes[1], (GPT.context,))


def _tokens(file: Path) -> int:
    return len(load_file(file)["tokens"])


def task(folder: Folder, model: ModelSpec, data: DataSpec, *, seed: int, **changes: Any) -> TaskSpec:
    """A task of mode local, 5 segments of one step of 64 samples, unless *changes* say otherwise."""
    made = TaskSpec(
        name="quality", model=model, data=data, mode="local",
        objective="language" if isinstance(model, Gpt) else "classification",
        initial_model=folder.write(encode_weights(model, initial_weights(model, seed=seed))), rounds=1,
        units_per_trainer=1, segments=5, batches_per_segment=1, micro_batch=64, outer_rate_nano=10**9,
        audit=AuditSpec(30_000, 1_000), deadlines=Deadlines(60_000, 60_000, 60_000, 60_000, 60_000),
        reward=Reward(10**12, 10**9), min_trainers=1, max_trainers=64,
    )  # fmt: skip
    return replace(made, **changes)


def momentum(
    rate: float, *, steps: int = 0, least: float = 0.0, warmup: int = 0, carry: bool = False
) -> InnerSpec:
    """Momentum 0.9; where *steps* are given, a cosine down to *least*."""
    return InnerSpec(
        Momentum(900_000_000, carry), rate_nano=round(rate * 1e9), decay_steps=steps,
        least_rate_nano=round(least * 1e9), warmup_steps=warmup,
    )  # fmt: skip


def adamw(
    rate: float, *, steps: int, warmup: int, epsilon_nano: int = 1_000, carry: bool = False, beta1: float = 0.9
) -> InnerSpec:
    """As nanoGPT has it: betas 0.9 and 0.99, decay 0.1, a cosine to a tenth of *rate*, gradients clipped at 1."""
    return InnerSpec(
        AdamW(round(beta1 * 1e9), 990_000_000, epsilon_nano, decay_nano=100_000_000, carry=carry),
        rate_nano=round(rate * 1e9), warmup_steps=warmup, decay_steps=steps, least_rate_nano=round(rate * 1e8),
        clip_nano=10**9,
    )  # fmt: skip


# ---- the network -------------------------------------------------------------------------


def units_of(spec: TaskSpec, round: int, trainers: int, seed: int) -> list[Unit]:
    """The units of a round as a ledger would have opened it: trainers with keys of their own, a fresh seed."""
    word = digest(Domain.DRAW, b"quality", seed.to_bytes(8, "big"), round.to_bytes(8, "big"))
    keys = [digest(Domain.DRAW, b"trainer", seed.to_bytes(8, "big"), bytes([at])) for at in range(trainers)]
    slots = [key for key in keys for _ in range(spec.units_per_trainer)]
    return [Unit(bytes(32), round, 0, slot, key, word) for slot, key in enumerate(slots)]


@dataclass
class Network:
    """*trainers* honest trainers of a task, without sockets."""

    folder: Folder
    spec: TaskSpec
    trainers: int
    seed: int
    threads: int = 1

    def __post_init__(self) -> None:
        self.bench = Bench(self.folder, device="cpu", threads=self.threads, max_bytes=2**33, cheat=cheat(None))

    def rounds(self) -> Iterator[tuple[int, bytes]]:
        """Samples seen and the model, after every round. Blobs that nobody needs any more are deleted."""
        model, spec = self.spec.initial_model, self.spec
        for number in range(spec.rounds):
            units = units_of(spec, number, self.trainers, self.seed)
            made = [self.bench.train(TrainJob(1, spec, unit, model), go_on).snapshots for unit in units]
            payloads = tuple(snapshots[-1] for snapshots in made)
            found = aggregate_updates(self.folder, AggregateJob(1, spec, model, tuple(units), payloads), go_on)
            old, model = model, found.model or model
            for blob in {old, *(blob for snapshots in made for blob in snapshots)} - {model, spec.initial_model}:
                self.folder.path(blob).unlink(missing_ok=True)
            yield (number + 1) * len(units) * spec.samples_per_unit, model

    def score(self, model: bytes) -> dict[str, float]:
        found = self.bench.evaluate(EvaluateJob(1, self.spec, model), go_on)
        return {"accuracy": found.accuracy_ppm / 1e4, "loss": found.loss_micro / 1e6}


def network(folder: Folder, spec: TaskSpec, *, trainers: int, seed: int, looks: int = 4, threads: int = 1) -> Curve:
    """The curve of a network, looked at *looks* times."""
    made, curve = Network(folder, spec, trainers, seed, threads), []
    for number, (samples, model) in enumerate(made.rounds(), 1):
        if number * looks // spec.rounds > (number - 1) * looks // spec.rounds:
            curve.append({"samples": samples, **made.score(model)})
            say(curve[-1])
    return curve


def unsnapped(
    folder: Folder, spec: TaskSpec, *, trainers: int, seed: int, looks: int = 4, threads: int = 1,
    shrink: Callable[[int, Floats], Floats] = lambda slot, update: update, ends: bool = False,
) -> Curve:
    """The same units and the same outer step, no update rounded but by float32 at a segment's end, and then by what
    *shrink* makes of the update of a slot. *ends*: every unit begins with the mean of what all units' first vector
    beside the update was in the end, whatever the task carries: 4 bytes a number more to send, were it a product."""
    prepare(threads)
    split, check = training_split(folder, spec), validation_split(folder, spec)
    engine = Engine(spec.model, "cpu", spec.objective)
    theta = initial_weights(spec.model, seed=seed)
    velocity, moment, curve = np.zeros(len(theta)), None, []
    rate, mu = spec.outer_rate_nano / 1e9, spec.outer_momentum_nano / 1e9
    for number in range(spec.rounds):
        units = units_of(spec, number, trainers, seed)
        total, moments = np.zeros(len(theta)), []
        for unit in units:
            engine.load(theta, moment=moment, momentum=velocity.astype(np.float32) if number else None)
            update, *others = _ended(Work(engine, split, spec, unit))
            total += shrink(unit.slot, update)
            moments += others[:1]
        mean = total / len(units)
        moment = np.mean(moments, axis=0) if carries(spec) or ends else None
        velocity = mu * velocity + mean
        theta = (theta - rate * (mean + mu * velocity)).astype(np.float32)
        if (number + 1) * looks // spec.rounds > number * looks // spec.rounds:
            engine.load(theta)
            accuracy, loss, _ = evaluate(engine, check, go_on, bytes(32))
            samples = (number + 1) * len(units) * spec.samples_per_unit
            curve.append({"samples": samples, "accuracy": accuracy / 1e4, "loss": loss / 1e6})
            say(curve[-1])
    return curve


def _ended(work: Work) -> State:
    state = work.opening()
    for segment in range(1, work.spec.segments + 1):
        state, _ = run_segment(work, segment, state, go_on)
    return state


class TopK:
    """The 64 largest of every 4,096 in two bits each, the rest kept for the next round, as sparse schemes have it.

    A value is sent as its sign and the mean magnitude of the larger or of the smaller half; what was not sent, and what
    was lost in the two bits, is *decay* of it added to the trainer's next update. No part of the product:
    the decision is ADR 23's.
    """

    BLOCK, KEPT = 4_096, 64
    BITS = KEPT * (12 + 2) / BLOCK + 2 * 32 / BLOCK
    """Of a parameter: a place and a value each, and two magnitudes a block."""

    def __init__(self, decay: float) -> None:
        self._decay = decay
        self._left: dict[int, Floats] = {}

    def __call__(self, slot: int, update: Floats) -> Floats:
        wanted = update + self._decay * self._left.get(slot, np.zeros_like(update))
        padded = np.zeros(-(-len(wanted) // self.BLOCK) * self.BLOCK, np.float32)
        padded[: len(wanted)] = wanted
        blocks = padded.reshape(-1, self.BLOCK)
        order = np.argsort(-np.abs(blocks), axis=1)[:, : self.KEPT]
        chosen = np.take_along_axis(blocks, order, axis=1)
        half = self.KEPT // 2
        for part in (slice(0, half), slice(half, None)):
            size = np.abs(chosen[:, part]).mean(axis=1, keepdims=True)
            chosen[:, part] = np.sign(chosen[:, part]) * size
        sent = np.zeros_like(blocks)
        np.put_along_axis(sent, order, chosen, axis=1)
        flat = sent.reshape(-1)[: len(wanted)]
        self._left[slot] = wanted - flat
        return flat


# ---- plain PyTorch -----------------------------------------------------------------------


def plain(
    folder: Folder, spec: TaskSpec, optimiser: Callable[[torch.nn.Module], torch.optim.Optimizer], *, seed: int,
    batch: int, steps: int, clip: float = 0.0, cosine: tuple[int, float] | None = None, looks: int = 4,
    threads: int = 1,
) -> Curve:
    """Centralised training of the task's model on its data: *steps* of *batch* samples, drawn as the units draw theirs.

    *cosine* is (steps of warming up, the share of the rate that is left at the end).
    """
    prepare(threads)
    split, check = training_split(folder, spec), validation_split(folder, spec)
    module = build(spec.model, "cpu")
    _load(module, spec, initial_weights(spec.model, seed=seed))
    stepper, drawn = optimiser(module), np.random.default_rng(seed)
    rates = [group["lr"] for group in stepper.param_groups]
    curve: Curve = []
    for step in range(steps):
        share = 1.0 if cosine is None else _cosine(step, steps, *cosine)
        for group, rate in zip(stepper.param_groups, rates, strict=True):
            group["lr"] = rate * share
        x, y = split.batch(drawn.integers(0, len(split), batch))
        outputs = module(torch.from_numpy(x))
        loss = cross_entropy(outputs.flatten(0, -2), torch.from_numpy(y).flatten())
        stepper.zero_grad(set_to_none=True)
        loss.backward()
        if clip:
            torch.nn.utils.clip_grad_norm_(module.parameters(), clip)
        stepper.step()
        if (step + 1) * looks // steps > step * looks // steps:
            curve.append({"samples": (step + 1) * batch, **_score(module, spec, check)})
            say(curve[-1])
    return curve


def _cosine(step: int, steps: int, warmup: int, least: float) -> float:
    if step < warmup:
        return (step + 1) / warmup
    return least + (1 - least) * (1 + math.cos(math.pi * (step - warmup) / (steps - warmup))) / 2


def _load(module: torch.nn.Module, spec: TaskSpec, flat: Floats) -> None:
    named = dict(module.named_parameters())
    for place in parameters(spec.model):
        named[place.name].data.copy_(torch.from_numpy(flat[place.start : place.stop].reshape(place.shape)))


def _score(module: torch.nn.Module, spec: TaskSpec, check: Split) -> dict[str, float]:
    """Through the product's evaluation: its numbers are compared, so they are taken alike."""
    engine = Engine(spec.model, "cpu", spec.objective)
    named = dict(module.named_parameters())
    engine.load(np.concatenate([named[p.name].detach().numpy().reshape(-1) for p in parameters(spec.model)]))
    accuracy, loss, _ = evaluate(engine, check, go_on, bytes(32))
    return {"accuracy": accuracy / 1e4, "loss": loss / 1e6}


# ---- words -------------------------------------------------------------------------------


def say(what: object) -> None:
    sys.stderr.write(f"{what}\n")
    sys.stderr.flush()
