"""``potminer version``: what is installed here."""

from __future__ import annotations

import platform
from importlib import metadata

import click

from potminer import __version__
from potminer.cli.output import print_json, say

PARTS = ("torch", "textual", "aiohttp", "sqlalchemy", "pynacl", "msgspec", "numpy")


@click.command()
@click.option("--json", "as_json", is_flag=True, help="As JSON.")
def version(*, as_json: bool) -> None:
    """Show versions."""
    parts = {name: _installed(name) for name in PARTS}
    if as_json:
        system = f"{platform.system()} {platform.machine()}"
        print_json({"potminer": __version__, "python": platform.python_version(), "system": system, "parts": parts})
        return
    say(f"potminer {__version__}")
    say(f"Python {platform.python_version()} on {platform.system()} {platform.machine()}")
    say(", ".join(f"{name} {found or 'not installed'}" for name, found in parts.items()))


def _installed(name: str) -> str | None:
    """From the package's metadata: nothing is imported."""
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return None
