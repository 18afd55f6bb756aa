"""``potminer bench``: what this rig's devices do with a unit of work, and what that would earn."""

from __future__ import annotations

import asyncio
import tempfile
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import click

from potminer.base.errors import Exit, NoDevice, NotPermitted, PotminerError, Unreachable, UsageError
from potminer.cli.clock import now_ms
from potminer.cli.config import read_config
from potminer.cli.node import ask, find_task
from potminer.cli.output import print_json, print_view, say
from potminer.cli.place import Place

if TYPE_CHECKING:
    from potminer.node.config import Config
    from potminer.node.outfit import Cards
    from potminer.view.measured import Measured, Prospect
    from potminer.wire.task import TaskSpec
    from potminer.world.api.attach import Client

_MODELS = ("mlp", "cnn", "gpt")
_ROUNDS = 20
"""Rounds that tell a task's pace."""
_BUSY = frozenset({"mining", "training", "releasing", "verifying", "draining", "restoring"})


@click.command()
@click.option("--model", type=click.Choice(_MODELS), default="cnn", show_default=True, help="Which template.")
@click.option("--task", "order", metavar="TASK", help="Instead: a task file, or an open task of the network by name.")
@click.option("--gpu", "wanted", multiple=True, metavar="BUS", help="This device only, as `gpus` shows it. Repeatable.")
@click.option("--seconds", type=click.IntRange(1, 600), default=10, show_default=True, help="On each device.")
@click.option("--anyway", is_flag=True, help="Also where a device is at work: the figures are lower then.")
@click.option("--json", "as_json", is_flag=True, help="As JSON.")
@click.pass_obj
def bench(
    place: Place, *, model: str, order: str | None, wanted: tuple[str, ...], seconds: int, anyway: bool, as_json: bool
) -> int:
    """Measure what the devices of this rig do: samples a second, watts, memory.

    Units are computed as the daemon would, on made-up data, one device after the other; nothing is sent to
    anybody. With --task also what an hour would pay at most, net of power, beside mining.

    Ends with 6 where no device could be measured.
    """
    from potminer.node.outfit import Cards, buses_of

    config = read_config(place)
    cards = Cards.look(now_ms)
    buses = _chosen(buses_of(config, cards), wanted)
    if not anyway:
        _refuse_busy(place, config, cards, buses)
    work = _order(place, order) if order is not None else _template(model)
    if not as_json:
        say(f"{work.spec.name}: {seconds} s on each of {', '.join(buses)}, and the time it takes to load torch")
    found = asyncio.run(_measure(config, cards, work.spec, buses, seconds))
    prospects = _prospects(config, work, found) if order is not None else {}
    if as_json:
        _print_plain(work.spec, found, prospects)
    else:
        _print(found, prospects, told=order is not None)
    if all(each.fault for each in found):
        raise NoDevice("no device could be measured", "`potminer doctor` and `potminer gpus` say what is in the way.")
    return Exit.OK


def _chosen(buses: Sequence[str], wanted: Sequence[str]) -> tuple[str, ...]:
    from potminer.wire.facts import bus_key

    if not buses:
        raise NoDevice("the config sets every device aside", "Look at [[devices]]: `potminer config get devices`.")
    named = tuple(dict.fromkeys(bus_key(each) or each for each in wanted))
    strange = [each for each in named if each not in buses]
    if strange:
        raise UsageError(f"{strange[0]} is no device that trains here", f"There are: {', '.join(buses)}.")
    return named or tuple(buses)


def _refuse_busy(place: Place, config: Config, cards: Cards, buses: Sequence[str]) -> None:
    """A measurement beside work is worth nothing, and costs the work."""
    for device in _daemons_devices(place):
        if device[0] in buses and device[1] in _BUSY:
            raise NotPermitted(
                f"{device[0]} is {device[1]}", "First `potminer pause`, and `potminer resume` after it; or --anyway."
            )
    for card in cards.seen.gpus:
        load = card.foreign_utilisation_ppm
        if card.bus in buses and load is not None and load > config.idle.gpu_util_max_percent * 10_000:
            what = f"{card.bus} is used by another program ({load // 10_000} % load)"
            raise NotPermitted(what, "Pause the miner, or measure --anyway: both are slower then.")


def _daemons_devices(place: Place) -> list[tuple[str, str]]:
    async def question(node: Client) -> list[tuple[str, str]]:
        return [(device.bus, device.state.value) for device in (await node.snapshot()).devices]

    try:
        return ask(place, question)
    except Unreachable:
        return []


# ---- which work --------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _Work:
    """*share_ppm* of a unit's price goes to its trainer; *round_ms* is what rounds took, where any are known."""

    spec: TaskSpec
    share_ppm: int = 0
    round_ms: int | None = None


def _template(model: str) -> _Work:
    from potminer.train.rehearsal import template

    return _Work(template(model))


