"""What a devnet writes down for its members before they start."""

from __future__ import annotations

import shutil
import tomllib
from pathlib import Path

from potminer.devnet.plan import MOST_BLOBS_GIB, blobs_gib, make_plan

GIB = 1 << 30


def test_all_members_together_fill_at_most_half_of_the_disk_they_share() -> None:
    """400 rounds of char-gpt leave 7 GiB with each of four validators, 5 with each trainer: with 53 GiB free the whole
    run would have ended on a full disk."""
    assert blobs_gib(53 * GIB, members=8) == 3
    for free in (20, 53, 200, 5_000):
        assert 8 * blobs_gib(free * GIB, members=8) <= free / 2
    assert blobs_gib(5_000 * GIB, members=8) == MOST_BLOBS_GIB
    assert blobs_gib(3 * GIB, members=8) == 1, "less than a GiB is no room for a model and its updates"


def test_every_member_is_told_its_share(tmp_path: Path) -> None:
    plan = make_plan(tmp_path / "net", validators=1, trainers=1, seed=1, byzantine=[])
    share = blobs_gib(shutil.disk_usage(tmp_path).free, members=2)
    for member in plan.members:
        told = tomllib.loads((member.datadir / "potminer.toml").read_text())["store"]["blobs_gib"]
        assert told >= 1
        assert abs(told - share) <= 1, "the disk is others', too"
