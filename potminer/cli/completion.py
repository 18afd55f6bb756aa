"""``potminer completion``: the script a shell needs to complete our commands."""

from __future__ import annotations

import click
from click.shell_completion import get_completion_class

from potminer.cli.output import say


@click.command()
@click.argument("shell", type=click.Choice(["bash", "zsh", "fish"]))
def completion(shell: str) -> None:
    """Print the shell completion script.

    For bash: eval "$(potminer completion bash)" in ~/.bashrc.
    """
    from potminer.cli.main import cli

    kind = get_completion_class(shell)
    if kind is None:
        raise AssertionError(f"click knows no {shell}")
    say(kind(cli, {}, "potminer", "_POTMINER_COMPLETE").source())
