"""One devnet from beginning to end."""

from __future__ import annotations

import json
import shutil
from collections import Counter
from dataclasses import replace
from pathlib import Path

from msgspec.structs import replace as replace_fields

from potminer.devnet.course import Requester, bench_worker, wallet_of
from potminer.devnet.plan import PARAMETERS, Plan, make_plan
from potminer.devnet.processes import Processes
from potminer.devnet.progress import Progress
from potminer.devnet.report import Fate, make_report
from potminer.devnet.verify import verify_members
from potminer.node.taskfile import TaskFile
from potminer.train.shapes import parameters
from potminer.wire.task import Reward, TaskSpec

KEPT = ("model.safetensors", "config.json", "report.json", "devnet.json", "genesis.json")


async def run_devnet(
    folder: Path, task: TaskFile, *, validators: int, trainers: int, seed: int, byzantine: list[str],
    rounds: int | None, keep: bool, progress: Progress, trainer_bond: int = 0,
    escrow_rounds: int | None = None,
) -> dict[str, object]:
    """Run *task* on a fresh devnet in *folder*; the report. PotminerError where it does not close."""
    if rounds is not None:
        budget = -(-task.reward.budget * rounds // task.rounds)
        task = replace(task, rounds=rounds, reward=Reward(budget, task.reward.price_per_unit))
    plan = make_plan(
        folder, validators=validators, trainers=trainers, seed=seed, byzantine=byzantine, trainer_bond=trainer_bond,
        parameters=PARAMETERS if escrow_rounds is None else replace_fields(PARAMETERS, escrow_rounds=escrow_rounds),
    )
    progress.say(f"starting {validators} validators and {trainers} trainers in {folder}")
    async with bench_worker(folder) as (child, blobs):
        async with Processes(plan) as processes:
            requester = Requester(plan, processes, child, blobs, progress.tell)
            await requester.bond_trainers()
            spec = await requester.order(task)
            progress.say(f"task {spec.name}: {spec.rounds} rounds, {spec.samples_per_unit} samples a unit")
            await requester.follow(spec)
            wallets, fates = await _settle(plan, processes)
            model = await requester.save_model(spec, folder / "model.safetensors")
        progress.say("counting what every member stored")
        verified = await verify_members(plan)
    _write_config(folder, spec)
    report = make_report(
        plan, requester.course, spec, verified, model=str(model.absolute()), wallets=wallets, fates=fates
    )
    (folder / "report.json").write_text(json.dumps(report, indent=2) + "\n")
    if not keep:
        _tidy(folder)
    return report


async def _settle(plan: Plan, processes: Processes) -> tuple[dict[str, int], dict[str, Fate]]:
    """What every trainer has more than it began with, and what became of the faulty ones."""
    witness = await processes.face(plan.honest_validators[0])
    wallets = {member.name: await wallet_of(witness, member) - plan.trainer_bond for member in plan.trainers}
    fates = {}
    for member in plan.trainers:
        if member.byzantine is None:
            continue
        node = await processes.face(member)
        units = await node.units(last=200)
        outcomes = Counter(unit.reason or "accepted" for unit in units)
        fates[member.name] = Fate(member.byzantine, dict(outcomes), wallets[member.name])
    return wallets, fates


def _write_config(folder: Path, spec: TaskSpec) -> None:
    """What plain PyTorch needs to know beside the weights."""
    model = {name: getattr(spec.model, name) for name in spec.model.__struct_fields__}
    shapes = {parameter.name: list(parameter.shape) for parameter in parameters(spec.model)}
    config = {"schema": 1, "task": spec.name, "model": {"kind": type(spec.model).__name__.lower(), **model}}
    (folder / "config.json").write_text(json.dumps({**config, "tensors": shapes}, indent=2) + "\n")


def _tidy(folder: Path) -> None:
    """Keep what the requester came for; the members' chains and blobs are spent."""
    for path in folder.iterdir():
        if path.name in KEPT:
            continue
        if path.is_dir():
            shutil.rmtree(path)
        else:
            path.unlink()
