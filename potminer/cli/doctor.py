"""``potminer doctor``: is this computer fit for its role, line by line, and what to do where it is not."""

from __future__ import annotations

import os
import platform
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click

from potminer.base.errors import ConfigError, Exit, PotminerError, Unreachable, UsageError
from potminer.cli.clock import now_ms
from potminer.cli.config import read_config
from potminer.cli.gpus import look
from potminer.cli.node import ask
from potminer.cli.output import WIDTH, print_json, say
from potminer.cli.place import Place

if TYPE_CHECKING:
    from potminer.node.config import Config
    from potminer.wire.control import Snapshot
    from potminer.world.api.attach import Client
    from potminer.world.paths import Paths
    from potminer.world.rig.finding import Finding


@click.command()
@click.option("--json", "as_json", is_flag=True, help="As JSON.")
@click.option("--share", is_flag=True, help="A report for whoever helps you: no keys, names, addresses, paths.")
@click.option("--to", "target", type=click.Path(path_type=Path, dir_okay=False), help="The report's file, a new one.")
@click.pass_obj
def doctor(place: Place, *, as_json: bool, share: bool, target: Path | None) -> int:
    """Check this computer: drivers, torch, disk, clock, ports, idle detection, keys.

    With --share a report is written: the checks, the settings that are not the default, what the daemon was
    doing, the end of its log. It lies here until you send it: potminer sends nothing. With --json only the
    checks are told, redacted.

    Ends with 1 where something does not work.
    """
    if target is not None and (as_json or not share):
        raise UsageError("--to names the report's file", "It goes with --share, and without --json.")
    from potminer.world.rig.finding import Level, worst

    findings = examine(place)
    if share:
        findings = _redacted(place, findings)
    verdict = worst(findings)
    if as_json:
        rows = [{"name": f.name, "level": f.level.value, "text": f.text, "hint": f.hint} for f in findings]
        print_json({"verdict": verdict.value, "checks": rows})
    else:
        print_findings(findings)
    if share and not as_json:
        from potminer.cli.share import write_report

        path = write_report(place, findings, target)
        say("")
        say(f"report   {path}  ({path.stat().st_size:,} bytes)")
        say("         Read it, then send it to whoever helps you. potminer sent it to nobody.")
    return Exit.FAILURE if verdict is Level.FAULT else Exit.OK


def examine(place: Place) -> list[Finding]:
    """Every check, in the order a person would mend things."""
    paths = place.paths()
    config, found = _check_config(place)
    snapshot, daemon = _check_daemon(place)
    found.append(daemon)
    found += _check_host(paths, config)
    found += _check_cards(config)
    found += _check_network(paths, config, snapshot)
    if snapshot is None and not config.store.url and paths.database.exists():
        found.append(_check_store(paths))
    return found


# ---- parts -------------------------------------------------------------------------------


def _check_config(place: Place) -> tuple[Config, list[Finding]]:
    """A broken file is a fault; the other checks then go by the defaults."""
    from potminer.node.config import Config
    from potminer.world.rig.finding import Finding, Level

    try:
        settings = read_config(place)
    except ConfigError as error:
        return Config(), [Finding("config", Level.FAULT, error.what, error.hint)]
    path = place.paths().config
    text = f"{path} is sound" if path.exists() else f"there is no {path}: every setting has its default"
    return settings, [Finding("config", Level.OK, text)]


def _check_daemon(place: Place) -> tuple[Snapshot | None, Finding]:
    from potminer.world.rig.finding import Finding, Level

    async def question(node: Client) -> Snapshot:
        return await node.snapshot()

    try:
        snapshot = ask(place, question)
    except Unreachable as error:
        return None, Finding("daemon", Level.OK, f"not running ({error.what})", "potminer run starts it.")
    except PotminerError as error:
        return None, Finding("daemon", Level.FAULT, error.what, error.hint)
    # No name of the rig: the line may be shared, and a running daemon may be called other than the file says.
    return snapshot, Finding("daemon", Level.OK, f"it runs on {snapshot.network}, block {snapshot.chain.height}")


def _check_host(paths: Paths, config: Config) -> list[Finding]:
    import psutil

    from potminer.world.rig.checkup import check_disk, check_folder, check_libc, check_memory
    from potminer.world.rig.finding import Finding, Level

    system = f"Python {platform.python_version()} on {platform.system()} {platform.release()} {platform.machine()}"
    found = [Finding("system", Level.OK, system)]
    if sys.platform.startswith("linux"):
        found.append(check_libc(*platform.libc_ver()))
    memory = psutil.virtual_memory()
    found.append(check_memory(memory.total, memory.available, worker_bytes=config.worker.max_ram_mb * 2**20))
    found.append(check_disk(paths.datadir))
    return found + check_folder(paths.datadir)


