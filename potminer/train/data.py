"""A split of a task's data, read from disk as it is needed."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from potminer.base.errors import Malformed
from potminer.train import tensors
from potminer.train.folder import Folder
from potminer.train.refusal import Reason, Refused
from potminer.train.weights import Floats
from potminer.wire.model import outputs
from potminer.wire.task import TaskSpec

Labels = npt.NDArray[np.int64]
Indices = npt.NDArray[np.int64]
Inputs = npt.NDArray[Any]
"""float32, or int64 where they are tokens."""
Wanted = npt.NDArray[Any]
"""int64 where classes or tokens are told apart, else float32."""
_ROWS = 4_096
"""Looked at together while a file is checked."""


class Split(Protocol):
    """Samples by number."""

    def __len__(self) -> int: ...

    def batch(self, indices: Indices) -> tuple[Inputs, Wanted]:
        """Inputs [b, *shape] and what the model should make of them."""

    def every(self) -> Indices:
        """The samples that an evaluation looks at."""


@dataclass(frozen=True, slots=True, eq=False)
class Samples:
    """*x* [n, *shape] float32, mapped from its file; *y* [n] int64 in 0 .. classes - 1, or [n, outputs] float32."""

    x: Floats
    y: Wanted

    def __len__(self) -> int:
        return len(self.y)

    def batch(self, indices: Indices) -> tuple[Inputs, Wanted]:
        return np.asarray(self.x[indices], np.float32), self.y[indices]

    def every(self) -> Indices:
        return np.arange(len(self.y))

    def pools(self) -> tuple[Indices, ...]:
        """The samples of every class that has any, in rising order: by class, then by number."""
        order = np.argsort(self.y, kind="stable")
        firsts = np.unique(self.y[order], return_index=True)[1]
        return tuple(np.split(order, firsts[1:]))


@dataclass(frozen=True, slots=True, eq=False)
class Text:
    """Every window of *context* tokens and the one that follows; an evaluation looks at windows that do not overlap."""

    tokens: npt.NDArray[Any]
    context: int

    def __len__(self) -> int:
        return len(self.tokens) - self.context

    def batch(self, indices: Indices) -> tuple[Inputs, Wanted]:
        windows = np.asarray(self.tokens[indices[:, None] + np.arange(self.context + 1)], np.int64)
        return np.ascontiguousarray(windows[:, :-1]), np.ascontiguousarray(windows[:, 1:])

    def every(self) -> Indices:
        return np.arange(0, len(self), self.context)


def training_split(folder: Folder, spec: TaskSpec) -> Split:
    return _open(folder, spec, spec.data.train, spec.data.train_samples)


def validation_split(folder: Folder, spec: TaskSpec) -> Split:
    return _open(folder, spec, spec.data.validation, spec.data.validation_samples)


def _open(folder: Folder, spec: TaskSpec, blob: bytes, samples: int) -> Split:
    """Refused as bad data where the file is not what the task says."""
    size = folder.verify(blob)
    path = folder.path(blob)
    try:
        with path.open("rb") as file:
            found = tensors.parse_header(file.read(tensors.HEADER_BYTES + 8), file_bytes=size)
    except Malformed as error:
        raise Refused(Reason.BAD_DATA, str(error)) from error

    def mapped(name: str, shape: tuple[int, ...], *types: str) -> npt.NDArray[Any]:
        tensor = _tensor(found, name, shape, types)
        return np.memmap(path, tensor.dtype, "r", offset=tensor.start, shape=tensor.shape)

    if spec.objective == "language":
        (context,) = spec.data.shape
        tokens = mapped("tokens", (samples + context,), "|u1", "<i8")
        _check_range(tokens, outputs(spec.model), "token")
        return Text(tokens, context)
    x = mapped("x", (samples, *spec.data.shape), "<f4")
    _check_finite(x)
    if spec.objective == "regression":
        y = mapped("y", (samples, outputs(spec.model)), "<f4")
        _check_finite(y)
        return Samples(x, np.array(y, np.float32))
    labels = np.array(mapped("y", (samples,), "<i8"), np.int64)
    _check_range(labels, outputs(spec.model), "label")
    return Samples(x, labels)


def _check_range(values: npt.NDArray[Any], most: int, what: str) -> None:
    if int(values.min()) < 0 or int(values.max()) >= most:
        raise Refused(Reason.BAD_DATA, f"a {what} is not in 0 .. {most - 1}")


def _check_finite(values: npt.NDArray[Any]) -> None:
    for start in range(0, len(values), _ROWS):
        if not bool(np.all(np.isfinite(values[start : start + _ROWS]))):
            raise Refused(Reason.BAD_DATA, "the data hold an infinity or something that is no number")


def _tensor(
    found: dict[str, tensors.Tensor], name: str, shape: tuple[int, ...], types: tuple[str, ...]
) -> tensors.Tensor:
    tensor = found.get(name)
    if tensor is None or tensor.dtype not in [np.dtype(each) for each in types] or tensor.shape != shape:
        either = " or ".join(types)
        raise Refused(Reason.BAD_DATA, f"the data has no tensor {name!r} of type {either} and shape {list(shape)}")
    return tensor
