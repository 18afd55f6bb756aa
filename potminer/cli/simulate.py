"""``potminer simulate``: the replica under faults, by scenario and seed."""

from __future__ import annotations

import json
import os
import sys
from dataclasses import asdict
from time import monotonic
from typing import TYPE_CHECKING, NamedTuple, TextIO

import click

from potminer.base.errors import Exit
from potminer.cli.policy import policy

if TYPE_CHECKING:
    from potminer.sim.report import Report
    from potminer.sim.sweep import Tally
    from potminer.sim.twins import Space

PATIENCE_S = 60.0
"""How long a failing run is shrunk."""
PLAN_CHARACTERS = 1_000_000


class Kind(NamedTuple):
    """What a replay command names beside scenario and seed."""

    nodes: int | None
    town: bool

    def __str__(self) -> str:
        return (f" --nodes {self.nodes}" if self.nodes is not None else "") + (" --town" if self.town else "")


@click.group(invoke_without_command=True)
@click.pass_context
@click.option("--list", "list_them", is_flag=True, help="Name the scenarios and stop.")
@click.option("--scenario", "name", default="swarm", show_default=True, help="Which scenario to run.")
@click.option("--seed", default=0, show_default=True, help="First seed.")
@click.option("--seeds", default=1, show_default=True, type=click.IntRange(1, 1_000_000), help="How many seeds.")
@click.option("--nodes", default=None, type=click.IntRange(1, 31), help="Committee size, instead of the seed's draw.")
@click.option("--json", "as_json", is_flag=True, help="One JSON object per run (and for what many cost), or per sweep.")
@click.option("--plan", "plan_only", is_flag=True, help="Print the run of --seed as data, and do not run it.")
@click.option("--replay", type=click.File("r"), default=None, help="Run the plan in this file (- for standard input).")
@click.option("--shrink/--no-shrink", "shrinks", default=True, show_default=True, help="Shrink the first failing run.")
@click.option("--town", is_flag=True, help="Run the node's own engine on a virtual clock instead of bare replicas.")
@click.option("--twins", is_flag=True, help="Play Twins scenarios instead: 4 nodes, one twin, 2 sides, 4 rounds.")
@click.option(
    "--leads",
    default="twin",
    show_default=True,
    type=click.Choice(["twin", "turn", "skip"]),
    help="Twins: who leads the rounds: twins, each in turn, or in turn but for who missed one.",
)
@click.option(
    "--cut",
    default="commit",
    show_default=True,
    type=click.Choice(["view", "commit"]),
    help="Twins: whether a partition changes with the view, or before its COMMITs.",
)
@click.option("--scenario-index", "index", default=None, type=click.IntRange(0), help="Twins: play this one.")
@click.option("--limit", default=None, type=click.IntRange(1), help="Twins: play only the first so many.")
@click.option("--jobs", default=None, type=click.IntRange(1, 64), help="Processes; as many as cores if not given.")
def simulate(
    ctx: click.Context,
    *,
    list_them: bool,
    name: str,
    seed: int,
    seeds: int,
    nodes: int | None,
    as_json: bool,
    plan_only: bool,
    replay: TextIO | None,
    shrinks: bool,
    town: bool,
    twins: bool,
    leads: str,
    cut: str,
    index: int | None,
    limit: int | None,
    jobs: int | None,
) -> None:
    """Run the consensus replica in a virtual world and judge what it did.

    Every run is decided by its scenario and seed, by its number among all Twins scenarios, or by
    the plan in a file. Exit code 1 where a witness saw a violation: the failing run is named by one
    command, and shrunk to a plan that --replay takes.
    """
    if ctx.invoked_subcommand is not None:
        return
    from potminer.sim.catalogue import ABOUT, drawn

    jobs = min(os.cpu_count() or 1, 64) if jobs is None else jobs
    if list_them:
        for known, about in ABOUT.items():
            click.echo(f"{known:22} {about}")
        click.echo(f"{'--twins':22} one key, two replicas: all 50,625 ways to split 4 rounds")
        return
    if twins:
        _twins(leads, cut, index=index, limit=limit, jobs=jobs, as_json=as_json)
        return
    if name not in ABOUT:
        raise click.BadParameter(f"no scenario is called {name!r}; --list names them", param_hint="--scenario")
    if replay is not None:
        _replay_plan(replay, town=town, as_json=as_json)
    elif plan_only:
        from potminer.sim.plan import to_json

        click.echo(to_json(drawn(name, seed, nodes=nodes)))
    else:
        _seeds(name, range(seed, seed + seeds), Kind(nodes, town), jobs=jobs, as_json=as_json, shrinks=shrinks)


simulate.add_command(policy)


def _replay_plan(file: TextIO, *, town: bool, as_json: bool) -> None:
    from potminer.sim.plan import from_json
    from potminer.sim.sweep import runner

    report = runner(town=town)(from_json(file.read(PLAN_CHARACTERS)))
    replay = f"potminer simulate{' --town' if town else ''} --replay {file.name}"
    _show(report, replay=replay, as_json=as_json, alone=True)
    if report.violations:
        sys.exit(Exit.FAILURE)


