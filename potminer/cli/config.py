"""``potminer config``: what is set, what may be set, and whether the file is sound."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import TYPE_CHECKING

import click

from potminer.base.errors import UsageError
from potminer.cli.output import print_json, say
from potminer.cli.place import Place

if TYPE_CHECKING:
    from potminer.node.config import Config


def read_config(place: Place, flags: Mapping[str, object] | None = None) -> Config:
    """The config of *place*: flags, environment, file, defaults. A file that was asked for must exist."""
    from potminer.node.config import load_config

    path = place.paths().config
    return load_config(path if place.asks_for_config or path.exists() else None, os.environ, flags)


@click.group()
def config() -> None:
    """Check and show the settings of this node."""


@config.command()
@click.option("--json", "as_json", is_flag=True, help="As JSON.")
@click.pass_obj
def check(place: Place, *, as_json: bool) -> None:
    """Read the config file and name every mistake in it."""
    read_config(place)
    path = place.paths().config
    if as_json:
        print_json({"file": str(path), "exists": path.exists(), "sound": True})
        return
    say(f"{path} is sound" if path.exists() else f"there is no {path}: every setting has its default")


@config.command()
@click.option("--json", "as_json", is_flag=True, help="As JSON.")
@click.pass_obj
def path(place: Place, *, as_json: bool) -> None:
    """Print where the config file lies."""
    found = place.paths().config
    if as_json:
        print_json({"file": str(found), "exists": found.exists()})
    else:
        say(str(found))


@config.command()
@click.argument("key", required=False)
@click.option("--json", "as_json", is_flag=True, help="As JSON.")
@click.pass_obj
def get(place: Place, key: str | None, *, as_json: bool) -> None:
    """Print the value of KEY (node.port), of a section (node), or of everything."""
    from potminer.node.config import get_value, near_keys, plain

    settings = read_config(place)
    try:
        value = plain(settings) if key is None else get_value(settings, key)
    except KeyError as error:
        near = near_keys(key or "")
        raise UsageError(
            f"there is no setting {key}",
            f"Did you mean {', '.join(near)}?" if near else "potminer config schema lists every key.",
        ) from error
    if as_json:
        print_json({"key": key, "value": value})
    else:
        _say_value(key or "", value)


def _say_value(key: str, value: object) -> None:
    """One ``key = value`` a line; a single value stands alone, for scripts."""
    from potminer.node.config import flatten

    if not isinstance(value, dict | list):
        say(str(value))
        return
    for name, each in flatten(key, value):
        say(f"{name} = {each}")


@config.command(name="set")
@click.argument("key")
@click.argument("value")
@click.pass_obj
def set_(place: Place, key: str, value: str) -> None:
    """Write KEY = VALUE into the config file; comments stay, and a wrong value changes nothing.

    VALUE is written as it would be in the environment; a list has commas. A daemon that runs reads
    the file at its next start.
    """
    from potminer.node.rewrite import set_value

    path = place.paths().config
    set_value(path, key, value)
    say(f"{path}: {key} is set")
    variable = f"POTMINER_{key.replace('.', '_').upper()}"
    if variable in os.environ:
        say(f"! {variable} is set too and wins over the file")


@config.command()
@click.option("--json", "as_json", is_flag=True, help="As JSON.")
def schema(*, as_json: bool) -> None:
    """List every setting: its kind, its default and what it means."""
    from potminer.node.config import schema as entries

    if as_json:
        rows = [{"key": e.key, "kind": e.kind, "about": e.about, "default": e.default} for e in entries()]
        print_json({"settings": rows})
        return
    for entry in entries():
        shown = "must be given" if entry.default is None else f"default {entry.default!r}"
        say(f"{entry.key}: {entry.about}")
        say(f"    {entry.kind}; {shown}; {entry.variable}")


command = config
