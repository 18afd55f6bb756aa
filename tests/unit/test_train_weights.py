from __future__ import annotations

from hashlib import sha256
from pathlib import Path

import msgspec
import numpy as np
import pytest
import safetensors.numpy
import torch

from potminer.base.errors import Malformed
from potminer.train import tensors
from potminer.train.data import training_split
from potminer.train.folder import Folder
from potminer.train.model import build
from potminer.train.refusal import Reason, Refused
from potminer.train.shapes import check_task, parameters, training_bytes
from potminer.train.weights import (
    Model,
    decode_model,
    decode_part,
    encode_model,
    encode_part,
    encode_weights,
    initial_weights,
    model_size,
)
from potminer.wire.model import (
    Average,
    Cnn,
    Convolution,
    Dense,
    Flatten,
    Gelu,
    Gpt,
    Halve,
    Layers,
    Logistic,
    Mlp,
    ModelSpec,
    Norm,
    Relu,
    ResNet,
    activations,
    input_shape,
    outputs,
    parameter_count,
)
from potminer.wire.task import Kept, kept_beside, model_bytes
from tests.unit.train_kit import MODEL, digits_task

SMALL_CNN = Cnn(channels=1, height=8, width=8, filters=(4, 6), kernel=3, hidden=12, classes=10)
MCMAHAN = Cnn(channels=1, height=28, width=28, filters=(32, 64), kernel=5, hidden=512, classes=10)
LIST = Layers(
    (2, 9, 7),
    (
        Convolution(6, 3, 2), Norm(3), Relu(), Convolution(4, 5), Gelu(), Halve(), Flatten(), Dense(8), Norm(2),
        Dense(8), Relu(), Dense(8), Relu(), Dense(8), Relu(), Dense(3),
    ),
)  # fmt: skip
MODELS = [
    MODEL,
    Mlp(3, (), 2),
    Mlp(5, (4,) * 12, 2),
    SMALL_CNN,
    Logistic(64, 10),
    ResNet(channels=1, height=8, width=8, filters=4, groups=2, blocks=4, classes=10),
    Gpt(vocabulary=11, context=6, layers=12, heads=2, width=8),
    LIST,
    Layers((4, 5, 5), (Convolution(3, 3), Average())),
]



@pytest.mark.parametrize("model", MODELS)
def test_shapes_are_those_of_the_torch_modules(model: ModelSpec) -> None:
    named = {name: tuple(tensor.shape) for name, tensor in build(model, "cpu").state_dict().items()}
    assert {p.name: p.shape for p in parameters(model)} == named
    assert [p.name for p in parameters(model)] == sorted(named)


@pytest.mark.parametrize("model", MODELS)
def test_outputs_and_activations_are_those_of_the_torch_modules(model: ModelSpec) -> None:
    seen: list[int] = []

    def count(module: torch.nn.Module, inputs: object, found: torch.Tensor) -> None:
        seen.append(found.numel())

    module = build(model, "cpu")
    for part in module.modules():
        if not list(part.children()):
            part.register_forward_hook(count)
    shape = (1, *input_shape(model))
    tokens = isinstance(model, Gpt)
    found = module(torch.zeros(shape, dtype=torch.int64) if tokens else torch.zeros(shape))
    assert found.shape == ((1, 6, outputs(model)) if tokens else (1, outputs(model)))
    assert activations(model) >= sum(seen) / 3  # the order of magnitude, never far below


def test_models_of_papers_have_their_parameters() -> None:
    assert parameter_count(MCMAHAN) == 1_663_370
    assert parameter_count(Gpt(vocabulary=65, context=64, layers=4, heads=4, width=128)) == 804_096
    resnet20 = ResNet(channels=3, height=32, width=32, filters=16, groups=8, blocks=3, classes=10)
    assert parameter_count(resnet20) == 269_722


