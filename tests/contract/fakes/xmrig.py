"""A fake xmrig: the documented replies of its HTTP API, and everything that can go wrong with them.

Written from xmrig's doc/API.md and src/base/api: status codes 401 (no token), 403 (wrong token,
or a write while restricted), 405 (method), 415 (a write without a JSON content type). A rate of
zero is written as null, as is a window that is not filled.
"""

from __future__ import annotations

import asyncio
import json
from typing import Any

from aiohttp import web


class FakeXmrig:
    """Listens on a free loopback port. Turn its fields to change what it says."""

    def __init__(self) -> None:
        self.paused = False
        self.rates: list[Any] = [1234.56, 1200.0, None]
        self.connected = True
        """Whether it has a pool."""
        self.token = ""
        self.restricted = False
        self.heedless = False
        """Answers OK to pause and resume and does nothing."""
        self.features: list[str] = ["api", "asm", "http", "tls"]
        self.threads: list[dict[str, Any]] = []
        self.changes: dict[str, Any] = {}
        """Put over the summary; a value of ``...`` removes the key."""
        self.raw: web.StreamResponse | bytes | None = None
        """Sent instead of any answer, bytes as a 200 with that body."""
        self.drip_s: float | None = None
        """Seconds between single bytes of an endless body."""
        self.calls: list[str] = []
        self.url = ""
        self._runner: web.AppRunner | None = None

    async def __aenter__(self) -> FakeXmrig:
        app = web.Application()
        app.router.add_route("*", "/{path:.*}", self._answer)
        self._runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
        await self._runner.setup()
        site = web.TCPSite(self._runner, "127.0.0.1", 0)
        await site.start()
        self.url = f"http://127.0.0.1:{self._runner.addresses[0][1]}"
        return self

    async def __aexit__(self, *_: object) -> None:
        if self._runner is not None:
            await self._runner.cleanup()

    async def _answer(self, request: web.Request) -> web.StreamResponse:
        self.calls.append(f"{request.method} {request.path}")
        if self.drip_s is not None:
            return await self._drip(request, self.drip_s)
        if isinstance(self.raw, bytes):
            return web.Response(body=self.raw)
        if self.raw is not None:
            return self.raw
        refusal = self._refuse(request)
        if refusal:
            return web.Response(status=refusal)
        match request.method, request.path:
            case "GET", "/2/summary" | "/1/summary" | "/api.json":
                return web.json_response(self.summary())
            case "GET", "/2/backends":
                return web.json_response(self._backends())
            case "POST", "/json_rpc":
                return web.json_response(self._obey(json.loads(await request.text())))
        return web.Response(status=404)

    def _refuse(self, request: web.Request) -> int:
        if request.method not in ("GET", "PUT", "POST", "DELETE"):
            return 405
        given = request.headers.get("Authorization", "")
        if bool(self.token) != bool(given):
            return 401
        if self.token and given != f"Bearer {self.token}":
            return 403
        if request.method != "GET" and self.restricted:
            return 403
        if request.method != "GET" and request.headers.get("Content-Type") != "application/json":
            return 415
        return 0

    def _obey(self, call: dict[str, Any]) -> dict[str, Any]:
        if call.get("method") not in ("pause", "resume"):
            return {"id": call.get("id"), "jsonrpc": "2.0", "error": {"code": -32601, "message": "Method not found"}}
        if not self.heedless:
            self.paused = call["method"] == "pause"
        return {"id": call.get("id"), "jsonrpc": "2.0", "result": {"status": "OK"}}

    def summary(self) -> dict[str, Any]:
        reply: dict[str, Any] = {
            "id": "92f3104f9a2ee78c",
            "worker_id": "rig",
            "uptime": 3600,
            "restricted": self.restricted,
            "resources": {
                "memory": {"free": 1 << 30, "total": 8 << 30, "resident_set_memory": 1 << 28},
                "load_average": [4.0, 3.9, 3.8],
                "hardware_concurrency": 4,
            },
            "features": self.features,
            "results": {"diff_current": 100_001, "shares_good": 20, "shares_total": 21, "hashes_total": 4_000_000},
            "algo": "rx/0",
            "connection": {
                "pool": "pool.example:3333",
                "ip": "192.0.2.7" if self.connected else None,
                "uptime": 3_590 if self.connected else 0,
                "ping": 40,
                "failures": 0,
                "accepted": 20,
                "rejected": 1,
            },
            "version": "6.26.0",
            "kind": "miner",
            "ua": "XMRig/6.26.0 (Linux x86_64) libuv/1.51.0 gcc/13.2.1",
            "cpu": {"brand": "Example CPU", "cores": 4, "threads": 4},
            "donate_level": 1,
            "paused": self.paused,
            "algorithms": ["rx/0", "kawpow"],
            "hashrate": {"total": self.rates, "highest": 1300.0},
        }
        reply.update(self.changes)
        return {key: value for key, value in reply.items() if value is not ...}

    def _backends(self) -> list[dict[str, Any]]:
        return [
            {"type": "cpu", "enabled": True, "algo": "rx/0", "threads": [{"hashrate": [1.0, 1.0, 1.0]}]},
            {"type": "opencl", "enabled": False, "algo": None, "threads": None},
            {"type": "cuda", "enabled": True, "algo": "kawpow", "threads": self.threads},
        ]

    async def _drip(self, request: web.Request, pause_s: float) -> web.StreamResponse:
        response = web.StreamResponse()
        await response.prepare(request)
        try:
            while True:
                await response.write(b" ")
                await asyncio.sleep(pause_s)
        except ConnectionError:
            return response
