"""Files that are written for people: every key stands there with what it means, unset ones as comments."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import fields
from typing import Any

import tomlkit
from tomlkit.items import Table

from potminer.node.config import SECTIONS, Entry, schema


def config_text(values: Mapping[str, object], miners: Sequence[tuple[str, str]] = ()) -> str:
    """A new config file. *values* hold dotted keys that are set; the rest keep their defaults, shown as comments.
    *miners* are (kind, url)."""
    document = tomlkit.document()
    document.add(tomlkit.comment("potminer's settings. What is commented out has the value shown."))
    document.add(tomlkit.comment("Every key can also be set as POTMINER_SECTION_KEY; flags win over both."))
    entries = {entry.key: entry for entry in schema()}
    for section, form in SECTIONS.items():
        document.add(tomlkit.nl())
        document.add(section, _section(section, form, entries, values))
    document.add(tomlkit.nl())
    for line in _miner_example(entries):
        document.add(tomlkit.comment(line))
    if miners:
        document.add(tomlkit.nl())
        blocks = tomlkit.aot()
        for kind, url in miners:
            blocks.append(tomlkit.item({"kind": kind, "url": url}))
        document.add("miners", blocks)
    return tomlkit.dumps(document)


def _section(section: str, form: type[Any], entries: Mapping[str, Entry], values: Mapping[str, object]) -> Table:
    table = tomlkit.table()
    for f in fields(form):
        entry = entries[f"{section}.{f.name}"]
        table.add(tomlkit.comment(f"{entry.about} ({entry.kind})"))
        if entry.key in values:
            table.add(f.name, tomlkit.item(values[entry.key]))
        else:
            table.add(tomlkit.comment(f"{f.name} = {tomlkit.item(entry.default).as_string()}"))
    return table


def _miner_example(entries: Mapping[str, Entry]) -> list[str]:
    about = [f"{key.partition('.')[2]}: {entry.about}" for key, entry in entries.items() if key.startswith("miners.")]
    return [
        "One block for every miner on this computer that should make room for training:",
        *about,
        "[[miners]]",
        'kind = "trex"',
        'url = "http://127.0.0.1:4067"',
    ]
