"""Where lines go: into files of a bounded size, those of libraries too."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from pathlib import Path

import pytest

from potminer.node.config import LogSettings
from potminer.node.logfile import LOG, LogFile, open_log
from potminer.world.paths import locate


@pytest.fixture
def loggers() -> Iterator[None]:
    """Process-wide, so put back as they were."""
    root, level, propagate = logging.getLogger(), LOG.level, LOG.propagate
    held = [(logger, logger.handlers[:]) for logger in (root, LOG)]
    yield
    for logger, handlers in held:
        for each in logger.handlers[:]:
            if each not in handlers:
                logger.removeHandler(each)
                each.close()
    LOG.setLevel(level)
    LOG.propagate = propagate


@pytest.mark.usefixtures("loggers")
def test_what_libraries_complain_of_is_in_the_bounded_log_and_not_on_standard_error(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    paths = locate({}, datadir=tmp_path)
    for _ in range(2):  # a node may be opened again in the same process
        open_log(paths, LogSettings(), spoken=False)
    logging.getLogger("asyncio").error("socket.accept() out of system resource")
    LOG.info("our own line")
    assert sum(isinstance(each, LogFile) for each in logging.getLogger().handlers) == 1
    written = (paths.logs / "potminer.log").read_text()
    assert written.count("out of system resource") == 1
    assert written.count("our own line") == 1
    assert capsys.readouterr().err == ""
