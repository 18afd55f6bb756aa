"""How long transactions were left out: since which block each sender's next one stood ready and there was room for it.

Time is block time. The first block that leaves a ready transaction out although it had room starts its
clock, so what waits behind full blocks, or has only just come, has not been left out by anybody.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

from potminer.wire.tx import SignedTransaction

Next = Callable[[bytes], SignedTransaction | None]
"""A sender's transaction that could stand in the next block."""


class Patience:
    __slots__ = ("_fresh", "_since")

    def __init__(self) -> None:
        self._fresh: dict[bytes, None] = {}
        """Senders whose clock does not run yet."""
        self._since: dict[bytes, tuple[int, SignedTransaction]] = {}
        """In the order of time."""

    def begin(self, sender: bytes) -> None:
        """*sender* has something new to wait for."""
        if sender not in self._since:
            self._fresh[sender] = None

    def served(self, sender: bytes) -> None:
        """A transaction of *sender* was executed: the next one has not been left out yet."""
        self._since.pop(sender, None)
        self._fresh[sender] = None

    def forget(self, sender: bytes) -> None:
        self._since.pop(sender, None)
        self._fresh.pop(sender, None)

    def left_out(self, time_ms: int, following: Next) -> None:
        """A block with room was executed; what is ready now was not in it."""
        for sender in self._fresh:
            signed = following(sender)
            if signed is not None:
                self._since[sender] = (time_ms, signed)
        self._fresh.clear()

    def waiting(self, until_ms: int, following: Next) -> Iterator[SignedTransaction]:
        """Those left out since *until_ms* or longer, the longest first."""
        for sender, (since, signed) in list(self._since.items()):
            if since > until_ms:
                return
            if following(sender) is signed:
                yield signed
            else:
                self.served(sender)
