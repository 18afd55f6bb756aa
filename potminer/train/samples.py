"""Which samples a unit computes: a pure function of the unit, so a copied update is provably wrong.

Micro-batch b (0 based) of a unit reads ``micro_batch`` words of Philox 4x64-10, keyed by the
first 16 bytes, little-endian, of digest(SAMPLES, unit digest, b as eight bytes), counter
from zero as numpy starts it. Word w is sample w mod n: drawn with replacement, uniform to
better than 2**-32.
"""

from __future__ import annotations

import numpy as np

from potminer.base.digest import Domain, digest, number
from potminer.train.data import Indices
from potminer.wire.task import TaskSpec, Unit, unit_digest


def batch_indices(spec: TaskSpec, unit: Unit, batch: int) -> Indices:
    """Indices into the training split, [micro_batch]."""
    key = digest(Domain.SAMPLES, unit_digest(unit), number(batch))
    words = np.random.Philox(key=int.from_bytes(key[:16], "little")).random_raw(spec.micro_batch)
    return (words % np.uint64(spec.data.train_samples)).astype(np.int64)
