"""A host's disk: what ``Persist`` promised, and how disks break the promise.

The semantics are the store's (world/store): neighbouring writes are one commit, durable before
the next effect; a crash in between loses all of it. A torn write keeps a part: stronger than
SQLite, which drops the whole commit. The journal is sealed as a whole, so a record that was lost
or written over another is seen when the disk is read.
"""

from __future__ import annotations


class DiskFault(Exception):
    """The disk refuses; the node stops before its next effect, or does not start."""


class Disk:
    """*records* are durable; what is *pending* is lost in a crash."""

    __slots__ = ("_misdirect", "_pending", "_sealed", "full", "records", "tear", "unreadable")

    def __init__(self) -> None:
        self.records: dict[bytes, bytes] = {}
        self.full = False
        self.unreadable = False
        self.tear: int | None = None
        """The power goes in the middle of the next commit; so many of its records survive."""
        self._pending: list[tuple[bytes, bytes | None]] = []
        self._misdirect = False
        self._sealed: dict[bytes, bytes] = {}
        """What the seal covers: all that was written."""

    def write(self, key: bytes, value: bytes | None) -> None:
        self._pending.append((key, value))

    def sync(self) -> None:
        """What was written is durable on return; DiskFault, and nothing is, where there is no room."""
        if not self._pending:
            return
        if self.tear is not None:
            raise DiskFault("the power went")
        if self.full:
            self._pending.clear()
            raise DiskFault("no room")
        pending, self._pending = self._pending, []
        for key, value in pending:
            self._store(key, value)

    def lose(self) -> None:
        """The crash: of an unfinished commit, only what the tear left stays."""
        for key, value in self._pending[: self.tear or 0]:
            self._store(key, value)
        self._pending.clear()
        self.tear = None

    def read(self) -> dict[bytes, bytes]:
        """All records; DiskFault where they cannot be read or one is not what its seal says."""
        if self.unreadable:
            raise DiskFault("a read error")
        if self.records != self._sealed:
            raise DiskFault("not what was written")
        return dict(self.records)

    def misdirect(self) -> None:
        """The next record lands on another one."""
        self._misdirect = True

    def wipe(self) -> None:
        self.records.clear()
        self._pending.clear()
        self._sealed.clear()
        self._misdirect = False

    def _store(self, key: bytes, value: bytes | None) -> None:
        if value is None:
            self.records.pop(key, None)
            self._sealed.pop(key, None)
            return
        others = [other for other in self.records if other != key] if self._misdirect else []
        self._sealed[key] = value
        self.records[others[0] if others else key] = value
        self._misdirect = self._misdirect and not others
