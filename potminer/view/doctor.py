"""A look at the rig's health: findings of the doctor, or what a photograph alone tells."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from potminer.view import text
from potminer.view.overview import STALE_MS
from potminer.view.select import Tone, device_rows
from potminer.view.table import FLEX, Column, Look, Row, Table
from potminer.wire.control import DeviceState, Snapshot

_COLUMNS = (
    Column("", 6, look=Look.TONE),
    Column("check", 10, look=Look.BOLD),
    Column("found", FLEX),
    Column("what to do", 44, look=Look.LOUD, wide=True),
)
_SIGNS = {Tone.GOOD: "✓ ok", Tone.QUIET: "· skip", Tone.WARNING: "▲ warn", Tone.FAULT: "✗ bad"}
_BLOCK_MS = 60_000


@dataclass(frozen=True, slots=True)
class Finding:
    """*tone*: GOOD, QUIET (not checked), WARNING or FAULT."""

    check: str
    found: str
    advice: str
    tone: Tone


def finding_table(findings: Sequence[Finding]) -> Table:
    rows = (
        Row(
            (_SIGNS.get(each.tone, "·"), text.clean(each.check, 40), text.clean(each.found), text.clean(each.advice)),
            each.tone,
            each.check,
            note=" → ".join(text.clean(part) for part in (each.found, each.advice) if part),
        )
        for each in findings
    )
    return Table(_COLUMNS, tuple(rows))


def findings(snapshot: Snapshot, now_ms: int) -> tuple[Finding, ...]:
    return (
        _fresh(snapshot, now_ms),
        _peers(snapshot),
        _chain(snapshot, now_ms),
        *_devices(snapshot, now_ms),
        *_miners(snapshot),
        _money(snapshot),
    )


def _fresh(snapshot: Snapshot, now_ms: int) -> Finding:
    old = now_ms - snapshot.taken_ms
    if old < -STALE_MS:
        return Finding("clock", f"{text.span(-old)} ahead of this screen", "Set both clocks by NTP.", Tone.WARNING)
    if old > STALE_MS:
        return Finding("daemon", f"last heard {text.span(old)} ago", "Is potminer run alive?", Tone.WARNING)
    return Finding("daemon", f"{text.clean(snapshot.agent, 24)}, answers", "", Tone.GOOD)


def _peers(snapshot: Snapshot) -> Finding:
    peers = snapshot.chain.peers
    if not peers:
        advice = "Check node.bootstrap and that the port is reachable."
        return Finding("peers", "none", advice, Tone.FAULT)
    return Finding("peers", text.plural(peers, "link"), "", Tone.GOOD)


def _chain(snapshot: Snapshot, now_ms: int) -> Finding:
    chain = snapshot.chain
    if chain.target_height is not None and chain.target_height > chain.height:
        behind = text.plural(chain.target_height - chain.height, "block")
        return Finding("chain", f"{behind} behind", "It is catching up; wait.", Tone.WARNING)
    if chain.last_block_ms is None:
        return Finding("chain", "no block yet", "", Tone.QUIET)
    silent = now_ms - chain.last_block_ms
    if silent > _BLOCK_MS and chain.mempool:
        return Finding("chain", f"no block for {text.span(silent)}", "Validators may be down.", Tone.WARNING)
    return Finding("chain", f"height {chain.height:,}", "", Tone.GOOD)


def _devices(snapshot: Snapshot, now_ms: int) -> list[Finding]:
    result = []
    for row, device in zip(device_rows(snapshot, now_ms), snapshot.devices, strict=True):
        why = row.why if device.reasons else ""
        match device.state:
            case DeviceState.FAULT:
                result.append(Finding(row.label, "at fault", why, Tone.FAULT))
            case DeviceState.BLOCKED | DeviceState.COOLDOWN:
                result.append(Finding(row.label, row.state, why, Tone.WARNING))
            case _:
                result.append(Finding(row.label, f"{row.state}, {row.name}", "", Tone.GOOD))
    return result or [Finding("devices", "none", "A validator needs none.", Tone.QUIET)]


def _miners(snapshot: Snapshot) -> list[Finding]:
    result = []
    for miner in snapshot.miners:
        name = text.clean(miner.name, 14)
        if miner.state == "dead":
            result.append(Finding(name, "does not answer", "Is its API switched on, and its url right?", Tone.WARNING))
        else:
            result.append(Finding(name, text.clean(miner.state, 20), "", Tone.GOOD))
    return result or [Finding("miners", "none named", "[[miners]] in the config names yours.", Tone.QUIET)]


def _money(snapshot: Snapshot) -> Finding:
    money = snapshot.earnings
    if money.currency is None or money.price_micro is None:
        return Finding("price", "unpriced", "prices.pot and power.currency set your own price.", Tone.QUIET)
    return Finding("price", f"{text.price(money.price_micro, money.currency)} per POT", "", Tone.GOOD)
