"""What is said of a validator that says nothing: its disk is younger than what its key signed."""

from __future__ import annotations

from typing import Final

from potminer.view.text import clock, date

PATIENCE_MS: Final = 30_000
"""A chain that lives has a block every few seconds: so much later none will come by itself."""
WHERE: Final = "docs/validators.md, Two at once"


def is_stuck(until_ms: int, now_ms: int) -> bool:
    """Whether the block that would end the silence has not come for so long that nobody makes it."""
    return now_ms > until_ms + PATIENCE_MS


def silence(until_ms: int, now_ms: int, *, linked: int, others: int) -> str:
    """*until_ms*: a block of that time ends it. *linked* of *others*: members of the committee beside this one."""
    said = f"silent until a block of {date(until_ms)} {clock(until_ms)} UTC: its disk is younger than its key's votes"
    if not is_stuck(until_ms, now_ms):
        return said
    return f"{said}; none comes, {linked} of {others} others are linked. See {WHERE}"
