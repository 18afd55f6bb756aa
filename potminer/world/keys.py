"""Keys in files: the node key, hot on this computer; the wallet, closed by a passphrase.

A node key's file holds the 32-byte seed as 64 hexadecimal digits. Either file appears whole or not at all, is
never overwritten, and is not read while others could have read it too.
"""

from __future__ import annotations

import os
import stat
import sys
import unicodedata
from contextlib import suppress
from pathlib import Path
from typing import Annotated, Literal, NamedTuple

import msgspec
from msgspec import Meta
from nacl import utils as sodium
from nacl.exceptions import CryptoError
from nacl.pwhash import argon2id
from nacl.secret import SecretBox

from potminer.base.address import encode_address
from potminer.base.errors import ConfigError, NotPermitted, UsageError
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
    _create_private(path, secret.hex().encode() + b"\n")
    return SigningKey(secret)


def _create_private(path: Path, content: bytes) -> None:
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError as error:
        raise NotPermitted(f"{path.parent} cannot be made: {error.strerror or error}", "Check the folder.") from error
    draft = path.with_name(f".{path.name}.{sodium.random(8).hex()}")
    try:
        _write_private(draft, content)
        os.link(draft, path)
    except FileExistsError as error:
        raise NotPermitted(f"{path} is already there", "A key is never overwritten; move it away first.") from error
    except OSError as error:
        raise NotPermitted(f"{path} cannot be written: {error.strerror or error}", "Check the folder.") from error
    finally:
        draft.unlink(missing_ok=True)
    _sync_folder(path.parent)


def load_key(path: Path) -> SigningKey:
    """The key at *path*. NotPermitted where others may read it, ConfigError where it is
    damaged or missing."""
    return SigningKey(load_seed(path))


def load_seed(path: Path) -> bytes:
    """What makes the key at *path*."""
    said = _read_private(path, _DIGITS + 3, "Run potminer init first.").strip()
    try:
        seed = bytes.fromhex(said.decode("ascii"))
    except ValueError:
        seed = b""
    if len(seed) != SEED_BYTES or len(said) != _DIGITS:
        raise ConfigError(f"{path} is no node key", "Restore it from your backup; potminer init makes a new one.")
    return seed


def _read_private(path: Path, size: int, hint: str) -> bytes:
    """At most *size* bytes of a file that is ours alone."""
    try:
        descriptor = os.open(path, os.O_RDONLY | _NO_SURPRISE)
    except FileNotFoundError as error:
        raise ConfigError(f"there is no key at {path}", hint) from error
    except OSError as error:
        raise NotPermitted(
            f"{path} cannot be read: {error.strerror or error}", "It must be a file of yours."
        ) from error
    try:
        _refuse_if_shared(path, os.fstat(descriptor))
        return os.read(descriptor, size)
    finally:
        os.close(descriptor)


def load_or_create_key(path: Path) -> SigningKey:
    """The key at *path*, made where it is missing. Two processes that do this at once agree on one key."""
    if not path.exists() and not path.is_symlink():
        try:
            return create_key(path)
        except NotPermitted:
            if not path.exists():
                raise
    return load_key(path)


def mark_used(path: Path) -> bool:
    """Whether a replica with the key at *path* has lived before; from now on one has. The mark lies beside the key, so
    it is there where a disk with all that the replica signed is not."""
    mark = path.with_name(f"{path.name}.used")
    if mark.exists():
        return True
    _create_private(mark, b"A replica with this key has signed. Keep this file with the key.\n")
    return False


def replace_private(path: Path, content: bytes) -> None:
    """A private file in the place of one that may be there already, whole or not at all. NotPermitted where the disk
    refuses."""
    draft = path.with_name(f".{path.name}.{sodium.random(8).hex()}")
    try:
        _write_private(draft, content)
        os.replace(draft, path)
    except OSError as error:
        raise NotPermitted(f"{path} cannot be written: {error.strerror or error}", "Check the folder.") from error
    finally:
        draft.unlink(missing_ok=True)


def read_private(path: Path, size: int) -> bytes:
    """At most *size* bytes of a private file; nothing where there is none, or where others may have read it."""
    try:
        return _read_private(path, size, "")
    except (ConfigError, NotPermitted):
        return b""


