"""What commands that show money believe: proofs from the last block that was proven here, never a node's word."""

from __future__ import annotations

from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

from potminer.cli.clock import now_ms
from potminer.cli.place import Place

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from potminer.node.follower import Follower
    from potminer.wire.genesis import Genesis
    from potminer.world.api.attach import Client


async def genesis_of(place: Place, node: Client) -> Genesis:
    """Our own, where there is one: what is proven is proven from there."""
    from potminer.node.genesisfile import read_genesis

    path = place.paths().genesis
    return read_genesis(path) if path.is_file() else await node.genesis()


@asynccontextmanager
async def following(place: Place, node: Client) -> AsyncIterator[Follower]:
    """A light client of *node* that begins where ours last ended, and where *place* has a genesis of its own keeps
    what it proves for the next. NotProven where the node is of another chain, or misleads; Unreachable where it stands
    behind what is proven already: it may be catching up."""
    from potminer.base.errors import Unreachable
    from potminer.core.light.trust import Terms, from_genesis
    from potminer.node import believed
    from potminer.node.follower import Follower

    genesis, paths = await genesis_of(place, node), place.paths()
    path, own = paths.datadir / believed.NAME, paths.genesis.is_file()
    trust, step = believed.recall(path, genesis) if own else (from_genesis(genesis), None)
    stands = (await node.chain()).height
    if stands < trust.height:
        said = f"the node is at block {stands}, and {trust.height} is proven"
        raise Unreachable(said, "Let it catch up, or ask another.")
    follower = Follower(trust, Terms(), clock=now_ms)
    await follower.catch_up(node)
    yield follower
    if own:
        believed.remember(path, follower.trust, follower.step or step)
