"""A model's weights: one flat float32 vector in memory, one canonical file on disk.

A weight is a normal number or zero: infinities and NaN would spread, and denormal numbers
are zero on some processors and not on others.

Nesterov's outer step has a momentum, which is part of what a round agrees on. It lies in the same file, behind
the weights, each tensor under its weight's name with MOMENTUM before it: a file that holds both is still
one that any safetensors reader opens, and ``encode_weights`` gives the file without it.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from potminer.base.digest import Domain, digest, number
from potminer.base.errors import Malformed
from potminer.train import tensors
from potminer.train.shapes import Parameter, parameters
from potminer.wire.codec import encode
from potminer.wire.model import First, ModelSpec, parameter_count

Floats = npt.NDArray[np.float32]
MOMENTUM = "~outer_momentum."
"""Sorts behind every name that a weight can have."""
_F32 = np.dtype("<f4")
_EXPONENT, _MAGNITUDE = np.uint32(0x7F80_0000), np.uint32(0x7FFF_FFFF)


@dataclass(frozen=True, slots=True, eq=False)
class Model:
    """*weights* [n], and the outer *momentum* [n] where there is one."""

    weights: Floats
    momentum: Floats | None = None


def model_header(model: ModelSpec, *, momentum: bool) -> bytes:
    names = ("", MOMENTUM) if momentum else ("",)
    return tensors.header({before + p.name: (_F32, p.shape) for before in names for p in parameters(model)})


def model_size(model: ModelSpec, *, momentum: bool) -> int:
    """Size of a model's file: known before anything is read."""
    return len(model_header(model, momentum=momentum)) + 4 * parameter_count(model) * (2 if momentum else 1)


def encode_model(spec: ModelSpec, model: Model) -> bytes:
    """The model's file; the same numbers give the same bytes on every machine."""
    vectors = [model.weights] if model.momentum is None else [model.weights, model.momentum]
    for flat in vectors:
        if flat.shape != (parameter_count(spec),) or flat.dtype != np.float32:
            raise AssertionError("the weights of another model")
        _check_numbers(flat)
    head = model_header(spec, momentum=len(vectors) == 2)
    return head + b"".join(flat.astype(_F32).tobytes() for flat in vectors)


def decode_model(spec: ModelSpec, data: bytes, *, momentum: bool = False) -> Model:
    """What a model's file holds; Malformed where it is not canonical or holds a bad number.

    Where *momentum* is allowed the file may have one or not.
    """
    count = parameter_count(spec)
    has = momentum and len(data) == model_size(spec, momentum=True)
    head = model_header(spec, momentum=has)
    if len(data) != model_size(spec, momentum=has) or not data.startswith(head):
        raise Malformed("not the canonical safetensors file of this model (names, shapes, float32, no metadata)")
    flat = np.frombuffer(data, _F32, offset=len(head)).astype(np.float32)
    _check_numbers(flat)
    return Model(flat[:count], flat[count:] if has else None)


def encode_part(part: Model) -> bytes:
    """A slice of a model: its weights and, where there is one, its momentum."""
    vectors = [part.weights] if part.momentum is None else [part.weights, part.momentum]
    return b"".join(flat.astype(_F32).tobytes() for flat in vectors)


def decode_part(data: bytes, *, momentum: bool) -> Model:
    """Malformed where a number is bad; the caller knows the size."""
    flat = np.frombuffer(data, _F32).astype(np.float32)
    _check_numbers(flat)
    count = len(flat) // 2 if momentum else len(flat)
    return Model(flat[:count], flat[count:] if momentum else None)


def encode_weights(spec: ModelSpec, flat: Floats) -> bytes:
    """The file of weights alone: what a requester begins with and takes home."""
    return encode_model(spec, Model(flat))


def flush(values: Floats) -> Floats:
    """*values* with denormal numbers and minus zero made +0; by bits, whatever the processor's mode is."""
    bits = values.view(np.uint32)
    return np.where(bits & _EXPONENT == 0, np.uint32(0), bits).view(np.float32)


def initial_weights(model: ModelSpec, *, seed: int) -> Floats:
    """The first weights; equal on every machine. ``First`` says which tensors are zero, one, or drawn.

    A word w of Philox 4x64-10, keyed by the digest of model, seed and parameter name, gives
    ((w >> 40) * 2**-23 - 1) * bound, rounded once to float32.
    """
    flat = np.zeros(parameter_count(model), np.float32)
    for parameter in parameters(model):
        match parameter.first:
            case First.ZERO:
                continue
            case First.ONE:
                flat[parameter.start : parameter.stop] = 1
            case First.INPUTS:
                bound = math.sqrt(6 / math.prod(parameter.shape[1:]))
                flat[parameter.start : parameter.stop] = _uniform(model, parameter, seed, bound)
            case First.SMALL:
                bound = 0.02 * math.sqrt(3 / parameter.depth)
                flat[parameter.start : parameter.stop] = _uniform(model, parameter, seed, bound)
    return flush(flat)


def _uniform(model: ModelSpec, parameter: Parameter, seed: int, bound: float) -> Floats:
    key = digest(Domain.DRAW, b"initial", encode(model), number(seed), parameter.name.encode())
    words = np.random.Philox(key=int.from_bytes(key[:16], "little")).random_raw(parameter.stop - parameter.start)
    unit = (words >> np.uint64(40)).astype(np.float64) * 2.0**-23 - 1.0
    return (unit * bound).astype(np.float32)


def _check_numbers(flat: Floats) -> None:
    bits = flat.view(np.uint32)
    exponent = bits & _EXPONENT
    if bool(np.any(exponent == _EXPONENT)):
        raise Malformed("a weight is infinite or not a number")
    if bool(np.any((exponent == 0) & (bits & _MAGNITUDE != 0))):
        raise Malformed("a weight is denormal")
