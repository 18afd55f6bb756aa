"""One setting changed in a file that a person wrote: comments, order and everything else stay as they are."""

from __future__ import annotations

import os
import re
import secrets
from collections.abc import Mapping
from pathlib import Path

import tomlkit
from tomlkit.exceptions import TOMLKitError

from potminer.base.errors import ConfigError, NotPermitted, UsageError
from potminer.node.config import LISTS, SECTIONS, config_from, near_keys, reader_of
from potminer.node.source import parse_source, read_source
from potminer.node.template import config_text


def set_value(path: Path, key: str, said: str) -> None:
    """Write *key* = *said* (spelt as an environment variable would be) into the config at *path*.

    UsageError where there is no such key, ConfigError where the value, or anything else in the file, is wrong;
    then the file is as it was. A missing file is begun with every setting explained.
    """
    value = _spelt(key, said)
    if path.exists():
        read_source(path)  # size, encoding and syntax, with the line that is wrong
        text = changed(path.read_text(encoding="utf-8"), key, value)
    else:
        text = config_text({key: value})
    config_from(parse_source(str(path), text), {}, {})
    replace_file(path, text)


def changed(text: str, key: str, value: object) -> str:
    """The TOML *text* with *key* set: where it stands, else where its default stands as a comment."""
    section, _, name = key.partition(".")
    uncommented = _uncomment(text, section, name, value)
    if uncommented is not None:
        return uncommented
    try:
        document = tomlkit.parse(text)
        table = document.get(section)
        if not isinstance(table, Mapping):
            document[section] = table = tomlkit.table()
        document[section][name] = value
        return tomlkit.dumps(document)
    except TOMLKitError as error:
        raise ConfigError(f"the config file cannot be changed: {error}", "Change it with an editor.") from error


def _spelt(key: str, said: str) -> object:
    section = key.partition(".")[0]
    if section in LISTS:
        raise UsageError(f"{section} are a list and cannot be set by key", f"Write [[{section}]] blocks into the file.")
    reader = reader_of(key)
    if reader is None:
        near = near_keys(key)
        raise UsageError(
            f"there is no setting {key[:60]}",
            f"Did you mean {', '.join(near)}?" if near else "potminer config schema lists every key.",
        )
    return reader.spell(said)


def _uncomment(text: str, section: str, name: str, value: object) -> str | None:
    """The comment that shows the default becomes the setting; None where the file has the key, or no such comment."""
    lines = text.splitlines(keepends=True)
    inside, found = False, -1
    for at, line in enumerate(lines):
        header = re.match(r"\s*\[", line)
        if header:
            inside = re.fullmatch(rf"\s*\[\s*{re.escape(section)}\s*\]\s*(#.*)?\s*", line) is not None
        elif inside and re.match(rf"\s*{re.escape(name)}\s*=", line):
            return None
        elif inside and found < 0 and re.match(rf"\s*#\s*{re.escape(name)} = ", line):
            found = at
    if found < 0 or section not in SECTIONS:
        return None
    end = "\r\n" if lines[found].endswith("\r\n") else "\n"
    lines[found] = f"{name} = {tomlkit.item(value).as_string()}{end}"
    return "".join(lines)


def replace_file(path: Path, text: str) -> None:
    """*text* at *path*, whole or not at all, also over a power cut. A link stays a link; NotPermitted where
    the folder refuses."""
    try:
        path = path.resolve()
        path.parent.mkdir(parents=True, exist_ok=True)
        mode = path.stat().st_mode & 0o777 if path.exists() else 0o644
        draft = path.with_name(f".{path.name}.{secrets.token_hex(6)}")
        try:
            with open(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode), "w", encoding="utf-8") as file:
                file.write(text)
                file.flush()
                os.fsync(file.fileno())
            os.replace(draft, path)
        finally:
            draft.unlink(missing_ok=True)
    except OSError as error:
        raise NotPermitted(f"{path} cannot be written: {error.strerror or error}", "Check the folder.") from error
