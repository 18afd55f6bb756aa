"""apply_block: transfers per second with and without signature checks, and what the root costs.

"Without" answers True for every signature, as the mempool does for what it has checked before.
"""

from __future__ import annotations

import cProfile
import pstats
import time

from chains import FEE, GRAINS, Chain
from record import Figures, finish, parser, side_by_side

from potminer.core import trie
from potminer.core.ledger.apply import Applied, apply_block
from potminer.core.ledger.ledger import Ledger
from potminer.core.ledger.state import State
from potminer.wire.block import Block, transactions_root
from potminer.wire.codec import encode
from potminer.wire.record import Account, account_key

TRANSFERS = 1_000


def measure(accounts: int) -> Figures:
    world = Chain(accounts)
    began = time.perf_counter()
    state = world.state
    built_s = time.perf_counter() - began
    block = world.block(world.transfers(TRANSFERS))

    def checked() -> None:
        _applied(state, block, trusting=False)

    def trusted() -> None:
        _applied(state, block, trusting=True)

    changes = [(account_key(key.public), encode(Account(GRAINS - FEE, 1))) for key in world.keys[: 2 * TRANSFERS]]
    took = side_by_side(
        {
            "checked": checked,
            "trusted": trusted,
            "root": lambda: trie.update(state.tree, changes),
            "transactions_root": lambda: transactions_root(block.transactions),
            "ledger": lambda: _through_ledger(world, block),
        },
        repeats=7,
    )
    return {
        "genesis_s": built_s,
        "checked_tx_per_s": TRANSFERS / took["checked"],
        "trusted_tx_per_s": TRANSFERS / took["trusted"],
        "signature_share": 1 - took["trusted"] / took["checked"],
        "root_update_us_per_changed_key": took["root"] / len(changes) * 1e6,
        "root_share_of_trusted": took["root"] / took["trusted"],
        "transactions_root_us_per_tx": took["transactions_root"] / TRANSFERS * 1e6,
        "admit_judge_execute_tx_per_s": TRANSFERS / took["ledger"],
    }


def _applied(state: State, block: Block, *, trusting: bool) -> Applied:
    done = apply_block(state, block, verifier=lambda _: True) if trusting else apply_block(state, block)
    if not isinstance(done, Applied):
        raise SystemExit(f"the benchmark's block is refused: {done.reason}")
    return done


def _through_ledger(world: Chain, block: Block) -> None:
    """What a replica does with a block in all: every transaction admitted, the proposal judged, the block executed."""
    ledger = Ledger(world.state, head=block.header.parent)
    for signed in block.transactions:
        if ledger.submit(signed) is not None:
            raise SystemExit("the benchmark's transaction is refused")
    if ledger.refusal(block, fresh=False, now=0) is not None:
        raise SystemExit("the benchmark's proposal is refused")
    ledger.execute(block)


def hottest(world: Chain) -> list[str]:
    """Functions by own time, of one apply without signature checks."""
    block = world.block(world.transfers(TRANSFERS))
    profile = cProfile.Profile()
    profile.runcall(_applied, world.state, block, trusting=True)
    stats = pstats.Stats(profile)
    whole = stats.total_tt  # type: ignore[attr-defined]
    rows = sorted(stats.stats.items(), key=lambda row: -row[1][2])[:8]  # type: ignore[attr-defined]
    return [f"{name} {own / whole:.0%}" for (_, _, name), (_, _, own, _, _) in rows]


def main() -> None:
    made = parser(__doc__ or "")
    made.add_argument("--accounts", type=int, nargs="*", default=[1_000, 100_000])
    options = made.parse_args()
    figures: Figures = {f"accounts_{count}": measure(count) for count in options.accounts}
    figures["hottest_without_signatures"] = hottest(Chain(1_000))
    finish("apply_block", figures, options)


if __name__ == "__main__":
    main()
