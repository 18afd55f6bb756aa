"""After the end: what every member stored is opened and counted again, by nobody who took part.

Each ledger must have the root its head claims, the chains must agree wherever they overlap,
and the grains must sum to the genesis supply.
"""

from __future__ import annotations

from dataclasses import dataclass

from potminer.core.ledger.state import restored, supply
from potminer.devnet.plan import Member, Plan
from potminer.node.genesisfile import read_genesis
from potminer.wire.genesis import chain_id, genesis_supply
from potminer.world.store.store import Store


@dataclass(frozen=True, slots=True)
class Verified:
    """*height* is the greatest that every member reached, *state_root* the root after it."""

    height: int
    state_root: bytes
    roots_agree: bool
    supply_ok: bool


async def verify_members(plan: Plan) -> Verified:
    """The stored ledgers of all members of *plan*, none of which may be running."""
    chains = [await _chain(plan, member) for member in plan.members]
    common = min(height for height, _, _ in chains)
    roots = {roots[common] for _, roots, _ in chains}
    agree = all(
        len({roots[height] for _, roots, _ in chains if height in roots}) == 1 for height in range(1, common + 1)
    )
    return Verified(common, next(iter(roots)), agree and len(roots) == 1, all(ok for _, _, ok in chains))


async def _chain(plan: Plan, member: Member) -> tuple[int, dict[int, bytes], bool]:
    """(height, root by height, whether root and supply hold) of one member's store."""
    genesis = read_genesis(plan.genesis)
    expected = genesis_supply(genesis)
    async with Store.open(member.datadir / "potminer.sqlite") as store:
        head = await store.head()
        if head is None:
            return 0, {}, False
        state = restored(chain_id(genesis), genesis.parameters, (await store.load_state()).items())
        holds = state.root == head.state_root and supply(state) == expected
        return head.height, await store.state_roots(), holds