def _order(place: Place, order: str) -> _Work:
    """The task of a file, or of the network."""
    from potminer.wire.genesis import Parameters

    path = Path(order)
    if not path.is_file():
        return ask(place, lambda node: _proven(place, node, order))
    from potminer.node.genesisfile import read_genesis
    from potminer.node.taskfile import load_task_file

    spec = load_task_file(path).to_spec(train=bytes(32), validation=bytes(32), initial_model=bytes(32))
    genesis = place.paths().genesis
    own = read_genesis(genesis).parameters if genesis.is_file() else Parameters()
    return _Work(spec, own.trainer_share_ppm)


async def _proven(place: Place, node: Client, order: str) -> _Work:
    from potminer.cli.trusted import following, genesis_of
    from potminer.wire import record as records

    name = await find_task(node, order)
    async with following(place, node) as follower:
        (fact,) = await follower.facts(node, [records.task_key(bytes.fromhex(name))])
    task = fact.record(records.TaskRecord)
    if task is None:
        raise PotminerError(f"the ledger knows no task {order[:80]!r}", "potminer task list names the open ones.")
    rounds = (await node.task(name)).rounds[:_ROUNDS]
    took = [each.closed_ms - each.opened_ms for each in rounds if each.closed_ms is not None]
    pace = max(1, sum(took) // len(took)) if took else None
    return _Work(task.spec, (await genesis_of(place, node)).parameters.trainer_share_ppm, pace)


async def _measure(
    config: Config, cards: Cards, spec: TaskSpec, buses: Sequence[str], seconds: int
) -> list[Measured]:
    from potminer.node.measure import Measurement
    from potminer.node.outfit import launches_of
    from potminer.train.folder import Folder
    from potminer.train.rehearsal import rehearse

    with tempfile.TemporaryDirectory(prefix="potminer-bench-") as name:
        folder = Folder(Path(name))
        launches = launches_of(buses, config, folder.root, None, cards)
        work = Measurement(launches, cards, folder, rehearse(folder, spec), seconds, now_ms)
        return [await work.measure(bus) for bus in buses]


# ---- what it would earn ------------------------------------------------------------------


def _prospects(config: Config, work: _Work, found: Sequence[Measured]) -> dict[str, Prospect]:
    from potminer.node.rigform import price_micro
    from potminer.node.terms import market
    from potminer.view.measured import Prospect

    measured = [each for each in found if not each.fault]
    terms = market(config, [each.bus for each in found], lambda: None, now_ms)
    watts = {each.bus: each.watts * 1_000 for each in config.devices}
    seen = {}
    for each in measured:
        here = terms.terms(each.bus)
        pay, paced = _pay(work, each.rate_milli or 0, len(measured))
        seen[each.bus] = Prospect(
            pay_h=pay, pot=price_micro(config.prices.pot), mine_h=here.mine_h, kwh=here.kwh, paced=paced,
            power_mw=each.power_mw or watts.get(each.bus) or None, currency=config.power.currency or None,
        )
    return seen


def _pay(work: _Work, rate_milli: int, devices: int) -> tuple[int, bool]:
    """Grains an hour, and whether it is the task's rounds that bound them: a rig's devices share its units."""
    from potminer.view.measured import pay_h

    spec = work.spec
    alone = pay_h(
        rate_milli, samples_per_unit=spec.samples_per_unit, price_per_unit=spec.reward.price_per_unit,
        share_ppm=work.share_ppm,
    )
    if work.round_ms is None:
        return alone, False
    a_round = spec.units_per_trainer * spec.reward.price_per_unit * work.share_ppm // 1_000_000
    paced = a_round * 3_600_000 // work.round_ms // devices
    return min(alone, paced), paced <= alone


def _print(found: Sequence[Measured], prospects: dict[str, Prospect], *, told: bool) -> None:
    from potminer.view import text
    from potminer.view.measured import measured_table, prospect_sentence

    print_view(measured_table(found))
    for each in found:
        if each.fault:
            say(f"✗ {each.bus} {text.clean(each.name, 40)}: {text.clean(each.fault, 300)}")
    for bus, prospect in prospects.items():
        say(prospect_sentence(bus, prospect))
    if not told:
        say("Name a task (--task FILE, or --task NAME of an open one) to see what it would pay.")


def _print_plain(spec: TaskSpec, found: Sequence[Measured], prospects: dict[str, Prospect]) -> None:
    from potminer.wire.model import parameter_count

    rows = []
    for each in found:
        row = {**asdict(each), "fault": each.fault or None, "prospect": None}
        seen = prospects.get(each.bus)
        if seen is not None:
            row["prospect"] = {
                "pay_grains_h": seen.pay_h, "paced": seen.paced, "mining_micro_h": seen.mine_h, "kwh_micro": seen.kwh,
                "pot_micro": seen.pot, "currency": seen.currency, "training_net_micro_h": seen.training_h,
                "mining_net_micro_h": seen.mining_h,
            }  # fmt: skip
        rows.append(row)
    print_json(
        {"task": spec.name, "parameters": parameter_count(spec.model), "samples_per_unit": spec.samples_per_unit,
         "devices": rows}
    )  # fmt: skip


command = bench
