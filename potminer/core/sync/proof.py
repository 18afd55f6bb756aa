"""What makes a block believed: its place, its contents and its committee's certificate.

The certificate signs the header, the header names the transactions with their signatures: a
proven block is byte for byte the one the committee decided.
"""

from __future__ import annotations

from dataclasses import dataclass

from potminer.core.committee import Committee, certificate_holds
from potminer.wire.block import CertifiedBlock, block_digest, transactions_root
from potminer.wire.seal import Purpose


@dataclass(frozen=True, slots=True)
class Tip:
    """The last executed block. *state_root* is the root after it."""

    height: int
    digest: bytes
    state_root: bytes


def fault_in_range(blocks: tuple[CertifiedBlock, ...], *, first: int, count: int) -> str | None:
    """Why *blocks* cannot be an answer to (first, count), or None. Cheap: hashes of headers only."""
    if len(blocks) > count:
        return "more blocks than asked for"
    for offset, certified in enumerate(blocks):
        header = certified.block.header
        if header.height != first + offset:
            return "a block of another height"
        if offset and header.parent != block_digest(blocks[offset - 1].block.header):
            return "blocks that do not link"
    return None


def fault_in_block(certified: CertifiedBlock, *, tip: Tip, committee: Committee, chain: bytes) -> str | None:
    """Why *certified* is not proven to follow *tip*, or None.

    *committee* is the one whose turn the height is: a former committee proves nothing any more.
    """
    header, certificate = certified.block.header, certified.certificate
    digest = block_digest(header)
    if header.height != tip.height + 1 or header.parent != tip.digest:
        return "a block that does not follow ours"
    if (certificate.purpose, certificate.height, certificate.digest) != (Purpose.COMMIT, header.height, digest):
        return "a certificate of something else"
    if header.epoch != committee.epoch or not certificate_holds(certificate, committee, chain=chain):
        return "a certificate that does not hold"
    if header.transactions_root != transactions_root(certified.block.transactions):
        return "transactions that the header does not name"
    return None
