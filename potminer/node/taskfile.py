"""``task.toml``: what a requester writes, checked whole before any money moves.

A TaskFile still names files; it becomes a TaskSpec, the thing that is signed, once their blob
ids are known. Money is written in POT and rates as decimals; both are exact integers from here on.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from potminer.base import limits
from potminer.base.bounded import GRAINS_PER_POT
from potminer.node.dataset import Tensor, read_header
from potminer.node.form import Filling, billionths, choice, integer, many, setting, text
from potminer.node.source import Source, read_source
from potminer.train.refusal import Refused
from potminer.train.shapes import parameter_count
from potminer.wire.task import AuditSpec, Cnn, DataSpec, Deadlines, Mlp, ModelSpec, Reward, TaskSpec

HINT = "potminer task new writes a file with every key explained."
_WIDTH = integer(1, 65_536)
_DURATION = integer(100, 24 * 3_600_000)
_PATH = text(4_000, what="a path")


# ---- the form ----------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class TaskSection:
    name: str = setting(
        text(64, pattern=r"[a-z0-9][a-z0-9._-]*", what="at most 64 of a-z, 0-9, . _ -, beginning with a-z or 0-9"),
        "what the task is called",
    )
    objective: Literal["classification"] = setting(choice("classification"), "what is learnt", default="classification")
    mode: Literal["gradient"] = setting(
        choice("gradient"), "what a unit computes: the mean gradient of its samples", default="gradient"
    )
    rounds: int = setting(integer(1, 1_000_000), "steps of the model")
    units_per_trainer: int = setting(integer(1, 64), "units of work that each trainer gets in a round", default=1)
    min_trainers: int = setting(integer(1, limits.TRAINERS_PER_TASK), "fewest trainers that a round opens with")
    max_trainers: int = setting(integer(1, limits.TRAINERS_PER_TASK), "most trainers that are paid in a round")


@dataclass(frozen=True, slots=True, kw_only=True)
class MlpSection:
    inputs: int = setting(_WIDTH, "numbers in a sample: the product of data.shape")
    hidden: tuple[int, ...] = setting(many(_WIDTH, most=16), "widths of the hidden layers", default=())
    classes: int = setting(_WIDTH, "classes to tell apart")


@dataclass(frozen=True, slots=True, kw_only=True)
class CnnSection:
    channels: int = setting(_WIDTH, "channels of a sample")
    height: int = setting(_WIDTH, "height of a sample, in pixels")
    width: int = setting(_WIDTH, "width of a sample, in pixels")
    filters: tuple[int, ...] = setting(many(_WIDTH, least=2, most=2), "filters of the two convolutions")
    kernel: int = setting(integer(1, 15), "side of a convolution's kernel, in pixels")
    hidden: int = setting(_WIDTH, "width of the hidden layer")
    classes: int = setting(_WIDTH, "classes to tell apart")


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelSection:
    kind: str = setting(choice("mlp", "cnn"), "architecture: mlp or cnn")
    seed: int = setting(integer(0, 2**63 - 1), "seed of the first weights", default=0)


@dataclass(frozen=True, slots=True, kw_only=True)
class DataSection:
    train: str = setting(_PATH, "safetensors file with x float32 [n, ...shape] and y int64 [n]")
    validation: str = setting(_PATH, "the same for samples that are never trained on")
    shape: tuple[int, ...] = setting(many(_WIDTH, least=1, most=4), "shape of one sample")


@dataclass(frozen=True, slots=True, kw_only=True)
class UnitSection:
    segments: int = setting(integer(1, limits.SEGMENTS), "pieces of a unit that can be audited", default=8)
    batches_per_segment: int = setting(integer(1, 4_096), "micro-batches in a segment", default=1)
    micro_batch: int = setting(integer(1, 65_536), "samples in a micro-batch")


@dataclass(frozen=True, slots=True, kw_only=True)
class OuterSection:
    rate: int = setting(billionths("0.000000001", "1000"), "learning rate: theta - rate * mean gradient")


@dataclass(frozen=True, slots=True, kw_only=True)
class AuditSection:
    rate_ppm: int = setting(integer(30_000, 1_000_000), "least share of units that is audited, in ppm", default=100_000)
    tolerance_ppm: int = setting(
        integer(10, 20_000), "largest relative error of a segment that passes, in ppm", default=1_000
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class DeadlinesSection:
    commit_ms: int = setting(_DURATION, "time to compute and commit, in ms", default=60_000)
    reveal_ms: int = setting(_DURATION, "time to reveal, in ms", default=20_000)
    audit_ms: int = setting(_DURATION, "time to audit, in ms", default=60_000)
    dispute_ms: int = setting(_DURATION, "time to settle a dispute, in ms", default=60_000)
    aggregate_ms: int = setting(_DURATION, "time to agree on the next model, in ms", default=60_000)


@dataclass(frozen=True, slots=True, kw_only=True)
class RewardSection:
    budget_pot: int = setting(billionths("0", "9000000000"), "escrowed at submission, in POT; the rest comes back")
    price_per_unit_pot: int = setting(billionths("0.000000001", "9000000"), "paid for an accepted unit, in POT")


SECTIONS: dict[str, type[Any]] = {
    "task": TaskSection,
    "model": ModelSection,
    "data": DataSection,
    "unit": UnitSection,
    "outer": OuterSection,
    "audit": AuditSection,
    "deadlines": DeadlinesSection,
    "reward": RewardSection,
}
MODELS: dict[str, type[Any]] = {"mlp": MlpSection, "cnn": CnnSection}


# ---- what comes out ----------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class TaskFile:
    """A sound task whose data lie in files. *outer_rate_nano* in 1e-9, money in grains."""

    path: Path
    name: str
    model: ModelSpec
    seed: int
    train: Path
    validation: Path
    train_samples: int
    validation_samples: int
    shape: tuple[int, ...]
    objective: Literal["classification"]
    mode: Literal["gradient"]
    rounds: int
    units_per_trainer: int
    min_trainers: int
    max_trainers: int
    segments: int
    batches_per_segment: int
    micro_batch: int
    outer_rate_nano: int
    audit: AuditSpec
    deadlines: Deadlines
    reward: Reward

    def to_spec(self, *, train: bytes, validation: bytes, initial_model: bytes) -> TaskSpec:
        """The order itself, once blob ids stand for the files."""
        data = DataSpec(
            train=train,
            validation=validation,
            train_samples=self.train_samples,
            validation_samples=self.validation_samples,
            shape=self.shape,
        )
        return TaskSpec(
            name=self.name,
            model=self.model,
            data=data,
            objective=self.objective,
            mode=self.mode,
            initial_model=initial_model,
            rounds=self.rounds,
            units_per_trainer=self.units_per_trainer,
            segments=self.segments,
            batches_per_segment=self.batches_per_segment,
            micro_batch=self.micro_batch,
            outer_rate_nano=self.outer_rate_nano,
            audit=self.audit,
            deadlines=self.deadlines,
            reward=self.reward,
            min_trainers=self.min_trainers,
            max_trainers=self.max_trainers,
        )

    @property
    def most_units(self) -> int:
        """Units of the whole task with every trainer present."""
        return self.rounds * self.max_trainers * self.units_per_trainer

    @property
    def paid_rounds(self) -> int:
        """Rounds that the budget pays for with every trainer present; fewer than *rounds* end the task sooner."""
        pot = self.max_trainers * self.units_per_trainer * self.reward.price_per_unit
        return min(self.rounds, self.reward.budget // pot)

    @property
    def samples_per_unit(self) -> int:
        return self.segments * self.batches_per_segment * self.micro_batch


def load_task_file(path: Path) -> TaskFile:
    """The task at *path*; ConfigError with every mistake at once. Data paths are relative to the file."""
    return task_file_from(read_source(path), path)


def task_file_from(source: Source, path: Path) -> TaskFile:
    filling = Filling(source)
    filling.sections(SECTIONS)
    said = source.table.get("model")
    model_keys = said if isinstance(said, dict) else {}
    form = MODELS.get(str(model_keys.get("kind")))
    # With a known architecture its own form judges every key of the section, once.
    also = list(model_keys) if form else _any_model_key()
    values = {
        name: filling.fill(section, (name,), also=also if name == "model" else ()) for name, section in SECTIONS.items()
    }
    shape = filling.fill(form, ("model",), also=ModelSection.__dataclass_fields__) if form else {}
    model = _model(filling, values["model"].get("kind"), form, shape)
    samples = _check_data(filling, values["data"], path.parent)
    _check_model_fits(filling, model, values["data"].get("shape"))
    _check_counts(filling, values["task"])
    _check_budget(filling, values["task"], values["reward"])
    filling.finish(HINT)
    assert model is not None
    return _assemble(path, values, model, samples)


def _assemble(path: Path, values: Mapping[str, Any], model: ModelSpec, samples: Mapping[str, int]) -> TaskFile:
    data = values["data"]
    return TaskFile(
        path=path,
        model=model,
        seed=values["model"]["seed"],
        train=path.parent / data["train"],
        validation=path.parent / data["validation"],
        train_samples=samples["train"],
        validation_samples=samples["validation"],
        shape=data["shape"],
        outer_rate_nano=values["outer"]["rate"],
        audit=AuditSpec(**values["audit"]),
        deadlines=Deadlines(**values["deadlines"]),
        reward=Reward(budget=values["reward"]["budget_pot"], price_per_unit=values["reward"]["price_per_unit_pot"]),
        **values["task"],
        **values["unit"],
    )


# ---- what must fit together --------------------------------------------------------------


def _any_model_key() -> list[str]:
    """Where the architecture itself is unknown, its keys cannot be judged."""
    return sorted({name for form in MODELS.values() for name in form.__dataclass_fields__})


def _model(filling: Filling, kind: str | None, form: type[Any] | None, values: dict[str, Any]) -> ModelSpec | None:
    if form is None or len(values) != len(form.__dataclass_fields__):
        return None
    model: ModelSpec = Mlp(**values) if kind == "mlp" else Cnn(**values)
    try:
        parameter_count(model)
    except Refused as refused:
        filling.blame(("model",), refused.detail)
    return model


def _check_model_fits(filling: Filling, model: ModelSpec | None, shape: tuple[int, ...] | None) -> None:
    if model is None or shape is None:
        return
    if isinstance(model, Mlp) and model.inputs != math.prod(shape):
        product = " x ".join(map(str, shape))
        filling.blame(("model", "inputs"), f"{model.inputs} does not fit data.shape: {product} = {math.prod(shape)}")
    if isinstance(model, Cnn) and shape != (model.channels, model.height, model.width):
        wanted = [model.channels, model.height, model.width]
        filling.blame(("data", "shape"), f"{list(shape)} does not fit the model's channels, height, width {wanted}")


def _check_counts(filling: Filling, task: Mapping[str, Any]) -> None:
    low, high, units = (task.get(key) for key in ("min_trainers", "max_trainers", "units_per_trainer"))
    if low is not None and high is not None and low > high:
        filling.blame(("task", "min_trainers"), f"{low} is more than max_trainers, {high}")
    if high is not None and units is not None and high * units > limits.UNITS_PER_ROUND:
        what = f"{units} units for each of {high} trainers are more than {limits.UNITS_PER_ROUND:,} in a round"
        filling.blame(("task", "units_per_trainer"), what)


def _check_budget(filling: Filling, task: Mapping[str, Any], reward: Mapping[str, Any]) -> None:
    """The ledger's own rule: the escrow pays every round of the fewest trainers. More of them end the task sooner."""
    rounds, fewest, units = (task.get(key) for key in ("rounds", "min_trainers", "units_per_trainer"))
    price, budget = reward.get("price_per_unit_pot"), reward.get("budget_pot")
    if rounds is None or fewest is None or units is None or price is None or budget is None:
        return
    needed = rounds * fewest * units * price
    if budget < needed:
        sum_shown = f"{rounds} rounds x {fewest} trainers x {units} units x {show_pot(price)}"
        filling.blame(("reward", "budget_pot"), f"{show_pot(budget)} is less than {sum_shown} = {show_pot(needed)}")


