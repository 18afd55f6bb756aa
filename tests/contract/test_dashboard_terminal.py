"""A dashboard on a real terminal that disappears without a word: no SIGHUP, for it controls no session."""

from __future__ import annotations

import os
import pty
import select
import subprocess
import sys
from pathlib import Path

LIMIT_S = 60


def test_a_dashboard_whose_terminal_is_gone_ends(tmp_path: Path) -> None:
    ours, theirs = pty.openpty()
    environ = {k: v for k, v in os.environ.items() if not k.startswith("POTMINER_")}
    environ |= {"TERM": "xterm-256color", "HOME": str(tmp_path)}
    nobody = str(tmp_path / "nobody.sock")
    process = subprocess.Popen(
        [sys.executable, "-m", "potminer.cli.main", "dashboard", "--socket", nobody],
        stdin=theirs, stdout=theirs, stderr=theirs, env=environ, start_new_session=True,
    )  # fmt: skip
    os.close(theirs)
    try:
        seen = b""
        while b"Overview" not in seen:
            assert select.select([ours], [], [], LIMIT_S)[0], f"no dashboard was painted: {seen!r}"
            seen += os.read(ours, 65_536)
        os.close(ours)
        assert process.wait(LIMIT_S) == 0
    finally:
        process.kill()
        process.wait()
