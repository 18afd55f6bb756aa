"""The newest lines of the log, kept in memory for faces. The files keep more."""

from __future__ import annotations

import logging
from collections import deque

from potminer.wire.answers import LEVELS, LOG_LINES, LOG_TEXT, LogLevel, LogLine, LogTail

LINE = 2_000
_LEVELS = {
    logging.DEBUG: LogLevel.DEBUG,
    logging.INFO: LogLevel.INFO,
    logging.WARNING: LogLevel.WARNING,
    logging.ERROR: LogLevel.ERROR,
}


class LogBook(logging.Handler):
    """A handler that remembers the last ``LOG_LINES`` lines. *boot_ms*: when this run began."""

    def __init__(self, boot_ms: int) -> None:
        super().__init__()
        self._boot_ms = boot_ms
        self._lines: deque[LogLine] = deque(maxlen=LOG_LINES)
        self._number = 0
        self.addFilter(one_line)

    def emit(self, record: logging.LogRecord) -> None:
        self._number += 1
        self._lines.append(
            LogLine(
                number=self._number,
                time_ms=int(record.created * 1000),
                level=_level(record.levelno),
                text=str(getattr(record, "line", ""))[:LOG_TEXT],
            )
        )

    def tail(self, *, after: int, last: int, level: LogLevel) -> LogTail:
        """The newest *last* lines with a number above *after* that are at least as grave as *level*."""
        grave = LEVELS[LEVELS.index(level) :]
        found: deque[LogLine] = deque(maxlen=last)
        for line in reversed(self._lines):
            if line.number <= after or len(found) == last:
                break
            if line.level in grave:
                found.appendleft(line)
        return LogTail(boot_ms=self._boot_ms, lines=tuple(found))


def _level(number: int) -> LogLevel:
    return next((level for least, level in sorted(_LEVELS.items(), reverse=True) if number >= least), LogLevel.DEBUG)


def one_line(record: logging.LogRecord) -> bool:
    """A filter that sets ``record.line``: a line stays a line, whatever a peer put into it."""
    text = "".join(c if c.isprintable() else "?" for c in record.getMessage())
    record.line = text.replace("\\", "\\\\").replace('"', "'")[:LINE]
    return True
