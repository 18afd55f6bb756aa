"""``potminer validator``: a seat in the committee, for a bond; how this node stands with consensus."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import click

from potminer.base.errors import Exit, NotPermitted, UsageError
from potminer.cli.amount import Amount
from potminer.cli.node import ask
from potminer.cli.output import print_json, say
from potminer.cli.payment import send
from potminer.cli.place import Place

if TYPE_CHECKING:
    from potminer.node.verified import ProvenValidator
    from potminer.wire.genesis import Genesis
    from potminer.wire.seal import SigningKey
    from potminer.world.api.attach import Client

_SOCKET = click.option("--socket", help="The node's api.sock, instead of the one of --datadir.")
_WAIT = click.option("--wait", "wait_s", type=click.IntRange(0, 600), default=60, help="Seconds to wait.")
_JSON = click.option("--json", "as_json", is_flag=True, help="As JSON.")


@click.group()
def validator() -> None:
    """Take part in consensus for a bond, and leave it again.

    The node must run with `node.role = "validator"`, day and night: a seat that is empty weakens the whole network.
    Who signs two values for one place loses the bond, so a node key must never run on two machines.
    """


@validator.command()
@click.argument("amount", type=Amount())
@_SOCKET
@_WAIT
@_JSON
@click.pass_obj
def register(place: Place, amount: int, *, socket: str | None, wait_s: int, as_json: bool) -> int:
    """Move AMOUNT from this node's balance into its bond as a validator; again: more of it.

    The largest bonds are elected at the end of every epoch, and sit from the epoch after the next one on.
    """
    from potminer.wire.tx import RegisterValidator

    seen, genesis = _standing(place, socket, to_vote=True)
    if seen.slashed:
        raise NotPermitted("this key was slashed: it signed two values for one place", "It can never sit again.")
    least = genesis.parameters.validator_bond
    if seen.bond + amount < least:
        raise UsageError(f"the smallest bond of a validator is {_money(least)}", f"It is {_money(seen.bond)} now.")
    onion = None if seen.known else _onion(place)
    body = RegisterValidator(onion, amount)
    code = send(place, lambda: _node_key(place), body, wait_s=wait_s, socket=socket, as_json=as_json)
    if code == Exit.OK and not as_json:
        first = (seen.epoch + 2) * genesis.parameters.epoch_blocks + 1
        say(f"next         it can be elected at the end of epoch {seen.epoch}, and sits from block {first:,} on")
    return code


@validator.command()
@click.argument("amount", type=Amount(), required=False)
@click.option("--all", "everything", is_flag=True, help="The whole bond.")
@_SOCKET
@_WAIT
@_JSON
@click.pass_obj
def unbond(
    place: Place, amount: int | None, *, everything: bool, socket: str | None, wait_s: int, as_json: bool
) -> int:
    """Take AMOUNT out of this node's bond as a validator. It can still be slashed until it is free.

    Keep the node running while it sits: `potminer validator status` says until when.
    """
    from potminer.wire.tx import UnbondValidator

    if (amount is None) is not everything:
        raise UsageError("give either an amount or --all")
    seen, genesis = _standing(place, socket, to_vote=False)
    taken = seen.bond if amount is None else amount
    if not 0 < taken <= seen.bond:
        raise UsageError(f"the bond is {_money(seen.bond)}", "More cannot be taken out of it.")
    body = UnbondValidator(taken)
    code = send(place, lambda: _node_key(place), body, wait_s=wait_s, socket=socket, as_json=as_json)
    if code == Exit.OK and not as_json and (seen.power is not None or seen.coming_power is not None):
        last = (seen.epoch + 2) * genesis.parameters.epoch_blocks
        say(f"next         it may sit until block {last:,}: keep the node running until then")
    return code


@validator.command()
@_SOCKET
@_JSON
@click.pass_obj
def status(place: Place, *, socket: str | None, as_json: bool) -> None:
    """How this node stands with consensus: bond, candidacy, seats. Proven, but for the line *voice*: that is the
    daemon's word."""
    seen, genesis = _standing(place, socket, to_vote=False)
    voice = _voice(place, socket)
    if as_json:
        print_json({**_as_json(seen, genesis), **_voice_json(voice)})
        return
    for line in _lines(seen, genesis):
        say(line)
    for line in _voice_lines(voice):
        say(line)


def _as_json(seen: ProvenValidator, genesis: Genesis) -> dict[str, object]:
    blocks = genesis.parameters.epoch_blocks
    return {
        "schema": 1, "height": seen.height, "epoch": seen.epoch, "epoch_ends": (seen.epoch + 1) * blocks,
        "registered": seen.known, "candidate": seen.candidate, "candidates": seen.candidates,
        "needed": seen.needed, "slashed": seen.slashed, "bond": seen.bond,
        "least_bond": genesis.parameters.validator_bond, "power": seen.power, "coming_power": seen.coming_power,
        "balance": seen.balance,
        "leaving": [{"amount": u.amount, "free_ms": u.time_ms, "free_epoch": u.epoch} for u in seen.leaving],
    }  # fmt: skip


