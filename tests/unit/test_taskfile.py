"""task.toml: the shipped example is sound, and a bad task gets every error at once, before any money moves."""

from __future__ import annotations

import json
import re
import struct
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.numpy import save_file

from potminer.base import limits
from potminer.base.bounded import GRAINS_PER_POT
from potminer.base.errors import ConfigError
from potminer.cli.main import main
from potminer.node.dataset import HEADER_BYTES, Tensor, read_header
from potminer.node.taskfile import TaskFile, load_task_file, show_pot
from potminer.node.taskform import AGGREGATIONS, OPTIMISERS
from potminer.node.tasktemplate import task_text
from potminer.wire.codec import decode, encode
from potminer.wire.model import (
    Cnn,
    Convolution,
    Dense,
    Drop,
    Flatten,
    Gelu,
    Gpt,
    Halve,
    Layers,
    Logistic,
    Mlp,
    ModelSpec,
    Norm,
    ResNet,
)
from potminer.wire.task import AdamW, InnerSpec, Mean, Momentum, TaskSpec, spec_fault

ROOT = Path(__file__).parents[2]
DIGITS = ROOT / "assets/tasks/digits.toml"

SOUND = """[task]
name = "tiny"
rounds = 3
units_per_trainer = 2
min_trainers = 1
max_trainers = 4
[model]
kind = "mlp"
inputs = 12
hidden = [5, 6]
classes = 3
[data]
train = "train.safetensors"
validation = "validation.safetensors"
shape = [3, 4]
[unit]
segments = 4
batches_per_segment = 2
micro_batch = 8
[outer]
rate = 0.25
[reward]
budget_pot = 2.4
price_per_unit_pot = 0.1
"""


def save_data(folder: Path, *, shape: tuple[int, ...] = (3, 4), train: int = 20, validation: int = 5) -> None:
    for name, count in (("train", train), ("validation", validation)):
        x, y = np.zeros((count, *shape), np.float32), np.zeros(count, np.int64)
        save_file({"x": x, "y": y}, folder / f"{name}.safetensors")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    save_data(tmp_path)
    return tmp_path


def load(folder: Path, text: str = SOUND) -> TaskFile:
    path = folder / "task.toml"
    path.write_text(text, encoding="utf-8")
    return load_task_file(path)


def mistakes(folder: Path, text: str) -> list[str]:
    with pytest.raises(ConfigError) as caught:
        load(folder, text)
    assert caught.value.exit == 3
    return [line.strip() for line in caught.value.what.splitlines()[1:]]


def only_mistake(folder: Path, old: str, new: str) -> str:
    assert old in SOUND
    (said,) = mistakes(folder, SOUND.replace(old, new))
    return said


# ---- what is sound -----------------------------------------------------------------------


def test_the_shipped_digits_task_is_sound() -> None:
    task = load_task_file(DIGITS)
    assert (task.name, task.model) == ("digits", Mlp(inputs=64, hidden=(128,), classes=10))
    assert (task.train_samples, task.validation_samples, task.shape) == (1_437, 360, (1, 8, 8))
    assert task.train.resolve() == (ROOT / "assets/digits/train.safetensors").resolve()
    assert task.reward.budget - 10**9 == task.most_units * task.reward.price_per_unit  # and its evaluations
    assert main(["task", "check", str(DIGITS), "--json"]) == 0


@pytest.mark.parametrize(("name", "folder", "arrays"), [
    ("fashion", "fashion", {"x": np.zeros((9, 1, 28, 28), np.float32), "y": np.zeros(9, np.int64)}),
    ("char-gpt", "shakespeare", {"tokens": np.zeros(99, np.uint8)}),
])  # fmt: skip
def test_the_other_shipped_tasks_are_sound_once_their_data_are_made(
    tmp_path: Path, name: str, folder: str, arrays: dict[str, Any]
) -> None:
    for made in ("tasks", folder):
        (tmp_path / made).mkdir()
    for split in ("train", "validation"):
        save_file(arrays, tmp_path / folder / f"{split}.safetensors")
    path = tmp_path / "tasks" / f"{name}.toml"
    path.write_text((ROOT / "assets/tasks" / path.name).read_text(encoding="utf-8"), encoding="utf-8")
    task = load_task_file(path)
    assert task.reward.budget == task.most_units * task.reward.price_per_unit
    assert spec_fault(task.to_spec(train=bytes(32), validation=bytes(32), initial_model=bytes(32))) == ""


