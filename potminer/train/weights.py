"""A model's weights: one flat float32 vector in memory, one canonical file on disk.

A weight is a normal number or zero: infinities and NaN would spread, and denormal numbers
are zero on some processors and not on others.
"""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt

from potminer.base.digest import Domain, digest, number
from potminer.base.errors import Malformed
from potminer.train import tensors
from potminer.train.shapes import Parameter, parameter_count, parameters
from potminer.wire.codec import encode
from potminer.wire.task import ModelSpec

Floats = npt.NDArray[np.float32]
_F32 = np.dtype("<f4")
_EXPONENT, _MAGNITUDE = np.uint32(0x7F80_0000), np.uint32(0x7FFF_FFFF)


def weights_header(model: ModelSpec) -> bytes:
    return tensors.header({p.name: (_F32, p.shape) for p in parameters(model)})


def weights_bytes(model: ModelSpec) -> int:
    """Size of the model's file: known before anything is read."""
    return len(weights_header(model)) + 4 * parameter_count(model)


def encode_weights(model: ModelSpec, flat: Floats) -> bytes:
    """The model's file; the same numbers give the same bytes on every machine."""
    if flat.shape != (parameter_count(model),) or flat.dtype != np.float32:
        raise AssertionError("the weights of another model")
    _check_numbers(flat)
    return weights_header(model) + flat.astype(_F32).tobytes()


def decode_weights(model: ModelSpec, data: bytes) -> Floats:
    """The flat vector of a model's file; Malformed where it is not canonical or holds a bad number."""
    head = weights_header(model)
    if len(data) != len(head) + 4 * parameter_count(model) or not data.startswith(head):
        raise Malformed("not the canonical safetensors file of this model (names, shapes, float32, no metadata)")
    flat = np.frombuffer(data, _F32, offset=len(head)).astype(np.float32)
    _check_numbers(flat)
    return flat


def flush(values: Floats) -> Floats:
    """*values* with denormal numbers and minus zero made +0; by bits, whatever the processor's mode is."""
    bits = values.view(np.uint32)
    return np.where(bits & _EXPONENT == 0, np.uint32(0), bits).view(np.float32)


def initial_weights(model: ModelSpec, *, seed: int) -> Floats:
    """Weights uniform in +-sqrt(6 / inputs) (He et al. 2015), biases zero; equal on every machine.

    A word w of Philox 4x64-10, keyed by the digest of model, seed and parameter name, gives
    ((w >> 40) * 2**-23 - 1) * bound, rounded once to float32.
    """
    flat = np.zeros(parameter_count(model), np.float32)
    for parameter in parameters(model):
        if len(parameter.shape) > 1:
            flat[parameter.start : parameter.stop] = _uniform(model, parameter, seed)
    return flush(flat)


def _uniform(model: ModelSpec, parameter: Parameter, seed: int) -> Floats:
    key = digest(Domain.DRAW, b"initial", encode(model), number(seed), parameter.name.encode())
    words = np.random.Philox(key=int.from_bytes(key[:16], "little")).random_raw(parameter.stop - parameter.start)
    unit = (words >> np.uint64(40)).astype(np.float64) * 2.0**-23 - 1.0
    bound = math.sqrt(6 / math.prod(parameter.shape[1:]))
    return (unit * bound).astype(np.float32)


def _check_numbers(flat: Floats) -> None:
    bits = flat.view(np.uint32)
    exponent = bits & _EXPONENT
    if bool(np.any(exponent == _EXPONENT)):
        raise Malformed("a weight is infinite or not a number")
    if bool(np.any((exponent == 0) & (bits & _MAGNITUDE != 0))):
        raise Malformed("a weight is denormal")
