"""A release as files on a disk: SHA256SUMS, signed with Ed25519, and what it says of the files beside it.

The manifest is what ``sha256sum -c SHA256SUMS`` reads: a digest, two spaces and a name a line, and above them three
comments that say which version it is, when it was released and until when it is the newest word:

    # potminer 0.2.0
    # released 2026-11-23T12:00:00Z
    # expires 2027-05-23T12:00:00Z

``SHA256SUMS.sig`` holds the signature over its bytes, as 128 hexadecimal digits. The key is one that its owner was told
on another way: there is none in the program. A node's key signs nothing that begins like a manifest.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from hashlib import sha256
from pathlib import Path

from potminer.base.errors import ConfigError, NotPermitted, NotProven
from potminer.wire.seal import SigningKey, verify

MANIFEST = "SHA256SUMS"
SIGNATURE = f"{MANIFEST}.sig"
MANIFEST_BYTES = 262_144
SIGNATURE_BYTES = 1_024
FILES = 1_000
_HINT = "Do not install it. Get it again, from another place."
_VERSION = re.compile(r"(\d{1,6})\.(\d{1,6})\.(\d{1,6})")
_HEADER = re.compile(
    rf"# potminer ({_VERSION.pattern})\n"
    r"# released (\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ)\n# expires (\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ)\n"
)
_LINE = re.compile(r"([0-9a-f]{64})  ([A-Za-z0-9][A-Za-z0-9._+-]{0,199})\n")


@dataclass(frozen=True, slots=True)
class Manifest:
    """Times in Unix milliseconds; *files*: SHA-256 by name."""

    version: str
    released_ms: int
    expires_ms: int
    files: Mapping[str, bytes]


def read_signed(manifest: bytes, signature: bytes, key: bytes) -> Manifest:
    """What *manifest* says, once it is shown that the holder of *key* said it; NotProven otherwise."""
    said = signature.strip()
    if len(manifest) > MANIFEST_BYTES or re.fullmatch(rb"[0-9a-fA-F]{128}", said) is None:
        raise NotProven(f"{SIGNATURE} holds no signature, or {MANIFEST} is longer than any", _HINT)
    if not verify(key, manifest, bytes.fromhex(said.decode())):
        raise NotProven(f"{MANIFEST} is not signed by that key, or was changed since", _HINT)
    try:
        return parse(manifest.decode("ascii"))
    except ValueError as error:
        raise NotProven(f"{MANIFEST} is signed, and is no manifest of potminer: {error}", _HINT) from error


def parse(text: str) -> Manifest:
    """ValueError says what is wrong."""
    head = _HEADER.match(text)
    if head is None:
        raise ValueError("it does not begin with its version, its day and its end")
    files: dict[str, bytes] = {}
    at = head.end()
    while at < len(text):
        line = _LINE.match(text, at)
        if line is None or line[2] in files or len(files) == FILES:
            raise ValueError(f"line {text.count(chr(10), 0, at) + 1}")
        files[line[2]] = bytes.fromhex(line[1])
        at = line.end()
    return Manifest(head[1], _time_ms(head[5]), _time_ms(head[6]), files)


def order_of(version: str) -> tuple[int, int, int]:
    """As versions follow one another; ValueError where it is none."""
    found = _VERSION.fullmatch(version)
    if found is None:
        raise ValueError(f"{version[:40]!r} is no version")
    return int(found[1]), int(found[2]), int(found[3])


def digest_of(path: Path) -> bytes:
    """SHA-256 of the file at *path*, however large."""
    hasher = sha256()
    try:
        with path.open("rb") as file:
            while chunk := file.read(2**20):
                hasher.update(chunk)
    except OSError as error:
        raise NotPermitted(f"{path} cannot be read: {error.strerror or error}", "Check the path.") from error
    return hasher.digest()


def write_release(folder: Path, *, version: str, released_ms: int, expires_ms: int, key: SigningKey) -> Manifest:
    """Manifest and signature of all files in *folder*, beside them."""
    order_of(version)
    names = sorted(p.name for p in folder.iterdir() if p.is_file() and p.name not in (MANIFEST, SIGNATURE))
    lines = [f"{digest_of(folder / name).hex()}  {name}\n" for name in names]
    head = f"# potminer {version}\n# released {_time(released_ms)}\n# expires {_time(expires_ms)}\n"
    text = head + "".join(lines)
    try:
        made = parse(text)
    except ValueError as error:
        raise ConfigError(f"{folder} holds what no release may: {error}", "Plain names, and few.") from error
    (folder / MANIFEST).write_bytes(text.encode("ascii"))
    (folder / SIGNATURE).write_text(key.sign(text.encode("ascii")).hex() + "\n", encoding="ascii")
    return made


def _time_ms(said: str) -> int:
    return int(datetime.strptime(said, "%Y-%m-%dT%H:%M:%SZ").replace(tzinfo=UTC).timestamp()) * 1_000


def _time(at_ms: int) -> str:
    return datetime.fromtimestamp(at_ms // 1_000, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
