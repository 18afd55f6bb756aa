"""Architectures: the data that names a model, and the tensors that follow from it. The one place that counts them.

Names are those of the torch modules' ``state_dict``. Nothing here needs torch.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum
from functools import lru_cache
from itertools import pairwise
from math import prod
from typing import Annotated, assert_never

from msgspec import Meta

from potminer.base.errors import Malformed
from potminer.wire.codec import Wire

Width = Annotated[int, Meta(ge=1, le=65_536)]
Percent = Annotated[int, Meta(ge=0, le=95)]

MOST_PARAMETERS = 2**30
"""4 GiB of float32: larger models need sharding, which no rig of this network does."""


class Mlp(Wire, frozen=True, tag="mlp"):
    """Fully connected network with ReLU between layers. Input is flattened."""

    inputs: Width
    hidden: Annotated[tuple[Width, ...], Meta(max_length=16)]
    classes: Width


class Cnn(Wire, frozen=True, tag="cnn"):
    """McMahan et al. 2017: two same-padded convolutions with ReLU and 2x2 max-pool, then a hidden layer."""

    channels: Width
    height: Width
    width: Width
    filters: tuple[Width, Width]
    kernel: Annotated[int, Meta(ge=1, le=15)]
    hidden: Width
    classes: Width


class Logistic(Wire, frozen=True, tag="logistic"):
    """Multinomial logistic regression: one linear layer over the flattened input."""

    inputs: Width
    classes: Width


class ResNet(Wire, frozen=True, tag="resnet"):
    """He et al. 2016 for small images: 6 * ``blocks`` + 2 layers (3 blocks: ResNet-20), shortcuts without parameters.

    Group normalisation (Wu and He 2018) in place of batch normalisation: running statistics would be a
    part of the model that no update carries, and a batch's statistics would make a sample's gradient
    depend on its neighbours, so that nobody could split a micro-batch to fit a card.
    """

    channels: Width
    height: Width
    width: Width
    filters: Annotated[int, Meta(ge=1, le=1_024)]
    groups: Annotated[int, Meta(ge=1, le=1_024)]
    blocks: Annotated[int, Meta(ge=1, le=32)]
    classes: Width


class Gpt(Wire, frozen=True, tag="gpt"):
    """GPT-2's shape as in nanoGPT, without biases, the output tied to the token embedding.

    A key's bias has no gradient but rounding errors, which AdamW would blow up to whole steps: no two
    machines would agree about a model that had them. Where *dropout_percent* is not 0, so many of the embedded
    tokens' numbers, of each attention's weights and of what each block adds fall out while it is trained.
    """

    vocabulary: Width
    context: Annotated[int, Meta(ge=1, le=8_192)]
    layers: Annotated[int, Meta(ge=1, le=64)]
    heads: Annotated[int, Meta(ge=1, le=64)]
    width: Annotated[int, Meta(ge=1, le=8_192)]
    dropout_percent: Percent = 0


class Dense(Wire, frozen=True, tag="dense"):
    outputs: Width


class Convolution(Wire, frozen=True, tag="conv"):
    """*kernel* is odd; padded by half of it, so that with stride 1 height and width stay."""

    filters: Width
    kernel: Annotated[int, Meta(ge=1, le=15)]
    stride: Annotated[int, Meta(ge=1, le=8)] = 1


class Relu(Wire, frozen=True, tag="relu"):
    pass


class Gelu(Wire, frozen=True, tag="gelu"):
    pass


class Halve(Wire, frozen=True, tag="halve"):
    """2x2 max-pool."""


class Average(Wire, frozen=True, tag="average"):
    """Mean over height and width."""


class Flatten(Wire, frozen=True, tag="flatten"):
    pass


class Norm(Wire, frozen=True, tag="norm"):
    """Group normalisation with a scale and a shift for each channel. The layer before it has no bias."""

    groups: Annotated[int, Meta(ge=1, le=65_536)]


class Drop(Wire, frozen=True, tag="dropout"):
    """While it is trained, *percent* of the numbers fall out, keyed by the unit (``train/dropout.py``)."""

    percent: Percent


Layer = Dense | Convolution | Relu | Gelu | Halve | Average | Flatten | Norm | Drop


class Layers(Wire, frozen=True, tag="layers"):
    """A list of layers, one after the other, from samples of shape *inputs* ([n] or [channels, height, width])."""

    inputs: Annotated[tuple[Width, ...], Meta(min_length=1, max_length=3)]
    layers: Annotated[tuple[Layer, ...], Meta(min_length=1, max_length=64)]


ModelSpec = Mlp | Cnn | Logistic | ResNet | Gpt | Layers


class First(StrEnum):
    """What a tensor begins with. All but the first two are uniform about zero, within a bound."""

    ZERO = "zero"
    ONE = "one"
    INPUTS = "inputs"
    """sqrt(6 / inputs) (He et al. 2015)."""
    SMALL = "small"
    """A deviation of 0.02 (GPT-2), divided by the root of the tensor's *depth*."""


