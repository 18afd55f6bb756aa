"""A TOML text and which of its lines said what.

tomllib reads values but forgets lines; an operator needs them. The text has already been
accepted by tomllib when it is scanned here, so the scan only has to find where keys stand.
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path

from potminer.base.errors import ConfigError

MAX_BYTES = 262_144
"""A hand-written file is a few KiB; a larger one is not what it claims to be."""

Place = tuple[str | int, ...]
"""Keys and indices from the top of the file: ``("miners", 0, "url")``."""

_TOKEN = re.compile(
    r'"""(?:\\.|[^\\])*?"{3,5}'
    r"|'''.*?'{3,5}"
    r'|"(?:\\.|[^"\\\n])*"'
    r"|'[^'\n]*'"
    r"|\#[^\n]*"
    r"|[\[\]{},=.\n]"
    r"|[^\s\[\]{},=.\#\"']+",
    re.DOTALL,
)


@dataclass(frozen=True, slots=True)
class Source:
    """*table* is what the file says, decimals exact; *lines* where it says so, counted from 1."""

    name: str
    table: dict[str, object]
    lines: Mapping[Place, int]

    def line(self, place: Place) -> int:
        """Line of *place*, or of the nearest place around it; 0 where the file does not speak of it."""
        while place and place not in self.lines:
            place = place[:-1]
        return self.lines.get(place, 0)


def read_source(path: Path) -> Source:
    """The file at *path*; ConfigError where it cannot be read or is no TOML."""
    try:
        with path.open("rb") as file:
            data = file.read(MAX_BYTES + 1)
    except OSError as error:
        raise ConfigError(f"{path}: {error.strerror or error}", "Check the path and who may read it.") from error
    if len(data) > MAX_BYTES:
        raise ConfigError(f"{path} is larger than {MAX_BYTES:,} bytes", "Is it the right file?")
    try:
        text = data.decode("utf-8")
    except UnicodeDecodeError as error:
        line = data[: error.start].count(b"\n") + 1
        raise ConfigError(f"{path}: line {line}: not UTF-8", "Save the file as UTF-8.") from error
    return parse_source(str(path), text)


def parse_source(name: str, text: str) -> Source:
    try:
        table = tomllib.loads(text, parse_float=Decimal)
    except (tomllib.TOMLDecodeError, RecursionError) as error:
        raise ConfigError(f"{name}: {error or 'nested too deeply'}", "TOML syntax: https://toml.io") from error
    return Source(name, table, find_lines(text))


def find_lines(text: str) -> dict[Place, int]:
    """Line of every table, key and array element of a valid TOML *text*."""
    scan = _Scan()
    line = 1
    for match in _TOKEN.finditer(text + "\n"):
        token = match.group()
        line += text.count("\n", scan.at, match.start())
        scan.at = match.start()
        if not token.startswith("#"):
            scan.take(token, line)
    return scan.lines


class _Scan:
    """Walks tokens with three questions: in a header, before the equals sign, or inside a value?"""

    def __init__(self) -> None:
        self.at = 0
        self.lines: dict[Place, int] = {}
        self._table: Place = ()
        self._arrays: dict[Place, int] = {}
        self._key: list[str] = []
        self._key_line = 0
        self._header = 0
        self._value: Place | None = None
        self._brackets: list[str] = []
        self._element = 0
        self._fresh = False

    def take(self, token: str, line: int) -> None:
        if self._value is not None:
            self._in_value(token, line)
        elif token == "\n":
            self._end_of_header()
        elif token == "[" and not self._key:
            self._header += 1
        elif token == "=":
            self._begin_value()
        elif token not in "].":
            self._key.append(token.strip("\"'"))
            self._key_line = line

    def _end_of_header(self) -> None:
        if self._header:
            place = self._resolve(self._key[:-1])
            place += (self._key[-1],)
            if self._header == 2:
                count = self._arrays.get(place, 0)
                self._arrays[place] = count + 1
                self.lines.setdefault(place, self._key_line)
                place += (count,)
            elif place in self._arrays:
                place += (self._arrays[place] - 1,)
            self._table = place
            self.lines[place] = self._key_line
        self._header, self._key = 0, []

    def _resolve(self, keys: list[str]) -> Place:
        """Keys of a header, with the newest element of every array of tables on the way."""
        place: Place = ()
        for key in keys:
            place += (key,)
            if place in self._arrays:
                place += (self._arrays[place] - 1,)
        return place

    def _begin_value(self) -> None:
        for depth in range(1, len(self._key) + 1):
            self.lines.setdefault((*self._table, *self._key[:depth]), self._key_line)
        self._value = (*self._table, *self._key)
        self._key, self._brackets, self._element, self._fresh = [], [], 0, False

    def _in_value(self, token: str, line: int) -> None:
        assert self._value is not None
        if token == "\n":
            if not self._brackets:
                self._value = None
            return
        if self._fresh and token != "]":
            self.lines[(*self._value, self._element)] = line
            self._fresh = False
        if token in "[{":
            self._fresh = token == "[" and not self._brackets
            self._brackets.append(token)
        elif token in "]}":
            self._brackets.pop()
        elif token == "," and self._brackets == ["["]:
            self._element += 1
            self._fresh = True
