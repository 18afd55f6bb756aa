"""Dropout keyed by unit: which numbers fall out is a function of the unit, as its samples are, so an audit repeats it.

A model has places where numbers fall out, counted from 0 in the order of its modules. Sample i (0 based) of micro-batch
b leaves n numbers at place p, in row-major order; they are told apart by the 16-bit quarter words of a Philox
4x64-10 stream, the lowest bits of each 64-bit word first: key = the first 16 bytes, little-endian, of
digest(SAMPLES, unit digest, b as eight bytes, "dropout", p as eight bytes), counter from i * ceil(n / 16) as numpy
starts it. A number falls out where its quarter word is below percent * 65,536 // 100 = t; the others are multiplied
with 65,536 / (65,536 - t), so that the expectation stays.

The counter is the sample's: a device that has room for half a micro-batch drops the same numbers.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from math import prod

import numpy as np
import torch
from torch import Tensor, nn

from potminer.base.digest import Domain, digest, number
from potminer.wire.task import Unit, unit_digest

_QUARTERS = 65_536
_PER_COUNTER = 16
"""Quarter words of one step of the counter: four words of 64 bits."""


@dataclass(frozen=True, slots=True)
class Chance:
    """What decides in micro-batch *batch* of *unit*, from its sample *first* on."""

    unit: Unit
    batch: int
    first: int = 0

    def later(self, samples: int) -> Chance:
        return replace(self, first=self.first + samples)

    def kept(self, place: int, shape: tuple[int, ...], threshold: int) -> Tensor:
        """Which of *shape* = [b, ...] numbers stay at *place*."""
        each = prod(shape[1:])
        steps = -(-each // _PER_COUNTER)
        key = digest(Domain.SAMPLES, unit_digest(self.unit), number(self.batch), b"dropout", number(place))
        stream = np.random.Philox(key=int.from_bytes(key[:16], "little"), counter=self.first * steps)
        words = stream.random_raw(shape[0] * steps * 4).astype("<u8").view("<u2")
        quarters = words.reshape(shape[0], steps * _PER_COUNTER)[:, :each]
        return torch.from_numpy(np.ascontiguousarray(quarters >= threshold)).view(shape)


class Dropout(nn.Module):
    """Drops *percent* of what comes, by the *chance* that the engine sets; without one it lets everything pass."""

    def __init__(self, percent: int) -> None:
        super().__init__()
        self.place = 0
        self.chance: Chance | None = None
        self._threshold = percent * _QUARTERS // 100
        self._scale = _QUARTERS / (_QUARTERS - self._threshold)

    def forward(self, x: Tensor) -> Tensor:
        if self.chance is None or not self._threshold:
            return x
        kept = self.chance.kept(self.place, tuple(x.shape), self._threshold).to(x.device)
        return x * (kept * self._scale)


def places(module: nn.Module) -> list[Dropout]:
    """The places of *module* where numbers fall out, numbered."""
    found = [each for each in module.modules() if isinstance(each, Dropout)]
    for at, each in enumerate(found):
        each.place = at
    return found
