"""The node key: the hot key of this computer, as one private file.

The file holds the 32-byte seed as 64 hexadecimal digits. It appears whole or not at all, is
never overwritten, and is not read while others could have read it too.
"""

from __future__ import annotations

import os
import stat
import sys
from pathlib import Path

from nacl import utils as sodium

from potminer.base.errors import ConfigError, NotPermitted
from potminer.wire.seal import SigningKey

NODE_KEY = "node.key"
SEED_BYTES = 32
_DIGITS = 2 * SEED_BYTES
_OTHERS = 0o077
_NO_SURPRISE = getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_CLOEXEC", 0)
"""A link or a pipe planted in the key's place is neither followed nor waited for."""


def create_key(path: Path, *, seed: bytes | None = None) -> SigningKey:
    """A new key in a new file at *path* (0600). NotPermitted where a file is already there.

    Without *seed* the seed is drawn from the operating system; a devnet gives its own.
    """
    secret = sodium.random(SEED_BYTES) if seed is None else seed
    if len(secret) != SEED_BYTES:
        raise AssertionError("a seed has 32 bytes")
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    draft = path.with_name(f".{path.name}.{sodium.random(8).hex()}")
    try:
        _write_private(draft, secret.hex().encode() + b"\n")
        os.link(draft, path)
    except FileExistsError as error:
        raise NotPermitted(f"{path} is already there", "A key is never overwritten; move it away first.") from error
    except OSError as error:
        raise NotPermitted(f"{path} cannot be written: {error.strerror or error}", "Check the folder.") from error
    finally:
        draft.unlink(missing_ok=True)
    _sync_folder(path.parent)
    return SigningKey(secret)


def load_key(path: Path) -> SigningKey:
    """The key at *path*. NotPermitted where others may read it, ConfigError where it is
    damaged or missing."""
    try:
        descriptor = os.open(path, os.O_RDONLY | _NO_SURPRISE)
    except FileNotFoundError as error:
        raise ConfigError(f"there is no key at {path}", "Run potminer init first.") from error
    except OSError as error:
        raise NotPermitted(
            f"{path} cannot be read: {error.strerror or error}", "It must be a file of yours."
        ) from error
    try:
        _refuse_if_shared(path, os.fstat(descriptor))
        said = os.read(descriptor, _DIGITS + 3).strip()
    finally:
        os.close(descriptor)
    try:
        seed = bytes.fromhex(said.decode("ascii"))
    except ValueError:
        seed = b""
    if len(seed) != SEED_BYTES or len(said) != _DIGITS:
        raise ConfigError(f"{path} is no node key", "Restore it from your backup; potminer init makes a new one.")
    return SigningKey(seed)


def load_or_create_key(path: Path) -> SigningKey:
    """The key at *path*, made where it is missing. Two processes that do this at once agree on one key."""
    if not path.exists() and not path.is_symlink():
        try:
            return create_key(path)
        except NotPermitted:
            if not path.exists():
                raise
    return load_key(path)


def _write_private(path: Path, content: bytes) -> None:
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())


def _sync_folder(folder: Path) -> None:
    """The new name survives a power cut too. Windows cannot open a folder and needs no such call."""
    if sys.platform == "win32":
        return
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _refuse_if_shared(path: Path, found: os.stat_result) -> None:
    if not stat.S_ISREG(found.st_mode):
        raise NotPermitted(f"{path} is not a file", "A key is an ordinary file of yours.")
    if sys.platform == "win32":
        return
    if found.st_uid != os.getuid():
        raise NotPermitted(f"{path} belongs to somebody else", "A key must belong to the user who runs potminer.")
    if stat.S_IMODE(found.st_mode) & _OTHERS:
        mode = stat.S_IMODE(found.st_mode)
        raise NotPermitted(
            f"{path} can be opened by others (mode {mode:04o})",
            f"chmod 600 {path} - and consider the key known if others use this computer.",
        )
