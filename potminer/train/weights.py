"""A model's weights: one flat float32 vector in memory, one canonical file on disk.

A weight is a normal number or zero: infinities and NaN would spread, and denormal numbers
are zero on some processors and not on others.

Nesterov's outer step has a momentum, which an inner momentum may begin with, and an inner AdamW may carry its second
moment from round to round: both are part of what a round agrees on. They lie in the same file, behind the weights, each
tensor under its weight's name with a ``Kept`` before it: a file that holds them is still one that any safetensors
reader opens, and ``encode_weights`` gives the file without them.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from potminer.base.digest import Domain, digest, number
from potminer.base.errors import Malformed
from potminer.train import tensors
from potminer.train.shapes import Parameter, parameters
from potminer.wire.codec import encode
from potminer.wire.model import First, ModelSpec, parameter_count
from potminer.wire.task import Kept

Floats = npt.NDArray[np.float32]
_F32 = np.dtype("<f4")
_EXPONENT, _MAGNITUDE = np.uint32(0x7F80_0000), np.uint32(0x7FFF_FFFF)
_LEAST_NORMAL = np.uint32(0x0080_0000)
_PIECE = 2**16


@dataclass(frozen=True, slots=True, eq=False)
class Model:
    """*weights* [n], and the outer *momentum* [n] and the carried second *moment* [n] where there are such."""

    weights: Floats
    momentum: Floats | None = None
    moment: Floats | None = None

    @property
    def vectors(self) -> tuple[Floats, ...]:
        """All there are, in the order of a file."""
        return tuple(vector for vector in (self.weights, self.momentum, self.moment) if vector is not None)

    @property
    def beside(self) -> tuple[Kept, ...]:
        found = {Kept.MOMENTUM: self.momentum, Kept.MOMENT: self.moment}
        return tuple(kept for kept, vector in found.items() if vector is not None)


def model_of(vectors: Sequence[Floats], beside: Sequence[Kept]) -> Model:
    """The model of its vectors: the weights, then what is *beside* them."""
    weights, *kept = vectors
    named = dict(zip(beside, kept, strict=True))
    return Model(weights, named.get(Kept.MOMENTUM), named.get(Kept.MOMENT))


def model_header(model: ModelSpec, *, beside: Sequence[Kept]) -> bytes:
    names = ("", *beside)
    return tensors.header({before + p.name: (_F32, p.shape) for before in names for p in parameters(model)})


def model_size(model: ModelSpec, *, beside: Sequence[Kept]) -> int:
    """Size of a model's file: known before anything is read."""
    return len(model_header(model, beside=beside)) + 4 * parameter_count(model) * (1 + len(beside))


def encode_model(spec: ModelSpec, model: Model) -> bytes:
    """The model's file; the same numbers give the same bytes on every machine."""
    for flat in model.vectors:
        if flat.shape != (parameter_count(spec),) or flat.dtype != np.float32:
            raise AssertionError("the weights of another model")
    _check_model(model)
    return b"".join((model_header(spec, beside=model.beside), *_bytes(model)))


def decode_model(spec: ModelSpec, data: bytes, *, beside: Sequence[Kept] = ()) -> Model:
    """What a model's file holds; Malformed where it is not canonical or holds a bad number.

    The file may have all that is allowed *beside* the weights, or nothing.
    """
    has = beside if len(data) == model_size(spec, beside=beside) else ()
    head = model_header(spec, beside=has)
    if len(data) != model_size(spec, beside=has) or not data.startswith(head):
        raise Malformed("not the canonical safetensors file of this model (names, shapes, float32, no metadata)")
    return decode_part(memoryview(data)[len(head) :], beside=has)


def encode_part(part: Model) -> bytes:
    """A slice of a model: its weights and what is kept beside them."""
    return b"".join(_bytes(part))


def _bytes(part: Model) -> Iterator[memoryview]:
    return (np.ascontiguousarray(flat, _F32).data.cast("B") for flat in part.vectors)


def decode_part(data: bytes | memoryview, *, beside: Sequence[Kept]) -> Model:
    """Malformed where a number is bad; the caller knows the size."""
    flat = np.frombuffer(data, _F32).astype(np.float32)
    part = model_of(np.split(flat, 1 + len(beside)), beside)
    _check_model(part)
    return part


def encode_weights(spec: ModelSpec, flat: Floats) -> bytes:
    """The file of weights alone: what a requester begins with and takes home."""
    return encode_model(spec, Model(flat))


def has_denormals(values: Floats) -> bool:
    """Whether a number is denormal; looked at in pieces that stay in a processor's cache."""
    bits = values.view(np.uint32)
    for start in range(0, len(bits), _PIECE):
        magnitudes = bits[start : start + _PIECE] & _MAGNITUDE
        magnitudes -= 1  # a zero becomes the largest there is
        if bool((magnitudes < _LEAST_NORMAL - 1).any()):
            return True
    return False


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


def _check_model(model: Model) -> None:
    for flat in model.vectors:
        _check_numbers(flat)
    if model.moment is not None and bool(np.any(np.signbit(model.moment))):
        raise Malformed("a second moment, a mean of squares, is below zero")


def _check_numbers(flat: Floats) -> None:
    bits = flat.view(np.uint32)
    for start in range(0, len(bits), _PIECE):
        magnitudes = bits[start : start + _PIECE] & _MAGNITUDE
        if int(magnitudes.max(initial=0)) >= _EXPONENT:
            raise Malformed("a weight is infinite or not a number")
    if has_denormals(flat):
        raise Malformed("a weight is denormal")
