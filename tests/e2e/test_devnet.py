"""Whole networks of real processes, as a user starts them. Marked e2e: each takes most of a minute."""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from msgspec.structs import replace as replace_fields

from potminer.base.blobs import file_name
from potminer.base.bounded import GRAINS_PER_POT
from potminer.devnet.course import Course, Requester, bench_worker
from potminer.devnet.plan import PARAMETERS, make_plan
from potminer.devnet.processes import Processes
from potminer.devnet.verify import verify_members
from potminer.node.taskfile import load_task_file
from potminer.wire.block import Block
from potminer.wire.codec import decode
from potminer.wire.model import Mlp
from potminer.wire.task import Clipped, Evaluation
from potminer.wire.tx import RevealWork, SliceResult
from potminer.world.assets import asset
from potminer.world.store.store import Store

pytestmark = pytest.mark.e2e

ABSENT = ("late", "not-revealed", "not-opened")
"""Ends of a unit that say only that a machine was slow."""

BOND = 500 * GRAINS_PER_POT
"""Of a trainer: more than is full for any task here, so that little of its work is audited."""

PLAIN_PYTORCH = """
import sys, torch
from safetensors.torch import load_file
w = load_file(sys.argv[1])
model = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(64, 128), torch.nn.ReLU(), torch.nn.Linear(128, 10))
model.load_state_dict({"1.weight": w["layers.0.weight"], "1.bias": w["layers.0.bias"],
                       "3.weight": w["layers.1.weight"], "3.bias": w["layers.1.bias"]})
data = load_file(sys.argv[2])
print((model(data["x"]).argmax(1) == data["y"]).float().mean().item())
"""


def devnet(folder: Path, *options: str) -> dict[str, Any]:
    command = [sys.executable, "-m", "potminer.cli.main", "devnet", "--dir", str(folder), "--json", *options]
    ran = subprocess.run(command, capture_output=True, text=True, timeout=280, check=False)
    assert ran.returncode == 0, ran.stderr[-3_000:]
    report: dict[str, Any] = json.loads(ran.stdout.splitlines()[-1])
    assert report["schema"] == 1
    assert report["supply_ok"] is True
    assert report["state_roots_equal"] is True
    return report


def assert_nobody_else_refused(report: dict[str, Any]) -> None:
    """What was refused as wrong work is the cheats' alone. Lateness is nobody's fault here."""
    wrong = Counter({why: n for why, n in report["units"]["rejected"].items() if why not in ABSENT})
    cheats = Counter[str]()
    for fate in report["byzantine"].values():
        cheats.update({why: n for why, n in fate["outcomes"].items() if why not in ("accepted", *ABSENT)})
    assert wrong == cheats


def chain(*words: object) -> dict[str, Any]:
    """What a ``potminer chain`` command says."""
    command = [sys.executable, "-m", "potminer.cli.main", "chain", *(str(word) for word in words), "--json"]
    ran = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    assert ran.returncode == 0, ran.stderr[-3_000:]
    told: dict[str, Any] = json.loads(ran.stdout)
    return told


def test_a_stranger_trains_digits_and_plain_pytorch_agrees(tmp_path: Path) -> None:
    report = devnet(tmp_path / "net")
    assert report["metric"]["value"] >= 0.95
    assert report["units"]["rejected"] == {}
    assert len(report["rewards"]) == 3
    assert min(report["rewards"].values()) > 0
    validation = asset("digits/validation.safetensors")
    scored = subprocess.run(
        [sys.executable, "-c", PLAIN_PYTORCH, report["model"], str(validation)],
        capture_output=True, text=True, timeout=60, check=True,
    )
    assert float(scored.stdout) == pytest.approx(report["metric"]["value"], abs=1e-6)


