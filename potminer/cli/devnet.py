"""``potminer devnet``: a whole network on this computer, one task trained to its end."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from potminer.base.errors import UsageError
from potminer.cli.amount import Amount
from potminer.cli.output import say


@click.command()
@click.option("--validators", type=click.IntRange(1, 31), default=4, show_default=True)
@click.option("--trainers", type=click.IntRange(1, 64), default=3, show_default=True)
@click.option("--task", "task_file", type=click.Path(path_type=Path), help="A task.toml. [default: digits]")
@click.option("--rounds", type=click.IntRange(1, 100_000), help="Instead of the task file's.")
@click.option("--dir", "folder", type=click.Path(path_type=Path), default=Path("devnet"), show_default=True)
@click.option("--seed", type=click.IntRange(0, 2**63 - 1), default=1, show_default=True, help="Of every key.")
@click.option("--byzantine", multiple=True, metavar="KIND[:COUNT]", help="Make members misbehave. Repeatable.")
@click.option(
    "--trainer-bond", type=Amount(), default=None, metavar="POT",
    help="A bond that every trainer begins with, as if grown by work: it is audited less. [default: none]",
)
@click.option(
    "--escrow-rounds", type=click.IntRange(0, 1_000), default=None,
    help="Rounds that pay waits for, in which a proven cheat still loses it. [default: 2]",
)
@click.option("--keep", is_flag=True, help="Keep the members' folders for a look at them.")
@click.option("--json", "as_json", is_flag=True, help="The report as one JSON object on the last line.")
def devnet(
    *, validators: int, trainers: int, task_file: Path | None, rounds: int | None, folder: Path, seed: int,
    byzantine: tuple[str, ...], trainer_bond: int | None, escrow_rounds: int | None, keep: bool,
    as_json: bool,
) -> int:
    """Run validators and trainers as real processes on loopback until a task is trained and paid.

    Faults: trainers garbage, signflip, labelflip, stale, copy, lazy-K; validators silent,
    equivocate, slow-leader, censor; auditors rubber-stamp, guess, accuse; evaluators parrot, flatter. Exit code 0 only
    if the task closed, every ledger agrees and no grain was made or lost.
    """
    import asyncio
    import json

    from potminer.devnet.plan import parse_byzantine
    from potminer.devnet.progress import Progress
    from potminer.devnet.run import run_devnet
    from potminer.node.taskfile import load_task_file
    from potminer.world.assets import asset

    kinds = parse_byzantine(byzantine)
    path = task_file or asset("tasks/digits.toml")
    task = load_task_file(path)
    if trainers < task.min_trainers:
        raise UsageError(
            f"{task.name} opens a round with {task.min_trainers} trainers, and this devnet has {trainers}",
            f"Give it --trainers {task.min_trainers}, or say min_trainers = {trainers} in {path}.",
        )
    with Progress() as progress:
        report = asyncio.run(
            run_devnet(
                folder, task, validators=validators, trainers=trainers, seed=seed, byzantine=kinds, rounds=rounds,
                keep=keep, progress=progress, trainer_bond=trainer_bond or 0, escrow_rounds=escrow_rounds,
            )
        )
    if as_json:
        say(json.dumps(report))
    else:
        for line in _lines(report):
            say(line)
    return 0 if report["supply_ok"] and report["state_roots_equal"] else 1


def _lines(report: dict[str, Any]) -> list[str]:
    from potminer.view.reasons import why_ended
    from potminer.view.text import pot

    units, sent = report["units"], report["bytes"]
    refused = ", ".join(f"{count} {reason}" for reason, count in units["rejected"].items()) or "none"
    lines = [
        f"accuracy     {report['metric']['value']:.4f}",
        f"rounds       {report['rounds']} in {report['wall_s']} s",
        *(f"{'ended' if at == 0 else '':<12} {line}" for at, line in enumerate(why_ended(report["ended"]))),
        f"units        {units['accepted']} accepted; refused: {refused}",
        f"samples      {report['samples']} ({report['samples_per_s']}/s)",
        f"sent         {sent['sent']} bytes ({sent['per_sample']} a sample)",
        f"supply_ok    {str(report['supply_ok']).lower()}",
        f"state root   {report['state_root']}",
        f"             at height {report['height']}, equal everywhere: {str(report['state_roots_equal']).lower()}",
    ]
    lines += [f"paid         {pot(grains)} to {address}" for address, grains in report["rewards"].items()]
    for name, fate in report["byzantine"].items():
        ends = ", ".join(f"{count} {reason}" for reason, count in fate["outcomes"].items()) or "no units"
        lines.append(f"byzantine    {name} ({fate['kind']}): {ends}; paid {pot(fate['paid'])}")
    lines += [f"slashed      {name}" for name in report["slashed"]]
    return [*lines, f"model        {report['model']}"]


command = devnet
