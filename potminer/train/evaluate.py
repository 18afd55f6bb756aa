"""How good a model is on the validation split, and a number that proves it was run on all of that."""

from __future__ import annotations

import math

import numpy as np
import torch

from potminer.base import draw
from potminer.train.data import Split
from potminer.train.objective import Score
from potminer.train.refusal import Checkpoint
from potminer.train.step import Engine, loss_micro
from potminer.wire.model import activations
from potminer.wire.tx import TRIAL_MICRO

_BATCH = 256
_STEEP = 2.0
_NUMBERS = 2**26
"""Most numbers that a batch may leave behind on its way: 256 MiB."""


class TrialSum:
    """The sum over every sample (or token) of sin(2 · largest output), each with a sign that *seed* draws.

    Divided by its deviation for outputs that nobody knows. The sine makes every sample count alike, however well it
    is learnt already: left out, one of 10,000 moves the sum by ten times what an evaluator is paid for.
    """

    def __init__(self, seed: bytes) -> None:
        self._words = draw.words(seed, b"trial")
        self._left = np.zeros(0, np.uint8)
        self._sum = 0.0
        self._count = 0

    def add(self, outputs: torch.Tensor) -> None:
        waves = torch.sin(_STEEP * outputs.amax(dim=-1).double()).flatten().cpu().numpy()
        waves = np.where(np.isfinite(waves), waves, 0.0)
        self._sum += float((waves * (1.0 - 2.0 * self._signs(len(waves)))).sum())
        self._count += len(waves)

    def _signs(self, count: int) -> np.ndarray[tuple[int], np.dtype[np.uint8]]:
        missing = -(-max(0, count - len(self._left)) // 64)
        fresh = b"".join(next(self._words).to_bytes(8, "big") for _ in range(missing))
        bits = np.concatenate([self._left, np.unpackbits(np.frombuffer(fresh, np.uint8))])
        self._left = bits[count:]
        return bits[:count]

    def micro(self) -> int:
        deviation = math.sqrt(max(1, self._count) / 2)
        return max(0, min(TRIAL_MICRO, TRIAL_MICRO // 2 + round(self._sum / deviation * 1e6)))


def evaluate(engine: Engine, split: Split, checkpoint: Checkpoint, seed: bytes) -> tuple[int, int, int]:
    """Accuracy in ppm (rounded down), mean loss in millionths and the trial of *seed*, at the engine's weights."""
    trial = TrialSum(seed)
    score, every = Score(engine.objective), split.every()
    batch = max(1, min(_BATCH, _NUMBERS // activations(engine.model)))
    for start in range(0, len(every), batch):
        x, y = split.batch(every[start : start + batch])
        outputs = engine.outputs(x)
        score.add(outputs, torch.from_numpy(y))
        trial.add(outputs)
        checkpoint(min(start + batch, len(every)), len(every))
    return score.accuracy_ppm(), loss_micro(score.mean_loss()), trial.micro()