def test_a_sound_file_becomes_the_order_it_describes(folder: Path) -> None:
    spec = load(folder).to_spec(train=b"t" * 32, validation=b"v" * 32, initial_model=b"i" * 32)
    assert spec.model == Mlp(inputs=12, hidden=(5, 6), classes=3)
    assert (spec.data.train, spec.data.validation, spec.initial_model) == (b"t" * 32, b"v" * 32, b"i" * 32)
    assert (spec.data.train_samples, spec.data.validation_samples, spec.data.shape) == (20, 5, (3, 4))
    assert (spec.rounds, spec.units_per_trainer, spec.min_trainers, spec.max_trainers) == (3, 2, 1, 4)
    assert (spec.samples_per_unit, spec.outer_rate_nano) == (64, 250_000_000)
    assert (spec.reward.budget, spec.reward.price_per_unit) == (2_400_000_000, 100_000_000)
    assert (spec.objective, spec.mode) == ("classification", "gradient")
    assert (spec.inner, spec.outer_momentum_nano, spec.compression) == (InnerSpec(), 0, "lan")
    assert decode(TaskSpec, encode(spec), max_bytes=limits.TASK_BYTES) == spec


LOCAL = SOUND.replace("[outer]\n", """[inner]
optimiser = "adamw"
rate = 0.001
beta2 = 0.95
weight_decay = 0.1
warmup_steps = 10
decay_steps = 24
least_rate = 0.0001
clip = 1.0
[outer]
momentum = 0.9
""").replace("rounds = 3\n", 'rounds = 3\nmode = "local"\ncompression = "wan4"\n')


def test_inner_steps_are_read(folder: Path) -> None:
    spec = load(folder, LOCAL).to_spec(train=bytes(32), validation=bytes(32), initial_model=bytes(32))
    assert spec.inner == InnerSpec(AdamW(9 * 10**8, 95 * 10**7, 1_000, 10**8), 1_000_000, 10, 24, 100_000, 10**9)
    assert (spec.mode, spec.outer_momentum_nano, spec.compression, spec_fault(spec)) == ("local", 9 * 10**8, "wan4", "")
    shipped = load_task_file(ROOT / "assets/tasks/digits-local.toml")
    assert shipped.reward.budget == shipped.most_units * shipped.reward.price_per_unit
    assert shipped.inner.decay_steps == shipped.rounds * shipped.segments * shipped.batches_per_segment
    momentum = LOCAL.replace('"adamw"', '"momentum"').replace("beta2 = 0.95", "momentum = 0.8")
    assert load(folder, momentum.replace("weight_decay = 0.1\n", "")).inner.optimiser == Momentum(800_000_000)
    carried = load(folder, LOCAL.replace("weight_decay = 0.1", "carry = true")).inner.optimiser
    assert carried == AdamW(900_000_000, 950_000_000, 1_000, 0, carry=True)


@pytest.mark.parametrize(("old", "new", "reason"), [
    ('mode = "local"\n', "", 'line 21: inner: is for mode = "local"'),
    ('"adamw"', '"sgd"', "inner.weight_decay: is not a key of optimiser sgd"),
    ('"adamw"', '"adam"', "inner.optimiser: 'adam' must be one of sgd, momentum, adamw; did you mean adamw?"),
    ("beta2 = 0.95", "momentum = 0.95", "inner.momentum: is not a key of optimiser adamw"),
    ("beta2 = 0.95", "beta2 = 1.0", "inner.beta2: 1.0 must be a number from 0 to 0.999999999"),
    ("least_rate = 0.0001", "least_rate = 0.01", "inner.least_rate: is above the rate"),
    ("decay_steps = 24", "decay_steps = 10", "inner.decay_steps: must be 0 or beyond warmup_steps"),
    ("rate = 0.001", "rate = 0", "inner.rate: 0 must be"),
    ("momentum = 0.9", "momentum = 1", "outer.momentum: 1 must be"),
    ('"wan4"', '"wan3"', "task.compression: 'wan3' must be one of lan, wan4, wan2"),
    ('"local"', '"lokal"', "did you mean local?"),
])  # fmt: skip
def test_a_mistake_in_the_inner_steps_is_named(folder: Path, old: str, new: str, reason: str) -> None:
    assert old in LOCAL
    assert any(reason in line for line in mistakes(folder, LOCAL.replace(old, new)))


