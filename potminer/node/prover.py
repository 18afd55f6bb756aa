"""Proving: what a client is given so that it need not believe this node."""

from __future__ import annotations

import asyncio
from base64 import b64encode
from collections import OrderedDict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Final

from potminer.base import limits, merkle
from potminer.base.address import encode_address
from potminer.base.digest import Domain
from potminer.base.errors import NotPermitted, PotminerError, Unreachable, UsageError
from potminer.core.ledger.apply import RULES
from potminer.core.ledger.ledger import Ledger
from potminer.core.ledger.refusal import Refusal
from potminer.core.light.epochs import KEYS as STEP_KEYS
from potminer.node.past import HEADER, OUTCOMES, STEP, Past, models
from potminer.wire.answers import ChainStatus, Handed, HandedIn, PeerHead, Seat
from potminer.wire.block import Block, Certificate, Receipt
from potminer.wire.codec import decode, encode
from potminer.wire.control import ReceiptStatus, ReceiptView, Until
from potminer.wire.genesis import Genesis
from potminer.wire.proof import (
    EPOCHS_PER_REPLY,
    HEADERS_PER_REPLY,
    PROOF_BYTES,
    BlockOutcomes,
    CertifiedHeader,
    Epochs,
    Headers,
    ListProof,
    OutcomeProof,
    PastProof,
    Shown,
    TransactionProof,
)
from potminer.wire.tx import SignedTransaction, transaction_digest
from potminer.world.store.store import Store

BLOCKS_CACHED: Final = 8
LISTED: Final = 10_000
"""Transactions in the blocks that are kept as hashed leaves, some 1.5 KiB each: the newest stays whatever it has."""
TAKEN_AT_ONCE: Final = 16
"""Transactions of a batch that are verified in one go: about a millisecond."""
READ_BYTES: Final = limits.BLOCKS_BYTES


@dataclass(frozen=True, slots=True)
class Listed:
    """A block's transactions and receipts as hashed leaves."""

    block: Block
    certificate: Certificate
    leaves: tuple[bytes, ...]
    outcomes: BlockOutcomes
    receipts: tuple[bytes, ...]

    def prove(self, index: int, after: CertifiedHeader | None) -> TransactionProof:
        """That transaction *index* is in the block; with *after*, the next header, also what became of it."""
        outcome = None
        if after is not None:
            place = _place(Domain.RECEIPTS, self.receipts, index)
            outcome = OutcomeProof(self.outcomes.refusals[index], place, self.outcomes.record, after)
        included = CertifiedHeader(self.block.header, self.certificate)
        place = _place(Domain.TRANSACTIONS, self.leaves, index)
        return TransactionProof(self.block.transactions[index], place, included, outcome)


