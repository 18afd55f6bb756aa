"""A rig with two workers in a real network: processes, pipes and a ledger. Marked e2e."""

from __future__ import annotations

import asyncio
import re
from dataclasses import replace
from pathlib import Path

import pytest
import tomlkit

from potminer.devnet.course import Requester, bench_worker
from potminer.devnet.plan import Member, make_plan
from potminer.devnet.processes import Processes
from potminer.node.taskfile import load_task_file
from potminer.world.assets import asset

pytestmark = pytest.mark.e2e


def two_workers(member: Member) -> None:
    path = member.datadir / "potminer.toml"
    file = tomlkit.parse(path.read_text(encoding="utf-8"))
    file["worker"]["count"] = 2
    file["logs"]["level"] = "debug"
    path.write_text(tomlkit.dumps(file), encoding="utf-8")


def most_at_once(log: str) -> int:
    """How many training jobs ran at the same moment, by the rig's own log."""
    going: set[str] = set()
    most = 0
    for word, job in re.findall(r"cpu: worker \d of 2 (begins|ended) TrainJob (\d+)", log):
        (going.add if word == "begins" else going.discard)(job)
        most = max(most, len(going))
    return most


async def test_two_workers_train_two_units_of_a_round_side_by_side(tmp_path: Path) -> None:
    task = replace(load_task_file(asset("tasks/digits.toml")), rounds=2)
    plan = make_plan(tmp_path / "net", validators=1, trainers=2, seed=7, byzantine=[])
    for member in plan.trainers:
        two_workers(member)
    async with asyncio.timeout(240), bench_worker(plan.folder) as (child, blobs), Processes(plan) as processes:
        requester = Requester(plan, processes, child, blobs, lambda course: None)
        await requester.follow(await requester.order(task))
    assert len(requester.course.rounds) == 2
    logs = [(member.datadir / "logs" / "potminer.log").read_text(encoding="utf-8") for member in plan.trainers]
    assert [most_at_once(log) for log in logs] == [2, 2], logs[0][-2_000:]
