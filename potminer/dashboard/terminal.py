"""Whether the terminal is still there. Whose window closed without a word (no SIGHUP reaches a session that has no
controlling terminal) must not go on reading its end, which never ends: that takes a third of a core."""

from __future__ import annotations

import select
import sys
from collections.abc import Callable


def watched() -> Callable[[], bool]:
    """Says, whenever it is called, whether the terminal behind standard input has gone since. Where there is none, as
    in tests, and where nothing can be polled (Windows) nothing is ever gone."""
    if not hasattr(select, "poll") or not sys.stdin or not sys.stdin.isatty():
        return lambda: False
    poll = select.poll()
    poll.register(sys.stdin.fileno(), 0)
    return lambda: bool(poll.poll(0))
