"""``potminer keys``: this node's own key, which signs its work and holds its bond."""

from __future__ import annotations

import click

from potminer.cli.output import print_json, say
from potminer.cli.place import Place


@click.group()
def keys() -> None:
    """Show and back up the key of this node."""


@keys.command()
@click.option("--json", "as_json", is_flag=True, help="As JSON.")
@click.pass_obj
def show(place: Place, *, as_json: bool) -> None:
    """Show the node's address and where its key lies; never the key."""
    from potminer.base.address import encode_address
    from potminer.world.keys import NODE_KEY, load_key

    path = place.paths().keys / NODE_KEY
    address = encode_address(load_key(path).public)
    if as_json:
        print_json({"node": address, "file": str(path)})
        return
    say(f"node  {address}")
    say(f"file  {path}")


@keys.command()
@click.option("--json", "as_json", is_flag=True, help="As JSON, the words with it: send it nowhere.")
@click.pass_obj
def backup(place: Place, *, as_json: bool) -> None:
    """Show the node key as 24 words. They restore it with `potminer keys restore`."""
    from potminer.base.address import encode_address
    from potminer.cli.wallet import check_screen, print_words
    from potminer.wire.seal import SigningKey
    from potminer.world.keys import NODE_KEY, load_seed
    from potminer.world.words import words_of

    seed = load_seed(place.paths().keys / NODE_KEY)
    if as_json:
        print_json({"node": encode_address(SigningKey(seed).public), "words": words_of(seed)})
        return
    check_screen(as_json=as_json)
    print_words(words_of(seed))


@keys.command()
@click.option("--words-fd", type=int, help="Read the 24 words from this file descriptor.")
@click.pass_obj
def restore(place: Place, *, words_fd: int | None) -> None:
    """Make the node key again from its 24 words, where there is none."""
    from potminer.base.address import encode_address
    from potminer.cli.secret import words_from
    from potminer.world.keys import NODE_KEY, create_key
    from potminer.world.paths import private_folder
    from potminer.world.words import seed_of

    paths = place.paths()
    seed = seed_of(words_from(words_fd))
    private_folder(paths.datadir)
    key = create_key(private_folder(paths.keys) / NODE_KEY, seed=seed)
    say(f"node  {encode_address(key.public)}")
