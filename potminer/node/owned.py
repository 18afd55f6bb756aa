"""Whose disk this is, and how far back it remembers what its key has signed.

What a key signed is written on its disk alone. On another's disk it would sign a second time; so it would on its own,
where that was lost, or went back to what it was before.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import replace
from typing import Final

from potminer.base.address import encode_address
from potminer.base.errors import ConfigError
from potminer.core.pbft.application import Head
from potminer.core.pbft.memory import SINCE, Memory

OWNER: Final = b"memory/key"
DAY_MS: Final = 86_400_000

Persist = Callable[[Sequence[tuple[bytes, bytes]]], Awaitable[None]]


async def claim(journal: dict[bytes, bytes], key: bytes, persist: Persist) -> None:
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


async def remember(
    journal: dict[bytes, bytes], persist: Persist, head: Head, *, votes: bool, used: bool, reached: int, now: int,
    silent_s: int, note: Callable[[str], None],
) -> Memory:
    """How far back a replica on this disk remembers what its key signed. *votes*: there is one now. *used*: the key has
    signed before. *reached*: the newest block that this disk has had, as far as is known outside of its database; 0
    where nothing is.

    A disk that begins without a replica has fetched blocks before one lives on it, so no first block can show that the
    chain is older than the disk, nor is its key's mark looked at. So it is taken for one that may have forgotten:
    its replica is silent below a minute of the chain after the disk began, which is long past for who is new."""
    begun: Memory | None = None
    if SINCE not in journal and not head.height:
        begun = Memory(now, lost=used or not votes)
    elif reached > head.height:
        begun = Memory(now, lost=True)
        note(f"this disk went back from block {reached} to {head.height}: what its key signed since is not known")
    if begun is not None:
        await persist(begun.begun())
        journal.update(begun.begun())
    memory = Memory.of(journal, silent_ms=1_000 * silent_s)
    if not silent_s:  # its operator knows what it signed
        return replace(memory, lost=False)
    if votes and used and not memory.reaches(head):
        note(f"this key is older than its disk: it says nothing for {silent_s} s of the chain")
    return memory


def long_ago(head: Head, *, unbonding_ms: int, now: int) -> str | None:
    """What to tell an operator whose node stands where bonds of that time are released: whoever certified then may have
    nothing to lose any more, and their keys may be for sale (docs/spec/light.md §3). None where it does not."""
    age_ms = now - head.time_ms
    if age_ms <= unbonding_ms:
        return None
    return (
        f"the newest block here is {age_ms // DAY_MS} days old, and bonds are held for {unbonding_ms / DAY_MS:g}: old "
        "keys could show another past from there. Compare a recent block with somebody you trust: "
        "potminer chain verify --from HEIGHT:DIGEST"
    )
