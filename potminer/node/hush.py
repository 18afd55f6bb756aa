"""Lines that anybody outside can cause, at the pace of a person who reads them.

Who sends rubbish a thousand times a second would otherwise have a line written for each: a log that holds a minute
instead of a month, and a disk and a core that are busy with it.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass

OFTEN = 20
WINDOW_MS = 60_000
KINDS = 256
_PARTICULARS = re.compile(r"[0-9a-f]{6,}|\d+")
"""Keys, digests and numbers: whoever has many keys says the same line many times."""


@dataclass(slots=True)
class _Kind:
    since_ms: int
    said: int = 0
    kept_back: int = 0


class Hush:
    """Of a kind of line the first ``OFTEN`` of a minute are said; how many more there were is said with the first of
    the next. *say* takes level and line, *clock* gives milliseconds. Lines of level debug pass: the owner asked."""

    def __init__(self, say: Callable[[str, str], None], clock: Callable[[], int]) -> None:
        self._say = say
        self._clock = clock
        self._kinds: dict[str, _Kind] = {}

    def __call__(self, level: str, line: str) -> None:
        if level == "debug":
            self._say(level, line)
            return
        now, name = self._clock(), _PARTICULARS.sub("", line[:200])
        kind = self._kinds.get(name)
        if kind is None or not 0 <= now - kind.since_ms < WINDOW_MS:
            kept_back = 0 if kind is None else kind.kept_back
            kind = self._open(name, now)
            if kept_back:
                self._say(level, f"{kept_back} more lines like the next were not written")
        if kind.said >= OFTEN:
            kind.kept_back += 1
            return
        kind.said += 1
        self._say(level, line)

    def _open(self, name: str, now: int) -> _Kind:
        self._kinds.pop(name, None)
        if len(self._kinds) >= KINDS:
            del self._kinds[next(iter(self._kinds))]
        kind = self._kinds[name] = _Kind(now)
        return kind
