"""Several rigs of one owner: a row for each, and what they do together."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from potminer.view import text
from potminer.view.history import known_sum
from potminer.view.overview import STALE_MS
from potminer.view.proven import LOUD, backing_line, backing_word
from potminer.view.select import Fact, Tone
from potminer.view.sentence import sentence
from potminer.view.table import FLEX, Column, Look, Row, Table
from potminer.wire.control import AlertLevel, DeviceState, DeviceView, Snapshot
from potminer.wire.proven import ProvenView

_COLUMNS = (
    Column("rig", 14, look=Look.BOLD),
    Column("state", 9, look=Look.TONE),
    Column("training", 8, right=True),
    Column("samples", 11, right=True),
    Column("hashes", 10, right=True),
    Column("power", 7, right=True),
    Column("POT today", 10, right=True),
    Column("POT pending", 11, right=True, wide=True),
    Column("height", 9, right=True, wide=True),
    Column("age", 6, right=True, look=Look.QUIET, wide=True),
    Column("doing", FLEX, look=Look.LOUD, least=28),
)


_PROVEN = Column("proven", 12)
_BESIDE = 2
"""It stands after the state."""


@dataclass(frozen=True, slots=True)
class RigSeen:
    """One rig: its newest photograph (None: never seen) and why it cannot be reached now (empty: it can)."""

    name: str
    photograph: Snapshot | None
    trouble: str = ""

    def stale(self, now_ms: int) -> bool:
        return self.photograph is None or bool(self.trouble) or now_ms - self.photograph.taken_ms > STALE_MS


def rig_table(rigs: Sequence[RigSeen], now_ms: int, proven: Sequence[ProvenView | None] = ()) -> Table:
    """*proven* is what stands behind each rig's numbers; without it no column speaks of it."""
    rows = tuple(_row(at, rig, now_ms) for at, rig in enumerate(rigs))
    if not proven:
        return Table(_COLUMNS, rows)
    backed = (_backed(row, rig, view) for row, rig, view in zip(rows, rigs, proven, strict=True))
    return Table((*_COLUMNS[:_BESIDE], _PROVEN, *_COLUMNS[_BESIDE:]), tuple(backed))


def _backed(row: Row, rig: RigSeen, view: ProvenView | None) -> Row:
    word = text.UNKNOWN if rig.photograph is None and view is None else backing_word(view)
    row = replace(row, cells=(*row.cells[:_BESIDE], word, *row.cells[_BESIDE:]))
    if view is None or view.backing not in LOUD:
        return row
    cells = (row.cells[0], "✗ lies", *row.cells[2:-1], backing_line(view))
    return replace(row, cells=cells, tone=Tone.FAULT, note=backing_line(view))


def _row(at: int, rig: RigSeen, now_ms: int) -> Row:
    seen = rig.photograph
    name = text.clean(rig.name if seen is None else seen.rig, 40) or text.UNKNOWN
    dash = text.UNKNOWN
    if seen is None:
        doing = text.clean(rig.trouble, 120) or "asking"
        cells = (name, "▲ lost" if rig.trouble else "◐ asking", dash, dash, dash, dash, dash, dash, dash, dash, doing)
        return Row(cells, Tone.WARNING if rig.trouble else Tone.PLAIN, str(at), note=doing)
    sign, word, tone = _state(rig, now_ms)
    doing = text.clean(rig.trouble, 120) or sentence(seen, now_ms)
    return Row(
        (
            name,
            f"{sign} {word}",
            f"{_training(seen.devices)}/{len(seen.devices)}",
            text.samples_rate(known_sum([d.samples_per_s_milli for d in seen.devices])),
            text.hash_rate(known_sum([d.hashrate_hs for d in seen.devices])),
            text.watts(known_sum([d.power_mw for d in seen.devices])),
            text.pot(seen.earnings.today).removesuffix(" POT"),
            text.pot(seen.earnings.pending).removesuffix(" POT"),
            text.count(seen.chain.height),
            text.span(now_ms - seen.taken_ms),
            doing,
        ),
        tone,
        str(at),
        note=doing,
    )


def _state(rig: RigSeen, now_ms: int) -> tuple[str, str, Tone]:
    seen = rig.photograph
    if seen is None or rig.stale(now_ms):
        return "▲", "stale", Tone.WARNING
    states = {device.state for device in seen.devices}
    if DeviceState.FAULT in states or any(alert.level is AlertLevel.FAULT for alert in seen.alerts):
        return "✗", "fault", Tone.FAULT
    if DeviceState.BLOCKED in states:
        return "▲", "blocked", Tone.WARNING
    if seen.control.paused:
        return "○", "paused", Tone.PLAIN
    return "●", "live", Tone.GOOD


def _training(devices: Sequence[DeviceView]) -> int:
    return sum(device.state is DeviceState.TRAINING for device in devices)


def totals(
    rigs: Sequence[RigSeen], now_ms: int, proven: Sequence[ProvenView | None] = ()
) -> tuple[Fact, ...]:
    """Of the rigs that answer now: a number nobody vouches for is in no sum, and no money of a rig that lies."""
    liars = {at for at, view in enumerate(proven) if view is not None and view.backing in LOUD}
    honest = [
        rig.photograph for at, rig in enumerate(rigs)
        if at not in liars and rig.photograph is not None and not rig.stale(now_ms)
    ]  # fmt: skip
    live = [rig.photograph for rig in rigs if rig.photograph is not None and not rig.stale(now_ms)]
    devices = [device for seen in live for device in seen.devices]
    lost = len(rigs) - len(live)
    return (
        Fact("rigs", f"{len(live)} of {len(rigs)} live", Tone.WARNING if lost else Tone.GOOD),
        Fact("devices training", f"{_training(devices)} of {len(devices)}"),
        Fact("samples", text.samples_rate(known_sum([d.samples_per_s_milli for d in devices]))),
        Fact("hashes", text.hash_rate(known_sum([d.hashrate_hs for d in devices]))),
        Fact("power", text.watts(known_sum([d.power_mw for d in devices]))),
        Fact("today", text.pot(sum(seen.earnings.today for seen in honest)) if honest else text.UNKNOWN),
        Fact("pending", text.pot(sum(seen.earnings.pending for seen in honest)) if honest else text.UNKNOWN),
    )
