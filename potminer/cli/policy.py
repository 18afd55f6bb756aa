"""``potminer simulate policy``: a recorded day through the real duty machines, in virtual time."""

from __future__ import annotations

import sys
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING

import click

from potminer.base.errors import Exit

if TYPE_CHECKING:
    from potminer.sim.policy import Account, Played


@click.command()
@click.argument("recording", type=click.Path(path_type=Path, dir_okay=False))
@click.option("--policy", "instead", type=click.Choice(["idle_only", "profit", "always"]), help="Not the recorded one.")
@click.option("--json", "as_json", is_flag=True, help="One JSON object.")
def policy(recording: Path, *, instead: str | None, as_json: bool) -> None:
    """Play RECORDING (potminer run --record) and show what duty would do: states, reasons, times, money.

    Nothing is mined, trained or asked. Exit code 1 where something happened that never may.
    """
    from potminer.sim.policy import parameters_of, play, read_trace
    from potminer.wire.trace import RigLine

    lines = read_trace(recording)
    rig = lines[0]
    if not isinstance(rig, RigLine):
        raise AssertionError("a recording begins with its rig")
    parameters = parameters_of(rig, **({} if instead is None else {"policy": instead}))
    played = play(lines, parameters)
    if as_json:
        from potminer.cli.output import print_json

        print_json(_plain(played, rig.currency, parameters.policy))
    else:
        _show(played, rig.currency)
    if played.violations:
        sys.exit(Exit.FAILURE)


def _plain(played: Played, currency: str, name: str) -> dict[str, object]:
    return {
        "policy": name,
        "from_ms": played.from_ms,
        "to_ms": played.to_ms,
        "currency": currency or None,
        "moments": [
            {"at_ms": each.at_ms, "bus": each.bus, "state": each.state, "reasons": list(each.reasons)}
            for each in played.moments
        ],
        "devices": [
            {
                "bus": each.bus,
                "ms_in_state": each.in_state,
                "switches": each.switches,
                "runs": each.runs,
                "mining_ms": each.mining_ms,
                "mining_lost_ms": each.lost_ms,
                "training_micro": each.training_micro,
                "mining_micro": each.mining_micro,
                "undisturbed_micro": each.undisturbed_micro,
            }
            for each in played.accounts
        ],
        "violations": list(played.violations),
    }


def _show(played: Played, currency: str) -> None:
    for moment in played.moments:
        at = datetime.fromtimestamp(moment.at_ms / 1_000).astimezone().strftime("%H:%M:%S")
        why = f": {', '.join(moment.reasons)}" if moment.reasons else ""
        click.echo(f"{at}  {moment.bus:<13} {moment.state}{why}")
    for account in played.accounts:
        click.echo("")
        _show_account(account, currency or "(no currency)")
    for violation in played.violations:
        click.echo(f"VIOLATION {violation}")


def _show_account(account: Account, currency: str) -> None:
    from potminer.core.duty.sentence import duration

    spent = ", ".join(f"{state} {duration(ms)}" for state, ms in account.in_state.items() if ms)
    click.echo(f"{account.bus}: {spent}")
    click.echo(
        f"  {account.runs} runs, {account.switches} switches; its miner could earn for {duration(account.mining_ms)} "
        f"and lost {duration(account.lost_ms)} of it to training"
    )
    click.echo(
        f"  net of power: training {_money(account.training_micro)}, mining {_money(account.mining_micro)}, "
        f"mining undisturbed {_money(account.undisturbed_micro)} {currency}"
    )


def _money(micro: int | None) -> str:
    return "unknown" if micro is None else f"{micro / 1_000_000:.4f}"
