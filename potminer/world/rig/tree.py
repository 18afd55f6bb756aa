"""Small files that the kernel writes: read with a bound, and None where they say nothing."""

from __future__ import annotations

from pathlib import Path

FILE_BYTES = 16_384
ENTRIES = 1_024


def read_text(path: Path | str, *, max_bytes: int = FILE_BYTES) -> str | None:
    """The first *max_bytes* of *path*, stripped; a device that was lost answers with an error, thus None."""
    try:
        with open(path, "rb") as file:
            return file.read(max_bytes).decode(errors="replace").strip()
    except OSError:
        return None


def read_count(path: Path) -> int | None:
    """A non-negative decimal number of at most 19 digits."""
    text = read_text(path)
    return int(text) if text and text.isascii() and text.isdecimal() and len(text) <= 19 else None


def read_pairs(path: Path, separator: str = "=") -> dict[str, str]:
    """``KEY=value`` lines; empty where the file cannot be read."""
    pairs = (line.partition(separator) for line in (read_text(path) or "").splitlines() if separator in line)
    return {key.strip(): value.strip().strip('"') for key, _, value in pairs}


def entries(folder: Path, pattern: str = "*") -> list[Path]:
    """What lies in *folder*, sorted and bounded; nothing where it cannot be listed."""
    try:
        return sorted(folder.glob(pattern))[:ENTRIES]
    except OSError:
        return []
