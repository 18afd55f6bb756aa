"""How a task file says which rule makes one update of many, and which samples a trainer sees, when it is scored."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from potminer.wire.task import Augmentation, Clipped, Evaluation, Skewed, Trimmed
from tests.unit.test_taskfile import SOUND, load, mistakes, save_data


@pytest.mark.parametrize(("keys", "expected"), [
    ('rule = "trimmed"', Trimmed(200_000)),
    ('rule = "trimmed"\ntrim = 0.1', Trimmed(100_000)),
    ('rule = "clipped"\nbucket = 3\nradius = 1.5', Clipped(3, 1_500_000)),
])  # fmt: skip
def test_a_rule_of_aggregation_is_read(tmp_path: Path, keys: str, expected: object) -> None:
    save_data(tmp_path)
    assert load(tmp_path, f"{SOUND}\n[aggregation]\n{keys}\n").aggregation == expected


def test_a_key_of_another_rule_is_blamed(tmp_path: Path) -> None:
    save_data(tmp_path)
    said = mistakes(tmp_path, SOUND + '\n[aggregation]\nrule = "mean"\ntrim = 0.5\n')
    assert [line.partition(": ")[2] for line in said] == [
        "aggregation.trim: 0.5 must be a number from 0.000001 to 0.499999 with at most nine decimal places",
        "aggregation.trim: is not a key of rule mean",
    ]


def test_skew_and_augmentation_are_read(tmp_path: Path) -> None:
    save_data(tmp_path, shape=(1, 3, 4))
    text = SOUND.replace("shape = [3, 4]", "shape = [1, 3, 4]\nskew = 0.5\nmirror = true\nshift = 2")
    task = load(tmp_path, text)
    assert (task.sampling, task.augmentation) == (Skewed(500), Augmentation(mirror=True, shift=2))


def test_what_is_no_image_is_not_moved(tmp_path: Path) -> None:
    save_data(tmp_path)
    said = mistakes(tmp_path, SOUND.replace("shape = [3, 4]", "shape = [3, 4]\nskew = 0.0001\nshift = 1\nmirror = 1"))
    assert [line.partition(": ")[2] for line in said] == [
        "data.skew: has more than three decimal places",
        "data.shift: is for images: data.shape has no three numbers",
        "data.mirror: 1 must be true or false",
    ]


def test_an_evaluation_is_read_and_paid_for(tmp_path: Path) -> None:
    save_data(tmp_path)
    keys = "\n[evaluation]\nevery_rounds = 1\nevaluators = 2\ntarget = 0.97\n"
    rich = re.sub(r"budget_pot = .*", "budget_pot = 100000", SOUND)
    assert load(tmp_path, rich + keys).evaluation == Evaluation(1, 2, 970_000)
    told = re.sub(r"budget_pot = .*", "budget_pot = 0", SOUND)
    (line,) = mistakes(tmp_path, told + keys)
    assert "evaluations x 2 x" in line
    (line,) = mistakes(tmp_path, SOUND + "\n[evaluation]\ntarget = 0.5\n")
    assert line.endswith("evaluation.target: is reached by evaluations: set every_rounds")
