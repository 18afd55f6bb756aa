"""Every setting with its value and who said so, for people who wonder."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields
from pathlib import Path

from potminer.node.config import LISTS, PREFIX, SECTIONS, Config, flatten, get_value, schema
from potminer.node.source import Place, Source, read_source
from potminer.wire.answers import SETTINGS, SettingsView, SettingView

_LINE = 200


def settings_view(config: Config, file: Path, environ: Mapping[str, str]) -> SettingsView:
    """*config* was read from *file* (where it exists) and *environ*; what neither says is a default."""
    source = read_source(file) if file.exists() else Source("", {}, {})
    views = [
        _view(entry.key, get_value(config, entry.key), entry.about, _origin(entry.key, source, environ))
        for entry in schema()
        if entry.key.partition(".")[0] not in LISTS
    ]
    for listed, (form, _) in LISTS.items():
        about = {f.name: str(f.metadata["about"]) for f in fields(form)}
        for key, value in flatten(listed, get_value(config, listed)):
            if "." in key:
                at, _, name = key.partition("[")[2].partition("].")
                views.append(_view(key, value, about.get(name, ""), _line(source, (listed, int(at) - 1, name))))
    return SettingsView(file=str(file)[:4_096], settings=tuple(views[:SETTINGS]))


def _view(key: str, value: object, about: str, origin: str) -> SettingView:
    shown = ", ".join(map(str, value)) if isinstance(value, list) else str(value)
    return SettingView(key=key[:_LINE], value=shown[:_LINE], source=origin[:_LINE], about=about[:_LINE])


def _origin(key: str, source: Source, environ: Mapping[str, str]) -> str:
    variable = PREFIX + key.replace(".", "_").upper()
    if variable in environ:
        return variable
    section, _, name = key.partition(".")
    table = source.table.get(section)
    if section in SECTIONS and isinstance(table, dict) and name in table:
        return _line(source, (section, name))
    return "default"


def _line(source: Source, place: Place) -> str:
    number = source.line(place)
    return f"file:{number}" if number else "default"
