"""``potminer init``: the data folder, the node key and a config file with every setting explained.

On a terminal it asks five questions; each is a flag too, and with ``--yes`` or without a terminal nothing is asked.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence

import click

from potminer.base.errors import UsageError
from potminer.cli.output import print_json, say
from potminer.cli.place import Place


@click.command()
@click.option("--payout", help="Address that earnings go to (pot1...). Only an address: no key belongs on a rig.")
@click.option("--kwh-price", help="What a kilowatt-hour costs you, such as 0.32.")
@click.option("--currency", help="The money of that price, such as EUR.")
@click.option("--miner", "miners", multiple=True, metavar="KIND=URL", help="A miner that makes room. Repeatable.")
@click.option("--miners", "search", type=click.Choice(["found", "none"]), help="Every miner found here, or none.")
@click.option("--idle-policy", help="When it may train: idle_only, always or off.")
@click.option("--name", help="What this rig is called.")
@click.option("--role", help="trainer, validator or observer.")
@click.option("--bootstrap", multiple=True, help="A node to begin with, host:port or key@host:port. Repeatable.")
@click.option("--yes", is_flag=True, help="Ask nothing: what no flag says keeps its default.")
@click.option("--json", "as_json", is_flag=True, help="As JSON; asks nothing.")
@click.pass_obj
def init(
    place: Place,
    *,
    payout: str | None,
    kwh_price: str | None,
    currency: str | None,
    miners: tuple[str, ...],
    search: str | None,
    idle_policy: str | None,
    name: str | None,
    role: str | None,
    bootstrap: tuple[str, ...],
    yes: bool,
    as_json: bool,
) -> None:
    """Set this computer up. What is already there is kept."""
    said: dict[str, object | None] = {
        "payout.address": payout,
        "power.kwh_price": kwh_price,
        "power.currency": currency,
        "idle.policy": idle_policy,
        "rig.name": name,
        "node.role": role,
        "node.bootstrap": list(bootstrap) or None,
    }
    values = {key: value for key, value in said.items() if value is not None}
    named = _named(miners, search)
    _checked(values, named or ())
    asks = not (yes or as_json) and sys.stdin.isatty() and sys.stdout.isatty() and not place.paths().config.exists()
    if asks:
        from potminer.cli.wizard import ask

        answers = ask(values, named)
        values, named = answers.values, answers.miners
    _set_up(place, _checked(values, named or ()), as_json=as_json, payout="payout.address" in values)
    if asks:
        _examine(place)


def _named(miners: Sequence[str], search: str | None) -> list[tuple[str, str]] | None:
    """Miners that flags name; None where they say nothing."""
    if search == "none" and miners:
        raise UsageError("--miner and --miners none contradict each other", "Leave one of them out.")
    if search is None and not miners:
        return None
    pairs = [tuple(each.partition("=")[::2]) for each in miners]
    named = [(kind, url) for kind, url in pairs if url]
    if len(named) < len(pairs):
        raise UsageError("a miner is named as KIND=URL", "For example --miner trex=http://127.0.0.1:4067")
    if search == "found":
        from potminer.cli.wizard import found_miners

        named += [(miner.kind, miner.url) for miner in found_miners() if (miner.kind, miner.url) not in named]
    return named


def _checked(values: dict[str, object], miners: Sequence[tuple[str, str]]) -> str:
    """The config file for these values, which are judged before anything is written."""
    from potminer.node.config import config_from
    from potminer.node.source import Source, parse_source
    from potminer.node.template import config_text

    config_from(Source("potminer init", {}, {}), {}, values)
    text = config_text(values, miners)
    config_from(parse_source("potminer init", text), {}, {})
    return text


def _set_up(place: Place, text: str, *, as_json: bool, payout: bool) -> None:
    from potminer.base.address import encode_address
    from potminer.world.keys import NODE_KEY, load_or_create_key
    from potminer.world.paths import private_folder

    paths = place.paths()
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
    if not written:
        say("         change it with `potminer config set KEY VALUE`")
    elif not payout:
        say("payout   none yet: set payout.address, or earnings stay on the node key")


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


def _examine(place: Place) -> None:
    """What the doctor finds, all lines that are not simply well, and its verdict."""
    from potminer.cli.doctor import examine, print_findings
    from potminer.world.rig.finding import Level

    say("")
    say("Looking at this computer ...")
    findings = examine(place)
    print_findings([each for each in findings if each.level is not Level.OK])
    say("Next: put the genesis file of your network beside the config, then `potminer run`,")
    say("or just `potminer`.")


command = init
