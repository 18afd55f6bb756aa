"""One conversation with the running daemon, from a command."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, TypeVar

from potminer.cli.place import Place

if TYPE_CHECKING:
    from potminer.world.api.attach import Client

T = TypeVar("T")


def ask(place: Place, question: Callable[[Client], Awaitable[T]], *, socket: str | None = None) -> T:
    """The answer of the daemon of *place* (or behind *socket*) to *question*."""

    async def converse() -> T:
        from potminer.world.api.address import address_from_flag
        from potminer.world.api.attach import Client, find

        address = find(place.paths()) if socket is None else address_from_flag(socket)
        async with Client(address) as node:
            return await question(node)

    return asyncio.run(converse())