def test_a_gpt_looks_at_nothing_that_comes_later() -> None:
    module = build(Gpt(vocabulary=11, context=6, layers=2, heads=2, width=8), "cpu")
    first, second = torch.tensor([[1, 2, 3, 4, 5, 6]]), torch.tensor([[1, 2, 3, 4, 9, 10]])
    with torch.no_grad():
        assert torch.equal(module(first)[0, :4], module(second)[0, :4])
        assert not torch.equal(module(first)[0, 4], module(second)[0, 4])


def test_first_weights_have_their_spread() -> None:
    gpt = Gpt(vocabulary=65, context=64, layers=8, heads=4, width=64)
    flat = initial_weights(gpt, seed=3)
    spread = {p.name: float(flat[p.start : p.stop].std()) for p in parameters(gpt)}
    assert spread["tokens.weight"] == pytest.approx(0.02, rel=0.05)
    assert spread["blocks.7.narrow.weight"] == pytest.approx(0.02 / 4, rel=0.05)
    norm = next(p for p in parameters(gpt) if p.name == "norm.weight")
    assert set(flat[norm.start : norm.stop]) == {1.0}


@pytest.mark.parametrize("model", MODELS)
def test_a_models_file_is_what_the_library_writes_and_reads(model: ModelSpec, tmp_path: Path) -> None:
    flat = initial_weights(model, seed=9)
    data = encode_weights(model, flat)
    assert len(data) == model_size(model, beside=())
    for nano in (0, 900_000_000):
        spec = digits_task(Folder(tmp_path), model=model, outer_momentum_nano=nano)
        size = model_size(model, beside=kept_beside(spec))
        assert size <= model_bytes(spec) <= size + 200 * (len(parameters(model)) * (2 if nano else 1) + 10)
    loaded = safetensors.numpy.load(data)
    for p in parameters(model):
        assert np.array_equal(loaded[p.name].reshape(-1), flat[p.start : p.stop])
    assert safetensors.numpy.save(loaded) == data
    assert np.array_equal(decode_model(model, data).weights, flat)


def test_what_is_kept_beside_the_weights_is_a_part_of_the_file() -> None:
    """Every tensor under its weight's name with a word before it: in the library's own order, and taken off by size."""
    flat = initial_weights(MODEL, seed=9)
    moment = np.abs(flat[::-1])
    for model in (Model(flat, flat), Model(flat, None, moment), Model(flat, -flat, moment)):
        data = encode_model(MODEL, model)
        loaded = safetensors.numpy.load(data)
        assert safetensors.numpy.save(loaded) == data
        read = decode_model(MODEL, data, beside=model.beside)
        assert [vector.tobytes() for vector in read.vectors] == [vector.tobytes() for vector in model.vectors]
        assert decode_model(MODEL, encode_weights(MODEL, flat), beside=model.beside).beside == ()
        assert (encode_part(model), model.vectors[0] is flat) == (data[-len(encode_part(model)) :], True)
        with pytest.raises(Malformed):
            decode_model(MODEL, data)
    with pytest.raises(Malformed):  # as long, with other names
        decode_model(MODEL, encode_model(MODEL, Model(flat, None, moment)), beside=(Kept.MOMENTUM,))


@pytest.mark.parametrize("bits", [0x80000000, 0xBF800000, 0x7FC00000, 0x7F800000])
def test_a_moment_below_zero_or_no_number_is_malformed(bits: int) -> None:
    flat = initial_weights(MODEL, seed=1)
    data = encode_model(MODEL, Model(flat, None, np.abs(flat)))
    with pytest.raises(Malformed):
        decode_model(MODEL, data[:-4] + bits.to_bytes(4, "little"), beside=(Kept.MOMENT,))
    with pytest.raises(Malformed):
        decode_part(data[-4:-4] + bits.to_bytes(4, "little") * 2, beside=(Kept.MOMENT,))


def test_the_first_model_is_the_same_for_ever() -> None:
    pinned = "502bf109dad249b4ce8576de3ef38307f22da9aad89badb94770e9b8065d0bd1"
    assert sha256(encode_weights(MODEL, initial_weights(MODEL, seed=1))).hexdigest() == pinned
    assert not np.array_equal(initial_weights(MODEL, seed=1), initial_weights(MODEL, seed=2))


