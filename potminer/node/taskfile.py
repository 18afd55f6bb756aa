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
from potminer.base.errors import Malformed
from potminer.node.dataset import Tensor, read_header
from potminer.node.form import Filling
from potminer.node.source import Source, read_source
from potminer.node.taskform import AGGREGATIONS, MODELS, OPTIMISERS, SECTIONS, InnerSection, ModelSection
from potminer.wire.model import Gpt, Layers, Logistic, Mlp, ModelSpec, input_shape, outputs, takes, tensors
from potminer.wire.task import (
    AdamW,
    Aggregation,
    AuditSpec,
    Augmentation,
    Clipped,
    DataSpec,
    Deadlines,
    Evaluation,
    InnerSpec,
    Mean,
    Momentum,
    Objective,
    Reward,
    Sampling,
    Sgd,
    Skewed,
    TaskSpec,
    Trimmed,
    Uniform,
)

HINT = "potminer task new writes a file with every key explained."


# ---- what comes out ----------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class TaskFile:
    """A sound task whose data lie in files. Rates and shares in 1e-9, money in grains."""

    path: Path
    name: str
    model: ModelSpec
    seed: int
    train: Path
    validation: Path
    train_samples: int
    validation_samples: int
    shape: tuple[int, ...]
    sampling: Sampling
    augmentation: Augmentation
    objective: Objective
    mode: Literal["gradient", "local"]
    compression: Literal["lan", "wan4", "wan2"]
    rounds: int
    units_per_trainer: int
    min_trainers: int
    max_trainers: int
    segments: int
    batches_per_segment: int
    micro_batch: int
    inner: InnerSpec
    outer_rate_nano: int
    outer_momentum_nano: int
    aggregation: Aggregation
    audit: AuditSpec
    evaluation: Evaluation
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
            inner=self.inner,
            outer_momentum_nano=self.outer_momentum_nano,
            compression=self.compression,
            aggregation=self.aggregation,
            sampling=self.sampling,
            augmentation=self.augmentation,
            evaluation=self.evaluation,
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
    form, _ = MODELS.get(str(model_keys.get("kind")), (None, None))
    # With a known architecture its own form judges every key of the section, once.
    also = list(model_keys) if form else _any_model_key()
    values = {
        name: filling.fill(section, (name,), also=also if name == "model" else ()) for name, section in SECTIONS.items()
    }
    shape = filling.fill(form, ("model",), also=ModelSection.__dataclass_fields__) if form else {}
    model = _model(filling, values["model"].get("kind"), form, shape)
    objective = values["task"].get("objective")
    _check_objective(filling, objective, model)
    _check_variation(filling, values["data"], objective)
    samples = _check_data(filling, values["data"], path.parent, objective, model)
    _check_model_fits(filling, model, values["data"].get("shape"))
    inner = _inner(filling, values["task"].get("mode"), values["inner"])
    _check_aggregation(filling, values["aggregation"])
    _check_counts(filling, values["task"], values["unit"])
    if values["evaluation"].get("target") and values["evaluation"].get("every_rounds") == 0:
        filling.blame(("evaluation", "target"), "is reached by evaluations: set every_rounds")
    _check_budget(filling, values["task"], values["reward"], values["evaluation"])
    filling.finish(HINT)
    assert model is not None
    assert inner is not None
    return _assemble(path, values, model, inner, samples)


def _assemble(
    path: Path, values: Mapping[str, Any], model: ModelSpec, inner: InnerSpec, samples: Mapping[str, int]
) -> TaskFile:
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
        sampling=Skewed(data["skew"] // 1_000_000) if data["skew"] else Uniform(),
        augmentation=Augmentation(data["mirror"], data["shift"]),
        inner=inner,
        outer_rate_nano=values["outer"]["rate"],
        outer_momentum_nano=values["outer"]["momentum"],
        aggregation=_aggregation(values["aggregation"]),
        audit=AuditSpec(**values["audit"]),
        evaluation=_evaluation(values["evaluation"]),
        deadlines=Deadlines(**values["deadlines"]),
        reward=Reward(budget=values["reward"]["budget_pot"], price_per_unit=values["reward"]["price_per_unit_pot"]),
        **values["task"],
        **values["unit"],
    )


# ---- what must fit together --------------------------------------------------------------


def _any_model_key() -> list[str]:
    """Where the architecture itself is unknown, its keys cannot be judged."""
    return sorted({name for form, _ in MODELS.values() for name in form.__dataclass_fields__})


def _model(filling: Filling, kind: str | None, form: type[Any] | None, values: dict[str, Any]) -> ModelSpec | None:
    if form is None or len(values) != len(form.__dataclass_fields__):
        return None
    model = MODELS[str(kind)][1](**values)
    try:
        tensors(model)
    except Malformed as error:
        filling.blame(("model",), str(error))
    return model


