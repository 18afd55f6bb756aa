"""One daemon per data folder, and the note that says where it listens.

The lock is the operating system's, held on an open file: it ends with the process however
that ends, so no stale lock exists and no process id has to be believed.
"""

from __future__ import annotations

import os
import sys
from dataclasses import dataclass
from pathlib import Path

import msgspec

from potminer.base.errors import AlreadyRunning
from potminer.world.api.address import Address
from potminer.world.paths import private_folder

_NOTE_BYTES = 8_192
_FAR = 1 << 30
"""Windows locks bytes, and a locked byte cannot be read: lock one far behind the note."""


class LockNote(msgspec.Struct, frozen=True):
    pid: int
    address: str = ""


@dataclass(frozen=True, slots=True)
class Lock:
    """Held until ``release`` or the end of the process."""

    path: Path
    handle: int

    @classmethod
    def acquire(cls, path: Path) -> Lock:
        """The lock at *path*; AlreadyRunning says who holds it and where it listens."""
        private_folder(path.parent)
        handle = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
        if not _try_lock(handle):
            os.close(handle)
            note = read_note(path)
            who = f"potminer runs already for {path.parent}"
            if note is not None:
                who += f" (process {note.pid}{', ' + note.address if note.address else ', starting'})"
            raise AlreadyRunning(who, "Look at it with `potminer status`, or give another --datadir.")
        lock = cls(path, handle)
        lock._write(LockNote(os.getpid()))
        return lock

    def publish(self, address: Address) -> None:
        """Say where the API listens, so that faces find it."""
        self._write(LockNote(os.getpid(), str(address)))

    def release(self) -> None:
        os.ftruncate(self.handle, 0)
        os.close(self.handle)

    def _write(self, note: LockNote) -> None:
        os.ftruncate(self.handle, 0)
        os.lseek(self.handle, 0, os.SEEK_SET)
        os.write(self.handle, msgspec.json.encode(note))


def read_note(path: Path) -> LockNote | None:
    """What the holder wrote; None where nobody holds it or it says nothing readable."""
    try:
        with path.open("rb") as file:
            return msgspec.json.decode(file.read(_NOTE_BYTES), type=LockNote)
    except (OSError, msgspec.DecodeError, UnicodeError):
        return None


if sys.platform == "win32":
    import msvcrt

    def _try_lock(handle: int) -> bool:
        os.lseek(handle, _FAR, os.SEEK_SET)
        try:
            msvcrt.locking(handle, msvcrt.LK_NBLCK, 1)
        except OSError:
            return False
        return True
else:
    import fcntl

    def _try_lock(handle: int) -> bool:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        return True
