"""A form: what may be written in a file, as frozen dataclasses whose fields say how they are read.

Filling one in finds every mistake, never only the first: a person mends a file once.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import MISSING, Field, dataclass, field, fields
from decimal import Decimal
from typing import Any

from potminer.base.errors import ConfigError
from potminer.node.source import Place, Source

MAX_FAULTS = 50
"""Shown at once; a file with more is better begun anew."""


@dataclass(frozen=True, slots=True)
class Reader:
    """How one value is read. *kind* completes "must be ..."; *take* raises ValueError with a reason
    of its own, or an empty one; *spell* turns an environment variable's text into what TOML would hold.
    A list of *least* to *most* entries reads *each* of them."""

    kind: str
    take: Callable[[object], object]
    spell: Callable[[str], object] = str
    each: Reader | None = None
    least: int = 0
    most: int = 0


@dataclass(frozen=True, slots=True)
class Fault:
    """*where* is the line, or the flag or variable that said it."""

    line: int
    where: str
    what: str

    def __str__(self) -> str:
        return f"{self.where}: {self.what}" if self.where else self.what


def setting(read: Reader, about: str, *, default: object = MISSING) -> Any:
    """A field of a form. Without a default it must be given."""
    metadata = {"read": read, "about": about}
    return field(metadata=metadata) if default is MISSING else field(default=default, metadata=metadata)


# ---- readers -----------------------------------------------------------------------------


def integer(low: int, high: int) -> Reader:
    def take(value: object) -> object:
        if isinstance(value, bool) or not isinstance(value, int) or not low <= value <= high:
            raise ValueError
        return value

    return Reader(f"a whole number from {low:,} to {high:,}", take, _int_or_text)


def billionths(low: str, high: str) -> Reader:
    """A decimal with at most nine places, kept exactly as an integer count of 1e-9."""

    def take(value: object) -> object:
        if isinstance(value, bool) or not isinstance(value, int | Decimal):
            raise ValueError
        exact = Decimal(value)
        if not exact.is_finite() or not Decimal(low) <= exact <= Decimal(high):
            raise ValueError
        exponent = exact.as_tuple().exponent
        places = -exponent if isinstance(exponent, int) else 0
        numerator, denominator = exact.as_integer_ratio() if places < 100 else (1, 10**100)
        scaled, rest = divmod(numerator * 10**9, denominator)
        if rest:
            raise ValueError("has more than nine decimal places")
        return scaled

    return Reader(f"a number from {low} to {high} with at most nine decimal places", take)


def choice(*words: str) -> Reader:
    def take(value: object) -> object:
        if value not in words or not isinstance(value, str):
            near = difflib.get_close_matches(str(value), words, n=1)
            raise ValueError(f"must be {_either(words)}" + (f"; did you mean {near[0]}?" if near else ""))
        return value

    return Reader(_either(words), take)


def yes_or_no() -> Reader:
    def take(value: object) -> object:
        if not isinstance(value, bool):
            raise ValueError
        return value

    return Reader("true or false", take, lambda said: {"true": True, "false": False}.get(said, said))


def text(max_length: int, *, pattern: str = "", what: str = "") -> Reader:
    def take(value: object) -> object:
        fits = isinstance(value, str) and len(value) <= max_length and value.isprintable()
        if not fits or not isinstance(value, str) or (pattern and not re.fullmatch(pattern, value)):
            raise ValueError
        return value

    return Reader(what or f"text of at most {max_length} characters", take)


def parsed(read: Reader, parse: Callable[[str], object]) -> Reader:
    """Text that *parse* understands further; its ValueError is the reason."""

    def take(value: object) -> object:
        return parse(str(read.take(value)))

    return Reader(read.kind, take, read.spell)


def many(read: Reader, *, least: int = 0, most: int) -> Reader:
    """A list; Filling reads its entries, so each wrong one is blamed in its own line."""

    def refuse(value: object) -> object:
        raise ValueError

    def spell(said: str) -> object:
        return [read.spell(part.strip()) for part in said.split(",") if part.strip()]

    kind = f"a list of {least} to {most} entries, each {read.kind}"
    return Reader(kind, refuse, spell, each=read, least=least, most=most)


def _int_or_text(said: str) -> object:
    return int(said) if re.fullmatch(r"-?\d{1,20}", said) else said


def _either(words: Sequence[str]) -> str:
    return " or ".join(words) if len(words) < 3 else f"one of {', '.join(words)}"


# ---- filling in --------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Said:
    """A value from outside the file: *origin* is the flag or variable that said it."""

    value: object
    origin: str


class Filling:
    """One file being read: collects good values and every fault."""

    def __init__(self, source: Source, said: Mapping[Place, Said] | None = None) -> None:
        self.source = source
        self._said = dict(said or {})
        self.faults: list[Fault] = []

    def blame(self, place: Place, what: str) -> None:
        line = self.source.line(place)
        self.faults.append(Fault(line, f"line {line}" if line else "", f"{show_place(place)}: {what}"))

    def sections(self, known: Iterable[str]) -> None:
        """Every top-level name must be one of *known*."""
        names = list(known)
        for name in self.source.table:
            if name not in names:
                self.blame((name,), "no such section" + _suggest(name, names))

    def table(self, place: Place) -> dict[str, object]:
        """The table at *place*; empty where the file has none or has something else there."""
        found: object = self.source.table
        for key in place:
            if isinstance(found, list) and isinstance(key, int):
                found = found[key]
            elif isinstance(found, dict):
                found = found.get(str(key), {})
        if not isinstance(found, dict):
            self.blame(place, "must be a section")
            return {}
        return found

    def fill(self, form: type[Any], place: Place, *, also: Iterable[str] = ()) -> dict[str, Any]:
        """The good values of *form* at *place*, defaults included. Keys in *also* are read by somebody else."""
        table = self.table(place)
        known = {f.name: f for f in fields(form) if "read" in f.metadata}
        values = {name: self._value(f, table, place) for name, f in known.items()}
        every = [*known, *also]
        for key in table:
            if key not in every:
                self.blame((*place, key), "no such key" + _suggest(key, every))
        return {name: value for name, value in values.items() if value is not _ABSENT}

    def _value(self, f: Field[Any], table: Mapping[str, object], place: Place) -> object:
        here = (*place, f.name)
        read: Reader = f.metadata["read"]
        said = self._said.get(here)
        if said is not None:
            return self._take(read, said.value, here, said.origin)
        if f.name in table:
            return self._take(read, table[f.name], here, "")
        if f.default is MISSING:
            self.blame(here, f"is missing: {f.metadata['about']}")
            return _ABSENT
        return f.default

    def _take(self, read: Reader, value: object, place: Place, origin: str) -> object:
        if read.each is not None and isinstance(value, list) and read.least <= len(value) <= read.most:
            taken = [self._take(read.each, entry, (*place, index), origin) for index, entry in enumerate(value)]
            return _ABSENT if any(entry is _ABSENT for entry in taken) else tuple(taken)
        try:
            return read.take(value)
        except ValueError as error:
            what = f"{show(value)} " + (str(error) or f"must be {read.kind}")
            if origin:
                self.faults.append(Fault(0, origin, f"{show_place(place)}: {what}"))
            else:
                self.blame(place, what)
            return _ABSENT

    def finish(self, hint: str) -> None:
        """ConfigError with every fault, by line, where there is one."""
        if not self.faults:
            return
        ordered = sorted(self.faults, key=lambda fault: fault.line)
        count = f"{len(ordered)} mistakes" if len(ordered) > 1 else "1 mistake"
        lines = [f"{self.source.name}: {count}", *(f"  {fault}" for fault in ordered[:MAX_FAULTS])]
        if len(ordered) > MAX_FAULTS:
            lines.append(f"  and {len(ordered) - MAX_FAULTS} more")
        raise ConfigError("\n".join(lines), hint)


_ABSENT: Any = object()


def show(value: object) -> str:
    """A value as the person wrote it, at most one short line."""
    said = str(value) if isinstance(value, Decimal) else repr(value)
    return said if len(said) <= 60 else f"{said[:57]}..."


def show_place(place: Place) -> str:
    shown = ""
    for part in place:
        shown += f"[{part + 1}]" if isinstance(part, int) else f".{part}" if shown else part
    return shown if len(shown) <= 80 else f"{shown[:77]}..."


def _suggest(name: str, known: Sequence[str]) -> str:
    near = difflib.get_close_matches(name, known, n=1, cutoff=0.5)
    if near:
        return f"; did you mean {near[0]}?"
    return f"; known are {', '.join(known)}" if len(known) <= 12 else ""
