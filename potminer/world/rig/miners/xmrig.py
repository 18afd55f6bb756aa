"""xmrig (6.x) over its HTTP API.

GET /2/summary tells everything, GET /2/backends the GPUs; POST /json_rpc pauses and resumes
the whole miner. Its API is off by default, on loopback, read-only while ``restricted`` is
true (xmrig: doc/API.md, src/base/api). ``stop`` ends the process for good: never used.

A rate is null both where a window is not filled yet and where nothing was hashed in it
(src/base/io/json/Json.cpp: normalize); zero is never written. So null means 0 H/s only where
something else says that it does not hash: it is paused, or it has no pool (then the
connection's uptime is 0 and its ip null, src/base/net/stratum/NetworkState.cpp: stop).
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

from potminer.wire.facts import GPUS, MinerGpu, MinerSample, bus_key
from potminer.world.rig.miners.interface import Capabilities, Failure, Identity, MinerError
from potminer.world.rig.miners.local import TIMEOUT_S, LocalHttp, deadline, local_url
from potminer.world.rig.miners.reading import count, flag, label, listing, mapping

KIND = "xmrig"
_GPU_BACKENDS = ("cuda", "opencl")
_THREADS = 1_024
_LOOKS = 5
"""A write takes effect at once or within a moment; more looks would hide a miner that ignores it."""


class XmrigAdapter:
    """*url* is ``http://127.0.0.1:PORT``; *token* the ``access-token`` of its config, empty if it has none."""

    kind = KIND
    capabilities = Capabilities(pauses=True, single_gpus=False)

    def __init__(
        self,
        url: str,
        token: str = "",
        *,
        clock: Callable[[], int],
        name: str = "",
        allow_remote: bool = False,
        timeout_s: float = TIMEOUT_S,
        look_again_s: float = 0.2,
    ) -> None:
        base = local_url(url, allow_remote=allow_remote)
        self.name = name or f"{KIND}@{base.authority}"
        self._http = LocalHttp(base, token=token, timeout_s=timeout_s)
        self._timeout_s = timeout_s
        self._clock = clock
        self._look_again_s = look_again_s
        self._turn = asyncio.Lock()

    async def identify(self) -> Identity:
        summary = await self._summary()
        return Identity(
            kind=KIND, version=label(summary.get("version")), writable=flag(summary.get("restricted")) is False
        )

    async def read(self) -> MinerSample:
        async with deadline(self._timeout_s):
            return await self._read()

    async def _read(self) -> MinerSample:
        taken_at_ms = self._clock()  # before asking: a sample is never younger than what it tells
        summary = await self._summary()
        connection = mapping(summary.get("connection"))
        paused = flag(summary.get("paused"))
        rests = paused is True or (connection.get("uptime") == 0 and connection.get("ip") is None)
        return MinerSample(
            name=self.name,
            kind=KIND,
            version=label(summary.get("version")),
            alive=True,
            paused=paused,
            hashrate_hs=_rate(mapping(summary.get("hashrate")).get("total"), rests=rests),
            uptime_s=count(summary.get("uptime")),
            accepted=count(connection.get("accepted")),
            rejected=count(connection.get("rejected")),
            pauses_single_gpus=False,
            gpus=await self._gpus(summary, rests=rests),
            taken_at_ms=taken_at_ms,
            algorithm=label(summary.get("algo")),
        )

    async def pause(self, bus: str | None = None) -> MinerSample:
        return await self._command("pause", paused=True)

    async def resume(self, bus: str | None = None) -> MinerSample:
        return await self._command("resume", paused=False)

    async def _command(self, method: str, *, paused: bool) -> MinerSample:
        """Identify, write, read again until it is so. One command at a time."""
        async with self._turn:
            identity = await self.identify()
            if not identity.writable:
                raise MinerError(Failure.READ_ONLY, "its API is restricted: set http.restricted to false in its config")
            reply = await self._http.post("/json_rpc", {"jsonrpc": "2.0", "id": 1, "method": method})
            if mapping(mapping(reply).get("result")).get("status") != "OK":
                raise MinerError(Failure.REFUSED, f"it did not accept {method}")
            for look in range(_LOOKS):
                if look:
                    await asyncio.sleep(self._look_again_s)
                sample = await self.read()
                if sample.paused is paused:
                    return sample
            raise MinerError(Failure.REFUSED, f"it accepted {method} and did not do it")

    async def _summary(self) -> dict[str, Any]:
        """The summary, once its shape says that xmrig wrote it."""
        summary = mapping(await self._http.get("/2/summary"))
        rates = mapping(summary.get("hashrate")).get("total")
        is_miner = summary.get("kind") == "miner" and isinstance(summary.get("version"), str)
        if not is_miner or not isinstance(rates, list) or not isinstance(summary.get("connection"), dict):
            raise MinerError(Failure.NOT_THIS_MINER, "what answers there is not xmrig")
        return summary

    async def _gpus(self, summary: dict[str, Any], *, rests: bool) -> tuple[MinerGpu, ...]:
        """Rates by PCI bus, where this build mines on GPUs at all."""
        features = summary.get("features")
        if not isinstance(features, list) or not any(backend in features for backend in _GPU_BACKENDS):
            return ()
        rates: dict[str, int | None] = {}
        for backend in listing(await self._http.get("/2/backends"), at_most=16):
            if mapping(backend).get("type") in _GPU_BACKENDS:
                for thread in listing(mapping(backend).get("threads"), at_most=_THREADS):
                    _add(rates, mapping(thread), rests=rests)
        return tuple(MinerGpu(bus=bus, hashrate_hs=rate) for bus, rate in sorted(rates.items())[:GPUS])


def _add(rates: dict[str, int | None], thread: dict[str, Any], *, rests: bool) -> None:
    """Several threads may share one GPU: their rates add up, an unknown one makes the sum unknown."""
    bus = bus_key(label(thread.get("bus_id")))
    if bus is None:
        return
    rate = _rate(thread.get("hashrate"), rests=rests)
    if bus not in rates:
        rates[bus] = rate
    else:
        before = rates[bus]
        rates[bus] = None if rate is None or before is None else before + rate


def _rate(windows: Any, *, rests: bool) -> int | None:
    """H/s over the shortest window that is filled (10 s, 60 s, 15 min); 0 where a resting miner's 10 s are empty."""
    rates = [count(window) for window in listing(windows, at_most=3)]
    if rests and rates and rates[0] is None:
        return 0
    return next((rate for rate in rates if rate is not None), None)
