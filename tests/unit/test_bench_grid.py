"""The published grid's lines: everything that is said takes its time on them, and none carries more than it can."""

from __future__ import annotations

import sys
from collections import Counter
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "benchmarks"))

from pot_grid import BEGIN_MS, Grid

BYTES_A_MS = 12.5


def test_a_line_carries_consensus_too_and_no_more_than_its_bytes() -> None:
    grid = Grid(300, 4, 0.1, shared=False)
    took_s = grid.seconds()
    assert took_s is not None
    carried: Counter[tuple[int, int]] = Counter()
    for (_, source, target), size in grid.shaped.sent.items():
        carried[source, target] += size
    assert {"Push", "PrePrepare", "Vote", "Status"} <= set(grid.megabytes())
    frame = 16_500
    assert max(carried.values()) <= (took_s * 1_000 + BEGIN_MS) * BYTES_A_MS + frame
    assert max(carried.values()) > 300 * 64