class Prover:
    """The part of the Backend that clients check (``world/api/backend.py``)."""

    def __init__(
        self, genesis: Genesis, ledger: Ledger, past: Past, store: Store,
        submit: Callable[[Sequence[SignedTransaction]], list[Refusal | None]], heads: Callable[[], dict[bytes, int]],
        clock: Callable[[], int], *, listed: int = LISTED,
    ) -> None:
        self._most_listed = listed
        self._genesis = genesis
        self._ledger = ledger
        self._past = past
        self._store = store
        self._submit = submit
        self._heads = heads
        self._clock = clock
        self._changed = asyncio.Event()
        self._listed: OrderedDict[int, Listed] = OrderedDict()

    def changed(self) -> None:
        """Everybody who waits looks again."""
        self._changed.set()
        self._changed = asyncio.Event()

    # ---- transactions ---------------------------------------------------------------------

    async def submit(self, signed: SignedTransaction, *, wait_ms: int, until: Until) -> ReceiptView:
        """The same bytes twice are one transaction: who comes again is told what became of it."""
        name = signed.digest
        (refusal,) = self._submit([signed])
        if refusal is not None and not await self._is_done(name):
            await self._check_known(signed)
            raise NotPermitted(f"the transaction is refused: {refusal}", "Nothing was sent and no money moved.")
        view = await self.receipt(name, wait_ms=wait_ms, until=until)
        if view is None:
            raise PotminerError("the transaction waits no more", "It has expired, or another took its nonce.")
        return view

    async def submit_all(self, transactions: Sequence[SignedTransaction]) -> HandedIn:
        """Each by itself, and a few at a time: votes must not wait behind a thousand signatures."""
        handed: list[Handed] = []
        for at in range(0, len(transactions), TAKEN_AT_ONCE):
            some = transactions[at : at + TAKEN_AT_ONCE]
            for signed, refusal in zip(some, self._submit(some), strict=True):
                stands = refusal is None or await self._is_done(signed.digest)
                handed.append(Handed(transaction=signed.digest.hex(), refusal=None if stands else refusal))
            await asyncio.sleep(0)
        return HandedIn(transactions=tuple(handed))

    async def _is_done(self, name: bytes) -> bool:
        """Whether a block holds the transaction already."""
        return name in self._past.newest or await self._store.receipt(name) is not None

    async def _check_known(self, signed: SignedTransaction) -> None:
        """Of a used nonce who leapt over blocks, or let them go with their receipts, cannot say who used it: the same
        transaction may have been done in one of them. Unreachable then, and never that no money moved."""
        sent, missing = signed.transaction, await self._store.lowest() - 1
        if missing and sent.nonce < self._ledger.state.account(sent.sender).nonce:
            raise Unreachable(
                f"this node cannot know whether the transaction is done: blocks 1 to {missing} are not here",
                "Its nonce is used, perhaps by itself. Ask a validator that keeps all blocks before sending another.",
            )

    async def receipt(self, name: bytes, *, wait_ms: int, until: Until) -> ReceiptView | None:
        """What became of a transaction; with *wait_ms*, as soon as *until* can be proven."""
        loop = asyncio.get_running_loop()
        deadline = loop.time() + wait_ms / 1000
        while True:
            changed = self._changed
            view = await self._view(name)
            left = deadline - loop.time()
            if view is None or left <= 0 or view.proven is Until.DECIDED or view.proven is until:
                return view
            try:
                async with asyncio.timeout(left):
                    await changed.wait()
            except TimeoutError:
                return await self._view(name)

    async def _view(self, name: bytes) -> ReceiptView | None:
        waiting = ReceiptView(transaction=name.hex(), status=ReceiptStatus.WAITING)
        if name in self._ledger.mempool:  # it has no receipt yet, so the store need not be asked
            return waiting
        found = await self._store.receipt(name)
        if found is None:
            return waiting if name in self._past.newest else None
        height, position, code, _ = found
        if height < await self._store.lowest():
            return _let_go(name, height, code)
        proof = await self._prove(height, position)
        return ReceiptView(
            transaction=name.hex(),
            status=ReceiptStatus.REFUSED if code else ReceiptStatus.APPLIED,
            height=height,
            reason=code,
            proven=Until.INCLUDED if proof.outcome is None else Until.DECIDED,
            proof=b64encode(encode(proof)).decode(),
        )

    async def _prove(self, height: int, position: int) -> TransactionProof:
        return (await self._list(height)).prove(position, await self._certified(height + 1))

    async def _list(self, height: int) -> Listed:
        """The block of *height*, which is stored and has transactions."""
        if height not in self._listed:
            stored = await self._store.proof(OUTCOMES, height)
            blocks = await self._store.blocks(height, 1, READ_BYTES)
            if stored is None or not blocks:
                raise AssertionError(f"the receipts of block {height} are stored, but not what proves them")
            block = decode(Block, blocks[0][0], max_bytes=limits.BLOCK_MESSAGE_BYTES)
            certificate = decode(Certificate, blocks[0][1], max_bytes=limits.VIEW_CHANGE_BYTES)
            outcomes = decode(BlockOutcomes, stored, max_bytes=limits.BLOCK_BYTES)
            self._listed[height] = list_block(block, certificate, outcomes)
            self._let_go()
        return self._listed[height]

    def _let_go(self) -> None:
        """Of blocks asked about, the oldest beyond the bounds."""
        while len(self._listed) > BLOCKS_CACHED or (
            len(self._listed) > 1 and sum(len(each.leaves) for each in self._listed.values()) > self._most_listed
        ):
            self._listed.popitem(last=False)

    # ---- headers and state ----------------------------------------------------------------

    async def genesis(self) -> bytes:
        return encode(self._genesis)

    async def chain(self) -> ChainStatus:
        state, committee = self._ledger.state, self._ledger.state.committee
        provable = self._past.provable
        return ChainStatus(
            taken_ms=self._clock(),
            network=self._genesis.network,
            chain=state.chain.hex(),
            rules=RULES,
            height=state.head.height,
            digest=self._ledger.head.hex(),
            epoch=committee.epoch,
            time_ms=state.head.time_ms,
            state_root=state.root.hex(),
            committee=tuple(
                Seat(key=encode_address(member), power=power)
                for member, power in zip(committee.members, committee.powers, strict=True)
            ),
            provable_first=None if provable is None else provable[0],
            provable_last=None if provable is None else provable[1],
            heads=tuple(
                PeerHead(key=encode_address(peer), height=height) for peer, height in sorted(self._heads().items())
            )[: limits.PEERS],
        )

    async def headers(self, first: int, count: int) -> Headers:
        """Consecutive certified headers from *first* on, perhaps fewer than *count*."""
        blocks = await self._store.blocks(first, min(count, HEADERS_PER_REPLY), READ_BYTES)
        if not blocks and 0 < first < await self._store.lowest():
            kept = await self._store.proof(HEADER, first)
            return Headers(() if kept is None else (decode(CertifiedHeader, kept, max_bytes=PROOF_BYTES),))
        return Headers(tuple(_certified(*stored) for stored in blocks))

    async def show(self, keys: Sequence[bytes], height: int | None) -> Shown:
        """Proofs of *keys* after block *height* (None: the newest that can be proven)."""
        provable = self._past.provable
        if provable is None:
            raise Unreachable("nothing can be proven before the next block", "Ask again in a few seconds.")
        found = self._past.at(provable[1] if height is None else height)
        if found is None:
            hint = f"This node can prove the state after blocks {provable[0]} to {provable[1]}."
            raise UsageError(f"the state after block {height} cannot be proven here", hint)
        state, certified = found
        shown = Shown(certified, tuple(state.prove(key) for key in keys))
        if len(encode(shown)) > PROOF_BYTES:
            raise UsageError(f"the proofs are larger than {PROOF_BYTES} bytes", "Ask for fewer keys at once.")
        return shown

    async def epochs(self, first: int, count: int) -> Epochs:
        """Steps from epoch *first* on: of each that is over its last header, of the one that runs its newest."""
        state = self._ledger.state
        blocks, steps = state.parameters.epoch_blocks, list[Shown]()
        for epoch in range(first, min(first + min(count, EPOCHS_PER_REPLY), state.committee.epoch + 1)):
            stored = await self._store.proof(STEP, (epoch + 1) * blocks)
            if stored is not None:
                steps.append(decode(Shown, stored, max_bytes=PROOF_BYTES))
            elif self._past.provable is not None:
                shown = await self.show(STEP_KEYS, None)
                return Epochs((*steps, shown) if shown.certified.header.epoch == epoch else tuple(steps))
            else:
                break
        return Epochs(tuple(steps))

    async def model(self, task: bytes, round: int) -> Shown | None:
        """Proof of *task*'s record as it was when *round* rounds had closed; None where none is kept."""
        stored = await self._store.proof(models(task), round)
        if stored is None:
            return None
        past = decode(PastProof, stored, max_bytes=PROOF_BYTES)
        certified = await self._certified(past.height + 1)
        if certified is None and past.height + 1 < await self._store.lowest():
            hint = "It was let go (node.keep_blocks); ask a node that keeps all blocks."
            raise UsageError(f"the header after block {past.height} is not here any more", hint)
        if certified is None:
            raise Unreachable("it can be proven with the next block", "Ask again in a few seconds.")
        return Shown(certified, (past.proof,))

    async def _certified(self, height: int) -> CertifiedHeader | None:
        headers = (await self.headers(height, 1)).headers
        return headers[0] if headers else None


