"""Who broke agreement, from what nodes stored: their certificates, and the statements they kept as evidence.

Certificates are read at heights where the sources differ or have statements: elsewhere everybody
stored the same block, and its certificate contradicts nothing.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from potminer.base import limits
from potminer.base.errors import Malformed, UsageError
from potminer.core.committee import Committee
from potminer.core.forensics import Culprit, Fork, Seats, blame, forks
from potminer.core.ledger.apply import RULES
from potminer.core.light.epochs import learn
from potminer.core.light.flaw import Flaw
from potminer.core.light.trust import Terms, from_genesis
from potminer.node import evidence
from potminer.node.past import STEP
from potminer.wire.block import Certificate
from potminer.wire.codec import Wire, decode, encode
from potminer.wire.genesis import Genesis
from potminer.wire.proof import EVIDENCE_BYTES, PROOF_BYTES, Deposition, Shown
from potminer.world.store.copy import open_for_reading

_SQLITE: Final = b"SQLite format 3\0"
_BATCH: Final = 64
_BATCH_BYTES: Final = 2 * limits.BLOCK_BYTES


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


async def oldest(sources: Sequence[Path]) -> int:
    """The first block that every stored chain of *sources* still has: below it a source cannot contradict another."""
    first = 1
    for path in (database(source) for source in sources):
        if _is_store(path):
            async with open_for_reading(path, rules=RULES) as store:
                first = max(first, await store.lowest())
    return first


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
    steps = {encode(step): step for one in each for step in one.steps}
    return Deposition(
        each[0].chain,
        tuple(sorted({block for one in each for block in one.blocks})),
        tuple({encode(c): c for one in each for c in one.certificates}.values()),
        tuple(dict.fromkeys(statement for one in each for statement in one.statements)),
        tuple(sorted(steps.values(), key=lambda step: step.certified.header.height)),
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


def seats_of(told: Sequence[Deposition], genesis: Genesis) -> Seats:
    """Who sat in which epoch: as the genesis says, and as the steps of each source prove from there on. None where
    two chains differ, or nothing proves it: then nobody is convicted by what was signed in that epoch."""
    seated: dict[int, set[Committee]] = {}
    for each in told:
        trust = from_genesis(genesis)
        for step in each.steps:
            moved = learn(trust, step, Terms(), now_ms=step.certified.header.time_ms)
            if isinstance(moved, Flaw):
                break
            trust = moved
        for committee in trust.committees:
            seated.setdefault(committee.epoch, set()).add(committee)
    return lambda epoch: next(iter(seated[epoch])) if len(seated.get(epoch, ())) == 1 else None


def _is_store(path: Path) -> bool:
    with path.open("rb") as file:
        return file.read(len(_SQLITE)) == _SQLITE


async def _blocks(source: Path) -> Deposition:
    path = database(source)
    if not _is_store(path):
        return _read_file(path)
    async with open_for_reading(path, rules=RULES) as store:
        chain = await store.genesis_digest()
        if chain is None:
            raise UsageError(f"{path} holds no chain", "Give the data folder of a node that has run.")
        statements = tuple(body for _, body in await store.statements())
        steps = tuple(decode(Shown, step, max_bytes=PROOF_BYTES) for step in await store.proofs(STEP))
        return Deposition(chain, tuple(sorted((await store.digests()).items())), (), statements, steps)


async def _complete(source: Path, told: Deposition, heights: set[int]) -> Deposition:
    if told.certificates:
        return told
    path = database(source)
    if not _is_store(path):
        return told
    async with open_for_reading(path, rules=RULES) as store:
        read = [await store.certificate(height) for height in sorted(heights)]
    certificates = tuple(decode(Certificate, c, max_bytes=limits.VIEW_CHANGE_BYTES) for c in read if c is not None)
    kept = tuple(block for block in told.blocks if block[0] in heights)
    return Deposition(told.chain, kept, certificates, told.statements, told.steps)


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
