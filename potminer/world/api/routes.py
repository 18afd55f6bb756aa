"""What each address of the API does. Every body, count and text from outside is bounded here.

``table`` is the whole API: aiohttp serves it and ``openapi.py`` describes it.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable

from aiohttp import WSMsgType, web

from potminer.base import limits
from potminer.wire.answers import (
    LOG_LINES,
    UNITS,
    Accepted,
    DayView,
    EarningsDetail,
    LogLevel,
    LogTail,
    NetworkView,
    SettingsView,
    StoredBlob,
    TaskList,
    UnitList,
)
from potminer.wire.control import (
    COMMAND_BYTES,
    AccountView,
    Command,
    Snapshot,
    TaskDetail,
    to_json,
)
from potminer.world.api import openapi
from potminer.world.api.backend import Backend
from potminer.world.api.body import CHUNK_BYTES, chunks
from potminer.world.api.chain import Chain
from potminer.world.api.guard import Refused
from potminer.world.api.newest import Newest
from potminer.world.api.route import BODY, BYTES, JSON, Asked, Body, Route, address, digest, number, word
from potminer.world.api.supervise import Supervise

STREAMS = 16
UPLOADS = 4
WEBSOCKET_BYTES = 1_024
"""A face says nothing on a stream."""
_HEARTBEAT_S = 20.0
_U32 = 2**32 - 1


class Routes:
    """Handlers over one Backend. *clock* gives Unix milliseconds."""

    def __init__(self, backend: Backend, clock: Callable[[], int]) -> None:
        self._backend = backend
        self._chain = Chain(backend)
        self._supervise = Supervise(backend, clock)
        self._streams: set[web.WebSocketResponse] = set()
        self._uploads = 0

    def table(self) -> tuple[Route, ...]:
        chain, supervise = self._chain.table(), self._supervise.table()
        return (*self._faces(), *chain, *self._ledger(), *self._blobs(), *supervise, *self._itself())

    # ---- the table -----------------------------------------------------------------------

    def _faces(self) -> tuple[Route, ...]:
        return (
            Route("GET", "/v1/snapshot", self.snapshot, "The newest photograph.", reply=Snapshot),
            Route(
                "GET", "/v1/stream", self.stream, "A websocket of photographs: at most four a second, newest wins.",
                status=101, refusals=(429,),
            ),
            Route(
                "POST", "/v1/commands", self.command, "A letter to the node: pause, resume, mode, payout.",
                reply=Accepted, status=202, body=Body("The letter.", COMMAND_BYTES, kind=Command), refusals=(403, 409),
            ),
            Route("GET", "/v1/peers", self.peers, "Links, committee, and how long recent blocks took.",
                  reply=NetworkView),
            Route(
                "GET", "/v1/earnings", self.earnings, "Days, tasks and this rig's newest units.",
                reply=EarningsDetail, query=(number("units", "How many units.", most=UNITS, default=50),),
            ),
            Route(
                "GET", "/v1/logs", self.logs, "The newest lines of the log.", reply=LogTail,
                query=(
                    number("after", "Only lines numbered above this.", most=_U32, default=0),
                    number("last", "How many lines.", most=LOG_LINES, default=200),
                    word("level", "This level and graver.", words=tuple(LogLevel), default=LogLevel.DEBUG.value),
                ),
            ),
            Route("GET", "/v1/settings", self.settings, "Every setting, its value and who said so.",
                  reply=SettingsView),
            Route("GET", "/v1/day", self.day, "The last 24 hours, minute by minute.", reply=DayView),
        )  # fmt: skip

    def _ledger(self) -> tuple[Route, ...]:
        task = digest("id", "The task.")
        return (
            Route("GET", "/v1/accounts/{address}", self.account, "The account of a public key.", reply=AccountView,
                  named=(address("address", "pot1... of the key."),)),
            Route("GET", "/v1/tasks", self.tasks, "Open tasks and the newest closed ones.", reply=TaskList),
            Route("GET", "/v1/tasks/{id}", self.task, "A task and its newest rounds.", reply=TaskDetail,
                  named=(task,), refusals=(404,)),
            Route(
                "GET", "/v1/why", self.why, "How units ended: this rig's newest, or one named by task, round and slot.",
                reply=UnitList, refusals=(404,),
                query=(
                    digest("task", "The task; needed with round and slot."),
                    number("last", "How many of this rig's newest units.", most=UNITS, default=1),
                    number("round", "Round of one unit.", most=_U32),
                    number("slot", "Slot of one unit.", most=_U32),
                ),
            ),
        )  # fmt: skip

    def _blobs(self) -> tuple[Route, ...]:
        return (
            Route(
                "PUT", "/v1/blobs", self.put_blob, "Store bytes as a blob and keep it.", reply=StoredBlob, status=201,
                body=Body("The bytes.", limits.BLOB_BYTES, media=BYTES), refusals=(409, 429),
            ),
            Route("GET", "/v1/blobs/{id}", self.get_blob, "The bytes of a blob that is here whole.", media=BYTES,
                  named=(digest("id", "The blob."),), refusals=(404,), head=True),
        )  # fmt: skip

    def _itself(self) -> tuple[Route, ...]:
        return (Route("GET", "/openapi.json", self.openapi, "This description.", media=JSON),)

    async def openapi(self, _: web.Request, __: Asked) -> web.Response:
        return web.json_response(openapi.describe(self.table()))

    # ---- photographs ---------------------------------------------------------------------

    async def snapshot(self, _: web.Request, __: Asked) -> Snapshot:
        return await self._backend.snapshot()

    async def stream(self, request: web.Request, _: Asked) -> web.WebSocketResponse:
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
        try:
            done, _ = await asyncio.wait(roads, return_when=asyncio.FIRST_COMPLETED)
        finally:  # also where the face is gone: this handler is cancelled then
            for road in roads:
                road.cancel()
            await asyncio.gather(*roads, return_exceptions=True)
        await socket.close()
        for road in done:
            road.result()

    async def close_streams(self) -> None:
        for socket in list(self._streams):
            await socket.close(code=1001, message=b"the node stops")

    # ---- letters -------------------------------------------------------------------------

    async def command(self, _: web.Request, asked: Asked) -> Accepted:
        await self._backend.command(asked[BODY])
        return Accepted()

    # ---- questions -----------------------------------------------------------------------

    async def account(self, _: web.Request, asked: Asked) -> AccountView:
        return await self._backend.account(asked["address"])

    async def tasks(self, _: web.Request, __: Asked) -> TaskList:
        return TaskList(tasks=(await self._backend.tasks())[: limits.TASKS_OPEN])

    async def task(self, _: web.Request, asked: Asked) -> TaskDetail:
        found = await self._backend.task(asked["id"])
        if found is None:
            raise Refused(404, "this node knows no such task")
        return found

    async def why(self, _: web.Request, asked: Asked) -> UnitList:
        task, round, slot, last = asked["task"], asked["round"], asked["slot"], asked["last"]
        if round is None and slot is None:
            return UnitList(units=(await self._backend.units(task, last))[:last])
        if task is None or round is None or slot is None:
            raise Refused(400, "a unit is named by task, round and slot")
        found = await self._backend.unit(task, round=round, slot=slot)
        if found is None:
            raise Refused(404, "this node knows no such unit")
        return UnitList(units=(found,))

    async def peers(self, _: web.Request, __: Asked) -> NetworkView:
        return await self._backend.network()

    async def earnings(self, _: web.Request, asked: Asked) -> EarningsDetail:
        return await self._backend.earnings(asked["units"])

    async def logs(self, _: web.Request, asked: Asked) -> LogTail:
        return await self._backend.log(after=asked["after"], last=asked["last"], level=LogLevel(asked["level"]))

    async def settings(self, _: web.Request, __: Asked) -> SettingsView:
        return await self._backend.settings()

    async def day(self, _: web.Request, __: Asked) -> DayView:
        return await self._backend.day()

    # ---- blobs ---------------------------------------------------------------------------

    async def put_blob(self, request: web.Request, _: Asked) -> StoredBlob:
        if self._uploads >= UPLOADS:
            raise Refused(429, f"{UPLOADS} uploads are under way already", "Try again when one has ended.")
        self._uploads += 1
        try:
            blob = await self._backend.put_blob(chunks(request, limits.BLOB_BYTES))
        finally:
            self._uploads -= 1
        return StoredBlob(blob=blob.hex())

    async def get_blob(self, _: web.Request, asked: Asked) -> web.StreamResponse:
        path = await self._backend.blob_path(asked["id"])
        if path is None:
            raise Refused(404, "this node does not hold that blob")
        return web.FileResponse(path, chunk_size=CHUNK_BYTES, headers={"Content-Type": BYTES})


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
