"""One short program's answer: with a deadline, a bound, no shell and the language of machines."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Mapping, Sequence

OUTPUT_BYTES = 65_536
_END_S = 1.0

Run = Callable[[Sequence[str]], bytes | None]
"""A question by command line; None where it has no answer."""


def run(
    argv: Sequence[str],
    *,
    deadline_ms: int,
    max_bytes: int = OUTPUT_BYTES,
    environment: Mapping[str, str] | None = None,
) -> bytes | None:
    """What *argv* writes; None where it is not installed, fails, is late, or writes more than *max_bytes*."""
    kept = {**(os.environ if environment is None else environment), "LC_ALL": "C"}
    try:
        process = subprocess.Popen(
            list(argv),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            env=kept,
            start_new_session=sys.platform != "win32",
        )
    except OSError:
        return None
    said: list[bytes] = []
    reader = threading.Thread(target=_read, args=(process, max_bytes, said), name=f"read {argv[0]}", daemon=True)
    reader.start()
    reader.join(deadline_ms / 1_000)
    late = reader.is_alive() or (len(said) == 1 and len(said[0]) > max_bytes)
    return None if _end(process, late=late) != 0 or late or not said else said[0]


def _read(process: subprocess.Popen[bytes], max_bytes: int, said: list[bytes]) -> None:
    if process.stdout is None:
        raise AssertionError("a program is asked through a pipe")
    with contextlib.suppress(OSError, ValueError), process.stdout as pipe:
        said.append(pipe.read(max_bytes + 1))


def _end(process: subprocess.Popen[bytes], *, late: bool) -> int | None:
    """Its exit code; it and its children are killed where it is late or goes on after its last word."""
    if not late:
        with contextlib.suppress(subprocess.TimeoutExpired):
            return process.wait(_END_S)
    with contextlib.suppress(OSError):
        if sys.platform == "win32":
            process.kill()
        else:
            os.killpg(process.pid, signal.SIGKILL)
    with contextlib.suppress(subprocess.TimeoutExpired):
        process.wait(_END_S)
    return None