def _check_cards(config: Config) -> list[Finding]:
    """Driver, cards, torch, and who sits in front of them."""
    from potminer.world.rig.checkup import check_driver, check_gpus, check_idle, check_torch
    from potminer.world.rig.nvidia import NvidiaProbe
    from potminer.world.rig.person import Habits, Person
    from potminer.world.rig.torchbuild import ask_torch

    sight = look()
    driver = NvidiaProbe(clock=now_ms, own_pids=lambda: ()).driver() if not sight.absent else None
    build = ask_torch()
    idle = config.idle
    habits = Habits(remote=idle.remote == "counts", full_screen=idle.full_screen == "counts", exclusive=idle.exclusive)
    person = Person(wall_ms=now_ms, environment=os.environ, habits=habits)
    return [
        *check_driver(sight, driver),
        *check_gpus(sight.gpus, build),
        check_torch(build, trains=config.node.role == "trainer"),
        check_idle(person.judge(), seat=person.has_seat(), gpus=sight.gpus),
    ]


def _check_network(paths: Paths, config: Config, snapshot: Snapshot | None) -> list[Finding]:
    from potminer.node.genesisfile import read_genesis
    from potminer.world.rig.checkup import check_clock, check_port, clock_synchronised
    from potminer.world.rig.finding import Finding, Level
    from potminer.world.rig.program import run

    try:
        network = read_genesis(paths.genesis).network
        found = [Finding("genesis", Level.OK, f"network {network}")]
    except ConfigError as error:
        found = [Finding("genesis", Level.FAULT, error.what, error.hint)]
    found.append(check_port(config.node.host, config.node.port, running=snapshot is not None))
    last = None if snapshot is None else snapshot.chain.last_block_ms
    found.append(
        check_clock(
            synchronised=clock_synchronised(lambda argv: run(argv, deadline_ms=2_000)),
            ahead_ms=None if last is None else last - now_ms(),
            commit_ms=None if snapshot is None else snapshot.chain.commit_p50_ms,
        )
    )
    return found


def _check_store(paths: Paths) -> Finding:
    """Whether a daemon could start on the chain that lies here: one that runs has shown it."""
    from potminer.core.ledger.apply import RULES
    from potminer.node.owned import OWNER
    from potminer.world.keys import NODE_KEY, load_key
    from potminer.world.rig.finding import Finding, Level
    from potminer.world.store.peek import peek

    hint = "Move it away: the node fetches the chain from its peers. Keys are kept elsewhere."
    try:
        told = peek(paths.database, OWNER)
        key = paths.keys / NODE_KEY
        own = load_key(key).public if key.exists() else None
    except PotminerError as error:
        return Finding("store", Level.FAULT, error.what, error.hint)
    if told.newer:
        return Finding("store", Level.FAULT, f"{paths.database} was written by a newer potminer", "Upgrade potminer.")
    if told.rules not in (None, RULES):
        text = f"the chain here was made under rules {told.rules} of the ledger; this potminer applies rules {RULES}"
        return Finding("store", Level.FAULT, text, f"Keep the potminer that made it, or: {hint}")
    if None not in (told.noted, own) and told.noted != own:
        return Finding("store", Level.FAULT, "the chain here was written by another node's key", hint)
    return Finding("store", Level.OK, f"{paths.database.stat().st_size:,} bytes, of this node and these rules")


# ---- on a screen -------------------------------------------------------------------------


def print_findings(findings: Sequence[Finding]) -> None:
    import textwrap

    from potminer.view.text import clean
    from potminer.world.rig.finding import Level, worst

    sign = {Level.OK: "✓", Level.WARN: "!", Level.FAULT: "✗"}
    for finding in findings:
        lines = [line for part in finding.text.splitlines() for line in textwrap.wrap(clean(part, 400), WIDTH - 17)]
        say(f"{sign[finding.level]} {finding.level.value:<5} {finding.name:<8} {lines[0] if lines else ''}")
        for line in lines[1:]:
            say(f"{'':17}{line}")
        for at, line in enumerate(textwrap.wrap(finding.hint, WIDTH - 19)):
            say(f"{'':17}{'→ ' if at == 0 else '  '}{line}")
    words = {Level.OK: "all is well", Level.WARN: "it works, with warnings", Level.FAULT: "something does not work"}
    say("")
    say(f"{sign[worst(findings)]} {words[worst(findings)]}")


def _redacted(place: Place, findings: Sequence[Finding]) -> list[Finding]:
    from dataclasses import replace

    from potminer.cli.share import redaction

    hidden = redaction(place)
    return [replace(f, text=hidden.of(f.text), hint=hidden.of(f.hint)) for f in findings]


command = doctor
