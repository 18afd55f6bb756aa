"""One row per GPU or CPU: state, rate, watts, degrees, and why."""

from __future__ import annotations

from dataclasses import dataclass

from potminer.dashboard.widgets.drawing import STYLE, Line, Pen, spaced
from potminer.dashboard.widgets.panel import Panel
from potminer.view.select import DeviceRow, Tone

_WIDE = 96
_EMPTY = "No device to train on. A validator needs none; see `potminer status`."


@dataclass(frozen=True, slots=True)
class _Column:
    title: str
    width: int
    right: bool = False
    wide_only: bool = False


_COLUMNS = (
    _Column("device", 6),
    _Column("name", 12),
    _Column("bus", 8, wide_only=True),
    _Column("state", 12),
    _Column("rate", 11, right=True),
    _Column("power", 6, right=True),
    _Column("temp", 6, right=True),
    _Column("memory", 15, right=True, wide_only=True),
)


class Devices(Panel):
    def __init__(self, pen: Pen) -> None:
        super().__init__(pen, id="devices", title="Devices")
        self._rows: tuple[DeviceRow, ...] = ()

    def show(self, rows: tuple[DeviceRow, ...]) -> None:
        self._rows = rows
        self.changed(rows, rows=len(rows))

    def get_content_height(self, container: object, viewport: object, width: int) -> int:
        return max(1, len(self._rows)) + (1 if self._rows else 0)

    def lines(self, width: int, height: int) -> list[Line]:
        if not self._rows:
            return [self.pen.write(_EMPTY, width, style="$quiet")]
        columns = [column for column in _COLUMNS if width >= _WIDE or not column.wide_only]
        why = max(0, width - sum(column.width + 1 for column in columns) - 1)
        head = [self.pen.write(c.title, c.width, right=c.right, style="$quiet") for c in columns]
        head.append(self.pen.write(" why", why + 1, style="$quiet"))
        room = max(1, height - 1) if height else len(self._rows)
        shown = self._rows if len(self._rows) <= room else self._rows[: room - 1]
        lines = [spaced(head), *(self._line(row, columns, why) for row in shown)]
        if len(shown) < len(self._rows):
            lines.append(self.pen.write(f"and {len(self._rows) - len(shown)} more", width, style="$quiet"))
        return lines

    def _line(self, row: DeviceRow, columns: list[_Column], why: int) -> Line:
        cells = {
            "device": row.label,
            "name": row.name,
            "bus": row.bus,
            "state": f"{row.sign} {row.state}",
            "rate": row.rate,
            "power": row.power,
            "temp": row.temperature,
            "memory": row.memory,
        }
        styles = {"device": "bold", "name": "$quiet", "bus": "$quiet", "state": STYLE[row.tone]}
        parts = [
            self.pen.write(cells[c.title], c.width, right=c.right, style=styles.get(c.title, "")) for c in columns
        ]
        loud = row.tone in (Tone.WARNING, Tone.FAULT)
        parts.append(self.pen.write(f" {row.why}", why + 1, style=STYLE[row.tone] if loud else "$quiet"))
        return spaced(parts)
