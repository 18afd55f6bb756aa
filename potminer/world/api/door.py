"""The door: how many connections the API keeps, and who gives way to a newcomer.

Each listening address has places of its own, and TCP never takes the last of all: whoever may open the unix socket,
the operator, always gets in. A newcomer takes the place of a connection that asks nothing at the moment: first of one
that has asked nothing yet that it may ask, then of who has been idle longest. So connections that are only held open
cost nobody else anything. Where everybody is being answered the newcomer is told so, and hung up on.
"""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from potminer.wire.control import Fault, Refusal, to_json

PLACES = 384
"""Of one address: more than may be answered at once (64, 256 that wait, streams and uploads among them)."""
IN_ALL = 512
OPEN_FILES = 2_048
"""Connections, links, greetings, the database and the worker's pipes take less than half of it."""


@dataclass(slots=True, eq=False)
class _Guest:
    """*proven*: has asked what it may ask. *answered*: how many of its requests are under way."""

    transport: asyncio.BaseTransport
    local: bool
    proven: bool = False
    answered: int = 0


class Door:
    def __init__(self, *, places: int = PLACES, in_all: int = IN_ALL) -> None:
        self._places = places
        self._in_all = in_all
        self._guests: dict[asyncio.BaseTransport, _Guest] = {}
        """Longest idle first."""

    @property
    def connections(self) -> int:
        return sum(not guest.transport.is_closing() for guest in self._guests.values())

    def before(self, server: Callable[[], asyncio.Protocol], *, local: bool) -> Callable[[], asyncio.Protocol]:
        """A factory of protocols for a listening socket: who is let in is handed to *server*'s."""
        return lambda: _Threshold(self, server, local)

    def admit(self, transport: asyncio.BaseTransport, *, local: bool) -> bool:
        """Whether there is a place for *transport*, perhaps another's."""
        for gone in [each for each in self._guests if each.is_closing()]:
            del self._guests[gone]
        same = sum(guest.local is local for guest in self._guests.values())
        crowded = same >= self._places
        if crowded or len(self._guests) >= self._in_all:
            victim = self._idlest(local if crowded else None, newcomer=local)
            if victim is None:
                return False
            del self._guests[victim.transport]
            _abort(victim.transport)
        self._guests[transport] = _Guest(transport, local)
        return True

    def _idlest(self, only: bool | None, *, newcomer: bool) -> _Guest | None:
        """Who gives way: of one address, or of all, TCP first; a newcomer by TCP never takes a place of the other."""
        idle = [
            guest for guest in self._guests.values()
            if not guest.answered and only in (None, guest.local) and (newcomer or not guest.local)
        ]  # fmt: skip
        return min(idle, key=lambda guest: (guest.local, guest.proven), default=None)

    @contextmanager
    def answering(self, transport: asyncio.BaseTransport | None) -> Iterator[None]:
        """While a request is under way its connection keeps its place; afterwards it is the least idle."""
        guest = None if transport is None else self._guests.get(transport)
        if guest is None:
            yield
            return
        guest.proven = True
        guest.answered += 1
        try:
            yield
        finally:
            guest.answered -= 1
            if self._guests.pop(guest.transport, None) is not None:
                self._guests[guest.transport] = guest


class _Threshold(asyncio.Protocol):
    """What a connection is before it has a place."""

    def __init__(self, door: Door, server: Callable[[], asyncio.Protocol], local: bool) -> None:
        self._door = door
        self._server = server
        self._local = local

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        if self._door.admit(transport, local=self._local):
            inside = self._server()
            transport.set_protocol(inside)
            inside.connection_made(transport)
        elif isinstance(transport, asyncio.WriteTransport):
            transport.write(_full())
            transport.close()


def _full() -> bytes:
    fault = Fault(code="busy", what="every connection of this node's API is in use", hint="Try again in a moment.")
    body = to_json(Refusal(error=fault))
    head = f"HTTP/1.1 429 Too Many Requests\r\nContent-Type: application/json\r\nContent-Length: {len(body)}\r\n"
    return f"{head}Connection: close\r\n\r\n".encode() + body


def _abort(transport: asyncio.BaseTransport) -> None:
    if isinstance(transport, asyncio.WriteTransport):
        transport.abort()
    else:
        transport.close()


def connections_allowed() -> int:
    """Asks the system for enough open files, and says how many of them may be connections: where it allows few (256
    is usual on macOS before asking), a part of those."""
    if sys.platform == "win32":
        return IN_ALL
    import resource

    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft != resource.RLIM_INFINITY and soft < OPEN_FILES:
        wanted = OPEN_FILES if hard == resource.RLIM_INFINITY else min(OPEN_FILES, hard)
        try:
            resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
            soft = wanted
        except (ValueError, OSError):
            pass  # the system keeps to less than it says
    return IN_ALL if soft == resource.RLIM_INFINITY else max(16, min(IN_ALL, soft // 2))
