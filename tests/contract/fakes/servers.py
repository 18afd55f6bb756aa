"""Servers that a fake miner stands on: HTTP or TCP on a free loopback port, and everything that can go wrong there."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from typing import Any

from aiohttp import web

Answer = Callable[[str, dict[str, str]], Any]
"""(path, query) to a value for JSON, bytes as they are, or None for 404."""


class FakeHttp:
    """Answers GET by *answer*. Turn its fields to change what it says."""

    def __init__(self, answer: Answer) -> None:
        self.answer = answer
        self.raw: web.StreamResponse | bytes | None = None
        """Sent instead of any answer, bytes as a 200 with that body."""
        self.drip_s: float | None = None
        """Seconds between single bytes of an endless body."""
        self.calls: list[str] = []
        self.headers: list[dict[str, str]] = []
        self.url = ""
        self._runner: web.AppRunner | None = None

    async def __aenter__(self) -> FakeHttp:
        app = web.Application()
        app.router.add_route("*", "/{path:.*}", self._reply)
        self._runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
        await self._runner.setup()
        await web.TCPSite(self._runner, "127.0.0.1", 0).start()
        self.url = f"http://127.0.0.1:{self._runner.addresses[0][1]}"
        return self

    async def __aexit__(self, *_: object) -> None:
        if self._runner is not None:
            await self._runner.cleanup()

    async def _reply(self, request: web.Request) -> web.StreamResponse:
        self.calls.append(f"{request.method} {request.path_qs}")
        self.headers.append(dict(request.headers))
        if self.drip_s is not None:
            return await self._drip(request, self.drip_s)
        if isinstance(self.raw, bytes):
            return web.Response(body=self.raw)
        if self.raw is not None:
            return self.raw
        answer = self.answer(request.path, dict(request.query))
        if answer is None or request.method != "GET":
            return web.Response(status=404)
        return web.Response(body=answer if isinstance(answer, bytes) else json.dumps(answer).encode())

    async def _drip(self, request: web.Request, pause_s: float) -> web.StreamResponse:
        response = web.StreamResponse()
        await response.prepare(request)
        try:
            while True:
                await response.write(b" ")
                await asyncio.sleep(pause_s)
        except ConnectionError:
            return response


class FakeTcp:
    """Answers JSON lines by *answer*: a value, or None to say nothing. *once*: then it hangs up, as cgminer does."""

    def __init__(self, answer: Callable[[dict[str, Any]], Any], *, once: bool = False, end: bytes = b"\n") -> None:
        self.answer = answer
        self.raw: bytes | None = None
        self.drip_s: float | None = None
        self.calls: list[Any] = []
        self.url = ""
        self._once = once
        self.end = end
        self._server: asyncio.Server | None = None
        self._tasks: set[asyncio.Task[Any]] = set()

    async def __aenter__(self) -> FakeTcp:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0, limit=1 << 20)
        self.url = f"tcp://127.0.0.1:{self._server.sockets[0].getsockname()[1]}"
        return self

    async def __aexit__(self, *_: object) -> None:
        assert self._server is not None
        self._server.close()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        try:
            await self._talk(reader, writer)
        except ConnectionError:
            return
        finally:
            self._tasks.discard(task)
            writer.close()

    async def _talk(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while line := await reader.readline():
            try:
                question = json.loads(line)
            except ValueError:
                question = {}
            self.calls.append(question)
            if self.drip_s is not None:
                await _trickle(writer, self.drip_s)
            answer = self.raw if self.raw is not None else self.answer(question)
            if answer is not None:
                writer.write(answer if isinstance(answer, bytes) else json.dumps(answer).encode() + self.end)
                await writer.drain()
            if self._once or self.raw is not None:
                return


async def _trickle(writer: asyncio.StreamWriter, pause_s: float) -> None:
    while True:
        writer.write(b" ")
        await writer.drain()
        await asyncio.sleep(pause_s)
