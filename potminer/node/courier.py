"""Bringing a transaction in: to one validator, after two seconds to the others, believing none of them.

An answer counts where its proof holds. Whoever is silent, refuses or lies only costs time, as long as
one honest validator can be reached; handing in the same bytes at several is one transaction.
"""

from __future__ import annotations

import asyncio
from base64 import b64decode
from binascii import Error as NotBase64
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Final

from potminer.base.errors import Malformed, NotPermitted, NotProven, PotminerError, Unreachable
from potminer.core.light.shown import Fate
from potminer.node.follower import Follower
from potminer.wire.codec import decode
from potminer.wire.control import ReceiptView, Until
from potminer.wire.proof import PROOF_BYTES, TransactionProof
from potminer.wire.tx import SignedTransaction, transaction_digest
from potminer.world.api.address import Address
from potminer.world.api.attach import Client, NotFound

RETRY_S: Final = 2.0
WITHIN_S: Final = 30.0
WAIT_MS: Final = 5_000
"""One request's patience; then the same is asked again."""
_PAUSE_S: Final = 0.1

Question = Callable[[Client], Awaitable[ReceiptView]]


@dataclass(frozen=True, slots=True)
class Delivered:
    """*fate* is proven by *node*'s answer; *faults* says what was wrong with others, by address."""

    fate: Fate
    node: Address
    faults: dict[Address, PotminerError]


class Courier:
    """*addresses* are tried in their order. *follower* judges, and learns committees on the way."""

    def __init__(self, addresses: Sequence[Address], follower: Follower, *, retry_s: float = RETRY_S) -> None:
        if not addresses:
            raise AssertionError("a courier needs somewhere to go")
        self._addresses = tuple(addresses)
        self._follower = follower
        self._retry_s = retry_s

    async def send(
        self, signed: SignedTransaction, *, until: Until = Until.DECIDED, within_s: float = WITHIN_S
    ) -> Delivered:
        """Until the transaction is proven to be in a block, and for DECIDED what became of it.

        NotPermitted where everybody who answered refuses it; NotProven where somebody lied and nobody
        else could prove anything; Unreachable where nobody answered or no block took it in time.
        """
        name = transaction_digest(signed.transaction)
        try:
            async with asyncio.timeout(within_s):
                return await self._send(signed, name, until)
        except TimeoutError as error:
            raise Unreachable(
                f"nobody proved the transaction within {within_s:g} s",
                f"It may still happen; ask for {name.hex()}, or send the same bytes again.",
            ) from error

    async def _send(self, signed: SignedTransaction, name: bytes, until: Until) -> Delivered:
        first = await self._hedge(
            self._addresses, name, lambda node: node.post(signed, wait_ms=WAIT_MS), Until.INCLUDED
        )
        if until is Until.INCLUDED or first.fate.decided:
            return first
        rest = [first.node, *(each for each in self._addresses if each != first.node)]
        decided = await self._hedge(
            rest, name, lambda node: node.receipt(name.hex(), wait_ms=WAIT_MS, until=until), until
        )
        return Delivered(decided.fate, decided.node, {**first.faults, **decided.faults})

    async def _hedge(self, addresses: Sequence[Address], name: bytes, question: Question, until: Until) -> Delivered:
        """Ask the first; whenever it takes too long or fails, also the next. The first proof wins."""
        waiting = list(addresses)
        faults: dict[Address, PotminerError] = {}
        asked: dict[asyncio.Task[Fate], Address] = {}
        try:
            while waiting or asked:
                if waiting:
                    address = waiting.pop(0)
                    asked[asyncio.create_task(self._ask(address, name, question, until))] = address
                done, _ = await asyncio.wait(
                    asked, timeout=self._retry_s if waiting else None, return_when=asyncio.FIRST_COMPLETED
                )
                for task in done:
                    address, error = asked.pop(task), task.exception()
                    if error is None:
                        return Delivered(task.result(), address, faults)
                    if not isinstance(error, PotminerError):
                        raise error
                    faults[address] = error
        finally:
            for task in asked:
                task.cancel()
            await asyncio.gather(*asked, return_exceptions=True)
        raise _worst(faults)

    async def _ask(self, address: Address, name: bytes, question: Question, until: Until) -> Fate:
        """Ask one node again and again until it proves what is wanted. Its fault ends it."""
        async with Client(address) as node:
            while True:
                try:
                    view = await question(node)
                except NotFound:
                    # It has not heard of a transaction that another node has: gossip is on its way.
                    await asyncio.sleep(_PAUSE_S)
                    continue
                fate = None if view.proven is None else await self._follower.fate(node, proof_of(view), name)
                if fate is not None and (fate.decided or until is Until.INCLUDED):
                    return fate
                await asyncio.sleep(_PAUSE_S)


def proof_of(view: ReceiptView) -> TransactionProof:
    try:
        return decode(TransactionProof, b64decode(view.proof, validate=True), max_bytes=PROOF_BYTES)
    except (Malformed, NotBase64, ValueError) as error:
        raise NotProven(f"the node's proof is none: {error}", "Do not believe it; ask another node.") from error


def _worst(faults: dict[Address, PotminerError]) -> PotminerError:
    """What to tell, where nobody proved anything: a lie before a refusal before silence."""
    for kind in (NotProven, NotPermitted):
        for error in faults.values():
            if isinstance(error, kind):
                return error
    return next(iter(faults.values()))