def rotate_key(path: Path, kept: Path) -> SigningKey:
    """A new key in the place of the one at *path*, which lies at *kept* from now on, its marks beside it.

    Whatever this is interrupted by, *path* holds one whole key, and doing it again goes on. The marks go last: a key
    whose mark is missing would believe that it had never signed.
    """
    draft = path.with_name(f"{path.name}.next")
    try:
        if not (kept.exists() and kept.samefile(path)):
            os.link(path, kept)
        fresh = load_key(draft) if draft.exists() else create_key(draft)
        os.replace(draft, path)
        for mark in (".used", ".reached"):
            with suppress(FileNotFoundError):
                os.replace(f"{path}{mark}", f"{kept}{mark}")
    except FileExistsError as error:
        raise NotPermitted(f"{kept} is already there", "Move it away: a key is never overwritten.") from error
    except OSError as error:
        raise NotPermitted(f"{path} cannot be replaced: {error.strerror or error}", "Check the folder.") from error
    _sync_folder(path.parent)
    return fresh


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

# ---- the wallet: a key at rest under a passphrase ------------------------------------------


class Effort(NamedTuple):
    """What one guess of a passphrase costs: passes over *memory* bytes (Argon2id)."""

    passes: int
    memory: int


EFFORT = Effort(argon2id.OPSLIMIT_MODERATE, argon2id.MEMLIMIT_MODERATE)
"""3 passes over 256 MiB: about a second, and dear to guess at on a GPU."""
_MOST = Effort(16, 2**30)
"""A wallet file that asks for more is somebody's trap."""
WALLET_BYTES = 4_096
PASSPHRASE_BYTES = 1_024


class WalletFile(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What stands in the file, as JSON. *address* is checked against the key when it is opened."""

    format: Literal["potminer-wallet-1"]
    address: Annotated[str, Meta(max_length=90)]
    passes: Annotated[int, Meta(ge=1, le=_MOST.passes)]
    memory: Annotated[int, Meta(ge=8_192, le=_MOST.memory)]
    salt: Annotated[bytes, Meta(min_length=argon2id.SALTBYTES, max_length=argon2id.SALTBYTES)]
    sealed: Annotated[bytes, Meta(min_length=72, max_length=72)]
    """Nonce (24 bytes), tag (16) and the encrypted seed (32): XSalsa20-Poly1305."""


def seal_wallet(seed: bytes, passphrase: str, *, effort: Effort = EFFORT) -> bytes:
    """The bytes of a wallet file that only *passphrase* opens."""
    salt = sodium.random(argon2id.SALTBYTES)
    box = SecretBox(_stretch(passphrase, salt, effort))
    address = encode_address(SigningKey(seed).public)
    file = WalletFile("potminer-wallet-1", address, *effort, salt, bytes(box.encrypt(seed)))
    return msgspec.json.encode(file) + b"\n"


def read_wallet(path: Path) -> WalletFile:
    """The file at *path*, still closed. NotPermitted and ConfigError as for a node key."""
    said = _read_private(path, WALLET_BYTES + 1, "Make one with potminer wallet new.")
    try:
        if len(said) > WALLET_BYTES:
            raise ValueError("too large")
        return msgspec.json.decode(said, type=WalletFile)
    except ValueError as error:
        raise ConfigError(f"{path} is no wallet: {error}", "Restore it: potminer wallet restore.") from error


def open_wallet(file: WalletFile, passphrase: str) -> bytes:
    """The seed. NotPermitted where the passphrase, or a bit of the file, is wrong: nobody can tell which."""
    box = SecretBox(_stretch(passphrase, file.salt, Effort(file.passes, file.memory)))
    try:
        seed = bytes(box.decrypt(file.sealed))
    except CryptoError as error:
        raise NotPermitted("the passphrase is wrong, or the file is damaged", "The 24 words restore it.") from error
    if encode_address(SigningKey(seed).public) != file.address:
        raise NotPermitted("the address in the file is not that of the key in it", "Somebody changed the file.")
    return seed


def create_wallet(path: Path, content: bytes) -> None:
    """A new private file; NotPermitted where one is there: money is never overwritten."""
    _create_private(path, content)


def new_seed() -> bytes:
    return sodium.random(SEED_BYTES)


def _stretch(passphrase: str, salt: bytes, effort: Effort) -> bytes:
    """Spelt alike on every keyboard: NFKC first, as BIP-39 has it for words."""
    said = unicodedata.normalize("NFKC", passphrase).encode()
    if not 1 <= len(said) <= PASSPHRASE_BYTES:
        raise UsageError(f"a passphrase has 1 to {PASSPHRASE_BYTES} bytes", "Choose several words.")
    return argon2id.kdf(SecretBox.KEY_SIZE, said, salt, opslimit=effort.passes, memlimit=effort.memory)
