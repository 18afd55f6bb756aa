"""How commands speak: lines of 80 columns, JSON with a schema version, errors that help."""

from __future__ import annotations

import errno
import sys
import traceback
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

import click

from potminer import __version__
from potminer.base.errors import NotPermitted, PotminerError

if TYPE_CHECKING:
    from potminer.view.table import Table

WIDTH = 80
_REPORT_BYTES = 200_000


def print_json(value: object) -> None:
    """*value* as one line of JSON; a dict or a Struct gets the schema version where it has none."""
    import msgspec

    if isinstance(value, msgspec.Struct) and "schema" not in value.__struct_fields__:
        value = msgspec.structs.asdict(value)
    if isinstance(value, dict):
        value = {"schema": 1, **value}
    click.echo(msgspec.json.encode(value).decode())


def print_json_with(value: object, **more: object) -> None:
    """*value*, a photograph or an answer, with fields *more*: who knows them not passes them over."""
    import msgspec

    print_json({**msgspec.to_builtins(value), **more})


def print_table(rows: Sequence[Sequence[str]], *, right: frozenset[int] = frozenset()) -> None:
    """Columns two spaces apart, one where two would be too wide, the last one cut at 80. *right* columns are aligned
    right."""
    if not rows:
        return
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    gap = "  " if sum(widths) + 2 * (len(widths) - 1) <= WIDTH else " "
    for row in rows:
        cells = [
            cell.rjust(width) if at in right else cell.ljust(width)
            for at, (cell, width) in enumerate(zip(row, widths, strict=True))
        ]
        line = gap.join(cells).rstrip()
        say(line if len(line) <= WIDTH else line[: WIDTH - 1] + "…")


def print_view(table: Table) -> None:
    """A table of the dashboard: the columns that fit into 80, or what it says where it has no rows."""
    from potminer.view.table import fit
    from potminer.view.text import shorten

    if not table.rows:
        say(table.empty[0])
        return
    columns = [(at, width) for at, width in fit(table.columns, WIDTH, wide=False) if table.columns[at].title]
    heads = tuple(table.columns[at].title for at, _ in columns)
    right = frozenset(n for n, (at, _) in enumerate(columns) if table.columns[at].right)
    print_table(
        [heads, *(tuple(shorten(row.cells[at], width) for at, width in columns) for row in table.rows)], right=right
    )


def say(line: str) -> None:
    """One line; a terminal that cannot show a letter gets its nearest ASCII."""
    encoding = getattr(sys.stdout, "encoding", None) or "ascii"
    try:
        line.encode(encoding)
    except (UnicodeEncodeError, LookupError):
        from potminer.view.text import to_ascii

        line = to_ascii(line)
    click.echo(line)


def print_error(error: PotminerError) -> None:
    click.echo(f"error: {error.what}", err=True)
    if error.hint:
        click.echo(f"  {error.hint}", err=True)


_DISK = {
    errno.ENOSPC: "Free disk space and start again; nothing that was final is lost.",
    errno.EDQUOT: "Your quota is used up: free some of it and start again.",
    errno.EFBIG: "A limit on file sizes (ulimit -f) stands in the way.",
    errno.EROFS: "The file system is read-only: choose another --datadir, or mount it for writing.",
    errno.EACCES: "Check whose folder it is; --datadir names another.",
    errno.EPERM: "Check whose folder it is; --datadir names another.",
    errno.EIO: "The disk fails: look at the system's log, and move the data folder to another.",
}
_REFUSED = frozenset({errno.EROFS, errno.EACCES, errno.EPERM})


def told(error: OSError) -> PotminerError | None:
    """What the operator can do about the computer's own refusal; None where it is more likely our bug."""
    if error.errno not in _DISK:
        return None
    kind = NotPermitted if error.errno in _REFUSED else PotminerError
    where = f"{error.filename}: " if isinstance(error.filename, str) else ""
    return kind(f"{where}{error.strerror}", _DISK[error.errno])


def report_bug(error: BaseException, folder: Path) -> None:
    """One line for the person, everything for the bug report."""
    name = type(error).__name__
    click.echo(f"error: {name}: {str(error)[:200]}", err=True)
    written = _write_report(error, folder)
    where = f"the details are in {written}" if written else "no report could be written"
    click.echo(f"  This is a bug in potminer; {where}", err=True)


def _write_report(error: BaseException, folder: Path) -> Path | None:
    """No arguments and no environment: both may hold what is nobody's business."""
    now = datetime.now(UTC)
    lines = [
        f"potminer {__version__} on Python {sys.version.split()[0]}, {sys.platform}, {now:%Y-%m-%dT%H:%M:%SZ}\n",
        *traceback.format_exception(error),
    ]
    path = folder / f"bug-{now:%Y%m%d-%H%M%S}.txt"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        path.write_text("".join(lines)[-_REPORT_BYTES:], encoding="utf-8")
    except OSError:
        return None
    return path
