"""A stored chain judged again from the genesis: every certificate, every block executed, every root compared. Where
blocks were let go, from the oldest snapshot on: committees lead to its header, and the header proves it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from potminer.base import limits
from potminer.base.errors import ConfigError, Malformed, NotProven
from potminer.core import trie
from potminer.core.chunks import Plan
from potminer.core.committee import certificate_holds, committee_of
from potminer.core.ledger.apply import Applied, InvalidBlock, apply_block
from potminer.core.ledger.state import State, genesis_state
from potminer.core.light import epochs, header
from potminer.core.light.flaw import Flaw
from potminer.core.light.trust import Terms, Trust, from_genesis
from potminer.node.leaping import read_chunk, read_snapshot
from potminer.node.past import STEP
from potminer.wire.block import Block, Certificate, Header, block_digest
from potminer.wire.codec import decode
from potminer.wire.genesis import Genesis, chain_id
from potminer.wire.proof import PROOF_BYTES, Shown
from potminer.wire.seal import Purpose
from potminer.world.store.store import Store

_BATCH: Final = 64
_BATCH_BYTES: Final = 2 * limits.BLOCK_BYTES


@dataclass(frozen=True, slots=True)
class Rechecked:
    """Everything from block *first* up to *height* is as it was decided. *transactions* counts those executed."""

    chain: bytes
    first: int
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
    first = await store.lowest()
    if first > 1:
        state, digest = await _landed(store, genesis, first)
    if state.head.height + 1 < first:
        raise NotProven(f"blocks {state.head.height + 1} to {first - 1} are missing", _HINT)
    first = state.head.height + 1
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
    return Rechecked(chain, first, head.height, digest, state.root, state.head.time_ms, transactions)


_HINT: Final = "Move potminer.sqlite away: the node fetches the chain again from its peers. Keys are kept elsewhere."


async def _landed(store: Store, genesis: Genesis, first: int) -> tuple[State, bytes]:
    """The oldest snapshot that leads to block *first*, and its block's digest, proven from the genesis on."""
    held = [each for each in await store.snapshots() if each.height + 1 >= first]
    if not held:
        raise NotProven("blocks were let go, and no snapshot is left that could stand for them", _HINT)
    trust, terms = from_genesis(genesis), Terms()
    try:
        for step in [decode(Shown, each, max_bytes=PROOF_BYTES) for each in await store.proofs(STEP)]:
            trust = _sound(epochs.learn(trust, step, terms, now_ms=step.certified.header.time_ms))
        certified, manifest = read_snapshot(held[0])
        now_ms = certified.header.time_ms
        flaw = header.flaw_in(certified, trust, terms, now_ms=now_ms)
        if flaw is not None or certified.header.height != manifest.height + 1:
            raise NotProven(f"the header of the snapshot after block {manifest.height} does not hold ({flaw})", _HINT)
        plan = Plan.proven(manifest, certified.header.state_root)
        nodes = {} if plan is None else {index: await _chunk(store, plan, index) for index in plan.wanted()}
    except Malformed as error:
        raise NotProven(f"the snapshot cannot be read: {error}", _HINT) from error
    if plan is None or None in nodes.values():
        raise NotProven(f"the snapshot after block {manifest.height} is not the state of its header", _HINT)
    return State(trust.chain, genesis.parameters, plan.joined(nodes)), certified.header.parent


async def _chunk(store: Store, plan: Plan, index: int) -> trie.Node:
    body = await store.chunk(plan.digests[index])
    return None if body is None else plan.grown(index, read_chunk(body))


def _sound(told: Trust | Flaw) -> Trust:
    if isinstance(told, Flaw):
        raise NotProven(f"a stored step from committee to committee does not hold ({told})", _HINT)
    return told


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