@pytest.mark.parametrize("bits", [0x7F800000, 0xFF800000, 0x7FC00000, 0x00000001, 0x807FFFFF])
def test_weights_that_are_no_numbers_are_malformed(bits: int) -> None:
    data = encode_weights(MODEL, initial_weights(MODEL, seed=1))
    with pytest.raises(Malformed):
        decode_model(MODEL, data[:-4] + bits.to_bytes(4, "little"))


def test_weights_of_another_shape_are_malformed() -> None:
    data = encode_weights(MODEL, initial_weights(MODEL, seed=1))
    for bad in (b"", data[:-1], data + b"\0", data[:8] + b"[" + data[9:]):
        with pytest.raises(Malformed):
            decode_model(MODEL, bad)
    with pytest.raises(Malformed):
        decode_model(SMALL_CNN, data)


def test_a_model_that_cannot_be_is_refused_before_memory_is_taken() -> None:
    for model in (
        Mlp(65_536, (65_536,), 2),
        Cnn(1, 3, 8, (1, 1), 3, 4, 2),
        ResNet(1, 8, 8, 6, 4, 1, 2),
        Gpt(65_536, 8_192, 64, 64, 8_192),
        Gpt(9, 9, 1, 3, 8),
        Layers((4, 4), (Dense(2),)),
        Layers((3, 8, 8), (Convolution(2, 3), Flatten(), Dense(65_536), Dense(65_536))),
    ):
        with pytest.raises(Refused) as refused:
            parameters(model)
        assert refused.value.reason is Reason.BAD_TASK


def test_data_must_fit_the_model(tmp_path: Path) -> None:
    check_task(digits_task(Folder(tmp_path)))
    check_task(digits_task(Folder(tmp_path), model=SMALL_CNN))
    with pytest.raises(Refused):
        check_task(digits_task(Folder(tmp_path), model=Mlp(63, (), 10)))
    assert training_bytes(digits_task(Folder(tmp_path))) < 1_000_000


@pytest.mark.parametrize(
    "arrays",
    [
        {"x": np.zeros((1_437, 1, 8, 8), np.float32)},
        {"x": np.zeros((1_437, 64), np.float32), "y": np.zeros(1_437, np.int64)},
        {"x": np.zeros((1_437, 1, 8, 8), np.float32), "y": np.full(1_437, 10, np.int64)},
        {"x": np.zeros((1_437, 1, 8, 8), np.float32), "y": np.full(1_437, -1, np.int64)},
        {"x": np.zeros((1_437, 1, 8, 8), np.float32), "y": np.zeros(1_437, np.float32)},
    ],
)
def test_data_other_than_the_task_says_is_refused(tmp_path: Path, arrays: dict[str, np.ndarray]) -> None:
    folder = Folder(tmp_path)
    spec = digits_task(folder)

    other = msgspec.structs.replace(spec.data, train=folder.write(tensors.encode(arrays)))
    with pytest.raises(Refused) as refused:
        training_split(folder, msgspec.structs.replace(spec, data=other))
    assert refused.value.reason is Reason.BAD_DATA


@pytest.mark.parametrize(
    "text",
    [
        b"{",
        b"[]",
        b"[" * 5_000,
        b'{"x":3}',
        b'{"x":{"dtype":"F32","shape":[4],"data_offsets":[0,12]}}',
        b'{"x":{"dtype":"F32","shape":[-4],"data_offsets":[0,16]}}',
        b'{"x":{"dtype":"F32","shape":[true],"data_offsets":[0,4]}}',
        b'{"x":{"dtype":"F32","shape":[40],"data_offsets":[0,160]}}',
        b'{"x":{"dtype":"F64","shape":[2],"data_offsets":[0,16]}}',
    ],
)
def test_a_header_that_lies_is_malformed(text: bytes) -> None:
    data = len(text).to_bytes(8, "little") + text + bytes(16)
    with pytest.raises(Malformed):
        tensors.parse_header(data, file_bytes=len(data))
    with pytest.raises(Malformed):
        tensors.parse_header((2**40).to_bytes(8, "little") + text, file_bytes=2**41)
