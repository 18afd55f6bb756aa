"""``potminer run``: the daemon."""

from __future__ import annotations

from pathlib import Path

import click

from potminer.cli.place import Place


@click.command()
@click.option("--headless", is_flag=True, help="Never ask anything; log to the data folder only, not to the terminal.")
@click.option("--byzantine", hidden=True, help="Misbehave. Refused on every network that is not a devnet.")
@click.option(
    "--record",
    type=click.Path(path_type=Path, dir_okay=False),
    help="Write what the rig's senses say into this new file, for `potminer simulate policy`.",
)
@click.pass_obj
def run(place: Place, *, headless: bool, byzantine: str | None, record: Path | None) -> int:
    """Run the daemon until Ctrl-C. Faces attach to it: `potminer dashboard`, `potminer status`."""
    import asyncio
    import gc

    gc.disable()  # what is loaded and set up now, stays: node/life.py takes it up again
    try:
        from potminer.cli.config import read_config
        from potminer.node.life import live

        config = read_config(place)
        return asyncio.run(live(config, place.paths(), byzantine=byzantine, spoken=not headless, record=record))
    finally:
        gc.enable()


command = run
