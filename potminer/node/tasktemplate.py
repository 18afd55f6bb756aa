"""A new ``task.toml``: every key with its meaning, and values that suit a first small task."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import MISSING, fields
from typing import Any

import tomlkit

from potminer.node.taskform import SECTIONS, MlpSection

_FIRST: dict[str, object] = {
    "task.rounds": 100,
    "task.min_trainers": 2,
    "task.max_trainers": 8,
    "model.kind": "mlp",
    "model.inputs": 784,
    "model.hidden": [128],
    "model.classes": 10,
    "data.train": "train.safetensors",
    "data.validation": "validation.safetensors",
    "data.shape": [1, 28, 28],
    "unit.micro_batch": 32,
    "inner.rate": 0.01,
    "inner.momentum": 0.9,
    "inner.beta1": 0.9,
    "inner.beta2": 0.999,
    "inner.epsilon": 0.000001,
    "outer.rate": 0.5,
    "aggregation.trim": 0.2,
    "aggregation.radius": 1,
    "reward.budget_pot": 800,
    "reward.price_per_unit_pot": 1,
}
"""What is shown for keys that have no default, and for decimals, whose default is kept in 1e-9."""
_SLEEPING = {
    "inner": 'Only with mode = "local":',
    "aggregation": "Left out: the mean, which one false update that no audit was drawn for can spoil.",
}
"""Sections that the other values leave no room for, or that few tasks need, shown as comments."""


def task_text(name: str) -> str:
    """The file's text; *name* becomes the task's where it is a name."""
    lines = ["# A task is data, never code. potminer task check reads this file and its data's headers."]
    for section, form in SECTIONS.items():
        if section in _SLEEPING:
            lines += ["", f"# {_SLEEPING[section]}", f"# [{section}]"]
            lines += [line if line.startswith("#") else f"# {line}" for line in _keys(section, form, name)]
            continue
        lines += ["", f"[{section}]", *_keys(section, form, name)]
        if section == "model":
            lines += list(_keys(section, MlpSection, name))
    return "\n".join(lines) + "\n"


def _keys(section: str, form: type[Any], name: str) -> Iterator[str]:
    for f in fields(form):
        key = f"{section}.{f.name}"
        value = _task_name(name) if key == "task.name" else _FIRST.get(key, f.default)
        if value is MISSING:
            raise AssertionError(f"{key} has neither a default nor a first value")
        yield f"# {f.metadata['about']} ({f.metadata['read'].kind})"
        yield f"{f.name} = {tomlkit.item(value).as_string()}"


def _task_name(name: str) -> str:
    kept = re.sub(r"[^a-z0-9._-]+", "-", name.lower()).strip("._-")[:64]
    return kept or "task"
