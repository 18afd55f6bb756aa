"""One unit of work: micro-batches one after the other, snapped after every segment, continued from the snap."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np
import torch

from potminer.train import inner
from potminer.train.conduct import HONEST, Conduct
from potminer.train.data import Inputs, Split, Wanted
from potminer.train.dropout import Chance, Dropout, places
from potminer.train.model import build
from potminer.train.objective import mean_loss
from potminer.train.opening import opening
from potminer.train.refusal import Checkpoint, Reason, Refused
from potminer.train.residue import probes, residues
from potminer.train.samples import Sampler
from potminer.train.schedule import rate_at, step_of
from potminer.train.shapes import parameters
from potminer.train.snap import Snapshot, State, snap
from potminer.train.weights import Floats
from potminer.wire.model import ModelSpec, parameter_count
from potminer.wire.task import Objective, TaskSpec, Unit, carries

Keep = Callable[[int, Snapshot, bytes], None]
"""Given every segment's number, snapshot and residues as it is made."""

LOSS_MOST = 2**53


@dataclass(slots=True)
class Engine:
    """A model on a device whose *weights* and *gradient* are two flat vectors. *base* is what was loaded.

    *at_once* is how many samples the device has room for, 0 where that is no matter.
    """

    model: ModelSpec
    device: str
    objective: Objective = "classification"
    at_once: int = 0
    base: torch.Tensor = field(init=False)
    weights: torch.Tensor = field(init=False)
    gradient: torch.Tensor = field(init=False)
    moment: Floats | None = field(init=False, default=None)
    """The carried second moment of the model that was loaded, where it has one."""
    momentum: Floats | None = field(init=False, default=None)
    """The outer momentum of the model that was loaded, where it has one."""
    decaying: list[slice] = field(init=False)
    """Parts of the weights that a decay applies to: tensors of two dimensions or more."""
    _module: torch.nn.Module = field(init=False)
    _dropouts: list[Dropout] = field(init=False)
    _tensors: list[tuple[slice, torch.Tensor, torch.Tensor]] = field(init=False)
    """Of every tensor of the module its place in the flat vectors, itself, and its part of *gradient*."""

    def __post_init__(self) -> None:
        """The module's tensors become views of the flat vector of weights."""
        count, placed = parameter_count(self.model), parameters(self.model)
        self._module = build(self.model, self.device)
        self._dropouts = places(self._module)
        self.base, self.weights, self.gradient = (torch.zeros(count, device=self.device) for _ in range(3))
        self.decaying = [slice(p.start, p.stop) for p in placed if len(p.shape) > 1]
        named = dict(self._module.named_parameters())
        self._tensors = []
        for parameter in placed:
            tensor, place = named.pop(parameter.name), slice(parameter.start, parameter.stop)
            tensor.data = self.weights[place].view(parameter.shape)
            self._tensors.append((place, tensor, self.gradient[place].view(parameter.shape)))
        if named:
            raise AssertionError(f"wire/model.py does not know {sorted(named)}")
        self.add_up()

    def load(self, flat: Floats, *, moment: Floats | None = None, momentum: Floats | None = None) -> None:
        self.moment, self.momentum = moment, momentum
        self.base.copy_(torch.from_numpy(flat))
        self.weights.copy_(self.base)

    def add_up(self) -> None:
        """From now on ``accumulate`` adds into *gradient*, in place."""
        for _, tensor, part in self._tensors:
            tensor.grad = part

    def start_apart(self) -> None:
        """The next ``accumulate`` begins at zero and leaves *gradient* alone: what it finds is in ``apart``. Torch then
        hands over the memory that it has written, and nobody clears or adds."""
        for _, tensor, _ in self._tensors:
            tensor.grad = None

    def apart(self) -> list[tuple[slice, torch.Tensor]]:
        """The gradient since ``start_apart``, a flat tensor for every place in the flat vectors that has any."""
        found = ((place, tensor.grad) for place, tensor, _ in self._tensors)
        return [(place, gradient.reshape(-1)) for place, gradient in found if gradient is not None]

    def accumulate(self, x: Inputs, y: Wanted, *, scale: float, chance: Chance | None = None) -> float:
        """Add *scale* times the mean gradient of a micro-batch to the gradient; its mean loss. *chance* drops numbers.

        At most *at_once* samples are looked at together: another cut is another rounding, far below any tolerance.
        """
        total, step = 0.0, self.at_once or len(x)
        for first in range(0, len(x), step):
            part = slice(first, first + step)
            share = len(x[part]) / len(x)
            loss = mean_loss(self.objective, self._forward(x[part], chance), self._on_device(y[part]))
            chance = chance and chance.later(step)
            (loss * (scale * share)).backward()  # type: ignore[no-untyped-call]
            total += share * float(loss.item())
        return total

    def outputs(self, x: Inputs) -> torch.Tensor:
        with torch.no_grad():
            return self._forward(x, None).cpu()

    def _forward(self, x: Inputs, chance: Chance | None) -> torch.Tensor:
        for dropout in self._dropouts:
            dropout.chance = chance
        found: torch.Tensor = self._module(self._on_device(x))
        return found

    def _on_device(self, x: Inputs) -> torch.Tensor:
        return torch.from_numpy(x).to(self.device)


