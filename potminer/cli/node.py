"""One conversation with the running daemon, from a command."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, TypeVar

from potminer.base.errors import UsageError
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


async def find_task(node: Client, said: str) -> str:
    """The full id of the task that a person named."""
    if len(said) == 64:
        return said
    tasks = await node.tasks()
    found = [task.task for task in tasks if task.name == said or (len(said) >= 4 and task.task.startswith(said))]
    if len(found) == 1:
        return found[0]
    if not found:
        raise UsageError(f"no task is called {said[:80]!r}", "Give its name, or at least 4 digits of its id.")
    raise UsageError(f"{len(found)} tasks are called {said[:80]!r}", "Give more digits of the id.")
