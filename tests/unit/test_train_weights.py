from __future__ import annotations

from hashlib import sha256
from pathlib import Path

import msgspec
import numpy as np
import pytest
import safetensors.numpy

from potminer.base.errors import Malformed
from potminer.train import tensors
from potminer.train.data import training_split
from potminer.train.folder import Folder
from potminer.train.model import build
from potminer.train.refusal import Reason, Refused
from potminer.train.shapes import check_data_fits, parameter_count, parameters, training_bytes
from potminer.train.weights import decode_weights, encode_weights, initial_weights, weights_bytes
from potminer.wire.task import Cnn, Mlp, ModelSpec
from tests.unit.train_kit import MODEL, digits_task

SMALL_CNN = Cnn(channels=1, height=8, width=8, filters=(4, 6), kernel=3, hidden=12, classes=10)
MCMAHAN = Cnn(channels=1, height=28, width=28, filters=(32, 64), kernel=5, hidden=512, classes=10)
MODELS = [MODEL, Mlp(3, (), 2), Mlp(5, (4,) * 12, 2), SMALL_CNN]


@pytest.mark.parametrize("model", MODELS)
def test_shapes_are_those_of_the_torch_modules(model: ModelSpec) -> None:
    named = {name: tuple(tensor.shape) for name, tensor in build(model, "cpu").state_dict().items()}
    assert {p.name: p.shape for p in parameters(model)} == named
    assert [p.name for p in parameters(model)] == sorted(named)


def test_the_cnn_of_the_paper_has_its_parameters() -> None:
    assert parameter_count(MCMAHAN) == 1_663_370


@pytest.mark.parametrize("model", MODELS)
def test_a_models_file_is_what_the_library_writes_and_reads(model: ModelSpec) -> None:
    flat = initial_weights(model, seed=9)
    data = encode_weights(model, flat)
    assert len(data) == weights_bytes(model)
    loaded = safetensors.numpy.load(data)
    for p in parameters(model):
        assert np.array_equal(loaded[p.name].reshape(-1), flat[p.start : p.stop])
    assert safetensors.numpy.save(loaded) == data
    assert np.array_equal(decode_weights(model, data), flat)


def test_the_first_model_is_the_same_for_ever() -> None:
    pinned = "502bf109dad249b4ce8576de3ef38307f22da9aad89badb94770e9b8065d0bd1"
    assert sha256(encode_weights(MODEL, initial_weights(MODEL, seed=1))).hexdigest() == pinned
    assert not np.array_equal(initial_weights(MODEL, seed=1), initial_weights(MODEL, seed=2))


@pytest.mark.parametrize("bits", [0x7F800000, 0xFF800000, 0x7FC00000, 0x00000001, 0x807FFFFF])
def test_weights_that_are_no_numbers_are_malformed(bits: int) -> None:
    data = encode_weights(MODEL, initial_weights(MODEL, seed=1))
    with pytest.raises(Malformed):
        decode_weights(MODEL, data[:-4] + bits.to_bytes(4, "little"))


def test_weights_of_another_shape_are_malformed() -> None:
    data = encode_weights(MODEL, initial_weights(MODEL, seed=1))
    for bad in (b"", data[:-1], data + b"\0", data[:8] + b"[" + data[9:]):
        with pytest.raises(Malformed):
            decode_weights(MODEL, bad)
    with pytest.raises(Malformed):
        decode_weights(SMALL_CNN, data)


def test_a_model_that_cannot_be_is_refused_before_memory_is_taken() -> None:
    for model in (Mlp(65_536, (65_536,), 2), Cnn(1, 3, 8, (1, 1), 3, 4, 2)):
        with pytest.raises(Refused) as refused:
            parameters(model)
        assert refused.value.reason is Reason.BAD_TASK


def test_data_must_fit_the_model(tmp_path: Path) -> None:
    check_data_fits(digits_task(Folder(tmp_path)))
    check_data_fits(digits_task(Folder(tmp_path), model=SMALL_CNN))
    with pytest.raises(Refused):
        check_data_fits(digits_task(Folder(tmp_path), model=Mlp(63, (), 10)))
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