def test_the_sleeping_sections_of_a_new_task_are_sound(tmp_path: Path) -> None:
    """Take the comment signs away and say local: every key has a value that is one."""
    save_data(tmp_path, shape=(1, 28, 28))
    text = task_text("local").replace('mode = "gradient"', 'mode = "local"')
    own = {key for kinds in (OPTIMISERS, AGGREGATIONS) for keys in kinds.values() for key in keys}
    lines = [line.removeprefix("# ") if re.match(r"# (\[\w+\]|\w+ = )", line) else line for line in text.splitlines()]
    task = load(tmp_path, "\n".join(line for line in lines if line.partition(" ")[0] not in own))
    assert task.inner == InnerSpec()
    assert task.aggregation == Mean()


def test_a_cnn_is_read(tmp_path: Path) -> None:
    save_data(tmp_path, shape=(1, 28, 28))
    model = 'kind = "cnn"\nchannels = 1\nheight = 28\nwidth = 28\nfilters = [32, 64]\nkernel = 5\nhidden = 512\n'
    text = SOUND.replace('kind = "mlp"\ninputs = 12\nhidden = [5, 6]\n', model).replace("[3, 4]", "[1, 28, 28]")
    expected = Cnn(channels=1, height=28, width=28, filters=(32, 64), kernel=5, hidden=512, classes=3)
    assert load(tmp_path, text).model == expected
    said = mistakes(tmp_path, text.replace("shape = [1, 28, 28]", "shape = [784]"))
    assert said[-1] == "line 19: data.shape: [784] does not fit the model's channels, height, width [1, 28, 28]"


MLP = 'kind = "mlp"\ninputs = 12\nhidden = [5, 6]\nclasses = 3\n'


@pytest.mark.parametrize(("keys", "expected"), [
    ('kind = "logistic"\ninputs = 144\nclasses = 3', Logistic(144, 3)),
    ('kind = "resnet"\nchannels = 1\nheight = 12\nwidth = 12\nclasses = 3', ResNet(1, 12, 12, 16, 8, 3, 3)),
    (
        'kind = "layers"\ninputs = [1, 12, 12]\n'
        'layers = ["conv 8 3 2", "norm 4", "gelu", "halve", "flatten", "dropout 20", "dense 3"]',
        Layers((1, 12, 12), (Convolution(8, 3, 2), Norm(4), Gelu(), Halve(), Flatten(), Drop(20), Dense(3))),
    ),
])  # fmt: skip
def test_every_architecture_is_read(tmp_path: Path, keys: str, expected: ModelSpec) -> None:
    save_data(tmp_path, shape=(1, 12, 12))
    task = load(tmp_path, SOUND.replace(MLP, keys + "\n").replace("[3, 4]", "[1, 12, 12]"))
    assert task.model == expected
    assert spec_fault(task.to_spec(train=bytes(32), validation=bytes(32), initial_model=bytes(32))) == ""


