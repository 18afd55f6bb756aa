"""``potminer update``: is there a newer release, and are these its files. Notices only: nothing is installed.

Nothing is asked unless its owner says so: no address and no key come with the program, and the daemon never looks.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click

from potminer import __version__
from potminer.base.errors import Exit, NotPermitted, NotProven, PotminerError, UsageError
from potminer.cli.clock import now_ms
from potminer.cli.config import read_config
from potminer.cli.output import print_json, say
from potminer.cli.place import Place

if TYPE_CHECKING:
    from potminer.world.release import Manifest

_KEY = click.option("--key", "said", help="Public key that signs releases, instead of update.key.")
_JSON = click.option("--json", "as_json", is_flag=True, help="As JSON.")
_NO_KEY = (
    "Releases are signed with a key that you are told on a way you trust: --key KEY, or potminer config set "
    "update.key KEY. None comes with the program."
)
_NO_MANIFEST = (
    "potminer asks nobody by itself, and no address comes with it: --manifest WHERE (a path or https://...), or "
    "potminer config set update.manifest WHERE."
)


@click.group()
def update() -> None:
    """Look for a newer release, and check the files of one. Nothing is installed."""


@update.command()
@click.option("--manifest", "where", help="SHA256SUMS of the newest release: a path or https://...")
@_KEY
@_JSON
@click.pass_obj
def check(place: Place, *, where: str | None, said: str | None, as_json: bool) -> int:
    """Compare this version with the newest release, as its signed manifest says.

    Ends with 1 where the manifest has expired: somebody keeps newer ones from you, or nobody makes them any more.
    """
    config = read_config(place).update
    source = where or config.manifest
    if not source:
        raise UsageError("no manifest is named", _NO_MANIFEST)
    found = _read(source, _trusted(said, config.key))
    state = _state(found)
    if as_json:
        print_json({"state": state, "ours": __version__, "version": found.version, "released_ms": found.released_ms,
                    "expires_ms": found.expires_ms, "where": source})  # fmt: skip
    else:
        say(_notice(found, state))
    return Exit.FAILURE if state == "expired" else Exit.OK


@update.command()
@click.argument("manifest", type=click.Path(path_type=Path, dir_okay=False))
@click.argument("files", type=click.Path(path_type=Path, dir_okay=False), nargs=-1)
@_KEY
@_JSON
@click.pass_obj
def verify(place: Place, *, manifest: Path, files: Sequence[Path], said: str | None, as_json: bool) -> int:
    """Check that FILES are those of the release MANIFEST (its SHA256SUMS, with SHA256SUMS.sig beside it).

    Without FILES: all that lie beside it. Ends with 8 where a signature or a file is not what it should be.
    """
    found = _read(str(manifest), _trusted(said, read_config(place).update.key))
    here = list(files) or [path for name in found.files if (path := manifest.parent / name).is_file()]
    if not here:
        raise PotminerError(f"no file of the release lies beside {manifest}", "Name the files that you have.")
    _compare(found, here)
    state = _state(found)
    if as_json:
        print_json({"version": found.version, "state": state, "verified": [str(path) for path in here],
                    "elsewhere": len(found.files) - len(here)})  # fmt: skip
        return Exit.OK
    for path in here:
        say(f"✓ {path}")
    say(f"of release {found.version}, signed by the key you named")
    if state in ("older", "expired"):
        say(f"! {_notice(found, state)}")
    return Exit.OK


def _trusted(said: str | None, configured: bytes | None) -> bytes:
    from potminer.node.config import parse_key

    if said is None:
        if configured is None:
            raise UsageError("no release key is named", _NO_KEY)
        return configured
    try:
        return parse_key(said)
    except ValueError as error:
        raise UsageError(f"{said[:100]!r} {error}", "64 hexadecimal digits, or pot1...") from error


def _read(where: str, key: bytes) -> Manifest:
    from potminer.world.release import MANIFEST_BYTES, SIGNATURE_BYTES, read_signed

    return read_signed(_bytes(where, MANIFEST_BYTES), _bytes(f"{where}.sig", SIGNATURE_BYTES), key)


def _bytes(where: str, most: int) -> bytes:
    if "://" in where:
        from potminer.node.rigform import check_source
        from potminer.world.api.fetch import fetch

        try:
            check_source(where)
        except ValueError as error:
            raise UsageError(f"{where[:200]!r} {error}", _NO_MANIFEST) from error
        return asyncio.run(fetch(where, max_bytes=most))
    try:
        with Path(where).expanduser().open("rb") as file:
            data = file.read(most + 1)
    except OSError as error:
        raise NotPermitted(f"{where} cannot be read: {error.strerror or error}", "Check the path.") from error
    if len(data) > most:
        raise NotProven(f"{where} is longer than {most:,} bytes", "Is it the right file?")
    return data


def _compare(found: Manifest, here: Sequence[Path]) -> None:
    """NotProven where a file is not of the release, or not as it was."""
    from potminer.world.release import digest_of

    wrong = []
    for path in here:
        expected = found.files.get(path.name)
        if expected is None:
            wrong.append(f"{path} is no file of release {found.version}")
        elif digest_of(path) != expected:
            wrong.append(f"{path} is not the file that was released")
    if wrong:
        raise NotProven("\n  ".join(wrong), "Do not install it. Get it again, from another place.")


def _state(found: Manifest) -> str:
    """``expired`` wins over what the version says."""
    from potminer.world.release import order_of

    if found.expires_ms <= now_ms():
        return "expired"
    theirs, ours = order_of(found.version), order_of(__version__)
    return "same" if theirs == ours else "newer" if theirs > ours else "older"


def _notice(found: Manifest, state: str) -> str:
    from potminer.view.text import date

    released, ends = date(found.released_ms), date(found.expires_ms)
    return {
        "newer": f"potminer {found.version} was released on {released}; this is {__version__}",
        "same": f"potminer {__version__} is the newest release ({released})",
        "older": f"the newest release it tells of is {found.version}, and this is {__version__} already: whoever wants "
        "you to install that wants you to go back",
        "expired": f"this manifest of {found.version} ended on {ends}: newer ones are kept from you, or not made",
    }[state]


command = update
