"""A transaction signed here, handed to the daemon, and followed until the ledger has decided it."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from potminer.base.errors import Exit, NotPermitted
from potminer.cli.node import ask
from potminer.cli.output import print_json, say
from potminer.cli.place import Place

if TYPE_CHECKING:
    from potminer.wire.control import ReceiptView
    from potminer.wire.seal import SigningKey
    from potminer.wire.tx import Body
    from potminer.world.api.attach import Client

LIFETIME_BLOCKS = 1_000
"""After so many blocks an unlucky transaction can no longer be included: it is safe to send it anew."""
_TURN_MS = 10_000
_DOUBT = "Do not believe it; ask another node with potminer chain verify --transaction."


def send(
    place: Place, key: Callable[[], SigningKey], body: Body, *, wait_s: int, socket: str | None, as_json: bool
) -> Exit:
    """Sign *body* and wait up to *wait_s* for what becomes of it. *key* is asked for once all else is known
    to be well; the exit code is FAILURE where the ledger refused."""

    async def converse(node: Client) -> ReceiptView:
        return await _submit(node, place, key(), body, wait_s=wait_s)

    receipt = ask(place, converse, socket=socket)
    if as_json:
        print_json(receipt)
    else:
        for line in receipt_lines(receipt):
            say(line)
    return Exit.FAILURE if receipt.status.value == "refused" else Exit.OK


def receipt_lines(receipt: ReceiptView) -> list[str]:
    lines = [f"transaction  {receipt.transaction}"]
    if receipt.height is not None:
        lines.append(f"block        {receipt.height:,}")
    match receipt.status.value:
        case "applied":
            lines.append("done         it is final")
        case "refused":
            lines.append(f"refused      {receipt.reason}: no money moved but the fee")
        case _:
            lines.append("waiting      ask again: potminer wallet receipt " + receipt.transaction)
    return lines


async def _submit(node: Client, place: Place, key: SigningKey, body: Body, *, wait_s: int) -> ReceiptView:
    from potminer.wire.control import ReceiptStatus, Until
    from potminer.wire.genesis import chain_id
    from potminer.wire.tx import Transaction, sign_transaction

    genesis, account = await node.genesis(), await node.account(key.public)
    chain = chain_id(genesis)
    _same_chain(place, chain)
    fee, expiry = genesis.parameters.minimum_fee, account.height + LIFETIME_BLOCKS
    signed = sign_transaction(Transaction(chain, key.public, account.nonce, fee, expiry, body), key)
    left_ms = wait_s * 1_000
    turn = min(left_ms, _TURN_MS)
    receipt = await node.post(signed, wait_ms=turn, until=Until.DECIDED)
    while receipt.status is ReceiptStatus.WAITING and (left_ms := left_ms - turn) > 0:
        turn = min(left_ms, _TURN_MS)
        receipt = await node.receipt(receipt.transaction, wait_ms=turn, until=Until.DECIDED)
    await _check(node, place, receipt)
    return receipt


async def _check(node: Client, place: Place, receipt: ReceiptView) -> None:
    """NotProven where *receipt* says more than its proof shows: about money nobody's word is taken."""
    from potminer.base.errors import NotProven
    from potminer.cli.trusted import following
    from potminer.node.courier import proof_of
    from potminer.wire.control import ReceiptStatus

    if receipt.proven is None:
        if receipt.status is not ReceiptStatus.WAITING:
            raise NotProven("the daemon says what became of the transaction and proves nothing", _DOUBT)
        return
    async with following(place, node) as follower:
        fate = await follower.fate(node, proof_of(receipt), bytes.fromhex(receipt.transaction))
    if fate.height != receipt.height or (fate.decided and (fate.refusal or "") != receipt.reason):
        raise NotProven("the daemon says one thing of the transaction and proves another", _DOUBT)


def _same_chain(place: Place, chain: bytes) -> None:
    """A genesis file that lies here says which chain its owner means; a daemon of another one gets no signature."""
    from potminer.node.genesisfile import read_genesis
    from potminer.wire.genesis import chain_id

    path = place.paths().genesis
    if path.exists() and chain_id(read_genesis(path)) != chain:
        raise NotPermitted("the daemon is of another chain than the genesis file here", "Nothing was signed.")