@pytest.mark.parametrize(("layers", "reason"), [
    ('["conv 8"]', "model.layers[1]: 'conv 8' must have 2 or 3 whole numbers after conv"),
    ('["konv 8 3"]', "must begin with one of dense, conv, relu"),
    ('["relu 3"]', "must have 0 whole numbers after relu"), ('["dropout 96"]', "'dropout 96' is out of bounds"),
    ('["dense 99999"]', "model.layers[1]: 'dense 99999' is out of bounds"),
    ('["dense 3", 4]', "model.layers[2]: 4 must be a layer such as"),
    ('["dense 3"]', "model: layer 1 (dense) needs [n], not [1, 12, 12]: put flatten before it"),
    ('["flatten", "conv 8 3"]', "model: layer 2 (convolution) needs [channels, height, width], not [144]"),
    ('["halve", "halve", "halve", "halve", "flatten"]', "layer 4 (halve) has nothing to halve in [1, 1, 1]"),
    ('["norm 2", "flatten"]', "1 channels do not fall into 2 groups"), ('["conv 8 4"]', "a kernel of 4 has no middle"),
    ('["conv 8 3", "relu"]', "the last layer must leave [n]"),
    ('["flatten", "relu"]', "no layer has anything to learn"),
    ('["flatten", "dense 65535", "dense 65535"]', "parameters where at most"),
])  # fmt: skip
def test_a_list_of_layers_is_checked(tmp_path: Path, layers: str, reason: str) -> None:
    save_data(tmp_path, shape=(1, 12, 12))
    keys = f'kind = "layers"\ninputs = [1, 12, 12]\nlayers = {layers}\n'
    (said,) = mistakes(tmp_path, SOUND.replace(MLP, keys).replace("[3, 4]", "[1, 12, 12]"))
    assert reason in said


GPT = 'kind = "gpt"\nvocabulary = 65\ncontext = 8\nlayers = 1\nheads = 2\nwidth = 4\ndropout_percent = 10\n'


def test_text_is_read(tmp_path: Path) -> None:
    for name, dtype in (("train", np.uint8), ("validation", np.int64)):
        save_file({"tokens": np.zeros(30, dtype)}, tmp_path / f"{name}.safetensors")
    text = SOUND.replace(MLP, GPT).replace("rounds = 3\n", 'rounds = 3\nobjective = "language"\n')
    text = text.replace("[3, 4]", "[8]")
    task = load(tmp_path, text)
    assert (task.model, task.train_samples, task.validation_samples) == (Gpt(65, 8, 1, 2, 4, 10), 22, 22)
    for old, new, reason in (
        ("heads = 2", "heads = 3", "a width of 4 does not fall into 3 heads"),
        ("shape = [8]", "shape = [9]", "[9] does not fit the model's context [8]"),
        ('objective = "language"', 'objective = "regression"', "a gpt learns language, and nothing else does"),
    ):
        assert any(reason in line for line in mistakes(tmp_path, text.replace(old, new)))
    save_file({"tokens": np.zeros(8, np.uint8)}, tmp_path / "train.safetensors")
    assert "holds 8 tokens, no more than the context of 8" in mistakes(tmp_path, text)[0]
    save_file({"tokens": np.zeros((8, 8), np.uint8)}, tmp_path / "train.safetensors")
    assert "must hold tokens as a list" in mistakes(tmp_path, text)[0]
    save_file({"x": np.zeros(8, np.uint8)}, tmp_path / "train.safetensors")
    assert "must hold the tensor tokens alone, not x" in mistakes(tmp_path, text)[0]


def test_numbers_to_reach_are_read(folder: Path) -> None:
    text = SOUND.replace("rounds = 3\n", 'rounds = 3\nobjective = "regression"\n')
    assert "y as float32 (F32), not F32 and I64" in mistakes(folder, text)[0]
    for width in (3, 4):
        for name in ("train", "validation"):
            tensors = {"x": np.zeros((20, 3, 4), np.float32), "y": np.zeros((20, width), np.float32)}
            save_file(tensors, folder / f"{name}.safetensors")
        if width == 3:
            assert load(folder, text).objective == "regression"
    assert "holds labels of shape [4], where [3] is needed" in mistakes(folder, text)[0]
    logistic = text.replace('kind = "mlp"', 'kind = "logistic"').replace("hidden = [5, 6]\n", "")
    assert any("logistic tells classes apart" in line for line in mistakes(folder, logistic))


def test_defaults_fill_what_is_optional(folder: Path) -> None:
    task = load(folder)
    assert (task.audit.rate_ppm, task.audit.tolerance_ppm) == (30_000, 1_000)
    assert task.deadlines.commit_ms == 60_000
    assert task.seed == 0