def test_garbage_and_copies_are_refused_unpaid_and_named(tmp_path: Path) -> None:
    """Pay waits for the end, so that nothing here depends on the round in which they are caught: on a slow machine
    who is late sits a round out, and what it earned in the first round by honest audits would be out of the window."""
    report = devnet(
        tmp_path / "net", "--trainers", "4", "--byzantine", "garbage:1", "--byzantine", "copy:1", "--rounds", "5",
        "--trainer-bond", "1", "--escrow-rounds", "5",
    )
    fates = {fate["kind"]: fate for fate in report["byzantine"].values()}
    assert fates["garbage"]["outcomes"]["out-of-tolerance"] > 0
    assert fates["copy"]["outcomes"]["duplicate"] > 0
    assert fates["garbage"]["paid"] == fates["copy"]["paid"] == -(10**9), "nothing is paid, and the bond is gone"
    assert_nobody_else_refused(report)
    assert sorted(report["rewards"].values())[2] > 0


def test_auditors_that_do_not_recompute_are_expelled_and_unpaid(tmp_path: Path) -> None:
    """One says what it likes, the other guesses from the snapshots. Their own units are honest. The task has four
    places, so that one of five waits until a liar's is free."""
    lazy = ("--byzantine", "rubber-stamp:1", "--byzantine", "guess:1", "--escrow-rounds", "7")
    report = devnet(tmp_path / "net", "--trainers", "5", *lazy, "--rounds", "7")
    fates = {fate["kind"]: fate for fate in report["byzantine"].values()}
    assert fates["rubber-stamp"]["paid"] == fates["guess"]["paid"] == 0
    assert_nobody_else_refused(report)
    assert sorted(report["rewards"].values())[2] > 0, "the honest are paid"


def test_a_silent_validator_does_not_stop_the_rest(tmp_path: Path) -> None:
    report = devnet(tmp_path / "net", "--byzantine", "silent:1", "--rounds", "3", "--keep")
    # Two units of a trainer in each round; who joins while the silent one has its turn may miss the first.
    assert 12 <= report["units"]["accepted"] <= 18
    assert_nobody_else_refused(report)
    homes = sorted(home for home in (tmp_path / "net").iterdir() if (home / "potminer.sqlite").is_file())
    assert len(homes) == 7
    # All ended with one state; a trainer's store, a validator's and the silent one's are judged block by block.
    for home in (homes[0], homes[3], homes[-1]):
        told = chain("verify", "--store", home)
        assert int(told["to"].partition(":")[0]) >= report["height"]
        assert told["executed"] > 0
    judged = chain("blame", *homes)
    assert (judged["forks"], judged["culprits"], judged["contradictory"]) == ([], [], [])
    assert judged["statements"] > 0, "a silent member makes others change views, and that is kept"


def test_a_validator_that_says_two_things_loses_its_bond_and_every_epoch_is_judged_again(tmp_path: Path) -> None:
    report = devnet(tmp_path / "net", "--byzantine", "equivocate", "--rounds", "2", "--keep")
    assert report["slashed"] == ["validator-3"]
    assert report["epoch"] >= 1
    told = chain("verify", "--store", tmp_path / "net" / "validator-0")
    assert int(told["to"].partition(":")[0]) >= report["height"]
    judged = chain("blame", tmp_path / "net" / "validator-0", tmp_path / "net" / "validator-1")
    assert (judged["forks"], judged["contradictory"]) == ([], [])
    assert len(judged["culprits"]) == 1


