"""The log as files that never grow beyond what the owner allows, and on a terminal where one is watched."""

from __future__ import annotations

import json
import logging
import logging.handlers
from datetime import UTC, datetime

from potminer.node.config import LogSettings
from potminer.node.logbook import one_line
from potminer.world.paths import Paths, private_folder

LOG = logging.getLogger("potminer")


class LogFile(logging.handlers.RotatingFileHandler):
    """A disk that is full or gone costs lines of the log, never the node: what it cannot say is said elsewhere."""

    def handleError(self, record: logging.LogRecord) -> None:
        return


class JsonLines(logging.Formatter):
    """One object a line: *time* in UTC, *level* in lower case, *line*."""

    def format(self, record: logging.LogRecord) -> str:
        time = datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
        said = {"time": time, "level": record.levelname.lower(), "line": getattr(record, "line", "")}
        return json.dumps(said, ensure_ascii=False)


def open_log(paths: Paths, settings: LogSettings, *, spoken: bool) -> None:
    """Rotating files in the data folder, and standard error where *spoken*. OSError where the folder refuses."""
    private_folder(paths.datadir)
    private_folder(paths.logs)
    file = LogFile(
        paths.logs / "potminer.log", maxBytes=settings.max_mb * 2**20, backupCount=settings.keep, encoding="utf-8"
    )
    _take(file, settings)
    for old in LOG.handlers[:]:
        LOG.removeHandler(old)
        old.close()
    LOG.addHandler(file)
    # What libraries complain of belongs here too: on standard error, where a service or a devnet keeps it in a file,
    # nobody would bound it.
    others = logging.getLogger()
    for old in others.handlers[:]:
        if isinstance(old, LogFile):
            others.removeHandler(old)
    others.addHandler(file)
    LOG.setLevel(settings.level.upper())
    LOG.propagate = False
    if spoken:
        speak(settings)


def speak(settings: LogSettings) -> None:
    """On standard error too, from now on."""
    handler = logging.StreamHandler()
    _take(handler, settings)
    LOG.addHandler(handler)


def _take(handler: logging.Handler, settings: LogSettings) -> None:
    text = logging.Formatter("%(asctime)s %(levelname)-7s %(line)s")
    handler.setFormatter(JsonLines() if settings.format == "json" else text)
    handler.addFilter(one_line)