@given(st.integers(1, 10**12))
@settings(max_examples=100, deadline=None, derandomize=True)
def test_every_rate_is_exact(nano: int) -> None:
    from potminer.node.form import billionths
    from potminer.node.source import parse_source

    written = f"{nano // 10**9}.{nano % 10**9:09d}"
    value = parse_source("x", f"rate = {written}").table["rate"]
    assert billionths("0.000000001", "1000").take(value) == nano


# ---- what is not -------------------------------------------------------------------------


def test_every_mistake_is_named_at_once_with_its_line(folder: Path) -> None:
    text = (
        SOUND.replace('name = "tiny"', 'name = "Tiny Task"')
        .replace("rounds = 3", "round = 3")
        .replace("units_per_trainer = 2", 'units_per_trainer = "2"')
        .replace("min_trainers = 1", "min_trainers = 5")
        .replace("inputs = 12", "inputs = 13")
        .replace("hidden = [5, 6]", "hidden = [5, 0]")
        .replace('"train.safetensors"', '"nowhere.safetensors"')
        .replace("micro_batch = 8\n", "")
        .replace("rate = 0.25", "rate = 0.0000000001")
        .replace("[reward]", "[rewards]")
    )
    said = mistakes(folder, text)
    starts = [
        "reward.budget_pot: is missing",
        "reward.price_per_unit_pot: is missing",
        "line 2: task.name: 'Tiny Task' must be at most 64",
        "line 1: task.rounds: is missing: steps of the model",
        "line 3: task.round: no such key; did you mean rounds?",
        "line 4: task.units_per_trainer: '2' must be a whole number from 1 to 64",
        "line 5: task.min_trainers: 5 is more than max_trainers, 4",
        "line 10: model.hidden[2]: 0 must be a whole number from 1 to 65,536",
        f"line 13: data.train: {folder}/nowhere.safetensors cannot be read: No such file",
        "line 16: unit.micro_batch: is missing",
        "line 20: outer.rate: 1E-10 must be a number",
        "line 21: rewards: no such section; did you mean reward?",
    ]
    for start in starts:
        assert [line for line in said if line.startswith(start)], f"{start!r} is not among\n" + "\n".join(said)
    assert len(said) == len(starts)


@pytest.mark.parametrize(("old", "new", "reason"), [
    ("inputs = 12", "inputs = 13", "line 9: model.inputs: 13 does not fit data.shape: 3 x 4 = 12"),
    ("shape = [3, 4]", "shape = [4, 3]", "holds samples of shape [3, 4], but data.shape is [4, 3]"),
    ("budget_pot = 2.4", "budget_pot = 0.599999999", "3 rounds x 1 trainers x 2 units x 0.1 POT = 0.6 POT"),
    ("rounds = 3", "rounds = 0", "line 3: task.rounds: 0 must be"),
    ("rounds = 3", "rounds = 3.0", "line 3: task.rounds: 3.0 must be a whole number"),
    ("rounds = 3", "rounds = true", "line 3: task.rounds: True must be"),
    ("segments = 4", "segments = 65", "line 17: unit.segments: 65 must be"),
    ("rate = 0.25", "rate = 0.1234567891", "has more than nine decimal places"),
    ("rate = 0.25", "rate = nan", "line 21: outer.rate"),
    ("rate = 0.25", "rate = 1e400", "line 21: outer.rate"),
    ("rate = 0.25", "rate = 1e-999999", "line 21: outer.rate"),
    ('kind = "mlp"', 'kind = "mpl"', "did you mean mlp?"),
    ('kind = "mlp"', 'kind = "rnn"', "line 8: model.kind: 'rnn' must be one of mlp, cnn, logistic, resnet, gpt,"),
    ("classes = 3", "clases = 3\nclasses = 3", "line 11: model.clases: no such key; did you mean classes?"),
    ("classes = 3", "classes = 3\nkernel = 3", "line 12: model.kernel: no such key"),
    ("hidden = [5, 6]", f"hidden = {[65_536] * 16}", "parameters where at most"),
    ("budget_pot = 2.4", "budget_pot = -1", "line 23: reward.budget_pot"),
    ("price_per_unit_pot = 0.1", "price_per_unit_pot = 0", "line 24: reward.price_per_unit_pot"),
    ("[outer]", "[audit]\nrate_ppm = 100\n[outer]", "line 21: audit.rate_ppm: 100 must be"),
])  # fmt: skip
def test_one_mistake_is_one_line(folder: Path, old: str, new: str, reason: str) -> None:
    if "shape" in old:
        assert all(reason in line for line in mistakes(folder, SOUND.replace(old, new)))
    else:
        assert reason in only_mistake(folder, old, new)