@dataclass(frozen=True, slots=True)
class Tensor:
    """*depth* is how many tensors like it add to one stream."""

    shape: tuple[int, ...]
    first: First
    depth: int = 1


@lru_cache(maxsize=64)
def tensors(model: ModelSpec) -> tuple[tuple[str, Tensor], ...]:
    """Every tensor by name, in the order of names; Malformed where the model cannot exist or is too large."""
    placed = tuple(sorted(_tensors(model).items()))
    count = sum(prod(tensor.shape) for _, tensor in placed)
    if count > MOST_PARAMETERS:
        raise Malformed(f"{count} parameters where at most {MOST_PARAMETERS} are carried")
    return placed


def parameter_count(model: ModelSpec) -> int:
    """How many weights *model* has: what every blob of it is bounded by. Malformed as ``tensors``."""
    return sum(prod(tensor.shape) for _, tensor in tensors(model))


def input_shape(model: ModelSpec) -> tuple[int, ...]:
    """What one sample must look like."""
    match model:
        case Mlp() | Logistic():
            return (model.inputs,)
        case Cnn() | ResNet():
            return (model.channels, model.height, model.width)
        case Gpt():
            return (model.context,)
        case Layers():
            return model.inputs
        case _:
            assert_never(model)


def takes(model: ModelSpec, shape: tuple[int, ...]) -> bool:
    """Whether samples of *shape* go in: Mlp and Logistic flatten their input, the others take it as it is."""
    wanted = input_shape(model)
    return prod(shape) == prod(wanted) if isinstance(model, Mlp | Logistic) else shape == wanted


def outputs(model: ModelSpec) -> int:
    """Numbers that come out for a sample, or for each token of one. Malformed as ``tensors``."""
    match model:
        case Gpt():
            return model.vocabulary
        case Layers():
            return layer_shapes(model)[-1][0]
        case _:
            return model.classes


def activations(model: ModelSpec) -> int:
    """Roughly how many numbers a sample leaves behind on its way through."""
    match model:
        case Mlp():
            return sum(model.hidden) + model.classes
        case Cnn():
            first, second = model.filters
            area = model.height * model.width
            return 2 * area * first + area * second // 2 + model.hidden + model.classes
        case Logistic():
            return model.classes
        case ResNet():
            return 6 * (model.blocks + 1) * model.height * model.width * model.filters * 2
        case Gpt():
            block = model.context * (16 * model.width + 3 * model.heads * model.context)
            if model.dropout_percent:
                block += model.context * (4 * model.width + 2 * model.heads * model.context)
            return model.layers * block + model.context * (3 * model.vocabulary + 6 * model.width)
        case Layers():
            return sum(prod(shape) for shape in layer_shapes(model))
        case _:
            assert_never(model)


def _tensors(model: ModelSpec) -> dict[str, Tensor]:
    match model:
        case Mlp():
            widths = (model.inputs, *model.hidden, model.classes)
            return _join(_linear(f"layers.{at}", *pair) for at, pair in enumerate(pairwise(widths)))
        case Cnn():
            return _cnn(model)
        case Logistic():
            return _linear("output", model.inputs, model.classes)
        case ResNet():
            return _resnet(model)
        case Gpt():
            return _gpt(model)
        case Layers():
            return _layers(model)
        case _:
            assert_never(model)