@dataclass(slots=True)
class Work:
    """A unit at an engine: what both modes need for every micro-batch."""

    engine: Engine
    split: Split
    spec: TaskSpec
    unit: Unit
    conduct: Conduct = HONEST
    sampler: Sampler = field(init=False)

    def __post_init__(self) -> None:
        self.sampler = Sampler(self.spec, self.unit, self.split)

    def opening(self) -> State:
        """The state before the first segment."""
        return opening(self.spec, self.unit, moment=self.engine.moment, momentum=self.engine.momentum)

    def learn(self, batch: int, *, scale: float) -> float:
        """Add *scale* times the mean gradient of micro-batch *batch* to the engine's; its mean loss."""
        x, y = self.sampler.batch(batch)
        if batch == self.conduct.drops:
            left = len(x) - self.conduct.fewer
            if left <= 0:
                return 0.0
            x, y = x[:left], y[:left]
        return self.engine.accumulate(x, self.conduct.labels(y), scale=scale, chance=Chance(self.unit, batch))


def run_segment(work: Work, segment: int, state: State, checkpoint: Checkpoint) -> tuple[State, float]:
    """State after *segment* (1 .. S) from the *state* before it, not yet snapped, and the sum of its losses.

    Mode ``gradient``: the state is the sum over the micro-batches so far of gradient / K, K = micro-batches of the
    unit. Mode ``local``: theta - w, where the inner steps so far led from theta to w, and the moments.
    """
    course, batches = _begin(work, state), _batches(work.spec, segment)
    total = 0.0
    for batch in batches:
        total += course.learn(work, batch)
        checkpoint(batch + 1 - batches.start, len(batches))
    return course.reached(), total


def run_segment_twice(
    work: Work, other: Work, segment: int, state: State, checkpoint: Checkpoint
) -> tuple[State, State]:
    """The states after *segment*, and after one whose last micro-batch alone was learned by *other*'s conduct.

    To the bit what two runs reach, for the price of one and a micro-batch: up to the last they are the same.
    """
    course, batches = _begin(work, state), _batches(work.spec, segment)
    for batch in batches[:-1]:
        course.learn(work, batch)
        checkpoint(batch + 1 - batches.start, len(batches))
    kept = course.keep()
    course.learn(work, batches[-1])
    reached = tuple(vector.copy() for vector in course.reached())
    course.back_to(kept)
    course.learn(other, batches[-1])
    checkpoint(len(batches), len(batches))
    return reached, course.reached()


def _batches(spec: TaskSpec, segment: int) -> range:
    first = (segment - 1) * spec.batches_per_segment
    return range(first, first + spec.batches_per_segment)