def show_pot(grains: int) -> str:
    """Grains as POT, exactly."""
    whole, rest = divmod(grains, GRAINS_PER_POT)
    return f"{whole:,}" + (f".{rest:09d}".rstrip("0") if rest else "") + " POT"


def _check_data(filling: Filling, data: Mapping[str, Any], folder: Path) -> dict[str, int]:
    """Samples in each split, from the files' headers."""
    samples: dict[str, int] = {}
    for split in ("train", "validation"):
        if split not in data:
            continue
        path = folder / data[split]
        try:
            samples[split] = _count_samples(read_header(path), data.get("shape"))
        except ValueError as error:
            filling.blame(("data", split), f"{path} {error}")
    return samples


def _count_samples(tensors: Mapping[str, Tensor], shape: tuple[int, ...] | None) -> int:
    if set(tensors) != {"x", "y"}:
        raise ValueError(f"must hold the tensors x and y, not {', '.join(sorted(tensors)[:8]) or 'nothing'}")
    x, y = tensors["x"], tensors["y"]
    if x.dtype != "F32" or y.dtype != "I64":
        raise ValueError(f"must hold x as float32 (F32) and y as int64 (I64), not {x.dtype} and {y.dtype}")
    if len(y.shape) != 1 or not x.shape or x.shape[0] != y.shape[0] or not 1 <= y.shape[0] <= 2**31:
        raise ValueError(f"must hold one label for every sample: x is {list(x.shape)}, y is {list(y.shape)}")
    if shape is not None and x.shape[1:] != shape:
        raise ValueError(f"holds samples of shape {list(x.shape[1:])}, but data.shape is {list(shape)}")
    return y.shape[0]
