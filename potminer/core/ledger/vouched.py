"""What a node that does not vote checks of the signatures in a certified block: a few, drawn for itself.

A certificate is a quorum's word, and every honest member of a quorum checked every signature before it voted
(``Ledger.refusal``): a false one under a certificate needs a quorum without an honest member. Who only follows trusts
that word, as a light client does, and looks at one in ``SPOT`` all the same: where many follow, some notice.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from potminer.base import draw
from potminer.wire.tx import SignedTransaction, signature_holds

SPOT: Final = 32


def spot_checks(secret: bytes, block: bytes) -> Callable[[SignedTransaction], bool]:
    """Judges the signatures of *block* (its digest) in their order: of every SPOT neighbours one, which one only who
    has the *secret* knows."""
    turn = draw.below(draw.words(secret, block), SPOT)

    def holds(signed: SignedTransaction) -> bool:
        nonlocal turn
        turn = (turn + 1) % SPOT
        return turn != 0 or signature_holds(signed)

    return holds
