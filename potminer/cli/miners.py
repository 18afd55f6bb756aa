"""``potminer miners``: which miners potminer knows, which run here, what one says. Nothing is written to any."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import click

from potminer.base.errors import Exit, UsageError
from potminer.cli.clock import now_ms
from potminer.cli.config import read_config
from potminer.cli.output import print_json, print_table, say
from potminer.cli.place import Place

if TYPE_CHECKING:
    from potminer.wire.facts import MinerSample
    from potminer.world.rig.miners.interface import Identity

_CONTROL = {
    "http-pause": "pauses and resumes",
    "rpc-pause": "pauses and resumes",
    "gpu-toggle": "pauses GPU by GPU",
    "process": "read only",
}

_COLUMNS = ("kind", "programs", "url", "ports", "control")


@click.group()
def miners() -> None:
    """Show the miners that potminer can work beside."""


@miners.command(name="list")
@click.option("--json", "as_json", is_flag=True, help="As JSON.")
def list_kinds(*, as_json: bool) -> None:
    """List the kinds of miners, and what potminer can do with each."""
    from potminer.world.rig.miners.registry import KINDS, default_url

    if as_json:
        rows = [(k.name, k.programs, default_url(k), k.ports, k.control.value) for k in KINDS.values()]
        print_json({"kinds": [dict(zip(_COLUMNS, row, strict=True)) for row in rows]})
        return
    table = [[k.name, _CONTROL[k.control.value], default_url(k), k.programs] for k in KINDS.values()]
    print_table([["KIND", "CONTROL", "USUAL ADDRESS", "PROGRAMS"], *table])


@miners.command()
@click.option("--json", "as_json", is_flag=True, help="As JSON.")
@click.pass_obj
def detect(place: Place, *, as_json: bool) -> None:
    """Look for miners on this computer: running programs first, then the ports of the config and usual ones."""
    from dataclasses import asdict
    from urllib.parse import urlsplit

    from potminer.world.rig.miners.detect import detect as look_around

    configured = [port for each in read_config(place).miners if each.url and (port := urlsplit(each.url).port)]
    found = asyncio.run(look_around(also=configured))
    if as_json:
        print_json({"miners": [asdict(miner) for miner in found]})
        return
    if not found:
        say("no miner runs here, or none with its API on")
        return
    for miner in found:
        where = f"{miner.kind} at {miner.url}" if miner.url else f"{miner.kind}, process {miner.pid}"
        if miner.version is None:
            say(f"{where}: not usable, {miner.problem}")
            continue
        say(f"{where}: {miner.version or 'version unknown'}, {_can(miner.control.value, miner.writable)}")
        for line in ("[[miners]]", f'kind = "{miner.kind}"', f'url = "{miner.url}"'):
            say(f"    {line}")


@miners.command()
@click.argument("kind", required=False)
@click.argument("url", required=False)
@click.option("--token-file", default="", help="File that holds the API's token or password.")
@click.option("--json", "as_json", is_flag=True, help="As JSON.")
@click.pass_obj
def test(place: Place, *, kind: str | None, url: str | None, token_file: str, as_json: bool) -> None:
    """Ask a miner who it is and how it fares.

    KIND and URL name one, as trex http://127.0.0.1:4067; without URL it is the usual address,
    without both the miners of the config file.
    """
    from potminer.world.rig.miners.registry import default_url, kind_named

    if kind is not None:
        asked = [(kind, url or default_url(kind_named(kind)), token_file)]
    else:
        asked = [
            (each.api if each.kind == "process" else each.kind, each.url, each.token_file)
            for each in read_config(place).miners
            if each.url
        ]
    if not asked:
        raise UsageError("no miner is configured", "Name one: potminer miners test trex http://127.0.0.1:4067")
    results = [_ask(*each) for each in asked]
    if as_json:
        print_json({"miners": [_plain(*result) for result in results]})
    else:
        for result in results:
            _say_result(*result)
    bad = [result for result in results if isinstance(result[2], str)]
    if bad:
        raise click.exceptions.Exit(Exit.FAILURE)


_Answer = tuple["Identity", "MinerSample"]


def _ask(kind: str, url: str, token_file: str) -> tuple[str, str, _Answer | str]:
    """What it said, or in words why it said nothing."""
    from potminer.world.rig.miners.interface import MinerError
    from potminer.world.rig.miners.registry import open_miner, read_token

    adapter = open_miner(kind, url, read_token(token_file), clock=now_ms)

    async def both() -> _Answer:
        return await adapter.identify(), await adapter.read()

    try:
        return kind, url, asyncio.run(both())
    except MinerError as error:
        return kind, url, f"{error.failure.value}: {error}"


def _can(control: str, writable: bool | None) -> str:
    if _CONTROL[control] == "read only" or writable is None:
        return _CONTROL[control]
    return _CONTROL[control] if writable else f"{_CONTROL[control]}, but its API refuses us"


def _plain(kind: str, url: str, answer: _Answer | str) -> dict[str, Any]:
    from msgspec.structs import asdict

    if isinstance(answer, str):
        return {"kind": kind, "url": url, "problem": answer}
    identity, sample = answer
    said = asdict(sample) | {"gpus": [asdict(gpu) for gpu in sample.gpus]}
    return {"kind": kind, "url": url, "writable": identity.writable, "sample": said}


def _say_result(kind: str, url: str, answer: _Answer | str) -> None:
    from potminer.view.text import count, degrees, hash_rate, watts
    from potminer.world.rig.miners.registry import KINDS

    if isinstance(answer, str):
        say(f"{kind} at {url}: {answer}")
        return
    identity, sample = answer
    state = "paused" if sample.paused else "state unknown" if sample.paused is None else "runs"
    say(f"{kind} at {url}: {identity.version or 'version unknown'}, {state}, {hash_rate(sample.hashrate_hs)}")
    say(f"    {_can(KINDS[kind].control.value, identity.writable)}; {count(sample.accepted)} shares accepted")
    for at, gpu in enumerate(sample.gpus):
        name = gpu.bus or f"GPU {at if gpu.index is None else gpu.index}"
        warmth, use = degrees(gpu.temperature_milli_c), watts(gpu.power_mw)
        say(f"    {name}  {hash_rate(gpu.hashrate_hs)}  {warmth}  {use}  {gpu.name}".rstrip())
