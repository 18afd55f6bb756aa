"""Which samples a unit computes, and how they are varied: functions of the unit, so a copied update is provably wrong.

Micro-batch b (0 based) of a unit reads words of Philox 4x64-10, keyed by the first 16 bytes, little-endian, of
digest(SAMPLES, unit digest, b as eight bytes), counter from zero as numpy starts it. With replacement, uniform to
better than 2**-32:

``uniform``  word w is sample w mod n;
``skewed``   two words a sample: the first draws a class from the trainer's mixture, the second a sample of that class.

A trainer's mixture is how often each class came in 4,096 draws from a Polya urn that begins with *concentration* of
every class in the data: a Dirichlet's proportions (Hsu, Qi, Brown 2019) without a single float.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from potminer.base import draw
from potminer.base.digest import Domain, digest, number
from potminer.train.data import Indices, Inputs, Samples, Split, Wanted
from potminer.wire.task import Augmentation, Skewed, TaskSpec, Unit, unit_digest

URN = 4_096
_MILLI = 1_000

Words = npt.NDArray[np.uint64]


class Sampler:
    """The micro-batches of one unit, from the training split."""

    def __init__(self, spec: TaskSpec, unit: Unit, split: Split) -> None:
        self._spec, self._unit, self._split = spec, unit, split
        self._pools: tuple[Indices, ...] = ()
        if isinstance(spec.sampling, Skewed):
            if not isinstance(split, Samples):
                raise AssertionError("a skew is over classes, and spec_fault knows which tasks have them")
            self._pools = split.pools()
            self._bounds = np.cumsum(mixture(spec.sampling, unit, len(self._pools)))

    def batch(self, batch: int) -> tuple[Inputs, Wanted]:
        """Inputs [micro_batch, *shape] and what the model should make of them."""
        x, y = self._split.batch(self.indices(batch))
        return varied(x, self._spec.augmentation, self._unit, batch), y

    def indices(self, batch: int) -> Indices:
        """[micro_batch]"""
        count = self._spec.micro_batch
        if not self._pools:
            return (_words(self._unit, batch, count) % np.uint64(self._spec.data.train_samples)).astype(np.int64)
        words = _words(self._unit, batch, 2 * count).reshape(count, 2)
        chosen = np.searchsorted(self._bounds, words[:, 0] % np.uint64(URN), side="right")
        drawn = zip(chosen, words[:, 1], strict=True)
        return np.array([self._pools[kind][int(word) % len(self._pools[kind])] for kind, word in drawn], np.int64)


def mixture(skew: Skewed, unit: Unit, classes: int) -> Indices:
    """How many of 4,096 samples of the unit's trainer are of each class, [classes]."""
    stream = draw.words(digest(Domain.SAMPLES, unit.task, unit.trainer, b"mixture"))
    counts = [0] * classes
    for drawn in range(URN):
        ticket = draw.below(stream, classes * skew.concentration_milli + drawn * _MILLI)
        for kind in range(classes):
            ticket -= skew.concentration_milli + counts[kind] * _MILLI
            if ticket < 0:
                counts[kind] += 1
                break
    return np.array(counts, np.int64)


def varied(x: Inputs, how: Augmentation, unit: Unit, batch: int) -> Inputs:
    """Images [b, c, h, w], each perhaps mirrored and moved; what comes in from outside is 0. Copies, no arithmetic."""
    if not (how.mirror or how.shift):
        return x
    words = _words(unit, batch, len(x), b"augment")
    if how.mirror:
        x = np.where((words & np.uint64(1)).astype(bool)[:, None, None, None], x[..., ::-1], x)
    if how.shift:
        side = np.uint64(2 * how.shift + 1)
        down, right = ((words >> np.uint64(bits)) % side for bits in (1, 32))
        x = _moved(x, down.astype(np.int64), right.astype(np.int64), how.shift)
    return np.ascontiguousarray(x)


def _moved(x: Inputs, down: Indices, right: Indices, most: int) -> Inputs:
    height, width = x.shape[2:]
    padded = np.pad(x, ((0, 0), (0, 0), (most, most), (most, most)))
    rows = down[:, None] + np.arange(height)
    columns = right[:, None] + np.arange(width)
    taken = padded[np.arange(len(x))[:, None, None], :, rows[:, :, None], columns[:, None, :]]
    return np.asarray(taken.transpose(0, 3, 1, 2))


def _words(unit: Unit, batch: int, count: int, *label: bytes) -> Words:
    key = digest(Domain.SAMPLES, unit_digest(unit), number(batch), *label)
    return np.random.Philox(key=int.from_bytes(key[:16], "little")).random_raw(count)
