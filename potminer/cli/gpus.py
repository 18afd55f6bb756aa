"""``potminer gpus``: the cards of this rig, what they do, and which torch has kernels for them."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import click

from potminer.base.errors import Unreachable
from potminer.cli.clock import now_ms
from potminer.cli.node import ask
from potminer.cli.output import print_json, print_table, say
from potminer.cli.place import Place

if TYPE_CHECKING:
    from potminer.wire.control import DeviceView, Snapshot
    from potminer.wire.facts import GpuSample
    from potminer.world.api.attach import Client
    from potminer.world.rig.sight import Sight

LOOK_MS = 8_000
"""A driver that wakes a sleeping card takes seconds."""


@dataclass(frozen=True, slots=True)
class _Row:
    """A card as this process sees it and as the daemon does; each may miss it."""

    gpu: GpuSample | None
    device: DeviceView | None


@click.command()
@click.option("--json", "as_json", is_flag=True, help="As JSON.")
@click.option("--socket", help="The node's api.sock, instead of the one of --datadir.")
@click.pass_obj
def gpus(place: Place, *, as_json: bool, socket: str | None) -> None:
    """Show the GPUs of this rig and which torch can use them."""
    snapshot = _snapshot(place, socket)
    sight = look()
    rows = _join(sight.gpus, snapshot.devices if snapshot is not None else ())
    if as_json:
        print_json({"gpus": [_plain(row) for row in rows], "reason": sight.reason, "daemon": snapshot is not None})
        return
    if not rows:
        say(f"no GPU found{': ' + sight.reason if sight.reason else ''}; the CPU trains")
        return
    _print(rows, sight)


def look() -> Sight:
    """One look at the cards from this process; a driver that hangs is waited for no longer than ``LOOK_MS``."""
    from potminer.world.rig.cards import Cards, open_probes

    return asyncio.run(Cards(open_probes(now_ms), deadline_ms=LOOK_MS).take())


def _snapshot(place: Place, socket: str | None) -> Snapshot | None:
    """The daemon's; None where none runs. A socket that was named must answer."""

    async def question(node: Client) -> Snapshot:
        return await node.snapshot()

    try:
        return ask(place, question, socket=socket)
    except Unreachable:
        if socket is not None:
            raise
        return None


def _join(seen: Sequence[GpuSample], devices: Sequence[DeviceView]) -> list[_Row]:
    from potminer.wire.control import DeviceKind

    told = {device.bus: device for device in devices if device.kind is DeviceKind.GPU}
    found = {gpu.bus: gpu for gpu in seen}
    return [_Row(found.get(bus), told.get(bus)) for bus in sorted(found.keys() | told.keys())]


# ---- on a screen -------------------------------------------------------------------------


def _print(rows: Sequence[_Row], sight: Sight) -> None:
    from potminer.view.text import clean

    table = [("bus", "name", "GiB", "°C", "W", "screen", "state", "torch")]
    hints: dict[str, list[str]] = {}
    for row in rows:
        table.append(_cells(row))
        hint = _verdict(row)[2]
        if hint:
            hints.setdefault(hint, []).append(_bus(row))
    print_table(table, right=frozenset({2, 3, 4}))
    if sight.reason and sight.gpus:
        say(f"! {clean(sight.reason)}")
    for hint, buses in hints.items():
        say("")
        say(f"{', '.join(buses)}:")
        say(f"  {hint}")


def _cells(row: _Row) -> tuple[str, str, str, str, str, str, str, str]:
    """What we see ourselves; of a card that only the daemon sees, what it says."""
    from potminer.view import text
    from potminer.view.select import short_bus, short_device

    gpu, device = row.gpu, row.device
    if gpu is not None:
        memory = text.memory(gpu.memory_used_bytes, gpu.memory_total_bytes)
    else:
        memory = text.memory(device.memory_used, device.memory_total) if device is not None else text.UNKNOWN
    seen = gpu or device
    if seen is None:
        raise AssertionError("a row shows a card that nobody saw")
    return (
        short_bus(seen.bus),
        text.clean(short_device(seen.name), 20),
        memory.removesuffix(" GiB"),
        text.degrees(seen.temperature_milli_c).removesuffix(" °C"),
        text.watts(seen.power_mw).removesuffix(" W"),
        {True: "yes", False: "no", None: text.UNKNOWN}[seen.drives_display],
        device.state.value if device is not None else text.UNKNOWN,
        _verdict(row)[1],
    )


def _bus(row: _Row) -> str:
    if row.gpu is not None:
        return row.gpu.bus
    if row.device is not None:
        return row.device.bus
    raise AssertionError("a row shows a card that nobody saw")


def _verdict(row: _Row) -> tuple[str, str, str]:
    """Fit, build and hint."""
    from potminer.world.rig.kernels import verdict

    if row.gpu is None and row.device is not None and row.device.torch:
        return "unknown", row.device.torch, ""
    found = verdict(row.gpu.architecture if row.gpu is not None else "")
    return found.fit.value, found.build, found.hint


def _plain(row: _Row) -> dict[str, Any]:
    import msgspec

    fit, build, hint = _verdict(row)
    said: dict[str, Any] = msgspec.structs.asdict(row.gpu) if row.gpu is not None else {"bus": _bus(row)}
    state = None if row.device is None else row.device.state.value
    reasons = [] if row.device is None else list(row.device.reasons)
    return {**said, "state": state, "reasons": reasons, "fit": fit, "torch": build, "hint": hint}


command = gpus
