"""Secrets that open an API: files that are ours alone, and small."""

from __future__ import annotations

import os
import stat
import sys
from pathlib import Path

from potminer.base.errors import NotPermitted, Unreachable

_BYTES = 256
_LEAST = 16


def read_token(path: Path) -> str:
    """The secret in *path*; NotPermitted where others could read it, Unreachable where there is none."""
    try:
        check_owner(path, path.stat())
        with path.open("rb") as file:
            said = file.read(_BYTES + 1).decode("ascii").strip()
    except FileNotFoundError as error:
        raise Unreachable(f"no daemon runs: {path} is missing", "Start it with `potminer run`.") from error
    except PermissionError as error:
        raise NotPermitted(f"{path} belongs to another user", "Run as the user of the daemon.") from error
    except UnicodeDecodeError as error:
        raise NotPermitted(f"{path} is not a cookie", "Restart the daemon.") from error
    if not _LEAST <= len(said) <= _BYTES or not said.isprintable() or " " in said:
        raise NotPermitted(
            f"{path} holds no token", f"A token has {_LEAST} to {_BYTES} letters: openssl rand -hex 32 > {path}"
        )
    return said


def token_from(file: str) -> str:
    """As ``read_token``, of a file as a person names it."""
    return read_token(Path(file).expanduser())


def check_owner(path: Path, found: os.stat_result) -> None:
    if sys.platform == "win32":
        return
    if found.st_uid not in (os.getuid(), 0) and os.getuid() != 0:
        raise NotPermitted(f"{path} belongs to another user", "Run as the user of the daemon.")
    if stat.S_IMODE(found.st_mode) & 0o077:
        raise NotPermitted(f"{path} is open to other users", f"Restart the daemon, or chmod 600 {path}")
