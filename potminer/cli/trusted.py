"""What commands that show money believe: proofs from the last block that was proven here, never a node's word."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

from potminer.base.errors import Exit, PotminerError
from potminer.cli.clock import now_ms
from potminer.cli.place import Place

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from potminer.node.follower import Follower
    from potminer.wire.answers import EarningsDetail
    from potminer.wire.control import Snapshot
    from potminer.wire.genesis import Genesis
    from potminer.wire.proof import Shown
    from potminer.wire.proven import ProvenView
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


_KEEP_MS = 60_000
"""At least so long between two writings of what is believed, while an epoch lasts."""
_CHAINS = 8
"""Chains that are followed without a genesis of ours."""


@dataclass(slots=True)
class _Followed:
    """A chain that is followed; *path* is the file it is kept in, None where its genesis is not ours."""

    genesis: Genesis
    follower: Follower
    step: Shown | None
    path: Path | None
    kept_epoch: int
    kept_ms: int


class Examiner:
    """One light client for all rigs that a face looks at: it begins where ours last ended, and keeps what it comes to
    believe for the next. One rig is examined at a time, so that looking stays cheap however many there are."""

    def __init__(self, place: Place) -> None:
        self._place = place
        self._own: _Followed | None = None
        self._theirs: dict[str, _Followed] = {}
        self._busy = asyncio.Lock()

    async def examine(
        self, node: Client, photograph: Snapshot | None, detail: EarningsDetail | None = None, *, exact: bool = False
    ) -> ProvenView:
        """How what *node* said stands with what it can prove. What it was not asked for yet it is asked now.
        *exact*: see ``node/proven.py``."""
        from potminer.wire.proven import Backing, ProvenView

        async with self._busy:
            try:
                return await self._examine(node, photograph, detail, exact=exact)
            except PotminerError as error:  # the daemon does not answer, or a file of ours is damaged
                why = f"{error.what} {error.hint}".strip()[:200]
                key = "" if photograph is None else photograph.node
                return ProvenView(backing=Backing.WORD, why=why, taken_ms=now_ms(), key=key)

    async def _examine(
        self, node: Client, photograph: Snapshot | None, detail: EarningsDetail | None, *, exact: bool
    ) -> ProvenView:
        followed = await self._followed(node)
        from potminer.node.proven import Said, examine

        photograph = photograph or await node.snapshot()
        detail = detail or await node.earnings(units=0)
        view = await examine(
            followed.follower, node, Said(photograph, detail), anchored=followed.path is not None, exact=exact,
            escrow_rounds=followed.genesis.parameters.escrow_rounds, clock=now_ms,
        )  # fmt: skip
        await asyncio.to_thread(_keep, followed)
        return view

    async def _followed(self, node: Client) -> _Followed:
        """From our own genesis, where there is one; else from the one that this node handed us first."""
        if self._own is not None:
            return self._own
        if self._place.paths().genesis.is_file():
            self._own = await asyncio.to_thread(_begin, self._place)
            return self._own
        where = str(node.address)
        if where not in self._theirs:
            genesis = await node.genesis()
            while len(self._theirs) >= _CHAINS:
                del self._theirs[next(iter(self._theirs))]
            self._theirs[where] = _handed(genesis)
        return self._theirs[where]


def _begin(place: Place) -> _Followed:
    """ConfigError where the genesis, or what was kept, is damaged."""
    from potminer.core.light.trust import Terms
    from potminer.node import believed
    from potminer.node.follower import Follower
    from potminer.node.genesisfile import read_genesis

    paths = place.paths()
    genesis, path = read_genesis(paths.genesis), paths.datadir / believed.NAME
    trust, step = believed.recall(path, genesis)
    return _Followed(genesis, Follower(trust, Terms(), clock=now_ms), step, path, trust.newest_epoch, now_ms())


def _handed(genesis: Genesis) -> _Followed:
    from potminer.core.light.trust import Terms, from_genesis
    from potminer.node.follower import Follower

    return _Followed(genesis, Follower(from_genesis(genesis), Terms(), clock=now_ms), None, None, 0, now_ms())


def _keep(followed: _Followed) -> None:
    """Write down what is believed, where that is news and nobody else has written down more."""
    from potminer.node import believed

    trust, now = followed.follower.trust, now_ms()
    same_epoch = trust.newest_epoch == followed.kept_epoch
    if followed.path is None or (same_epoch and now - followed.kept_ms < _KEEP_MS):
        return
    if believed.recall(followed.path, followed.genesis)[0].height < trust.height:
        believed.remember(followed.path, trust, followed.follower.step or followed.step)
    followed.kept_epoch, followed.kept_ms = trust.newest_epoch, now


def ending(view: ProvenView | None) -> int:
    """What a command ends with that showed this."""
    from potminer.view.proven import LOUD

    return Exit.BAD_SIGNATURE if view is not None and view.backing in LOUD else Exit.OK
