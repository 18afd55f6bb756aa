"""Peers and the committee."""

from __future__ import annotations

from collections.abc import Sequence

from potminer.view import text
from potminer.view.select import Fact, Tone
from potminer.view.table import FLEX, Column, Look, Row, Table
from potminer.wire.answers import MemberView, NetworkView, PeerView
from potminer.wire.control import ChainView

_PEERS = (
    Column("peer", 14, look=Look.BOLD),
    Column("address", FLEX),
    Column("dir", 3),
    Column("role", 9, look=Look.TONE),
    Column("sent", 8, right=True),
    Column("received", 8, right=True),
    Column("queued", 7, right=True, wide=True),
    Column("up", 6, right=True),
    Column("height", 9, right=True, wide=True),
    Column("agent", 18, look=Look.QUIET, wide=True),
)
_ALONE = ("No peer is linked.", "Seeds stand in node.bootstrap; is the network reachable?")
_COMMITTEE = (
    Column("member", 16, look=Look.TONE),
    Column("power", 5, right=True, wide=True),
    Column("", FLEX, look=Look.QUIET),
)


def peer_table(network: NetworkView, now_ms: int) -> Table:
    ordered = sorted(network.peers, key=lambda peer: (not peer.validator, peer.since_ms))
    return Table(_PEERS, tuple(_peer(peer, now_ms) for peer in ordered), _ALONE)


def _peer(peer: PeerView, now_ms: int) -> Row:
    host = text.clean(peer.host, 60)
    host = f"[{host}]" if ":" in host else host
    stuck = peer.queued_bytes > 1_000_000
    return Row(
        (
            text.short_address(peer.key),
            f"{host}:{peer.port}",
            "out" if peer.outbound else "in",
            "validator" if peer.validator else "peer",
            text.data(peer.sent_bytes),
            text.data(peer.received_bytes),
            text.data(peer.queued_bytes),
            text.span(now_ms - peer.since_ms),
            text.count(peer.height),
            text.clean(peer.agent, 40) or text.UNKNOWN,
        ),
        Tone.WARNING if stuck else Tone.PLAIN if peer.validator else Tone.QUIET,
        peer.key,
    )


def member_table(network: NetworkView) -> Table:
    return Table(_COMMITTEE, tuple(_member(member) for member in network.committee))


def _member(member: MemberView) -> Row:
    sign, tone = {None: ("◆", Tone.BUSY), True: ("●", Tone.GOOD), False: ("○", Tone.QUIET)}[member.linked]
    words = ["leads"] if member.primary else []
    if member.linked is None:
        words.append("us")
    return Row((f"{sign} {text.short_address(member.key)}"[:16], f"{member.power:,}", ", ".join(words)), tone)


def consensus_facts(chain: ChainView, now_ms: int) -> tuple[Fact, ...]:
    last = text.UNKNOWN if chain.last_block_ms is None else text.span(now_ms - chain.last_block_ms)
    behind = chain.target_height is not None and chain.target_height > chain.height
    return (
        Fact("height", text.count(chain.height), Tone.WARNING if behind else Tone.PLAIN),
        Fact("view", f"{chain.view:,}", Tone.WARNING if chain.view else Tone.PLAIN),
        Fact("epoch", text.count(chain.epoch)),
        Fact("block age", last),
        Fact("mempool", f"{chain.mempool:,} tx"),
        Fact("sent", text.data(chain.sent_bytes)),
        Fact("received", text.data(chain.received_bytes)),
        Fact("state", text.short_id(chain.state_root)),
    )


def latency_caption(commit_ms: Sequence[int]) -> str:
    """``p50 41 ms, p99 88 ms, last 512 blocks``"""
    if not commit_ms:
        return "no block executed yet"
    ordered = sorted(commit_ms)
    half, most = ordered[len(ordered) // 2], ordered[min(len(ordered) - 1, len(ordered) * 99 // 100)]
    return f"p50 {half:,} ms, p99 {most:,} ms, last {text.plural(len(ordered), 'block')}"
