"""``potminer dashboard``: the screen, attached to daemons or to a recording."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import click

from potminer.base.errors import Unreachable, UsageError
from potminer.cli.clock import now_ms
from potminer.cli.place import Place

if TYPE_CHECKING:
    from potminer.dashboard.source import Berth
    from potminer.view.doctor import Finding
    from potminer.world.api.address import Address


@click.command()
@click.option("--socket", help="The node's api.sock, instead of the one of --datadir.")
@click.option("--connect", multiple=True, metavar="WHERE", help="One more rig; may be said again. See below.")
@click.option("--replay", type=click.Path(exists=True, dir_okay=False, path_type=Path), help="Show a recording.")
@click.option("--theme", type=click.Choice(["dark", "light", "contrast"]), help="Colours. Default: dashboard.theme.")
@click.option("--ascii", "ascii_only", is_flag=True, help="Only ASCII letters, for old consoles.")
@click.pass_obj
def dashboard(
    place: Place,
    *,
    socket: str | None = None,
    connect: Sequence[str] = (),
    replay: Path | None = None,
    theme: str | None = None,
    ascii_only: bool = False,
) -> None:
    """Open the dashboard.

    WHERE is another rig's data folder, its api.sock, or "http://127.0.0.1:PORT cookie=FILE" as its
    status shows it. Bring a far one here with ssh, for example
    ssh -L /tmp/rig2.sock:/path/of/api.sock rig2; rigs that are always there go into dashboard.rigs.
    Behind a reverse proxy that adds TLS it is "https://HOST/PATH token=FILE" (docs/spec/api.md, 5).

    A recording is what `potminer record` writes, or `potminer status --watch --json`.
    """
    if not sys.stdout.isatty():
        raise UsageError("the dashboard needs a terminal", "Use `potminer status`, with --json for scripts.")
    from potminer.cli.config import read_config
    from potminer.cli.recording import Recording
    from potminer.dashboard.app import DashboardApp

    theme = theme or read_config(place).dashboard.theme
    if replay is not None:
        recording = Recording(replay)
        recording.check()
        DashboardApp(recording, recording.now_ms, ascii_only=ascii_only, recorded=True, theme=theme).run()
        return
    here, *others = berths(place, socket, connect)
    keys = _keymap(place)
    DashboardApp(
        here.source, now_ms, others=others, doctor=lambda: _examine(place), ascii_only=ascii_only, keymap=keys,
        theme=theme,
    ).run()


def open_alone(place: Place) -> int:
    """``potminer`` without a command: the dashboard, with a daemon of its own where none runs."""
    from potminer.cli.config import read_config
    from potminer.cli.together import run_together
    from potminer.dashboard.app import DashboardApp
    from potminer.world.api.attach import find

    paths = place.paths()
    here, *others = berths(place, None, (), alone=True)
    keys = _keymap(place)
    config = read_config(place)
    app = DashboardApp(
        here.source, now_ms, others=others, doctor=lambda: _examine(place), keymap=keys, theme=config.dashboard.theme
    )
    try:
        find(paths)
    except Unreachable:
        return run_together(config, paths, app)
    app.run()
    return 0


def _keymap(place: Place) -> dict[str, str]:
    """The owner's keys by action; ConfigError where an action is none or a key would do two things."""
    from potminer.base.errors import ConfigError
    from potminer.cli.config import read_config
    from potminer.dashboard.app import DashboardApp

    known = DashboardApp.actions()
    own = dict(each.split("=", 1) for each in read_config(place).dashboard.keymap)
    strange = sorted(set(own) - set(known))
    if strange:
        raise ConfigError(f"dashboard.keymap: no action is called {strange[0]}", f"Actions: {', '.join(known)}")
    taken: dict[str, str] = {}
    for action, key in (known | own).items():
        if key in taken:
            what = f"dashboard.keymap: {key} would do two things: {taken[key]} and {action}"
            raise ConfigError(what, "Give one of them another key.")
        taken[key] = action
    return own


def berths(place: Place, socket: str | None, connect: Sequence[str], *, alone: bool = False) -> list[Berth]:
    """This rig and the others. Where none runs here, the first of the others stands in its place, unless
    this one is to be started (*alone*)."""
    from potminer.cli.config import read_config
    from potminer.cli.sources import Daemon
    from potminer.cli.trusted import Examiner
    from potminer.dashboard.source import Berth
    from potminer.world.api.address import address_from_flag
    from potminer.world.api.attach import find

    def here() -> Address:
        return find(place.paths()) if socket is None else address_from_flag(socket)

    named = dict.fromkeys((*connect, *read_config(place).dashboard.rigs))
    for where in named:
        if not Path(where).expanduser().is_dir():
            address_from_flag(where)  # a mistake is said at once; a rig that is down is another matter
    examiner = Examiner(place)
    others = [Berth(where, Daemon(partial(_address, where), examiner)) for where in named]
    try:
        here()
    except Unreachable:
        if not (others or alone):
            raise
        if not alone:
            return others
    return [Berth("this rig", Daemon(here, examiner)), *others]


def _address(where: str) -> Address:
    """A data folder stands for the daemon that runs on it."""
    from potminer.world.api.address import address_from_flag
    from potminer.world.api.attach import find

    folder = Path(where).expanduser()
    if not where.startswith(("unix:", "http:", "https:")) and folder.is_dir():
        return find(Place(datadir=folder).paths())
    return address_from_flag(where)


async def _examine(place: Place) -> Sequence[Finding]:
    """What `potminer doctor` finds, as the screen shows it. In a thread: it asks drivers and torch."""
    import asyncio

    from potminer.cli.doctor import examine
    from potminer.view.doctor import Finding
    from potminer.view.select import Tone

    tones = {"ok": Tone.GOOD, "warn": Tone.WARNING, "fault": Tone.FAULT}
    found = await asyncio.to_thread(examine, place)
    return [Finding(each.name, each.text, each.hint, tones.get(each.level.value, Tone.QUIET)) for each in found]
