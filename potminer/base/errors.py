"""Errors that an operator sees, and the exit codes they end with.

A peer's fault is never one of these: it is a value (an offence, a refusal). An
AssertionError is our own bug.
"""

from __future__ import annotations

from enum import IntEnum


class Exit(IntEnum):
    OK = 0
    FAILURE = 1
    USAGE = 2
    CONFIG = 3
    UNREACHABLE = 4
    RUNNING = 5
    NO_DEVICE = 6
    NOT_PERMITTED = 7
    BAD_SIGNATURE = 8
    RESTART = 42
    INTERRUPTED = 130


class PotminerError(Exception):
    """Something the operator can mend.

    *what* went wrong, the *hint* that says how to mend it, and the exit code of the process.
    """

    exit = Exit.FAILURE

    def __init__(self, what: str, hint: str = "") -> None:
        super().__init__(what)
        self.what = what
        self.hint = hint

    def __str__(self) -> str:
        return f"{self.what}\n  {self.hint}" if self.hint else self.what


class UsageError(PotminerError):
    exit = Exit.USAGE


class ConfigError(PotminerError):
    """A config, genesis or task file is wrong. *what* lists every fault with its line."""

    exit = Exit.CONFIG


class Unreachable(PotminerError):
    exit = Exit.UNREACHABLE


class AlreadyRunning(PotminerError):
    exit = Exit.RUNNING


class NoDevice(PotminerError):
    exit = Exit.NO_DEVICE


class NotPermitted(PotminerError):
    exit = Exit.NOT_PERMITTED


class NotProven(PotminerError):
    """Somebody showed us something that its signatures and digests do not bear out."""

    exit = Exit.BAD_SIGNATURE


class Malformed(ValueError):
    """Bytes from outside are not what they must be. Caught at the wall, never shown raw."""