def _lines(seen: ProvenValidator, genesis: Genesis) -> list[str]:
    from potminer.view.text import clock, date

    blocks = genesis.parameters.epoch_blocks
    lines = [
        f"seat       {_seat(seen.power)} in epoch {seen.epoch}, which ends with block {(seen.epoch + 1) * blocks:,}",
        f"next       {_seat(seen.coming_power)} in epoch {seen.epoch + 1}",
        f"candidate  {_candidacy(seen, genesis)}",
        f"bond       {_money(seen.bond)}",
    ]
    for each in seen.leaving:
        free = f"{date(each.time_ms)} {clock(each.time_ms)}"
        lines.append(f"leaving    {_money(each.amount)}, free after {free} and in epoch {each.epoch}")
    return [*lines, f"balance    {_money(seen.balance)}", f"proven     after block {seen.height:,}"]


@dataclass(frozen=True, slots=True)
class _Voice:
    """Of a daemon that does not vote: the block time from which on it does, and whom of the committee it hears."""

    until_ms: int
    seen_ms: int
    linked: int
    others: int


def _voice(place: Place, socket: str | None) -> _Voice | None:
    """None where nothing keeps it from voting, or where it is another key's: not ours would say nothing."""
    from potminer.base.address import encode_address

    own = encode_address(_node_key(place).public)

    async def converse(node: Client) -> _Voice | None:
        photograph = await node.snapshot()
        until = photograph.chain.silent_until_ms
        if photograph.node != own or until is None:
            return None
        others = [each.linked for each in (await node.network()).committee if each.linked is not None]
        return _Voice(until, photograph.taken_ms, sum(others), len(others))

    return ask(place, converse, socket=socket)


def _voice_json(voice: _Voice | None) -> dict[str, object]:
    if voice is None:
        return {"silent_until_ms": None}
    return {"silent_until_ms": voice.until_ms, "members_linked": voice.linked, "members_others": voice.others}


def _voice_lines(voice: _Voice | None) -> list[str]:
    from potminer.view.silence import silence

    if voice is None:
        return []
    return [f"voice      {silence(voice.until_ms, voice.seen_ms, linked=voice.linked, others=voice.others)}"]


def _seat(power: int | None) -> str:
    return "none" if power is None else f"power {power}"


def _candidacy(seen: ProvenValidator, genesis: Genesis) -> str:
    if seen.slashed:
        return "no: slashed for good"
    if seen.candidate and seen.candidates < seen.needed:
        return f"yes, one of {seen.candidates}: with fewer than {seen.needed} those who sat before stay beside you"
    if seen.candidate:
        return f"yes: what is elected now sits in epoch {seen.epoch + 2}"
    least = _money(genesis.parameters.validator_bond)
    if seen.bond < genesis.parameters.validator_bond:
        return f"no: it takes a bond of {least} (potminer validator register)"
    return "no: all places are taken by larger bonds"


def _standing(place: Place, socket: str | None, *, to_vote: bool) -> tuple[ProvenValidator, Genesis]:
    """What is proven of this node's key. *to_vote*: refused where the daemon is not ready to take a seat."""
    from potminer.base.address import encode_address
    from potminer.cli.trusted import following, genesis_of
    from potminer.node import verified

    key = _node_key(place).public

    async def converse(node: Client) -> tuple[ProvenValidator, Genesis]:
        if to_vote:
            photograph = await node.snapshot()
            if photograph.node != encode_address(key):
                raise NotPermitted("the daemon runs with another key than the one here", "Check --datadir.")
            if photograph.chain.role != "validator":
                hint = "potminer config set node.role validator, restart the daemon, then register."
                raise NotPermitted(f"the daemon runs as {photograph.chain.role}: it could not take its seat", hint)
        async with following(place, node) as follower:
            return await verified.validator(follower, node, key), await genesis_of(place, node)

    return ask(place, converse, socket=socket)


def _onion(place: Place) -> bytes:
    """The outside of this key's first onion: the daemon holds the same one."""
    from potminer.node.onions import onion_of

    return onion_of(_node_key(place)).outside


def _node_key(place: Place) -> SigningKey:
    from potminer.world.keys import NODE_KEY, load_key

    return load_key(place.paths().keys / NODE_KEY)


def _money(grains: int) -> str:
    from potminer.view.text import pot

    return pot(grains)
