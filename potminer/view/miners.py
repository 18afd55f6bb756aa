"""The miner programs on this computer, and how each can be made to yield."""

from __future__ import annotations

from potminer.view import text
from potminer.view.select import Tone
from potminer.view.table import FLEX, Column, Look, Row, Table
from potminer.wire.control import MinerView, Snapshot

_COLUMNS = (
    Column("miner", 14, look=Look.BOLD),
    Column("version", 9, look=Look.QUIET),
    Column("state", 10, look=Look.TONE),
    Column("rate", 10, right=True),
    Column("power", 6, right=True, wide=True),
    Column("ok/bad", 9, right=True),
    Column("control", 11),
    Column("up", 7, right=True, wide=True),
    Column("reply", 9, right=True),
    Column("algorithm", 12, look=Look.QUIET, wide=True),
    Column("devices", 12, look=Look.QUIET, wide=True),
    Column("address", FLEX, look=Look.QUIET),
)
_EMPTY = (
    "No miner is named in the config, so none is asked to make room.",
    "Name yours as [[miners]] with kind and url; potminer config schema says how.",
)
_LOOK = {"mining": ("■", Tone.BUSY), "paused": ("○", Tone.GOOD), "idle": ("○", Tone.PLAIN), "dead": ("✗", Tone.FAULT)}
STALE_MS = 15_000
"""A miner is asked every two seconds; silence for so long is worth a sign."""


def miner_table(snapshot: Snapshot, now_ms: int) -> Table:
    return Table(_COLUMNS, tuple(_row(miner, now_ms) for miner in snapshot.miners), _EMPTY)


def _row(miner: MinerView, now_ms: int) -> Row:
    state = text.clean(miner.state, 20)
    sign, tone = _LOOK.get(state, ("·", Tone.PLAIN))
    silent = miner.last_reply_ms is not None and now_ms - miner.last_reply_ms > STALE_MS
    if silent and tone is not Tone.FAULT:
        sign, tone = "▲", Tone.WARNING
    return Row(
        (
            text.clean(miner.name, 40) or text.UNKNOWN,
            text.clean(miner.version or text.UNKNOWN, 20),
            f"{sign} {state}",
            text.hash_rate(miner.hashrate_hs),
            text.watts(miner.power_mw),
            _shares(miner),
            text.clean(miner.control, 20) or text.UNKNOWN,
            text.UNKNOWN if miner.uptime_s is None else text.span(miner.uptime_s * 1000),
            text.UNKNOWN if miner.last_reply_ms is None else f"{text.span(now_ms - miner.last_reply_ms)} ago",
            text.clean(miner.algorithm or text.UNKNOWN, 20),
            ", ".join(text.clean(bus, 12) for bus in miner.devices[:8]) or text.UNKNOWN,
            text.clean(miner.address, 80) or text.UNKNOWN,
        ),
        tone,
        miner.name,
        note=" · ".join(part for part in (text.clean(miner.address, 80), text.clean(miner.algorithm or "")) if part),
    )


def _shares(miner: MinerView) -> str:
    """``1,204/3``"""
    if miner.accepted is None and miner.rejected is None:
        return text.UNKNOWN
    return f"{text.count(miner.accepted)}/{text.count(miner.rejected)}"