def _cnn(model: Cnn) -> dict[str, Tensor]:
    pooled = (model.height // 4) * (model.width // 4)
    if not pooled:
        raise Malformed("a Cnn halves height and width twice: both must be at least 4")
    first, second = model.filters
    return {
        **_kernel("conv1", model.channels, first, model.kernel, bias=True),
        **_kernel("conv2", first, second, model.kernel, bias=True),
        **_linear("hidden", second * pooled, model.hidden),
        **_linear("output", model.hidden, model.classes),
    }


def _resnet(model: ResNet) -> dict[str, Tensor]:
    if model.filters % model.groups:
        raise Malformed(f"{model.filters} filters do not fall into {model.groups} groups")
    found = {**_kernel("stem", model.channels, model.filters, 3), **_norm("stem_norm", model.filters)}
    before = model.filters
    for at in range(3 * model.blocks):
        filters = model.filters << at // model.blocks
        for half, inputs in ((1, before), (2, filters)):
            found |= _kernel(f"blocks.{at}.conv{half}", inputs, filters, 3)
            found |= _norm(f"blocks.{at}.norm{half}", filters)
        before = filters
    return {**found, **_linear("output", before, model.classes)}


def _gpt(model: Gpt) -> dict[str, Tensor]:
    if model.width % model.heads:
        raise Malformed(f"a width of {model.width} does not fall into {model.heads} heads")
    width, depth = model.width, 2 * model.layers
    found = {
        "tokens.weight": Tensor((model.vocabulary, width), First.SMALL),
        "positions.weight": Tensor((model.context, width), First.SMALL),
        "norm.weight": Tensor((width,), First.ONE),
    }
    for at in range(model.layers):
        block = f"blocks.{at}"
        found |= {
            f"{block}.norm1.weight": Tensor((width,), First.ONE),
            f"{block}.attention.weight": Tensor((3 * width, width), First.SMALL),
            f"{block}.projection.weight": Tensor((width, width), First.SMALL, depth),
            f"{block}.norm2.weight": Tensor((width,), First.ONE),
            f"{block}.widen.weight": Tensor((4 * width, width), First.SMALL),
            f"{block}.narrow.weight": Tensor((width, 4 * width), First.SMALL, depth),
        }
    return found


# ---- lists of layers ---------------------------------------------------------------------


@lru_cache(maxsize=64)
def layer_shapes(model: Layers) -> tuple[tuple[int, ...], ...]:
    """Shape after every layer; Malformed, with the layer's number, where it cannot take what comes."""
    if len(model.inputs) == 2:
        raise Malformed("inputs must be [n] or [channels, height, width]")
    shape, found = model.inputs, []
    for number, layer in enumerate(model.layers, 1):
        name = f"layer {number} ({type(layer).__name__.lower()})"
        shape = _after(layer, shape, name)
        if prod(shape) > MOST_PARAMETERS:
            raise Malformed(f"{name} makes more than {MOST_PARAMETERS} numbers of a sample")
        found.append(shape)
    if len(shape) != 1:
        raise Malformed("the last layer must leave [n]: end with flatten or average, and dense")
    return tuple(found)


def _after(layer: Layer, shape: tuple[int, ...], name: str) -> tuple[int, ...]:
    if isinstance(layer, Relu | Gelu | Drop):
        return shape
    if isinstance(layer, Flatten):
        return (prod(shape),)
    if isinstance(layer, Norm):
        if shape[0] % layer.groups:
            raise Malformed(f"{name}: {shape[0]} channels do not fall into {layer.groups} groups")
        return shape
    if isinstance(layer, Dense):
        if len(shape) != 1:
            raise Malformed(f"{name} needs [n], not {list(shape)}: put flatten before it")
        return (layer.outputs,)
    if len(shape) != 3:
        raise Malformed(f"{name} needs [channels, height, width], not {list(shape)}")
    if isinstance(layer, Average):
        return shape[:1]
    if isinstance(layer, Halve):
        if min(shape[1:]) < 2:
            raise Malformed(f"{name} has nothing to halve in {list(shape)}")
        return (shape[0], shape[1] // 2, shape[2] // 2)
    if layer.kernel % 2 == 0:
        raise Malformed(f"{name}: a kernel of {layer.kernel} has no middle")
    height, width = (-(-side // layer.stride) for side in shape[1:])
    return (layer.filters, height, width)


def has_bias(model: Layers, at: int) -> bool:
    """Whether layer *at* (0 based) adds a bias: not where a Norm takes it away again."""
    return at + 1 == len(model.layers) or not isinstance(model.layers[at + 1], Norm)


def _layers(model: Layers) -> dict[str, Tensor]:
    found: dict[str, Tensor] = {}
    before = (model.inputs, *layer_shapes(model))
    for at, layer in enumerate(model.layers):
        name, inputs, bias = f"layers.{at}", before[at][0], has_bias(model, at)
        match layer:
            case Dense(outputs):
                found |= _linear(name, inputs, outputs, bias=bias)
            case Convolution(filters, kernel):
                found |= _kernel(name, inputs, filters, kernel, bias=bias)
            case Norm():
                found |= _norm(name, inputs)
    if not found:
        raise Malformed("no layer has anything to learn")
    return found


# ---- parts -------------------------------------------------------------------------------


def _linear(name: str, inputs: int, outputs: int, *, bias: bool = True) -> dict[str, Tensor]:
    weight = {f"{name}.weight": Tensor((outputs, inputs), First.INPUTS)}
    return weight | ({f"{name}.bias": Tensor((outputs,), First.ZERO)} if bias else {})


def _kernel(name: str, inputs: int, filters: int, kernel: int, *, bias: bool = False) -> dict[str, Tensor]:
    weight = {f"{name}.weight": Tensor((filters, inputs, kernel, kernel), First.INPUTS)}
    return weight | ({f"{name}.bias": Tensor((filters,), First.ZERO)} if bias else {})


def _norm(name: str, channels: int) -> dict[str, Tensor]:
    return {
        f"{name}.weight": Tensor((channels,), First.ONE),
        f"{name}.bias": Tensor((channels,), First.ZERO),
    }


def _join(parts: Iterable[dict[str, Tensor]]) -> dict[str, Tensor]:
    return {name: tensor for part in parts for name, tensor in part.items()}
