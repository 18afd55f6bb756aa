"""Pages for supervisors, scripts and Prometheus: read-only and without secrets, so no cookie is asked."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable

from aiohttp import web

from potminer.wire.answers import Health, Summary
from potminer.world.api import metrics
from potminer.world.api.backend import Backend
from potminer.world.api.route import TEXT, Asked, Route


class Supervise:
    """*clock* gives Unix milliseconds."""

    def __init__(self, backend: Backend, clock: Callable[[], int]) -> None:
        self._backend = backend
        self._clock = clock

    def table(self) -> tuple[Route, ...]:
        return (
            Route("GET", "/healthz", self.healthz, "Whether the node answers.", reply=Health, open=True, head=True),
            Route("GET", "/status", self.status, "A few flat numbers, for scripts that want no more.", reply=Summary),
            Route("GET", "/metrics", self.metrics, "Prometheus text.", media=TEXT, open=True),
        )

    async def healthz(self, _: web.Request, __: Asked) -> Health:
        return Health()

    async def status(self, _: web.Request, __: Asked) -> Summary:
        seen = await self._backend.snapshot()
        return Summary(
            taken_ms=seen.taken_ms,
            agent=seen.agent,
            network=seen.network,
            rig=seen.rig,
            role=seen.chain.role,
            height=seen.chain.height,
            peers=seen.chain.peers,
            mode=seen.control.mode,
            paused=seen.control.paused,
            devices=dict(Counter(device.state for device in seen.devices)),
            faults=sum(alert.level.value == "fault" for alert in seen.alerts),
        )

    async def metrics(self, _: web.Request, __: Asked) -> web.Response:
        text = metrics.render(await self._backend.snapshot(), self._clock())
        return web.Response(body=text, headers={"Content-Type": metrics.CONTENT_TYPE})
