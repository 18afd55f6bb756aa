"""Inner optimisers on flat vectors: their moments lie open, so that snapshots can hold them and audits begin with them.

A unit must follow from its task, its samples and the model alone, whoever trains it: it begins with moments of zero,
and AdamW's bias correction counts the unit's steps. Where a moment is carried it begins with the model's
(``opening``), and the correction of AdamW's second counts the steps of the task.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import assert_never

import torch

from potminer.wire.task import AdamW, InnerSpec, Momentum, Sgd

_NANO = 1e-9

Gradient = torch.Tensor | Sequence[tuple[slice, torch.Tensor]]
"""The whole vector; or its parts, each with its place, and zero elsewhere."""


def clip(gradient: torch.Tensor, most: float) -> None:
    """Shorten *gradient* to the length *most* where it is longer."""
    length = float(torch.linalg.vector_norm(gradient))
    if length > most:
        gradient.mul_(most / length)


def takes_parts(inner: InnerSpec) -> bool:
    """Whether a gradient in parts leads to the same bits as the whole: where all that is done with it is adding it. A
    length, or a product that is added in one rounding with the sum, may hang on how a vector is cut."""
    return isinstance(inner.optimiser, Momentum) and not inner.clip_nano


def step(
    inner: InnerSpec,
    weights: torch.Tensor,
    gradient: Gradient,
    moments: Sequence[torch.Tensor],
    *,
    rate: float,
    number: int,
    decaying: Sequence[slice],
    age: int | None = None,
) -> None:
    """One step in place. *number* counts the unit's steps from 1, *age* the gradients that a carried second moment is
    made of, with this one (None: the unit's); *decaying* are the parts that AdamW decays."""
    if not isinstance(gradient, torch.Tensor):
        _step_in_parts(inner, weights, gradient, moments, rate=rate)
        return
    if inner.clip_nano:
        clip(gradient, inner.clip_nano * _NANO)
    match inner.optimiser:
        case Sgd():
            weights.add_(gradient, alpha=-rate)
        case Momentum(momentum_nano):
            (momentum,) = moments
            momentum.mul_(momentum_nano * _NANO).add_(gradient)
            weights.add_(momentum, alpha=-rate)
        case AdamW() as adamw:
            for part in decaying:
                weights[part].mul_(1 - rate * adamw.decay_nano * _NANO)
            _adam(adamw, weights, gradient, moments, rate=rate, number=number, age=number if age is None else age)
        case _:
            assert_never(inner.optimiser)


def _step_in_parts(
    inner: InnerSpec,
    weights: torch.Tensor,
    parts: Sequence[tuple[slice, torch.Tensor]],
    moments: Sequence[torch.Tensor],
    *,
    rate: float,
) -> None:
    if not takes_parts(inner) or not isinstance(inner.optimiser, Momentum):
        raise AssertionError("this step needs the whole gradient")
    (momentum,) = moments
    momentum.mul_(inner.optimiser.momentum_nano * _NANO)
    for place, part in parts:
        momentum[place].add_(part)
    weights.add_(momentum, alpha=-rate)


def _adam(
    adamw: AdamW,
    weights: torch.Tensor,
    gradient: torch.Tensor,
    moments: Sequence[torch.Tensor],
    *,
    rate: float,
    number: int,
    age: int,
) -> None:
    second, first = moments
    one, two = adamw.beta1_nano * _NANO, adamw.beta2_nano * _NANO
    first.mul_(one).add_(gradient, alpha=1 - one)
    second.mul_(two).addcmul_(gradient, gradient, value=1 - two)
    root = second.div(1 - two**age).sqrt_().add_(adamw.epsilon_nano * _NANO)
    weights.addcdiv_(first, root, value=-rate / (1 - one**number))