def _inner(filling: Filling, mode: str | None, values: Mapping[str, Any]) -> InnerSpec | None:
    """The inner steps; in mode ``gradient`` there are none, and nothing may be said of them."""
    said = filling.table(("inner",)) if "inner" in filling.source.table else {}
    if mode == "gradient":
        if said:
            filling.blame(("inner",), 'is for mode = "local"')
        return InnerSpec()
    _check_own_keys(filling, "inner", "optimiser", said, values, OPTIMISERS)
    if len(values) != len(InnerSection.__dataclass_fields__):
        return None
    if values["optimiser"] == "momentum" and values["carry"] and not values["momentum"]:
        filling.blame(("inner", "carry"), "a momentum of 0 remembers nothing that a unit could begin with")
    if values["least_rate"] > values["rate"]:
        filling.blame(("inner", "least_rate"), "is above the rate")
    if 0 < values["decay_steps"] <= values["warmup_steps"]:
        filling.blame(("inner", "decay_steps"), "must be 0 or beyond warmup_steps")
    return InnerSpec(
        optimiser=_optimiser(values),
        rate_nano=values["rate"],
        warmup_steps=values["warmup_steps"],
        decay_steps=values["decay_steps"],
        least_rate_nano=values["least_rate"],
        clip_nano=values["clip"],
    )


def _check_own_keys(
    filling: Filling, section: str, choice: str, said: Mapping[str, Any], values: Mapping[str, Any],
    kinds: Mapping[str, tuple[str, ...]],
) -> None:
    """Blame keys in *said* that another choice than the one made has."""
    chosen = values.get(choice)
    own = kinds.get(str(chosen))
    others = {key for keys in kinds.values() for key in keys} - set(own or ())
    for key in said:
        if own is not None and key in others:
            filling.blame((section, key), f"is not a key of {choice} {chosen}")


def _check_aggregation(filling: Filling, values: Mapping[str, Any]) -> None:
    said = filling.table(("aggregation",)) if "aggregation" in filling.source.table else {}
    _check_own_keys(filling, "aggregation", "rule", said, values, AGGREGATIONS)


