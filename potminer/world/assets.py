"""What is shipped beside the program: example tasks and data."""

from __future__ import annotations

import sys
from pathlib import Path

from potminer.base.errors import PotminerError


def asset(name: str) -> Path:
    """A file of ``assets/``: beside the package in a checkout, inside the bundle when frozen."""
    bundle = getattr(sys, "_MEIPASS", None)
    root = Path(bundle) if bundle else Path(__file__).resolve().parents[2]
    path = root / "assets" / name
    if not path.is_file():
        raise PotminerError(f"{path} is missing", "Run from a checkout of potminer, or name a file of your own.")
    return path
