"""``potminer``: the table of commands, the global options, and how a command ends.

Commands are imported when they are called. One whose module is not installed is not listed.
"""

from __future__ import annotations

import contextlib
import importlib
import importlib.util
import os
import sys
from collections.abc import Sequence
from pathlib import Path

import click

from potminer.base.errors import Exit, PotminerError
from potminer.cli.place import Place

COMMANDS: dict[str, tuple[str, str]] = {
    "init": ("init:init", "Set this computer up: keys, config, payout address."),
    "run": ("run:run", "Run the daemon."),
    "dashboard": ("dashboard:dashboard", "Open the dashboard."),
    "status": ("status:status", "Show what this rig does, earns and waits for."),
    "rigs": ("rigs:rigs", "Show all rigs of yours on one page."),
    "why": ("why:why", "Explain how a unit of work ended."),
    "earnings": ("earnings:earnings", "Show what this rig earned, by day and task."),
    "peers": ("peers:peers", "List the peers of this node."),
    "chain": ("chain:chain", "Show the chain, prove what is in it, find who broke it."),
    "logs": ("logs:logs", "Show the node's log."),
    "pause": ("pause:pause", "Stop training now and give the devices back."),
    "resume": ("pause:resume", "Undo pause."),
    "finish": ("pause:finish", "Finish the units under way, then take no new ones."),
    "mode": ("mode:mode", "Choose what the devices do: auto, mine, train or off."),
    "wallet": ("wallet:wallet", "Keep and send money."),
    "payout": ("payout:payout", "Show and set where this rig's earnings go."),
    "bond": ("bond:bond", "Put up security for this rig's work."),
    "unbond": ("bond:unbond", "Take security back."),
    "validator": ("validator:validator", "Become a validator, and stop being one."),
    "keys": ("keys:keys", "Show, back up and replace the key of this node."),
    "task": ("task:task", "Order training and fetch models."),
    "devnet": ("devnet:devnet", "Run a whole network on this computer."),
    "simulate": ("simulate:simulate", "Run the network in virtual time."),
    "record": ("replay:record", "Record what the dashboard shows."),
    "replay": ("replay:replay", "Show a recorded session again."),
    "miners": ("miners:miners", "Find the miners of this computer and test them."),
    "gpus": ("gpus:gpus", "Show the GPUs and which torch can use them."),
    "bench": ("bench:bench", "Measure what the devices of this rig do and would earn."),
    "doctor": ("doctor:doctor", "Check this computer and say what to do."),
    "config": ("config:config", "Check and show the settings."),
    "service": ("service:service", "Let systemd keep the daemon running."),
    "update": ("update:update", "Look for a newer release, check the files of one."),
    "completion": ("completion:completion", "Print the shell completion script."),
    "version": ("version:version", "Show versions."),
}
"""Name: (module:attribute inside ``potminer.cli``, one line of help)."""


class Door(click.Group):
    """A group that imports a command only when it is called."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return [name for name, (target, _) in COMMANDS.items() if _exists(target)]

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in COMMANDS:
            return super().get_command(ctx, cmd_name)
        target, _ = COMMANDS[cmd_name]
        if not _exists(target):
            return None
        module, _, attribute = target.partition(":")
        found = getattr(importlib.import_module(f"potminer.cli.{module}"), attribute)
        if not isinstance(found, click.Command):
            raise AssertionError(f"potminer.cli.{target} is not a command")
        return found

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        try:
            return super().resolve_command(ctx, args)
        except click.UsageError as error:
            import difflib

            near = difflib.get_close_matches(args[0], self.list_commands(ctx))
            if not near:
                raise
            raise click.UsageError(f"{error.message} Did you mean {', '.join(near)}?", ctx) from None

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """From the table: help must not import the commands."""
        with formatter.section("Commands"):
            formatter.write_dl([(name, COMMANDS[name][1]) for name in self.list_commands(ctx)])


def _exists(target: str) -> bool:
    return importlib.util.find_spec(f"potminer.cli.{target.partition(':')[0]}") is not None


@click.group(cls=Door, invoke_without_command=True, context_settings={"help_option_names": ["-h", "--help"]})
@click.option("--datadir", type=click.Path(path_type=Path), help="Folder of keys, chain and blobs. [POTMINER_DATADIR]")
@click.option("--config", type=click.Path(path_type=Path), help="Config file. [POTMINER_CONFIG]")
@click.option("--network", help="Name of the network. [POTMINER_NETWORK]")
@click.option("--profile", help="Settings from potminer.NAME.toml in the data folder. [POTMINER_PROFILE]")
@click.pass_context
def cli(
    ctx: click.Context, datadir: Path | None, config: Path | None, network: str | None, profile: str | None
) -> int | None:
    """Idle mining rigs train models, under Proof of Training.

    Without a command, on a terminal: the dashboard, with a daemon of its own where none runs.
    """
    ctx.obj = Place(datadir, config, network, profile)
    if ctx.invoked_subcommand is not None:
        return None
    if sys.stdin.isatty() and sys.stdout.isatty() and _exists("dashboard:dashboard"):
        from potminer.cli.dashboard import open_alone

        return open_alone(ctx.obj)
    click.echo(ctx.get_help())
    return None


def main(arguments: Sequence[str] | None = None, door: click.Group = cli) -> int:
    """Run a command line; the exit code. The third and last door that catches everything."""
    place = Place()
    completing = os.environ.get("_POTMINER_COMPLETE")
    if completing:
        from click.shell_completion import shell_complete

        return shell_complete(door, {}, "potminer", "_POTMINER_COMPLETE", completing)
    try:
        with door.make_context("potminer", list(sys.argv[1:] if arguments is None else arguments)) as ctx:
            place = _said(ctx)
            result = door.invoke(ctx)
        return result if isinstance(result, int) and not isinstance(result, bool) else Exit.OK
    except click.exceptions.Exit as done:
        return done.exit_code
    except click.ClickException as error:
        error.show()
        return error.exit_code
    except (click.Abort, KeyboardInterrupt):
        with contextlib.suppress(OSError):  # a closed terminal interrupts us too, and reads nothing
            click.echo("interrupted", err=True)
        return Exit.INTERRUPTED
    except BrokenPipeError:
        # Whoever read us has enough; Python would complain once more when it flushes at the end.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return Exit.FAILURE
    except PotminerError as error:
        from potminer.cli.output import print_error

        print_error(error)
        return error.exit
    except OSError as error:
        from potminer.cli.output import print_error, report_bug, told

        known = told(error)
        if known is None:
            report_bug(error, _logs(place))
            return Exit.FAILURE
        print_error(known)
        return known.exit
    except Exception as error:  # noqa: BLE001 - the door: nobody sees a traceback
        from potminer.cli.output import report_bug

        report_bug(error, _logs(place))
        return Exit.FAILURE


def _said(ctx: click.Context) -> Place:
    return Place(*(ctx.params.get(name) for name in ("datadir", "config", "network", "profile")))


def _logs(place: Place) -> Path:
    try:
        return place.paths().logs
    except PotminerError:
        return Path.cwd()


if __name__ == "__main__":
    sys.exit(main())
