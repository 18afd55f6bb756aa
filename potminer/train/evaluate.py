"""How good a model is on the validation split."""

from __future__ import annotations

import torch

from potminer.train.data import Split
from potminer.train.objective import Score
from potminer.train.refusal import Checkpoint
from potminer.train.step import Engine, loss_micro
from potminer.wire.model import activations

_BATCH = 256
_NUMBERS = 2**26
"""Most numbers that a batch may leave behind on its way: 256 MiB."""


def evaluate(engine: Engine, split: Split, checkpoint: Checkpoint) -> tuple[int, int]:
    """Accuracy in ppm (rounded down) and mean loss in millionths, at the engine's weights."""
    score, every = Score(engine.objective), split.every()
    batch = max(1, min(_BATCH, _NUMBERS // activations(engine.model)))
    for start in range(0, len(every), batch):
        x, y = split.batch(every[start : start + batch])
        score.add(engine.outputs(x), torch.from_numpy(y))
        checkpoint(min(start + batch, len(every)), len(every))
    return score.accuracy_ppm(), loss_micro(score.mean_loss())
