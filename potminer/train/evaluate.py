"""How good a model is on the validation split."""

from __future__ import annotations

import numpy as np
import torch
from torch.nn.functional import cross_entropy

from potminer.base.bounded import MILLION
from potminer.train.data import Split
from potminer.train.refusal import Checkpoint
from potminer.train.step import Engine, loss_micro

_BATCH = 256


def evaluate(engine: Engine, split: Split, checkpoint: Checkpoint) -> tuple[int, int]:
    """Accuracy in ppm (rounded down) and mean loss in millionths, at the engine's weights."""
    right, loss = 0, 0.0
    for start in range(0, len(split), _BATCH):
        x, y = split.batch(np.arange(start, min(start + _BATCH, len(split))))
        logits = engine.logits(x)
        labels = torch.from_numpy(y)
        right += int((logits.argmax(dim=1) == labels).sum().item())
        loss += float(cross_entropy(logits, labels, reduction="sum").item())
        checkpoint(start + len(y), len(split))
    return right * MILLION // len(split), loss_micro(loss / len(split))
