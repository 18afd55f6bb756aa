"""Why a job was not done: a word for the node, a sentence for the operator."""

from __future__ import annotations

from collections.abc import Callable
from enum import StrEnum


class Reason(StrEnum):
    """Words of ``wire.trainer.Failed.reason``."""

    CANCELLED = "cancelled"
    MISSING_BLOB = "missing-blob"
    BAD_WEIGHTS = "bad-weights"
    BAD_DATA = "bad-data"
    BAD_TASK = "bad-task"
    DIVERGED = "diverged"
    OUT_OF_MEMORY = "out-of-memory"
    NO_DEVICE = "no-device"
    BUSY = "busy"
    FAULT = "fault"


class Refused(Exception):
    """A job ends without a result, for a *reason* that the node understands."""

    def __init__(self, reason: Reason, detail: str) -> None:
        super().__init__(f"{reason}: {detail}")
        self.reason = reason
        self.detail = detail


Checkpoint = Callable[[int, int], None]
"""Called between micro-batches with how many steps are done, of how many; raises Refused to stop the job."""
