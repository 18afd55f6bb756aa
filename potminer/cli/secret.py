"""Secrets on their way in: typed on a terminal or read from a file descriptor, never an argument, which
every process of the computer can read, and never the environment, which children inherit."""

from __future__ import annotations

import os
import sys

import click

from potminer.base.errors import UsageError

_BYTES = 4_096
LEAST = 8
"""Letters of a new passphrase. Argon2id makes a guess dear; it cannot make "1234" good."""


def passphrase_of(fd: int | None, *, new: bool = False) -> str:
    """From descriptor *fd*, else from the terminal; a *new* one is typed twice."""
    if fd is not None:
        said = read_descriptor(fd, "the passphrase")
    elif sys.stdin.isatty():
        said = click.prompt("passphrase", hide_input=True, confirmation_prompt=new)
    else:
        raise UsageError("a passphrase is needed and there is no terminal", "Give it on --passphrase-fd.")
    if new and len(said) < LEAST:
        raise UsageError(f"a new passphrase has at least {LEAST} letters", "Several words are easy to remember.")
    return said


def words_from(fd: int | None) -> str:
    """The 24 words, from descriptor *fd*, else from the terminal."""
    if fd is not None:
        return read_descriptor(fd, "the words")
    if sys.stdin.isatty():
        return str(click.prompt("the 24 words, with spaces between"))
    raise UsageError("the words are needed and there is no terminal", "Give them on --words-fd.")


def read_descriptor(fd: int, what: str) -> str:
    """Everything up to the end of file; a newline at its end does not count."""
    data = b""
    try:
        while len(data) <= _BYTES and (more := os.read(fd, _BYTES)):
            data += more
    except OSError as error:
        raise UsageError(f"descriptor {fd} cannot be read: {error.strerror}", f"Open it: {fd}<FILE") from error
    try:
        said = data.decode().removesuffix("\n").removesuffix("\r")
    except UnicodeDecodeError as error:
        raise UsageError(f"{what} must be UTF-8", "Write the file anew.") from error
    if not said or len(data) > _BYTES:
        raise UsageError(f"{what} on descriptor {fd}: {'too long' if said else 'nothing'}", "Check the file.")
    return said