def _aggregation(values: Mapping[str, Any]) -> Aggregation:
    match values["rule"]:
        case "trimmed":
            return Trimmed(values["trim"] // 1_000)
        case "clipped":
            return Clipped(values["bucket"], values["radius"] // 1_000)
        case _:
            return Mean()


def _evaluation(values: Mapping[str, Any]) -> Evaluation:
    return Evaluation(values["every_rounds"], values["evaluators"], values["target"] // 1_000)


def _optimiser(values: Mapping[str, Any]) -> Sgd | Momentum | AdamW:
    match values["optimiser"]:
        case "momentum":
            return Momentum(values["momentum"], values["carry"])
        case "adamw":
            keys = ("beta1", "beta2", "epsilon", "weight_decay", "carry")
            return AdamW(*(values[key] for key in keys))
        case _:
            return Sgd()


def _check_model_fits(filling: Filling, model: ModelSpec | None, shape: tuple[int, ...] | None) -> None:
    if model is None or shape is None:
        return
    if takes(model, shape):
        return
    if isinstance(model, Mlp | Logistic):
        product = " x ".join(map(str, shape))
        filling.blame(("model", "inputs"), f"{model.inputs} does not fit data.shape: {product} = {math.prod(shape)}")
        return
    what = {Gpt: "context", Layers: "inputs"}.get(type(model), "channels, height, width")
    filling.blame(("data", "shape"), f"{list(shape)} does not fit the model's {what} {list(input_shape(model))}")


def _check_objective(filling: Filling, objective: str | None, model: ModelSpec | None) -> None:
    if model is None or objective is None:
        return
    if (objective == "language") != isinstance(model, Gpt):
        filling.blame(("task", "objective"), "a gpt learns language, and nothing else does")
    if objective == "regression" and isinstance(model, Logistic):
        what = "logistic tells classes apart; linear regression is an mlp with hidden = []"
        filling.blame(("task", "objective"), what)


def _check_counts(filling: Filling, task: Mapping[str, Any], unit: Mapping[str, Any]) -> None:
    low, high, units = (task.get(key) for key in ("min_trainers", "max_trainers", "units_per_trainer"))
    if low is not None and high is not None and low > high:
        filling.blame(("task", "min_trainers"), f"{low} is more than max_trainers, {high}")
    if high is not None and units is not None and high * units > limits.UNITS_PER_ROUND:
        what = f"{units} units for each of {high} trainers are more than {limits.UNITS_PER_ROUND:,} in a round"
        filling.blame(("task", "units_per_trainer"), what)
        return
    every = (high or 0) * (units or 0) * (unit.get("segments") or 0)
    if every > limits.SEGMENTS_PER_ROUND:
        what = f"{every:,} segments in a round of {high} trainers, of {limits.SEGMENTS_PER_ROUND:,} at most"
        filling.blame(("unit", "segments"), what)


def _check_budget(
    filling: Filling, task: Mapping[str, Any], reward: Mapping[str, Any], evaluation: Mapping[str, Any]
) -> None:
    """The ledger's own rule: the escrow pays every round of the fewest trainers, and every evaluation. More trainers
    end the task sooner."""
    rounds, fewest, units = (task.get(key) for key in ("rounds", "min_trainers", "units_per_trainer"))
    price, budget = reward.get("price_per_unit_pot"), reward.get("budget_pot")
    every, evaluators = evaluation.get("every_rounds"), evaluation.get("evaluators")
    if rounds is None or fewest is None or units is None or price is None or budget is None:
        return
    if every is None or evaluators is None:
        return
    needed = rounds * fewest * units * price
    sum_shown = f"{rounds} rounds x {fewest} trainers x {units} units x {show_pot(price)}"
    if every:
        scored = -(-rounds // every)
        needed += scored * evaluators * (price // 10)
        sum_shown += f" + {scored} evaluations x {evaluators} x {show_pot(price // 10)}"
    if budget < needed:
        filling.blame(("reward", "budget_pot"), f"{show_pot(budget)} is less than {sum_shown} = {show_pot(needed)}")


def show_pot(grains: int) -> str:
    """Grains as POT, exactly."""
    whole, rest = divmod(grains, GRAINS_PER_POT)
    return f"{whole:,}" + (f".{rest:09d}".rstrip("0") if rest else "") + " POT"


def _check_variation(filling: Filling, data: Mapping[str, Any], objective: str | None) -> None:
    skew, shape = data.get("skew"), data.get("shape")
    if skew and objective != "classification":
        filling.blame(("data", "skew"), "is for classification: only classes can be skewed")
    if skew and skew % 10**6:
        filling.blame(("data", "skew"), "has more than three decimal places")
    if shape is not None and len(shape) != 3:
        for key in ("mirror", "shift"):
            if data.get(key):
                filling.blame(("data", key), "is for images: data.shape has no three numbers")


def _check_data(
    filling: Filling, data: Mapping[str, Any], folder: Path, objective: str | None, model: ModelSpec | None
) -> dict[str, int]:
    """Samples in each split, from the files' headers."""
    samples: dict[str, int] = {}
    for split in ("train", "validation"):
        if split not in data:
            continue
        path = folder / data[split]
        try:
            samples[split] = _count(read_header(path), data.get("shape"), objective, model)
        except ValueError as error:
            filling.blame(("data", split), f"{path} {error}")
    return samples


def _count(
    tensors: Mapping[str, Tensor], shape: tuple[int, ...] | None, objective: str | None, model: ModelSpec | None
) -> int:
    match objective:
        case "language":
            return _count_windows(tensors, shape)
        case "regression":
            return _count_samples(tensors, shape, "F32", (outputs(model),) if model is not None else None)
        case _:
            return _count_samples(tensors, shape, "I64", ())


def _count_windows(tensors: Mapping[str, Tensor], shape: tuple[int, ...] | None) -> int:
    """Places where a window of the context and the next token begin."""
    if set(tensors) != {"tokens"}:
        raise ValueError(f"must hold the tensor tokens alone, not {', '.join(sorted(tensors)[:8]) or 'nothing'}")
    tokens, context = tensors["tokens"], math.prod(shape or (1,))
    if tokens.dtype not in ("U8", "I64") or len(tokens.shape) != 1:
        raise ValueError(f"must hold tokens as a list of uint8 (U8) or int64 (I64), not {tokens.dtype}")
    if not 1 <= tokens.shape[0] - context <= 2**31:
        raise ValueError(f"holds {tokens.shape[0]:,} tokens, no more than the context of {context:,}")
    return tokens.shape[0] - context


def _count_samples(
    tensors: Mapping[str, Tensor], shape: tuple[int, ...] | None, labels: str, label: tuple[int, ...] | None
) -> int:
    """*labels* is the type of y, *label* the shape of one, where it is known."""
    if set(tensors) != {"x", "y"}:
        raise ValueError(f"must hold the tensors x and y, not {', '.join(sorted(tensors)[:8]) or 'nothing'}")
    x, y = tensors["x"], tensors["y"]
    if x.dtype != "F32" or y.dtype != labels:
        wanted = "int64 (I64)" if labels == "I64" else "float32 (F32)"
        raise ValueError(f"must hold x as float32 (F32) and y as {wanted}, not {x.dtype} and {y.dtype}")
    if label is not None and y.shape[1:] != label:
        raise ValueError(f"holds labels of shape {list(y.shape[1:])}, where {list(label)} is needed")
    if not y.shape or not x.shape or x.shape[0] != y.shape[0] or not 1 <= y.shape[0] <= 2**31:
        raise ValueError(f"must hold one label for every sample: x is {list(x.shape)}, y is {list(y.shape)}")
    if shape is not None and x.shape[1:] != shape:
        raise ValueError(f"holds samples of shape {list(x.shape[1:])}, but data.shape is {list(shape)}")
    return y.shape[0]
