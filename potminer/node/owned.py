"""Whose disk this is. What a key signed is written on its disk alone: on another's it would sign a second time."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from typing import Final

from potminer.base.address import encode_address
from potminer.base.errors import ConfigError

OWNER: Final = b"memory/key"


async def claim(
    journal: dict[bytes, bytes], key: bytes, persist: Callable[[Sequence[tuple[bytes, bytes]]], Awaitable[None]]
) -> None:
    """The disk is *key*'s from now on; ConfigError where it is another's. Disks of before there was this note are
    whoever's opens them next."""
    owner = journal.get(OWNER)
    if owner is None:
        await persist([(OWNER, key)])
        journal[OWNER] = key
    elif owner != key:
        raise ConfigError(
            f"this database was written by another node, {encode_address(owner)[:16]}...",
            "What this node's key has signed is not in it. Move it away: the node fetches the chain from its peers.",
        )