def _seeds(name: str, seeds: range, kind: Kind, *, jobs: int, as_json: bool, shrinks: bool) -> None:
    from potminer.sim.sweep import Effort, run_seeds

    begun, reports, effort = monotonic(), [], Effort()
    for report in run_seeds(name, seeds, jobs=jobs, nodes=kind.nodes, town=kind.town, effort=effort):
        reports.append(report)
        replay = f"{report.replay}{kind}"
        _show(report, replay=replay, as_json=as_json, alone=len(seeds) == 1)
    failed = [report for report in reports if report.violations]
    if len(seeds) > 1:
        _summary(reports, len(failed), monotonic() - begun, effort.cpu_s, as_json=as_json)
    if failed:
        if shrinks:
            _shrink(failed[0], kind, as_json=as_json)
        sys.exit(Exit.FAILURE)


def _shrink(report: Report, kind: Kind, *, as_json: bool) -> None:
    """The failing run again and again, smaller each time, for as long as an impatient person waits."""
    from potminer.sim.catalogue import drawn
    from potminer.sim.plan import to_json
    from potminer.sim.shrink import shrink, size_of
    from potminer.sim.sweep import fails_as

    begun, whole = monotonic(), drawn(report.scenario, report.seed, nodes=kind.nodes)
    shrunk = shrink(whole, fails_as(report, town=kind.town), stop=lambda: monotonic() - begun > PATIENCE_S)
    data = to_json(shrunk.plan)
    if as_json:
        click.echo(json.dumps({"schema": 1, "shrunk": json.loads(data), "tries": shrunk.tries}))
        return
    click.echo(
        f"shrunk in {shrunk.tries} runs, size {size_of(whole)} to {size_of(shrunk.plan)}: {shrunk.plan.nodes} nodes, "
        f"{len(shrunk.plan.roles)} of them not honest, {len(shrunk.plan.faults)} faults; run it with: "
        f"potminer simulate{' --town' if kind.town else ''} --replay FILE"
    )
    click.echo(data)


def _show(report: Report, *, replay: str, as_json: bool, alone: bool) -> None:
    if as_json:
        click.echo(json.dumps({"schema": 1, **asdict(report), "replay": replay}))
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


def _twins(leads: str, cut: str, *, index: int | None, limit: int | None, jobs: int, as_json: bool) -> None:
    """All scenarios, the first *limit*, or the one of *index*; the command that replays each that is violated."""
    from potminer.sim.sweep import sweep, together
    from potminer.sim.twins import Cut, Leads, Space

    space = Space(leads=Leads(leads), cut=Cut(cut))
    if index is not None and index >= space.size:
        raise click.BadParameter(f"there are {space.size} scenarios", param_hint="--scenario-index")
    first, count = (0, limit or space.size) if index is None else (index, 1)
    begun, tallies = monotonic(), []
    for tally in sweep(space, first=first, count=count, jobs=jobs):
        tallies.append(tally)
        if not as_json:
            _show_violating(space, tally)
    took, total = monotonic() - begun, together(tallies)
    if as_json:
        found = [{"index": n, "violations": v, "replay": _replay(space, n)} for n, v in total.violating]
        told = {**asdict(total), "violating": found, "of": space.size, "seconds": round(took, 3)}
        click.echo(json.dumps({"schema": 1, **told}))
    else:
        click.echo(
            f"twins, led by {leads}, cut at {cut}: {total.played} of {space.size} scenarios, {len(total.violating)} "
            f"with violations, {total.reproposed} with a re-proposed block, {total.skipping} with skipped turns, "
            f"highest view {total.highest_view}, "
            f"at most {total.worst_heal} views to a block after the heal, {took:.1f} s, "
            f"{total.played / max(took, 0.001):.0f} scenarios/s"
        )
    if total.violating:
        sys.exit(Exit.FAILURE)


def _show_violating(space: Space, tally: Tally) -> None:
    for index, violations in tally.violating:
        for violation in violations:
            click.echo(f"VIOLATION scenario {index}: {violation}")
        click.echo(f"replay: {_replay(space, index)}")


def _replay(space: Space, index: int) -> str:
    return f"potminer simulate --twins --leads {space.leads} --cut {space.cut} --scenario-index {index}"


def _summary(reports: list[Report], failed: int, took_s: float, cpu_s: float, *, as_json: bool) -> None:
    """*took_s*: of the whole command but its own start; *cpu_s*: of the runs alone, on all processes."""
    resumed = sorted(report.resumed_ms for report in reports)
    events = sum(report.events for report in reports)
    a_second, a_cpu_second = round(events / max(took_s, 0.001)), round(events / max(cpu_s, 0.001))
    if as_json:
        click.echo(json.dumps({
            "schema": 1, "seeds": len(reports), "failed": failed, "events": events, "seconds": round(took_s, 3),
            "cpu_seconds": round(cpu_s, 3), "events_per_second": a_second, "events_per_cpu_second": a_cpu_second,
        }))  # fmt: skip
        return
    click.echo(
        f"{reports[0].scenario}: {len(reports)} seeds, {failed} with violations, "
        f"{sum(report.blocks for report in reports)} blocks, {sum(report.restarts for report in reports)} restarts, "
        f"highest view {max(report.highest_view for report in reports)}, "
        f"resumed after {resumed[len(resumed) // 2]} ms (median) and {resumed[-1]} ms (worst), {took_s:.1f} s; "
        f"{events:,} events, {a_second:,} a second, {a_cpu_second:,} a CPU second"
    )