def _let_go(name: bytes, height: int, code: str) -> ReceiptView:
    """Of a block that this node pruned: what became of the transaction is known, and proven by nobody here."""
    status = ReceiptStatus.REFUSED if code else ReceiptStatus.APPLIED
    reason = f"{code}; " if code else ""
    said = f"{reason}block {height} was let go here (node.keep_blocks): ask another node for the proof"
    return ReceiptView(transaction=name.hex(), status=status, height=height, reason=said)


def list_block(block: Block, certificate: Certificate, outcomes: BlockOutcomes) -> Listed:
    receipts = [
        Receipt(transaction_digest(signed.transaction), index, outcomes.refusals[index])
        for index, signed in enumerate(block.transactions)
    ]
    return Listed(
        block,
        certificate,
        tuple(merkle.leaf(Domain.TRANSACTIONS, encode(signed)) for signed in block.transactions),
        outcomes,
        tuple(merkle.leaf(Domain.RECEIPTS, encode(receipt)) for receipt in receipts),
    )


def _place(domain: Domain, leaves: tuple[bytes, ...], index: int) -> ListProof:
    return ListProof(index, len(leaves), tuple(merkle.path(leaves, index, partial(merkle.node, domain))))


def _certified(block: bytes, certificate: bytes) -> CertifiedHeader:
    return CertifiedHeader(
        decode(Block, block, max_bytes=limits.BLOCK_MESSAGE_BYTES).header,
        decode(Certificate, certificate, max_bytes=limits.VIEW_CHANGE_BYTES),
    )
