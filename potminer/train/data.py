"""A split of a task's data, read from disk as it is needed."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from potminer.base.errors import Malformed
from potminer.train import tensors
from potminer.train.folder import Folder
from potminer.train.refusal import Reason, Refused
from potminer.train.weights import Floats
from potminer.wire.task import TaskSpec

Labels = npt.NDArray[np.int64]
Indices = npt.NDArray[np.int64]


@dataclass(frozen=True, slots=True, eq=False)
class Split:
    """*x* [n, *shape] float32, mapped from its file, and *y* [n] int64, each in 0 .. classes - 1."""

    x: Floats
    y: Labels

    def __len__(self) -> int:
        return len(self.y)

    def batch(self, indices: Indices) -> tuple[Floats, Labels]:
        return np.asarray(self.x[indices], np.float32), self.y[indices]


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
    x = _tensor(found, "x", "<f4", (samples, *spec.data.shape))
    y = _tensor(found, "y", "<i8", (samples,))
    labels: npt.NDArray[Any] = np.fromfile(path, y.dtype, samples, offset=y.start)
    if int(labels.min()) < 0 or int(labels.max()) >= spec.model.classes:
        raise Refused(Reason.BAD_DATA, f"a label is not in 0 .. {spec.model.classes - 1}")
    images = np.memmap(path, x.dtype, "r", offset=x.start, shape=x.shape)
    return Split(images, labels.astype(np.int64))


def _tensor(found: dict[str, tensors.Tensor], name: str, dtype: str, shape: tuple[int, ...]) -> tensors.Tensor:
    tensor = found.get(name)
    if tensor is None or tensor.dtype != np.dtype(dtype) or tensor.shape != shape:
        raise Refused(Reason.BAD_DATA, f"the data has no tensor {name!r} of type {dtype} and shape {list(shape)}")
    return tensor
