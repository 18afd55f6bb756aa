"""Log lines and settings as rows."""

from __future__ import annotations

from collections.abc import Sequence
from textwrap import wrap

from potminer.view import text
from potminer.view.select import Tone
from potminer.view.table import FLEX, Column, Look, Row, Table
from potminer.wire.answers import LEVELS, LogLevel, LogLine, SettingsView

_LOG = (
    Column("time", 8, look=Look.QUIET),
    Column("level", 7, look=Look.TONE),
    Column("line (times are UTC)", FLEX, look=Look.TONE),
)
_TONES = {
    LogLevel.DEBUG: Tone.QUIET,
    LogLevel.INFO: Tone.PLAIN,
    LogLevel.WARNING: Tone.WARNING,
    LogLevel.ERROR: Tone.FAULT,
}
_SETTINGS = (
    Column("setting", 26, look=Look.BOLD),
    Column("value", FLEX, look=Look.TONE),
    Column("source", 18, look=Look.QUIET),
    Column("what it is", 42, look=Look.QUIET, wide=True),
)


def log_table(lines: Sequence[LogLine], least: LogLevel, fold: int = 0) -> Table:
    """Oldest first; lines graver than or equal to *least*, folded at *fold* letters where that is not 0."""
    grave = LEVELS[LEVELS.index(least) :]
    rows: list[Row] = []
    for line in lines:
        if line.level not in grave:
            continue
        said = text.clean(line.text, 500)
        pieces = wrap(said, fold) if fold else [said]
        rows.append(Row((text.clock(line.time_ms), line.level.value, pieces[0] if pieces else ""), _TONES[line.level]))
        rows += [Row(("", "", piece), _TONES[line.level]) for piece in pieces[1:]]
    return Table(_LOG, tuple(rows), ("No line yet.",))


def setting_table(view: SettingsView) -> Table:
    rows = (
        Row(
            (
                text.clean(each.key, 60),
                text.clean(each.value, 200) or text.UNKNOWN,
                text.clean(each.source, 60),
                text.clean(each.about, 200),
            ),
            Tone.QUIET if each.source == "default" else Tone.BUSY,
            each.key,
            note=f"{text.clean(each.about, 200)}: {text.clean(each.value, 200) or 'not set'}",
        )
        for each in view.settings
    )
    return Table(_SETTINGS, tuple(rows))