def test_a_budget_below_every_trainers_pay_ends_sooner_and_says_so(folder: Path) -> None:
    assert load(folder).paid_rounds == 3
    assert load(folder, SOUND.replace("budget_pot = 2.4", "budget_pot = 2.3")).paid_rounds == 2
    assert load(folder, SOUND.replace("budget_pot = 2.4", "budget_pot = 0.6")).paid_rounds == 0


def test_what_the_check_passes_the_ledger_accepts(folder: Path) -> None:
    """Both know the least budget; they must mean the same."""
    from potminer.core.ledger.transact import smallest_budget

    task = load(folder, SOUND.replace("budget_pot = 2.4", "budget_pot = 0.6"))
    spec = task.to_spec(train=bytes(32), validation=bytes(32), initial_model=bytes(32))
    assert spec.reward.budget == smallest_budget(spec)


def test_units_in_a_round_are_bounded(folder: Path) -> None:
    text = SOUND.replace("max_trainers = 4", "max_trainers = 1024").replace("budget_pot = 2.4", "budget_pot = 9000")
    for units, segments, most in ((5, 4, "4,096"), (1, 17, "16,384")):
        asked = text.replace("trainer = 2", f"trainer = {units}").replace("segments = 4", f"segments = {segments}")
        assert most in mistakes(folder, asked)[0]


@pytest.mark.parametrize("text", ["", "[task]", "task = 3", "[[task]]", "model = 'mlp'", "[model]\nkind = 3", "[task"])
def test_what_is_hardly_a_task_is_refused_in_words(folder: Path, text: str) -> None:
    with pytest.raises(ConfigError):
        load(folder, text)


@given(st.text(alphabet="[]=\"\n\t #.,{}'abctask_model3-", max_size=120))
@settings(max_examples=300, deadline=None, derandomize=True)
def test_any_text_is_a_config_error(text: str) -> None:
    from potminer.node.source import parse_source
    from potminer.node.taskfile import task_file_from

    with pytest.raises(ConfigError):
        task_file_from(parse_source("x", text), Path("/nonexistent/task.toml"))


# ---- data files --------------------------------------------------------------------------


def write_header(path: Path, header: Any, *, body: int = 0, length: int | None = None) -> Path:
    raw = header if isinstance(header, bytes) else json.dumps(header).encode()
    path.write_bytes(struct.pack("<Q", len(raw) if length is None else length) + raw + bytes(body))
    return path


def test_a_header_is_read_without_the_data(tmp_path: Path) -> None:
    save_data(tmp_path)
    found = read_header(tmp_path / "train.safetensors")
    assert found == {"x": Tensor("F32", (20, 3, 4)), "y": Tensor("I64", (20,))}


def entry(dtype: Any = "F32", shape: Any = (2,), span: Any = (0, 8)) -> dict[str, Any]:
    return {"dtype": dtype, "shape": shape, "data_offsets": span}


