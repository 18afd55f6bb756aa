"""Pages for supervisors, scripts and Prometheus: read-only and without secrets, so no cookie is asked."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable

from aiohttp import web

from potminer.wire.answers import Health, Summary
from potminer.wire.platforms import HiveReport, MmposReport, RaveosReport
from potminer.world.api import metrics, platforms
from potminer.world.api.backend import Backend
from potminer.world.api.route import TEXT, Asked, Route


class Supervise:
    """*clock* gives Unix milliseconds."""

    def __init__(self, backend: Backend, clock: Callable[[], int]) -> None:
        self._backend = backend
        self._clock = clock
        self._began_ms = clock()

    def table(self) -> tuple[Route, ...]:
        return (
            Route("GET", "/healthz", self.healthz, "Whether the node answers.", reply=Health, open=True, head=True),
            Route("GET", "/status", self.status, "A few flat numbers, for scripts that want no more.", reply=Summary),
            Route("GET", "/metrics", self.metrics, "Prometheus text.", media=TEXT, open=True),
            Route("GET", "/hive", self.hive, "What HiveOS's h-stats.sh hands on.", reply=HiveReport, open=True),
            Route("GET", "/mmpos", self.mmpos, "What the mmpOS agent reads.", reply=MmposReport, open=True),
            Route("GET", "/raveos", self.raveos, "What RaveOS's stats.py prints.", reply=RaveosReport, open=True),
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

    async def hive(self, _: web.Request, __: Asked) -> HiveReport:
        uptime_s = max(0, self._clock() - self._began_ms) // 1000
        return platforms.hive(await self._backend.snapshot(), uptime_s=uptime_s)

    async def mmpos(self, _: web.Request, __: Asked) -> MmposReport:
        return platforms.mmpos(await self._backend.snapshot())

    async def raveos(self, _: web.Request, __: Asked) -> RaveosReport:
        return platforms.raveos(await self._backend.snapshot())
