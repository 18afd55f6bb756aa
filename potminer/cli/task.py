"""``potminer task``: write a task, check it before any money moves, order it, follow it, take its model home."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from potminer.cli import taskorder
from potminer.cli.output import print_json, say

if TYPE_CHECKING:
    from potminer.node.taskfile import TaskFile


@click.group()
def task() -> None:
    """Order training and fetch models."""


@task.command()
@click.argument("file", type=click.Path(path_type=Path, dir_okay=False))
@click.option("--json", "as_json", is_flag=True, help="As JSON.")
def check(file: Path, *, as_json: bool) -> None:
    """Read FILE and the headers of its data, and name every mistake."""
    from potminer.node.taskfile import load_task_file

    sound = load_task_file(file)
    summary = _summary(sound)
    if as_json:
        print_json(summary)
        return
    say(f"{file} is sound")
    say(f"model    {summary['parameters']:,} parameters; a unit needs about {summary['unit_bytes']:,} bytes")
    say(f"data     {sound.train_samples:,} samples to train on, {sound.validation_samples:,} to validate")
    say(f"work     {sound.rounds:,} rounds, at most {sound.most_units:,} units of {sound.samples_per_unit:,} samples")
    say(f"money    {summary['budget']} in escrow; every unit of every round costs {summary['most']}")
    if sound.paid_rounds < sound.rounds:
        say(f"         with all {sound.max_trainers} trainers the budget ends after round {sound.paid_rounds:,}")
    taskorder.say_audits(sound)
    say(f"speed    what it does on this computer: potminer bench --task {file}")


def _summary(file: TaskFile) -> dict[str, object]:
    from potminer.node.newcomers import audit_shares
    from potminer.node.taskfile import show_pot
    from potminer.train.shapes import training_bytes
    from potminer.wire.genesis import Parameters
    from potminer.wire.model import parameter_count

    spec = file.to_spec(train=bytes(32), validation=bytes(32), initial_model=bytes(32))
    early, audited = audit_shares(spec, Parameters())
    return {
        "name": file.name,
        "parameters": parameter_count(file.model),
        "unit_bytes": training_bytes(spec),
        "train_samples": file.train_samples,
        "validation_samples": file.validation_samples,
        "rounds": file.rounds,
        "most_units": file.most_units,
        "samples_per_unit": file.samples_per_unit,
        "paid_rounds": file.paid_rounds,
        "audited_ppm": audited,
        "newcomers_audited_ppm": early,
        "budget": show_pot(file.reward.budget),
        "most": show_pot(file.most_units * file.reward.price_per_unit),
    }


@task.command()
@click.argument("file", type=click.Path(path_type=Path, dir_okay=False), default=Path("task.toml"))
def new(file: Path) -> None:
    """Write FILE (task.toml) with every key explained. A file that is there is not touched."""
    from potminer.base.errors import NotPermitted
    from potminer.node.tasktemplate import task_text

    try:
        with file.open("x", encoding="utf-8") as new_file:
            new_file.write(task_text(file.stem))
    except FileExistsError as error:
        raise NotPermitted(f"{file} is already there", "Choose another name, or move it away.") from error
    except OSError as error:
        raise NotPermitted(f"{file} cannot be written: {error.strerror or error}", "Check the folder.") from error
    say(f"{file} is written. Fill in your data, then: potminer task check {file}")


for command in taskorder.COMMANDS:
    task.add_command(command)
