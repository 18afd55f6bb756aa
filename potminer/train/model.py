"""The built-in architectures as torch modules. A task names one; nobody's code travels."""

from __future__ import annotations

from itertools import pairwise
from typing import assert_never

import torch
from torch import Tensor, nn

from potminer.wire.task import Cnn, Mlp, ModelSpec


class MlpModule(nn.Module):
    """Input [b, *] flattened to [b, inputs]; logits [b, classes]."""

    def __init__(self, spec: Mlp) -> None:
        super().__init__()
        widths = (spec.inputs, *spec.hidden, spec.classes)
        self.layers = nn.ModuleList(nn.Linear(a, b) for a, b in pairwise(widths))

    def forward(self, x: Tensor) -> Tensor:
        x = x.flatten(1)
        for layer in self.layers[:-1]:
            x = torch.relu(layer(x))
        logits: Tensor = self.layers[-1](x)
        return logits


class CnnModule(nn.Module):
    """Input [b, channels, height, width]; logits [b, classes]."""

    def __init__(self, spec: Cnn) -> None:
        super().__init__()
        first, second = spec.filters
        self.conv1 = nn.Conv2d(spec.channels, first, spec.kernel, padding="same")
        self.conv2 = nn.Conv2d(first, second, spec.kernel, padding="same")
        self.hidden = nn.Linear(second * (spec.height // 4) * (spec.width // 4), spec.hidden)
        self.output = nn.Linear(spec.hidden, spec.classes)

    def forward(self, x: Tensor) -> Tensor:
        x = _halve(torch.relu(self.conv1(x)))
        x = _halve(torch.relu(self.conv2(x)))
        logits: Tensor = self.output(torch.relu(self.hidden(x.flatten(1))))
        return logits


def build(model: ModelSpec, device: str) -> nn.Module:
    """The module on *device*; its numbers are torch's own until weights are loaded."""
    with torch.device(device):
        match model:
            case Mlp():
                return MlpModule(model)
            case Cnn():
                return CnnModule(model)
            case _:
                assert_never(model)


def _halve(x: Tensor) -> Tensor:
    """2x2 max-pool of [b, c, h, w]. On other devices than the CPU torch's own has no deterministic backward."""
    return nn.functional.max_pool2d(x, 2) if x.device.type == "cpu" else halve_by_comparing(x)


def halve_by_comparing(x: Tensor) -> Tensor:
    """The same numbers and the same gradients: of equal values the first, row by row, is the largest."""
    height, width = x.shape[2] // 2 * 2, x.shape[3] // 2 * 2
    left, right = x[:, :, :height, 0:width:2], x[:, :, :height, 1:width:2]
    columns = torch.where(left >= right, left, right)
    top, bottom = columns[:, :, 0::2], columns[:, :, 1::2]
    return torch.where(top >= bottom, top, bottom)
