"""Who broke agreement, from what nodes stored: their certificates, and the statements they kept as evidence.

Certificates are read at heights where the sources differ or have statements: elsewhere everybody
stored the same block, and its certificate contradicts nothing.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

from potminer.base import limits
from potminer.base.errors import Malformed, UsageError
from potminer.core.committee import Committee, committee_of
from potminer.core.forensics import Culprit, Fork, Seats, blame, forks
from potminer.core.ledger.apply import RULES, InvalidBlock, apply_block
from potminer.core.ledger.state import State, genesis_state
from potminer.node import evidence
from potminer.wire.block import Block, Certificate
from potminer.wire.codec import Wire, decode, encode
from potminer.wire.genesis import Genesis, chain_id
from potminer.wire.proof import EVIDENCE_BYTES, Deposition
from potminer.world.store.store import Store

_SQLITE: Final = b"SQLite format 3\0"
_BATCH: Final = 64
_BATCH_BYTES: Final = 8 * limits.BLOCK_BYTES


@dataclass(frozen=True, slots=True)
class Judgement:
    """*contradictory*: heights at which the sources stored different blocks."""

    forks: tuple[Fork, ...]
    culprits: tuple[Culprit, ...]
    contradictory: tuple[int, ...]
    statements: int


async def hear(sources: Sequence[Path]) -> list[Deposition]:
    """What the data folders, databases and evidence files of *sources* say, with certificates wherever any of them
    has a statement or they differ."""
    found = [await _blocks(source) for source in sources]
    heights = _wanted(found)
    return [await _complete(source, told, heights) for source, told in zip(sources, found, strict=True)]


def judge(told: Sequence[Deposition], seats: Seats, *, chain: bytes) -> Judgement:
    """UsageError where a source is of another chain: nothing it says could be evidence."""
    if any(each.chain != chain for each in told):
        raise UsageError("not all sources are of the same chain", "Give those of one network.")
    words: dict[bytes, Wire] = {}
    for each in told:
        words.update({encode(certificate): certificate for certificate in each.certificates})
        words.update({statement: evidence.unpack(statement) for statement in each.statements})
    heard = [words[each] for each in sorted(words)]  # the same whatever the order of the sources
    return Judgement(
        forks(heard, seats=seats, chain=chain),
        blame(heard, seats=seats, chain=chain),
        _contradictory(told),
        len(heard),
    )


def joined(told: Iterable[Deposition]) -> Deposition:
    """Everything of *told* in one: what an exported file holds."""
    each = list(told)
    return Deposition(
        each[0].chain,
        tuple(sorted({block for one in each for block in one.blocks})),
        tuple({encode(c): c for one in each for c in one.certificates}.values()),
        tuple(dict.fromkeys(statement for one in each for statement in one.statements)),
    )


def _contradictory(told: Sequence[Deposition]) -> tuple[int, ...]:
    seen: dict[int, set[bytes]] = {}
    for each in told:
        for height, digest in each.blocks:
            seen.setdefault(height, set()).add(digest)
    return tuple(sorted(height for height, digests in seen.items() if len(digests) > 1))


def _wanted(told: Sequence[Deposition]) -> set[int]:
    """Heights whose certificates may prove something: where sources differ, or kept statements."""
    heights = set(_contradictory(told))
    for each in told:
        heights |= {height_of(evidence.unpack(statement)) for statement in each.statements}
    return heights


def height_of(statement: Wire) -> int:
    height: int = getattr(statement, "height", 0)
    return height


async def seats_of(sources: Sequence[Path], genesis: Genesis) -> Seats:
    """Who sat in which epoch: as the genesis says, and as executing what *sources* stored says. None where two
    chains differ, and beyond what any of them executed: a file of evidence alone names no committee."""
    start = genesis_state(genesis, chain=chain_id(genesis))
    seated: dict[int, set[Committee]] = {}
    for source in sources:
        async for state in _executed(database(source), start):
            for record in (state.committee, state.following):
                seated.setdefault(record.epoch, set()).add(replace(committee_of(record), skipped=()))
    return lambda epoch: next(iter(seated[epoch])) if len(seated.get(epoch, ())) == 1 else None


async def _executed(path: Path, state: State) -> AsyncIterator[State]:
    """*state*, and what each block that *path* stored makes of it, as far as they apply."""
    yield state
    if not _is_store(path):
        return
    async with Store.open(path, rules=RULES) as store:
        while batch := await store.blocks(state.head.height + 1, _BATCH, _BATCH_BYTES):
            for body, _ in batch:
                applied = apply_block(state, decode(Block, body, max_bytes=limits.PREPREPARE_BYTES))
                if isinstance(applied, InvalidBlock):
                    return
                state = applied.state
                yield state


def _is_store(path: Path) -> bool:
    with path.open("rb") as file:
        return file.read(len(_SQLITE)) == _SQLITE


async def _blocks(source: Path) -> Deposition:
    path = database(source)
    if not _is_store(path):
        return _read_file(path)
    async with Store.open(path, rules=RULES) as store:
        chain = await store.genesis_digest()
        if chain is None:
            raise UsageError(f"{path} holds no chain", "Give the data folder of a node that has run.")
        statements = tuple(body for _, body in await store.statements())
        return Deposition(chain, tuple(sorted((await store.digests()).items())), (), statements)


async def _complete(source: Path, told: Deposition, heights: set[int]) -> Deposition:
    if told.certificates:
        return told
    path = database(source)
    if not _is_store(path):
        return told
    async with Store.open(path, rules=RULES) as store:
        read = [await store.certificate(height) for height in sorted(heights)]
    certificates = tuple(decode(Certificate, c, max_bytes=limits.VIEW_CHANGE_BYTES) for c in read if c is not None)
    kept = tuple(block for block in told.blocks if block[0] in heights)
    return Deposition(told.chain, kept, certificates, told.statements)


def database(source: Path) -> Path:
    """The file that *source*, a data folder or the file itself, means; UsageError where there is none."""
    path = source / "potminer.sqlite" if source.is_dir() else source
    if not path.is_file():
        hint = "Give a node's data folder, its potminer.sqlite, or exported evidence."
        raise UsageError(f"{path} is not there", hint)
    return path


def _read_file(path: Path) -> Deposition:
    try:
        if path.stat().st_size > EVIDENCE_BYTES:
            raise Malformed(f"more than {EVIDENCE_BYTES} bytes")
        told = decode(Deposition, path.read_bytes(), max_bytes=EVIDENCE_BYTES)
        for statement in told.statements:
            evidence.unpack(statement)
    except (Malformed, OSError) as error:
        what = f"{path} is neither a potminer store nor evidence: {error}"
        raise UsageError(what, "Export evidence with potminer chain blame --export.") from error
    return told
