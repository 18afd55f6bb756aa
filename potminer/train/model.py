"""The built-in architectures as torch modules. A task names one; nobody's code travels."""

from __future__ import annotations

from itertools import pairwise
from typing import assert_never

import torch
from torch import Tensor, nn

from potminer.train.dropout import Dropout
from potminer.wire.model import (
    Average,
    Cnn,
    Convolution,
    Dense,
    Drop,
    Flatten,
    Gelu,
    Gpt,
    Halve,
    Layer,
    Layers,
    Logistic,
    Mlp,
    ModelSpec,
    Norm,
    Relu,
    ResNet,
    has_bias,
    layer_shapes,
)


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


class LogisticModule(nn.Module):
    """Input [b, *] flattened to [b, inputs]; logits [b, classes]."""

    def __init__(self, spec: Logistic) -> None:
        super().__init__()
        self.output = nn.Linear(spec.inputs, spec.classes)

    def forward(self, x: Tensor) -> Tensor:
        logits: Tensor = self.output(x.flatten(1))
        return logits


class ResNetModule(nn.Module):
    """Input [b, channels, height, width]; logits [b, classes]."""

    def __init__(self, spec: ResNet) -> None:
        super().__init__()
        self.stem = nn.Conv2d(spec.channels, spec.filters, 3, padding=1, bias=False)
        self.stem_norm = nn.GroupNorm(spec.groups, spec.filters)
        widths = [spec.filters, *(spec.filters << at // spec.blocks for at in range(3 * spec.blocks))]
        self.blocks = nn.ModuleList(_Block(a, b, spec.groups) for a, b in pairwise(widths))
        self.output = nn.Linear(widths[-1], spec.classes)

    def forward(self, x: Tensor) -> Tensor:
        x = torch.relu(self.stem_norm(self.stem(x)))
        for block in self.blocks:
            x = block(x)
        logits: Tensor = self.output(x.mean(dim=(2, 3)))
        return logits


class _Block(nn.Module):
    """Two convolutions beside a shortcut; where the width doubles, sides are halved and the shortcut padded with 0."""

    def __init__(self, inputs: int, filters: int, groups: int) -> None:
        super().__init__()
        self.stride, self.added = (1 if inputs == filters else 2), filters - inputs
        self.conv1 = nn.Conv2d(inputs, filters, 3, self.stride, padding=1, bias=False)
        self.norm1 = nn.GroupNorm(groups, filters)
        self.conv2 = nn.Conv2d(filters, filters, 3, padding=1, bias=False)
        self.norm2 = nn.GroupNorm(groups, filters)

    def forward(self, x: Tensor) -> Tensor:
        inner = self.norm2(self.conv2(torch.relu(self.norm1(self.conv1(x)))))
        short = nn.functional.pad(x[:, :, :: self.stride, :: self.stride], (0, 0, 0, 0, 0, self.added))
        return torch.relu(inner + short)


class GptModule(nn.Module):
    """Tokens [b, t], t at most the context; logits [b, t, vocabulary]."""

    def __init__(self, spec: Gpt) -> None:
        super().__init__()
        self.tokens = nn.Embedding(spec.vocabulary, spec.width)
        self.positions = nn.Embedding(spec.context, spec.width)
        self.dropout = Dropout(spec.dropout_percent)
        self.blocks = nn.ModuleList(_GptBlock(spec) for _ in range(spec.layers))
        self.norm = nn.LayerNorm(spec.width, bias=False)

    def forward(self, tokens: Tensor) -> Tensor:
        x = self.dropout(self.tokens(tokens) + self.positions.weight[: tokens.shape[1]])
        for block in self.blocks:
            x = block(x)
        return nn.functional.linear(self.norm(x), self.tokens.weight)


class _GptBlock(nn.Module):
    """Attention to what came before, then a layer four times as wide; each added to the stream."""

    def __init__(self, spec: Gpt) -> None:
        super().__init__()
        self.heads = spec.heads
        self.norm1 = nn.LayerNorm(spec.width, bias=False)
        self.attention = nn.Linear(spec.width, 3 * spec.width, bias=False)
        self.projection = nn.Linear(spec.width, spec.width, bias=False)
        self.norm2 = nn.LayerNorm(spec.width, bias=False)
        self.widen = nn.Linear(spec.width, 4 * spec.width, bias=False)
        self.narrow = nn.Linear(4 * spec.width, spec.width, bias=False)
        self.dropouts = nn.ModuleList(Dropout(spec.dropout_percent) for _ in range(3))

    def forward(self, x: Tensor) -> Tensor:
        x = x + self.dropouts[1](self.projection(self._attend(self.norm1(x))))
        wide = nn.functional.gelu(self.widen(self.norm2(x)))
        added: Tensor = x + self.dropouts[2](self.narrow(wide))
        return added

    def _attend(self, x: Tensor) -> Tensor:
        """Written out: torch's fused kernels have no deterministic backward on every device."""
        batch, length, width = x.shape
        parts = self.attention(x).view(batch, length, 3, self.heads, width // self.heads)
        query, key, value = parts.permute(2, 0, 3, 1, 4)
        scores = query @ key.transpose(-2, -1) * (width // self.heads) ** -0.5
        later = torch.ones(length, length, dtype=torch.bool, device=x.device).triu(1)
        weights = self.dropouts[0](scores.masked_fill(later, -torch.inf).softmax(dim=-1))
        seen: Tensor = (weights @ value).transpose(1, 2).reshape(batch, length, width)
        return seen


class LayersModule(nn.Module):
    """Input [b, *inputs]; outputs [b, n]."""

    def __init__(self, spec: Layers) -> None:
        super().__init__()
        shapes = (spec.inputs, *layer_shapes(spec))
        built = (_layer(layer, shapes[at][0], has_bias(spec, at)) for at, layer in enumerate(spec.layers))
        self.layers = nn.ModuleList(built)

    def forward(self, x: Tensor) -> Tensor:
        for layer in self.layers:
            x = layer(x)
        return x


class _Halved(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return _halve(x)


class _Averaged(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return x.mean(dim=(2, 3))


def _layer(layer: Layer, inputs: int, bias: bool) -> nn.Module:
    match layer:
        case Dense(outputs):
            return nn.Linear(inputs, outputs, bias=bias)
        case Convolution(filters, kernel, stride):
            return nn.Conv2d(inputs, filters, kernel, stride, padding=kernel // 2, bias=bias)
        case Relu():
            return nn.ReLU()
        case Gelu():
            return nn.GELU()
        case Halve():
            return _Halved()
        case Average():
            return _Averaged()
        case Flatten():
            return nn.Flatten()
        case Norm(groups):
            return nn.GroupNorm(groups, inputs)
        case Drop(percent):
            return Dropout(percent)
        case _:
            assert_never(layer)


def build(model: ModelSpec, device: str) -> nn.Module:
    """The module on *device*; its numbers are torch's own until weights are loaded."""
    with torch.device(device):
        match model:
            case Mlp():
                return MlpModule(model)
            case Cnn():
                return CnnModule(model)
            case Logistic():
                return LogisticModule(model)
            case ResNet():
                return ResNetModule(model)
            case Gpt():
                return GptModule(model)
            case Layers():
                return LayersModule(model)
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
