"""A stored chain judged again from the genesis: every certificate, every block executed, every root compared."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from potminer.base import limits
from potminer.base.errors import ConfigError, Malformed, NotProven
from potminer.core.committee import certificate_holds, committee_of
from potminer.core.ledger.apply import Applied, InvalidBlock, apply_block
from potminer.core.ledger.state import State, genesis_state
from potminer.wire.block import Block, Certificate, Header, block_digest
from potminer.wire.codec import decode
from potminer.wire.genesis import Genesis, chain_id
from potminer.wire.seal import Purpose
from potminer.world.store.store import Store

_BATCH: Final = 64
_BATCH_BYTES: Final = 2 * limits.BLOCK_BYTES


@dataclass(frozen=True, slots=True)
class Rechecked:
    """Everything up to *height* is as it was decided. *transactions* counts those executed."""

    chain: bytes
    height: int
    digest: bytes
    state_root: bytes
    time_ms: int
    transactions: int


async def recheck(store: Store, genesis: Genesis, tell: Callable[[int, int], None]) -> Rechecked:
    """NotProven names the first height that is not as it was decided. *tell* hears (height, of how many)."""
    chain = chain_id(genesis)
    head = await store.head()
    if head is None:
        raise ConfigError("the store is empty", "Let the node run first.")
    if await store.genesis_digest() != chain:
        raise ConfigError("the stored chain grew from another genesis", "Give its genesis with --genesis.")
    state, digest, transactions = genesis_state(genesis, chain=chain), chain, 0
    roots, digests = await store.state_roots(), await store.digests()
    _same(state.root, roots.get(0), 0, "state root")
    while state.head.height < head.height:
        first = state.head.height + 1
        batch = await store.blocks(first, _BATCH, _BATCH_BYTES)
        if not batch:
            raise NotProven(f"block {first} is missing", _HINT)
        for height, (body, proof) in enumerate(batch, first):
            block, applied = _judged(height, body, proof, state, digest)
            state, digest = applied.state, block_digest(block.header)
            transactions += len(block.transactions)
            _same(digest, digests.get(height), height, "digest")
            _same(state.root, roots.get(height), height, "state root")
        tell(state.head.height, head.height)
    if dict(state.items()) != await store.load_state():
        raise NotProven("the stored ledger is not what its blocks make", _HINT)
    return Rechecked(chain, head.height, digest, state.root, state.head.time_ms, transactions)


_HINT: Final = "Move potminer.sqlite away: the node fetches the chain again from its peers. Keys are kept elsewhere."


def _judged(height: int, body: bytes, proof: bytes, state: State, parent: bytes) -> tuple[Block, Applied]:
    try:
        block = decode(Block, body, max_bytes=limits.BLOCK_MESSAGE_BYTES)
        certificate = decode(Certificate, proof, max_bytes=limits.VIEW_CHANGE_BYTES)
    except Malformed as error:
        raise NotProven(f"block {height} cannot be read: {error}", _HINT) from error
    if block.header.parent != parent:
        raise NotProven(f"block {height} does not follow the one before it", _HINT)
    if not _is_final(block.header, certificate, state):
        raise NotProven(f"the certificate of block {height} does not hold", _HINT)
    applied = apply_block(state, block)
    if isinstance(applied, InvalidBlock):
        raise NotProven(f"block {height} does not apply: {applied.reason}", _HINT)
    return block, applied


def _is_final(header: Header, certificate: Certificate, state: State) -> bool:
    committee = committee_of(state.committee)
    place = (certificate.purpose, certificate.epoch, certificate.height, certificate.digest)
    expected = (Purpose.COMMIT, header.epoch, header.height, block_digest(header))
    return place == expected and certificate_holds(certificate, committee, chain=state.chain)


def _same(made: bytes, stored: bytes | None, height: int, what: str) -> None:
    if made != stored:
        raise NotProven(f"the stored {what} of block {height} is not what the block makes", _HINT)
