"""What is learnt: the loss of a micro-batch, and the score of a whole split."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn.functional import cross_entropy, mse_loss

from potminer.base.bounded import MILLION
from potminer.wire.task import Objective


def mean_loss(objective: Objective, outputs: Tensor, wanted: Tensor) -> Tensor:
    """Cross-entropy per sample or token; squared error per number."""
    if objective == "regression":
        return mse_loss(outputs, wanted)
    return cross_entropy(outputs.flatten(0, -2), wanted.flatten())


@dataclass(slots=True)
class Score:
    """Sums over the batches seen; *right* of *count* samples or tokens."""

    objective: Objective
    right: int = 0
    count: int = 0
    loss: float = 0.0
    wanted: float = 0.0
    squares: float = 0.0

    def add(self, outputs: Tensor, wanted: Tensor) -> None:
        self.count += wanted.numel()
        self.loss += float(mean_loss(self.objective, outputs, wanted)) * wanted.numel()
        if self.objective == "regression":
            exact = wanted.double()
            self.wanted += float(exact.sum())
            self.squares += float(torch.square(exact).sum())
        else:
            self.right += int((outputs.argmax(dim=-1) == wanted).sum())

    def accuracy_ppm(self) -> int:
        """Share that is right, rounded down; for regression the share of variance explained, at least 0."""
        if self.objective != "regression":
            return self.right * MILLION // self.count
        variance = self.squares - self.wanted**2 / self.count
        share = 1 - self.loss / variance if variance > 0 else 0.0
        return max(0, int(share * MILLION)) if share == share else 0

    def mean_loss(self) -> float:
        return self.loss / self.count
