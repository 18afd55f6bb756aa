"""``potminer simulate``: the replica under faults, by scenario and seed."""

from __future__ import annotations

import json
import sys
from dataclasses import asdict
from time import monotonic
from typing import TYPE_CHECKING

import click

from potminer.base.errors import Exit

if TYPE_CHECKING:
    from potminer.sim.world import Report


@click.command()
@click.option("--list", "list_them", is_flag=True, help="Name the scenarios and stop.")
@click.option("--scenario", "name", default="crash-partition", show_default=True, help="Which scenario to run.")
@click.option("--seed", default=0, show_default=True, help="First seed.")
@click.option("--seeds", default=1, show_default=True, type=click.IntRange(1, 1_000_000), help="How many seeds.")
@click.option("--nodes", default=None, type=click.IntRange(1, 31), help="Committee size, instead of the seed's draw.")
@click.option("--json", "as_json", is_flag=True, help="One JSON object per run.")
def simulate(*, list_them: bool, name: str, seed: int, seeds: int, nodes: int | None, as_json: bool) -> None:
    """Run the consensus replica in a virtual world and judge what it did.

    Every run is decided by its scenario and seed. Exit code 1 where a witness saw a violation.
    """
    from potminer.sim.scenarios import SCENARIOS
    from potminer.sim.world import simulate as run

    if list_them:
        for scenario in SCENARIOS.values():
            click.echo(f"{scenario.name:22} {scenario.about}")
        return
    if name not in SCENARIOS:
        raise click.BadParameter(f"no scenario is called {name!r}; --list names them", param_hint="--scenario")
    begun, failed, reports = monotonic(), 0, []
    for current in range(seed, seed + seeds):
        report = run(SCENARIOS[name], current, nodes=nodes)
        reports.append(report)
        failed += bool(report.violations)
        _show(report, nodes=nodes, as_json=as_json, alone=seeds == 1)
    if not as_json and seeds > 1:
        _summary(reports, failed, monotonic() - begun)
    if failed:
        sys.exit(Exit.FAILURE)


def _show(report: Report, *, nodes: int | None, as_json: bool, alone: bool) -> None:
    replay = report.replay + (f" --nodes {nodes}" if nodes is not None else "")
    if as_json:
        click.echo(json.dumps({**asdict(report), "replay": replay}))
        return
    if alone:
        click.echo(
            f"{report.scenario} seed {report.seed}: {report.nodes} nodes, {report.blocks} blocks, "
            f"highest view {report.highest_view}, {report.restarts} restarts, {report.messages} messages, "
            f"resumed after {report.resumed_ms} ms, fingerprint {report.fingerprint}"
        )
    for violation in report.violations:
        click.echo(f"VIOLATION seed {report.seed}: {violation}")
    if report.violations:
        click.echo(f"replay: {replay}")


def _summary(reports: list[Report], failed: int, took_s: float) -> None:
    resumed = sorted(report.resumed_ms for report in reports)
    click.echo(
        f"{reports[0].scenario}: {len(reports)} seeds, {failed} with violations, "
        f"{sum(report.blocks for report in reports)} blocks, {sum(report.restarts for report in reports)} restarts, "
        f"highest view {max(report.highest_view for report in reports)}, "
        f"resumed after {resumed[len(resumed) // 2]} ms (median) and {resumed[-1]} ms (worst), {took_s:.1f} s"
    )
