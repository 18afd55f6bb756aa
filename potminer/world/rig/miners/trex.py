"""T-Rex over its HTTP API: GET /summary tells everything, /control pauses the whole miner or some GPUs.

Without ``--api-key`` newer versions refuse commands (error text and success 0). With one, /login
gives a session id for the calls after it. A capitalised boolean is accepted and ignored, so what
was written is always read back. Source: T-Rex wiki, API; trexminer/T-Rex issues 695, 1189, 1447.
"""

from __future__ import annotations

from typing import Any

from potminer.wire.facts import GPUS, MinerGpu, bus_key
from potminer.world.rig.miners.interface import Control, Failure, MinerError
from potminer.world.rig.miners.local import LocalHttp
from potminer.world.rig.miners.reading import (
    Reading,
    bus_number,
    count,
    expect,
    fan,
    flag,
    hashing,
    index,
    label,
    listing,
    mapping,
    power,
    temperature,
)

KIND = "trex"
_NAME = "t-rex"


class Trex:
    """*password* is the one its ``--api-key`` was made from; empty where it has none."""

    kind = KIND
    control = Control.HTTP_PAUSE

    def __init__(self, http: LocalHttp, password: str) -> None:
        self._http = http
        self._password = password
        self._session = ""

    async def look(self) -> Reading:
        return parse(await self._ask("/summary", {}))

    async def writable(self) -> bool | None:
        if not self._password:
            return None
        try:
            await self._log_in()
        except MinerError as error:
            if error.failure is not Failure.REFUSED:
                raise
            return False
        return True

    async def command(self, *, pause: bool) -> None:
        await self._control("true" if pause else "false")

    async def command_gpu(self, index: int, *, pause: bool) -> None:
        await self._control(f"{'true' if pause else 'false'}:{index}")

    async def _control(self, said: str) -> None:
        if self._password and not self._session:
            await self._log_in()
        reply = await self._ask("/control", {"pause": said})
        if _refuses(reply):
            what = "its API is read-only: start it with --api-key, and name the password's file as token_file"
            raise MinerError(Failure.READ_ONLY, what)

    async def _ask(self, path: str, query: dict[str, str]) -> Any:
        """Once as we are; after a refusal once more with a new session."""
        reply = await self._http.get(path, query | self._sid())
        if _refuses(reply) and self._password:
            await self._log_in()
            reply = await self._http.get(path, query | self._sid())
        return reply

    def _sid(self) -> dict[str, str]:
        return {"sid": self._session} if self._session else {}

    async def _log_in(self) -> None:
        reply = mapping(await self._http.get("/login", {"password": self._password}))
        session = reply.get("sid")
        if reply.get("success") != 1 or not isinstance(session, str):
            self._session = ""
            raise MinerError(Failure.REFUSED, "its API does not accept the password of token_file")
        self._session = session[:256]


def _refuses(reply: Any) -> bool:
    return mapping(reply).get("success") == 0 and "error" in reply


def parse(reply: Any) -> Reading:
    summary = mapping(reply)
    if _refuses(summary):
        raise MinerError(Failure.REFUSED, "its API wants a password: name its file as token_file")
    gpus = summary.get("gpus")
    is_trex = str(summary.get("name")).lower() == _NAME and isinstance(gpus, list) and "hashrate" in summary
    expect(is_trex, "T-Rex")
    dual = mapping(summary.get("dual_stat"))
    seconds = [mapping(gpu) for gpu in listing(dual.get("gpus"), at_most=GPUS)]
    second = {index(gpu.get("device_id")): gpu.get("hashrate") for gpu in seconds}
    return Reading(
        version=label(summary.get("version")),
        paused=flag(summary.get("paused")),
        hashrate_hs=_rate(summary, dual.get("hashrate")),
        uptime_s=count(summary.get("uptime")),
        accepted=count(summary.get("accepted_count")),
        rejected=count(summary.get("rejected_count")),
        algorithm=label(summary.get("algorithm")),
        gpus=tuple(_gpu(mapping(gpu), second) for gpu in listing(gpus, at_most=GPUS)),
    )


def _rate(part: dict[str, Any], second: Any) -> int | None:
    rates = [count(part.get("hashrate"))]
    return hashing(rates if second is None else [*rates, count(second)])


def _gpu(gpu: dict[str, Any], second: dict[int | None, Any]) -> MinerGpu:
    domain = count(gpu.get("pci_domain")) or 0
    bus = bus_number(gpu.get("pci_bus"))
    return MinerGpu(
        bus=bus_key(f"{domain:x}:{bus[5:]}") if bus is not None else None,
        hashrate_hs=_rate(gpu, second.get(index(gpu.get("device_id")))),
        index=index(gpu.get("device_id")),
        name=label(gpu.get("name")),
        temperature_milli_c=temperature(gpu.get("temperature")),
        memory_temperature_milli_c=temperature(gpu.get("memory_temperature")),
        power_mw=power(gpu.get("power")),
        fan_ppm=fan(gpu.get("fan_speed")),
        paused=flag(gpu.get("paused")),
    )
