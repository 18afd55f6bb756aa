"""The addresses whose answers a client can check itself: transactions, headers, proofs."""

from __future__ import annotations

from aiohttp import web

from potminer.base import limits
from potminer.wire.answers import ChainStatus, HandedIn
from potminer.wire.codec import encode
from potminer.wire.control import ReceiptView, Until
from potminer.wire.proof import EPOCHS_PER_REPLY, HEADERS_PER_REPLY, KEY_BYTES, KEYS_PER_REPLY
from potminer.wire.tx import decode_batch, decode_signed
from potminer.world.api.backend import ChainBackend
from potminer.world.api.body import read_body
from potminer.world.api.guard import Refused
from potminer.world.api.route import BYTES, Asked, Body, Param, Route, digest, number, word

WAIT_MS = 10_000
"""How long a request may wait for a proof."""
_HEIGHT = 10**10 - 1


class Chain:
    def __init__(self, backend: ChainBackend) -> None:
        self._backend = backend

    def table(self) -> tuple[Route, ...]:
        wait = (
            number("wait_ms", "How long to wait for the proof.", most=WAIT_MS, default=0),
            word("until", "What must be provable.", words=tuple(Until), default=Until.INCLUDED.value),
        )
        return (
            Route(
                "POST", "/v1/transactions", self.submit, "Hand a signed transaction to the mempool and to gossip.",
                reply=ReceiptView, status=202, refusals=(403, 409), query=wait,
                body=Body("Canonical bytes of a SignedTransaction.", limits.TRANSACTION_BYTES, media=BYTES),
            ),
            Route(
                "POST", "/v1/transactions/batch", self.submit_all,
                "Hand in many signed transactions at once: each is taken or refused by itself.",
                reply=HandedIn, status=202,
                body=Body("Canonical bytes of a Batch of signed transactions.", limits.BATCH_BYTES, media=BYTES),
            ),
            Route("GET", "/v1/transactions/{id}", self.receipt, "What became of a transaction, with its proof.",
                  reply=ReceiptView, named=(digest("id", "Digest of a transaction."),), query=wait, refusals=(404,)),
            Route("GET", "/v1/chain", self.chain, "Where the chain stands, as this node sees it.", reply=ChainStatus),
            Route("GET", "/v1/genesis", self.genesis, "Canonical bytes of the Genesis.", media=BYTES),
            Route(
                "GET", "/v1/headers", self.headers, "Canonical bytes of Headers: certified, consecutive.", media=BYTES,
                query=(
                    number("first", "Height of the first.", most=_HEIGHT, default=1),
                    number("count", "How many at most.", most=HEADERS_PER_REPLY, default=HEADERS_PER_REPLY),
                ),
            ),
            Route(
                "GET", "/v1/epochs", self.epochs, "Canonical bytes of Epochs: steps from committee to committee.",
                media=BYTES, refusals=(503,),
                query=(
                    number("first", "The first epoch.", most=2**32 - 1, default=0),
                    number("count", "How many at most.", most=EPOCHS_PER_REPLY, default=EPOCHS_PER_REPLY),
                ),
            ),
            Route(
                "GET", "/v1/tasks/{id}/models/{round}", self.model,
                "Canonical bytes of Shown: the task's record, with its model, when that many rounds had closed.",
                media=BYTES, refusals=(404, 503),
                named=(digest("id", "The task."), number("round", "Rounds closed, from 1.", most=2**32 - 1)),
            ),
            Route(
                "GET", "/v1/proofs", self.show, "Canonical bytes of Shown: proofs of records, or of their absence.",
                media=BYTES, refusals=(503,),
                query=(_keys(), number("height", "After which block; without it the newest.", most=_HEIGHT)),
            ),
        )  # fmt: skip

    async def submit(self, request: web.Request, asked: Asked) -> ReceiptView:
        body = await read_body(request, limits.TRANSACTION_BYTES)
        signed = decode_signed(body)
        return await self._backend.submit(signed, wait_ms=asked["wait_ms"], until=Until(asked["until"]))

    async def submit_all(self, request: web.Request, _: Asked) -> HandedIn:
        return await self._backend.submit_all(decode_batch(await read_body(request, limits.BATCH_BYTES)))

    async def receipt(self, _: web.Request, asked: Asked) -> ReceiptView:
        found = await self._backend.receipt(asked["id"], wait_ms=asked["wait_ms"], until=Until(asked["until"]))
        if found is None:
            hint = "It may be in a block that this node leapt over or let go: ask a validator that keeps all."
            raise Refused(404, "this node has not heard of that transaction", hint)
        return found

    async def chain(self, _: web.Request, __: Asked) -> ChainStatus:
        return await self._backend.chain()

    async def genesis(self, _: web.Request, __: Asked) -> web.Response:
        return _binary(await self._backend.genesis())

    async def headers(self, _: web.Request, asked: Asked) -> web.Response:
        return _binary(encode(await self._backend.headers(asked["first"], asked["count"])))

    async def epochs(self, _: web.Request, asked: Asked) -> web.Response:
        return _binary(encode(await self._backend.epochs(asked["first"], asked["count"])))

    async def model(self, _: web.Request, asked: Asked) -> web.Response:
        found = await self._backend.model(asked["id"], asked["round"])
        if found is None:
            raise Refused(404, "this node keeps no proof of that model")
        return _binary(encode(found))

    async def show(self, _: web.Request, asked: Asked) -> web.Response:
        if asked["keys"] is None:
            raise Refused(400, "keys are missing", "Give the keys of records in hex, with commas between them.")
        return _binary(encode(await self._backend.show(asked["keys"], asked["height"])))


def _binary(data: bytes) -> web.Response:
    return web.Response(body=data, content_type=BYTES)


def _keys() -> Param:
    one = f"([0-9a-f]{{2}}){{1,{KEY_BYTES}}}"
    pattern = f"^{one}(,{one}){{0,{KEYS_PER_REPLY - 1}}}$"
    schema = {"type": "string", "pattern": pattern}
    return Param("keys", "Keys of records in hex, with commas between.", schema, _read_keys)


def _read_keys(text: str) -> tuple[bytes, ...]:
    words = text.split(",", KEYS_PER_REPLY)
    sound = all(
        0 < len(word) <= 2 * KEY_BYTES and len(word) % 2 == 0 and set(word) <= set("0123456789abcdef")
        for word in words
    )
    if len(words) > KEYS_PER_REPLY or not sound:
        raise Refused(400, f"keys are up to {KEYS_PER_REPLY} words of lower-case hex with commas between them")
    return tuple(bytes.fromhex(word) for word in words)
