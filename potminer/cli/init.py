"""``potminer init``: the data folder, the node key and a config file with every setting explained."""

from __future__ import annotations

import click

from potminer.cli.output import print_json, say
from potminer.cli.place import Place


@click.command()
@click.option("--payout", help="Address that earnings go to (pot1...). Only an address: no key belongs on a rig.")
@click.option("--name", help="What this rig is called.")
@click.option("--role", help="trainer, validator or observer.")
@click.option("--bootstrap", multiple=True, help="A node to begin with, host:port or key@host:port. Repeatable.")
@click.option("--json", "as_json", is_flag=True, help="As JSON.")
@click.pass_obj
def init(
    place: Place, *, payout: str | None, name: str | None, role: str | None, bootstrap: tuple[str, ...], as_json: bool
) -> None:
    """Set this computer up. What is already there is kept."""
    from potminer.base.address import encode_address
    from potminer.world.keys import NODE_KEY, load_or_create_key
    from potminer.world.paths import private_folder

    paths = place.paths()
    said = {"payout.address": payout, "rig.name": name, "node.role": role, "node.bootstrap": list(bootstrap) or None}
    text = _checked({key: value for key, value in said.items() if value is not None})
    private_folder(paths.datadir)
    key = load_or_create_key(private_folder(paths.keys) / NODE_KEY)
    written = _write_once(place, text)
    address = encode_address(key.public)
    if as_json:
        print_json({"node": address, "config": str(paths.config), "datadir": str(paths.datadir), "written": written})
        return
    say(f"node     {address}")
    say(f"data     {paths.datadir}")
    say(f"config   {paths.config}" + ("" if written else "  (was there, left as it is)"))
    if payout is None and written:
        say("payout   none yet: set payout.address, or earnings stay on the node key")


def _checked(values: dict[str, object]) -> str:
    """The config file for *values*, which are judged before anything is written."""
    from potminer.node.config import config_from
    from potminer.node.source import Source
    from potminer.node.template import config_text

    config_from(Source("potminer init", {}, {}), {}, values)
    return config_text(values)


def _write_once(place: Place, text: str) -> bool:
    """Whether the config was written; a file that is there is somebody's work and stays."""
    from potminer.base.errors import NotPermitted

    path = place.paths().config
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("x", encoding="utf-8") as file:
            file.write(text)
    except FileExistsError:
        return False
    except OSError as error:
        raise NotPermitted(f"{path} cannot be written: {error.strerror or error}", "Check the folder.") from error
    return True


command = init