def _begin(work: Work, state: State) -> _Sum | _Walk:
    return _Sum(work.engine, state) if work.spec.mode == "gradient" else _Walk(work.engine, state)


class _Sum:
    """Mode ``gradient``: what was added so far lies in the engine's gradient."""

    def __init__(self, engine: Engine, state: State) -> None:
        self._engine = engine
        engine.add_up()
        engine.gradient.copy_(torch.from_numpy(state[0]))

    def learn(self, work: Work, batch: int) -> float:
        weight = work.conduct.weight(batch)
        return weight * work.learn(batch, scale=weight / work.spec.batches_per_unit) if weight else 0.0

    def keep(self) -> list[torch.Tensor]:
        return [self._engine.gradient.clone()]

    def back_to(self, kept: list[torch.Tensor]) -> None:
        self._engine.gradient.copy_(kept[0])

    def reached(self) -> State:
        return (_as_floats(self._engine.gradient),)


class _Walk:
    """Mode ``local``: the weights have gone so far, with these moments."""

    def __init__(self, engine: Engine, state: State) -> None:
        self._engine = engine
        update, *moments = (torch.from_numpy(vector) for vector in state)
        torch.sub(engine.base, update.to(engine.device), out=engine.weights)
        self._moments = [moment.to(engine.device, copy=True) for moment in moments]

    def learn(self, work: Work, batch: int) -> float:
        engine, spec, weight = self._engine, work.spec, work.conduct.weight(batch)
        if not weight:
            return 0.0
        step, parted = step_of(spec, work.unit, batch), inner.takes_parts(spec.inner)
        if parted:
            engine.start_apart()
        else:
            engine.add_up()
            engine.gradient.zero_()
        loss = weight * work.learn(batch, scale=weight)
        inner.step(
            spec.inner, engine.weights, engine.apart() if parted else engine.gradient, self._moments,
            rate=rate_at(spec.inner, step), number=batch + 1, age=(step if carries(spec) else batch) + 1,
            decaying=engine.decaying,
        )  # fmt: skip
        return loss

    def keep(self) -> list[torch.Tensor]:
        return [self._engine.weights.clone(), *(moment.clone() for moment in self._moments)]

    def back_to(self, kept: list[torch.Tensor]) -> None:
        for vector, was in zip((self._engine.weights, *self._moments), kept, strict=True):
            vector.copy_(was)

    def reached(self) -> State:
        """On a CPU the moments are our own, not copies: they change with the next step."""
        update = torch.sub(self._engine.base, self._engine.weights)
        return tuple(np.asarray(vector.cpu().numpy(), np.float32) for vector in (update, *self._moments))


def _as_floats(vector: torch.Tensor) -> Floats:
    return np.array(vector.cpu().numpy(), np.float32)


def train_unit(work: Work, *, keep: Keep, checkpoint: Checkpoint) -> int:
    """Compute the unit at the engine's weights, hand every snapshot to *keep*; the mean loss in millionths."""
    spec = work.spec
    state = work.opening()
    total = 0.0
    for segment in range(1, spec.segments + 1):
        before = (segment - 1) * spec.batches_per_segment

        def seen(done: int, _: int, before: int = before) -> None:
            checkpoint(before + done, spec.batches_per_unit)

        reached, loss = run_segment(work, segment, state, seen)
        shown = (work.conduct.state(reached[0], state[0]), *reached[1:])
        snapshot = snap(shown, spec=spec, unit=work.unit, segment=segment)
        at = probes(spec.model, work.unit, segment)
        keep(segment, snapshot, residues(snapshot.update, shown[0], state[0], at))
        state = snapshot.values()
        total += loss
    return loss_micro(total / spec.batches_per_unit)


def loss_micro(loss: float) -> int:
    """A mean loss in millionths; Refused where it is no number."""
    if not math.isfinite(loss):
        raise Refused(Reason.DIVERGED, "the loss is infinite or not a number")
    return max(0, min(LOSS_MOST, round(loss * 1e6)))