async def test_a_validator_and_a_trainer_killed_in_mid_run_come_back_to_equal_ledgers(tmp_path: Path) -> None:
    task = replace(load_task_file(asset("tasks/digits.toml")), rounds=6)
    task = replace(task, deadlines=type(task.deadlines)(6_000, 6_000, 6_000, 20_000, 20_000))
    # Grown bonds: of newcomers all is audited, and a dead auditor's segments last their deadlines.
    plan = make_plan(tmp_path / "net", validators=4, trainers=3, seed=5, byzantine=[], trainer_bond=BOND)
    killed = (plan.validators[3], plan.trainers[0])

    reached: dict[int, asyncio.Event] = {2: asyncio.Event(), 4: asyncio.Event()}

    def tell(course: Course) -> None:
        for rounds, event in reached.items():
            if len(course.rounds) >= rounds:
                event.set()

    async with bench_worker(plan.folder) as (child, blobs):
        async with Processes(plan) as processes:
            requester = Requester(plan, processes, child, blobs, tell)
            await requester.bond_trainers()
            spec = await requester.order(task)
            following = asyncio.create_task(requester.follow(spec))
            await _until(reached[2], following)
            for member in killed:
                await processes.kill(member)
            await _until(reached[4], following)
            for member in killed:
                await processes.start(member)
            await following
            head = max([(await (await processes.face(m)).snapshot()).chain.height for m in plan.validators[:3]])
            for member in killed:
                await _caught_up(processes, member, head)
        verified = await verify_members(plan)
    assert verified.roots_agree
    assert verified.supply_ok
    assert verified.height >= head
    assert len(requester.course.rounds) == 6


async def test_a_large_round_is_aggregated_in_slices_by_real_nodes(tmp_path: Path) -> None:
    """One clipped round of updates of two pieces: the lengths on every slice, and the slices, are said on the ledger,
    and no validator holds every update."""
    task = replace(
        load_task_file(asset("tasks/digits.toml")), rounds=1, model=Mlp(64, (14_500,), 10), units_per_trainer=1,
        segments=1, batches_per_segment=1, micro_batch=8, evaluation=Evaluation(), aggregation=Clipped(1, 500_000),
    )
    parameters = replace_fields(PARAMETERS, whole_bytes=0, second_audit_ppm=0)  # a judge fetches whole snapshots
    plan = make_plan(tmp_path / "net", validators=4, trainers=3, seed=6, byzantine=[], parameters=parameters)
    async with bench_worker(plan.folder) as (child, blobs):
        async with Processes(plan) as processes:
            requester = Requester(plan, processes, child, blobs, lambda course: None)
            spec = await requester.order(task)
            await requester.follow(spec)
            await requester.save_model(spec, tmp_path / "model.safetensors")
        verified = await verify_members(plan)
    assert (verified.roots_agree, verified.supply_ok, len(requester.course.rounds)) == (True, True, 1)
    async with Store.open(plan.validators[0].datadir / "potminer.sqlite") as store:
        stored = await store.blocks(1, verified.height, 2**26)
    blocks = [decode(Block, block, max_bytes=2**24) for block, _ in stored]
    bodies = [signed.transaction.body for block in blocks for signed in block.transactions]
    said = [body for body in bodies if isinstance(body, SliceResult)]
    updates = {body.snapshots[-1] for body in bodies if isinstance(body, RevealWork)}
    assert {(body.slice, body.lengths) for body in said} == {(0, False), (0, True), (1, False), (1, True)}
    assert len(updates) == 3
    held = {member.name: sum(_holds(member.datadir, update) for update in updates) for member in plan.members}
    assert min(held[member.name] for member in plan.trainers) >= 1
    assert sum(held[member.name] for member in plan.validators) < 3 * 4, "validators have excerpts alone"


def _holds(datadir: Path, blob: bytes) -> bool:
    return any(path.is_file() for path in datadir.rglob(file_name(blob)))


async def _until(event: asyncio.Event, following: asyncio.Task[None]) -> None:
    """Wait for *event*, but not longer than the run itself."""
    waiting = asyncio.create_task(event.wait())
    await asyncio.wait([waiting, following], return_when=asyncio.FIRST_COMPLETED)
    if following.done():
        following.result()
    await waiting


async def _caught_up(processes: Processes, member: Any, height: int) -> None:
    node = await processes.face(member)
    async for snapshot in node.watch():
        if snapshot.chain.height >= height:
            return
