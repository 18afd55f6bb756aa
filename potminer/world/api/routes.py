"""What each address of the API does. Every body, count and text from outside is bounded here."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Callable

from aiohttp import WSMsgType, web

from potminer.base import limits
from potminer.base.address import decode_address
from potminer.wire.answers import LOG_LINES, LogLevel
from potminer.wire.codec import decode
from potminer.wire.control import COMMAND_BYTES, SCHEMA, Command, Snapshot, from_json, to_json
from potminer.wire.tx import SignedTransaction
from potminer.world.api import metrics
from potminer.world.api.backend import Backend
from potminer.world.api.guard import Refused, json_response
from potminer.world.api.newest import Newest

STREAMS = 16
UPLOADS = 4
UNITS = 200
"""Units one question about the past may ask for."""
BODY_S = 30
CHUNK_BYTES = 1_048_576
WEBSOCKET_BYTES = 1_024
"""A face says nothing on a stream."""
_HEARTBEAT_S = 20.0


class Routes:
    """Handlers over one Backend. *clock* gives Unix milliseconds."""

    def __init__(self, backend: Backend, clock: Callable[[], int]) -> None:
        self._backend = backend
        self._clock = clock
        self._streams: set[web.WebSocketResponse] = set()
        self._uploads = 0

    def table(self) -> list[web.AbstractRouteDef]:
        return [
            web.get("/v1/snapshot", self.snapshot, allow_head=False),
            web.get("/v1/stream", self.stream, allow_head=False),
            web.post("/v1/commands", self.command),
            web.post("/v1/transactions", self.submit),
            web.get("/v1/transactions/{id}", self.receipt, allow_head=False),
            web.get("/v1/accounts/{address}", self.account, allow_head=False),
            web.get("/v1/tasks", self.tasks, allow_head=False),
            web.get("/v1/tasks/{id}", self.task, allow_head=False),
            web.get("/v1/why", self.why, allow_head=False),
            web.get("/v1/peers", self.peers, allow_head=False),
            web.get("/v1/earnings", self.earnings, allow_head=False),
            web.get("/v1/logs", self.logs, allow_head=False),
            web.get("/v1/settings", self.settings, allow_head=False),
            web.get("/v1/day", self.day, allow_head=False),
            web.put("/v1/blobs", self.put_blob),
            web.get("/v1/blobs/{id}", self.get_blob),
            web.get("/healthz", self.healthz),
            web.get("/status", self.status, allow_head=False),
            web.get("/metrics", self.metrics, allow_head=False),
        ]

    # ---- photographs ---------------------------------------------------------------------

    async def snapshot(self, _: web.Request) -> web.Response:
        return json_response(await self._backend.snapshot())

    async def stream(self, request: web.Request) -> web.WebSocketResponse:
        """Photographs as text messages. A slow face gets fewer, never older ones."""
        if len(self._streams) >= STREAMS:
            raise Refused(429, f"{STREAMS} faces are watching already", "Close one of them.")
        socket = web.WebSocketResponse(heartbeat=_HEARTBEAT_S, max_msg_size=WEBSOCKET_BYTES)
        if not socket.can_prepare(request):
            raise Refused(400, "/v1/stream is a websocket", "For a single photograph ask /v1/snapshot.")
        self._streams.add(socket)
        try:
            await socket.prepare(request)
            await self._feed(socket)
        finally:
            self._streams.discard(socket)
        return socket

    async def _feed(self, socket: web.WebSocketResponse) -> None:
        newest: Newest[Snapshot] = Newest()
        roads = [
            asyncio.create_task(_collect(self._backend.watch(), newest)),
            asyncio.create_task(_send(newest, socket)),
            asyncio.create_task(_listen(socket)),
        ]
        done, rest = await asyncio.wait(roads, return_when=asyncio.FIRST_COMPLETED)
        for road in rest:
            road.cancel()
        await asyncio.gather(*rest, return_exceptions=True)
        await socket.close()
        for road in done:
            road.result()

    async def close_streams(self) -> None:
        for socket in list(self._streams):
            await socket.close(code=1001, message=b"the node stops")

    # ---- letters -------------------------------------------------------------------------

    async def command(self, request: web.Request) -> web.Response:
        command: Command = from_json(Command, await _body(request, COMMAND_BYTES), max_bytes=COMMAND_BYTES)
        await self._backend.command(command)
        return json_response({"schema": SCHEMA, "accepted": True}, 202)

    async def submit(self, request: web.Request) -> web.Response:
        body = await _body(request, limits.TRANSACTION_BYTES)
        signed = decode(SignedTransaction, body, max_bytes=limits.TRANSACTION_BYTES)
        return json_response({"schema": SCHEMA, "transaction": (await self._backend.submit(signed)).hex()}, 202)

    # ---- questions -----------------------------------------------------------------------

    async def receipt(self, request: web.Request) -> web.Response:
        found = await self._backend.receipt(_digest(request.match_info["id"]))
        if found is None:
            raise Refused(404, "this node has not heard of that transaction")
        return json_response(found)

    async def account(self, request: web.Request) -> web.Response:
        return json_response(await self._backend.account(decode_address(request.match_info["address"])))

    async def tasks(self, _: web.Request) -> web.Response:
        return json_response({"schema": SCHEMA, "tasks": (await self._backend.tasks())[: limits.TASKS_OPEN]})

    async def task(self, request: web.Request) -> web.Response:
        found = await self._backend.task(_digest(request.match_info["id"]))
        if found is None:
            raise Refused(404, "this node knows no such task")
        return json_response(found)

    async def why(self, request: web.Request) -> web.Response:
        """``?task=&round=&slot=`` asks for one unit, ``?last=&task=`` for this rig's newest."""
        query = request.query
        named = query.get("task")
        task = None if named is None else _digest(named)
        if "round" not in query and "slot" not in query:
            last = _integer(query.get("last", "1"), "last", most=UNITS)
            return json_response({"schema": SCHEMA, "units": (await self._backend.units(task, last))[:last]})
        if task is None:
            raise Refused(400, "a unit is named by task, round and slot")
        place = {name: _integer(query.get(name, ""), name, most=2**32 - 1) for name in ("round", "slot")}
        found = await self._backend.unit(task, round=place["round"], slot=place["slot"])
        if found is None:
            raise Refused(404, "this node knows no such unit")
        return json_response({"schema": SCHEMA, "units": (found,)})

    async def peers(self, _: web.Request) -> web.Response:
        return json_response(await self._backend.network())

    async def earnings(self, request: web.Request) -> web.Response:
        units = _integer(request.query.get("units", "50"), "units", most=UNITS)
        return json_response(await self._backend.earnings(units))

    async def logs(self, request: web.Request) -> web.Response:
        """``?after=&last=&level=``"""
        query = request.query
        level = query.get("level", LogLevel.DEBUG)
        if level not in list(LogLevel):
            raise Refused(400, f"level is one of {', '.join(LogLevel)}")
        after = _integer(query.get("after", "0"), "after", most=2**32 - 1)
        last = _integer(query.get("last", "200"), "last", most=LOG_LINES)
        return json_response(await self._backend.log(after=after, last=last, level=LogLevel(level)))

    async def settings(self, _: web.Request) -> web.Response:
        return json_response(await self._backend.settings())

    async def day(self, _: web.Request) -> web.Response:
        return json_response(await self._backend.day())

    # ---- blobs ---------------------------------------------------------------------------

    async def put_blob(self, request: web.Request) -> web.Response:
        if self._uploads >= UPLOADS:
            raise Refused(429, f"{UPLOADS} uploads are under way already", "Try again when one has ended.")
        self._uploads += 1
        try:
            blob = await self._backend.put_blob(_chunks(request, limits.BLOB_BYTES))
        finally:
            self._uploads -= 1
        return json_response({"schema": SCHEMA, "blob": blob.hex()}, 201)

    async def get_blob(self, request: web.Request) -> web.StreamResponse:
        path = await self._backend.blob_path(_digest(request.match_info["id"]))
        if path is None:
            raise Refused(404, "this node does not hold that blob")
        return web.FileResponse(path, chunk_size=CHUNK_BYTES, headers={"Content-Type": "application/octet-stream"})

    # ---- supervisors ---------------------------------------------------------------------

    async def healthz(self, _: web.Request) -> web.Response:
        return json_response({"ok": True})

    async def status(self, _: web.Request) -> web.Response:
        """A few flat numbers, for scripts that want no more."""
        seen = await self._backend.snapshot()
        states = Counter(device.state.value for device in seen.devices)
        summary = {
            "schema": SCHEMA,
            "taken_ms": seen.taken_ms,
            "agent": seen.agent,
            "network": seen.network,
            "rig": seen.rig,
            "role": seen.chain.role,
            "height": seen.chain.height,
            "peers": seen.chain.peers,
            "mode": seen.control.mode,
            "paused": seen.control.paused,
            "devices": dict(states),
            "faults": sum(alert.level.value == "fault" for alert in seen.alerts),
        }
        return json_response(summary)

    async def metrics(self, _: web.Request) -> web.Response:
        text = metrics.render(await self._backend.snapshot(), self._clock())
        return web.Response(body=text, headers={"Content-Type": metrics.CONTENT_TYPE})