@pytest.mark.parametrize(("header", "body"), [
    (b"{", 0), (b"[]", 0), (b"\xff\xff", 0), (b"[" * 5_000, 0), ({"x": 3}, 0), ({"x": {}}, 0),
    ({"x": entry()}, 7), ({"x": entry()}, 9), ({"x": entry(span=(0, 4))}, 4), ({"x": entry(span=(1, 9))}, 9),
    ({"x": entry(span=(8, 0))}, 8), ({"x": entry(dtype="F99")}, 8), ({"x": entry(dtype=3)}, 8),
    ({"x": entry(shape=(-2,))}, 8), ({"x": entry(shape=(2.0,))}, 8), ({"x": entry(shape=(True, 2))}, 8),
    ({"x": entry(shape="2")}, 8), ({"x": entry(shape=(2**62, 2**62))}, 8), ({"x": entry(shape=(1,) * 9)}, 4),
    ({"x": entry(span=(0, 8, 8))}, 8), ({"x": entry(), "y": entry()}, 8),
    ({"x": entry(), "y": entry(span=(9, 17))}, 17),
    ({str(i): entry() for i in range(5_000)}, 8),
])  # fmt: skip
def test_a_header_that_lies_is_refused(tmp_path: Path, header: Any, body: int) -> None:
    with pytest.raises(ValueError, match=r"is |has |does "):
        read_header(write_header(tmp_path / "x", header, body=body))


@pytest.mark.parametrize("length", [0, 1, 9, 2**63, 2**64 - 1, HEADER_BYTES + 1])
def test_a_header_length_that_lies_is_refused(tmp_path: Path, length: int) -> None:
    with pytest.raises(ValueError, match="no safetensors"):
        read_header(write_header(tmp_path / "x", b"{}", length=length))


@given(st.binary(max_size=200))
@settings(max_examples=200, deadline=None, derandomize=True)
def test_any_bytes_are_read_or_refused(tmp_path_factory: pytest.TempPathFactory, data: bytes) -> None:
    path = tmp_path_factory.mktemp("any") / "x"
    path.write_bytes(data)
    with pytest.raises(ValueError, match="safetensors"):
        read_header(path)


@pytest.mark.parametrize(("tensors", "reason"), [
    ({"x": np.zeros((4, 3, 4), np.float32)}, "must hold the tensors x and y, not x"),
    ({"x": np.zeros((4, 3, 4), np.float64), "y": np.zeros(4, np.int64)}, "not F64 and I64"),
    ({"x": np.zeros((4, 3, 4), np.float32), "y": np.zeros(4, np.int32)}, "not F32 and I32"),
    ({"x": np.zeros((4, 3, 4), np.float32), "y": np.zeros(3, np.int64)}, "one label for every sample"),
    ({"x": np.zeros((0, 3, 4), np.float32), "y": np.zeros(0, np.int64)}, "one label for every sample"),
    ({"x": np.zeros((4, 12), np.float32), "y": np.zeros(4, np.int64)}, "holds samples of shape [12]"),
])  # fmt: skip
def test_data_that_does_not_fit_is_named(folder: Path, tensors: dict[str, Any], reason: str) -> None:
    save_file(tensors, folder / "train.safetensors")
    (said,) = mistakes(folder, SOUND)
    assert said.startswith("line 13: data.train:")
    assert reason in said


# ---- the commands ------------------------------------------------------------------------


def test_a_new_task_is_sound_once_its_data_are_there(tmp_path: Path) -> None:
    path = tmp_path / "My Task.toml"
    assert main(["task", "new", str(path)]) == 0
    assert main(["task", "new", str(path)]) == 7
    assert main(["task", "check", str(path)]) == 3
    save_data(tmp_path, shape=(1, 28, 28))
    assert main(["task", "check", str(path)]) == 0
    assert load_task_file(path).name == "my-task"


@pytest.mark.parametrize("name", ["", "...", "ß", "-a", "x" * 200])
def test_any_name_becomes_the_name_of_a_task(tmp_path: Path, name: str) -> None:
    save_data(tmp_path, shape=(1, 28, 28))
    assert load(tmp_path, task_text(name)).name


@pytest.mark.parametrize(("grains", "shown"), [
    (0, "0 POT"), (1, "0.000000001 POT"), (GRAINS_PER_POT, "1 POT"), (1_500_000_000, "1.5 POT"),
    (10**15 + 10**8, "1,000,000.1 POT"),
])  # fmt: skip
def test_money_is_shown_exactly(grains: int, shown: str) -> None:
    assert show_pot(grains) == shown