# ---- roads of a stream -------------------------------------------------------------------


async def _collect(photographs: AsyncIterator[Snapshot], newest: Newest[Snapshot]) -> None:
    async for photograph in photographs:
        newest.put(photograph)


async def _send(newest: Newest[Snapshot], socket: web.WebSocketResponse) -> None:
    while not socket.closed:
        photograph = await newest.take()
        try:
            await socket.send_str(to_json(photograph).decode())
        except ConnectionError:
            return


async def _listen(socket: web.WebSocketResponse) -> None:
    """Until the face goes away. What it says is thrown away; a flood of words ends the stream."""
    for _ in range(1_000):
        message = await socket.receive()
        if message.type not in (WSMsgType.TEXT, WSMsgType.BINARY):
            return


# ---- reading what was sent ---------------------------------------------------------------


async def _chunks(request: web.Request, max_bytes: int) -> AsyncIterator[bytes]:
    """The body in chunks of at most 1 MiB; Refused above *max_bytes* in all, or where it dawdles."""
    if request.content_length is not None and request.content_length > max_bytes:
        raise Refused(413, f"more than {max_bytes} bytes")
    total = 0
    while True:
        try:
            async with asyncio.timeout(BODY_S):
                chunk = await request.content.read(CHUNK_BYTES)
        except TimeoutError as error:
            raise Refused(408, f"nothing came for {BODY_S} s") from error
        except (web.RequestPayloadError, ConnectionError) as error:
            raise Refused(400, "the body ended early") from error
        if not chunk:
            return
        total += len(chunk)
        if total > max_bytes:
            raise Refused(413, f"more than {max_bytes} bytes")
        yield chunk


async def _body(request: web.Request, max_bytes: int) -> bytes:
    return b"".join([chunk async for chunk in _chunks(request, max_bytes)])


def _digest(text: str) -> bytes:
    if len(text) != 64 or any(char not in "0123456789abcdef" for char in text):
        raise Refused(400, "an id is 64 lower-case hex digits")
    return bytes.fromhex(text)


def _integer(text: str, name: str, *, most: int) -> int:
    if not text.isascii() or not text.isdecimal() or len(text) > 10 or int(text) > most:
        raise Refused(400, f"{name} is a number up to {most}")
    return int(text)
