"""The ethman protocol of Claymore, PhoenixMiner and TeamRedMiner's second API: JSON lines over TCP.

``miner_getstat2`` (or, where it is not known, ``miner_getstat1``) answers a list of texts:
0 version, 1 minutes, 2 "total;shares;rejected" in kH/s, 3 kH/s of every GPU or "off", 4 and 5 the
same for a second coin, 6 "temperature;fan" pairs, 15 PCI buses in decimal. ``control_gpu`` is not
answered. A miner of two coins is never paused: nothing tells later that it mined two.
ethminer and its kin speak it too and say more in words of their own: ethminer.py.
Sources: Claymore's API.txt as quoted in nanopool/Claymore-Dual-Miner issue 188 and
PhoenixMinerDevTeam/PhoenixMiner issue 63; HiveOS claymore and phoenixminer h-stats.sh.
"""

from __future__ import annotations

from typing import Any

from potminer.wire.facts import GPUS, MinerGpu
from potminer.world.rig.miners import ethminer
from potminer.world.rig.miners.interface import Control, Failure, MinerError
from potminer.world.rig.miners.reading import (
    Reading,
    all_paused,
    bus_number,
    digits,
    expect,
    fan,
    hashing,
    label,
    listing,
    mapping,
    temperature,
)
from potminer.world.rig.miners.tcp import LocalTcp

KIND = "ethman"
_KILO = 1_000
_OFF = "off"


class Ethman:
    """*password* goes into every question, as this protocol has it; empty where there is none."""

    kind = KIND
    control = Control.GPU_TOGGLE

    def __init__(self, tcp: LocalTcp, password: str) -> None:
        self._tcp = tcp
        self._password = password
        self._native: ethminer.Ethminer | None = None
        self._off: list[int] = []
        """GPUs that we switched off: only those are switched on again, if we know them."""

    async def look(self) -> Reading:
        stat = await self._stat()
        if not ethminer.is_one(stat[0]):
            self._native = None
            return parse(stat)
        if self._native is None:
            self._native = ethminer.Ethminer(self._tcp, self._password)
        return await self._native.look()

    async def writable(self) -> bool | None:
        return None

    async def command(self, *, pause: bool) -> None:
        if self._native is not None:
            await self._native.command(pause=pause)
            return
        stat = await self._stat()
        if pause and _mines_two(stat):
            what = "it mines two coins, and its API does not tell that later: stop it yourself, or mine one"
            raise MinerError(Failure.READ_ONLY, what)
        rates = _split(stat[3])
        if pause:
            self._off = [at for at, rate in enumerate(rates) if rate != _OFF]
        chosen = self._off or list(range(len(rates)))
        for at in chosen:
            await self._tcp.tell(self._question("control_gpu", [str(at), "0" if pause else "1"]))

    async def _stat(self) -> list[Any]:
        for method in ("miner_getstat2", "miner_getstat1"):
            [reply] = await self._tcp.ask(self._question(method))
            stat = listing(mapping(reply).get("result"), at_most=64)
            if stat:
                break
        if _wants_password(reply):
            raise MinerError(Failure.REFUSED, "its API wants its password: name the file that holds it as token_file")
        check(stat)
        return stat

    def _question(self, method: str, params: list[str] | None = None) -> dict[str, Any]:
        question: dict[str, Any] = {"id": 0, "jsonrpc": "2.0", "method": method}
        if self._password:
            question["psw"] = self._password
        return question if params is None else question | {"params": params}


def _wants_password(reply: Any) -> bool:
    error = mapping(reply).get("error")
    text = str(mapping(error).get("message") if isinstance(error, dict) else error).lower()
    return any(word in text for word in ("password", "psw", "authori"))


def check(stat: list[Any]) -> None:
    texts = len(stat) >= 7 and all(isinstance(part, str) for part in stat[:7])
    expect(texts and stat[2].count(";") == 2 and stat[1].isdecimal(), "of the ethman family")


def parse(stat: list[Any]) -> Reading:
    """Out of the texts of getstat1 or getstat2, once they are checked."""
    whole, second = _split(stat[2]), _split(stat[4])
    gpus = _gpus(stat)
    rates = [digits(whole[0], factor=_KILO)]
    if len(second) == 3 and _mines_two(stat):
        rates.append(digits(second[0], factor=_KILO))
    paused = all_paused(gpu.paused for gpu in gpus)
    return Reading(
        version=label(stat[0]),
        paused=paused,
        hashrate_hs=0 if paused else hashing(rates),
        uptime_s=digits(stat[1], factor=60),
        accepted=_accepted(whole),
        rejected=digits(whole[2]),
        gpus=gpus,
    )


def _accepted(whole: list[str]) -> int | None:
    """Claymore counts all shares and the rejected ones among them."""
    shares, rejected = digits(whole[1]), digits(whole[2])
    return max(0, shares - rejected) if shares is not None and rejected is not None else None


def _gpus(stat: list[Any]) -> tuple[MinerGpu, ...]:
    rates, seconds, warmth = _split(stat[3]), _split(stat[5]), _split(stat[6])
    buses = _split(stat[15]) if len(stat) > 15 else []
    return tuple(
        MinerGpu(
            bus=bus_number(digits(_at(buses, at))),
            hashrate_hs=hashing(
                0 if rate == _OFF else digits(rate, factor=_KILO)
                for rate in (rates[at], _at(seconds, at) if _mines_two(stat) else rates[at])
            ),
            index=at,
            temperature_milli_c=temperature(digits(_at(warmth, 2 * at))),
            fan_ppm=fan(digits(_at(warmth, 2 * at + 1))),
            paused=rates[at] == _OFF,
        )
        for at in range(min(len(rates), GPUS))
    )


def _mines_two(stat: list[Any]) -> bool:
    return any(digits(rate) for rate in _split(stat[5]) if rate != _OFF)


def _split(value: Any) -> list[str]:
    """The parts of a text; spaces around them as some builds write them."""
    text = value if isinstance(value, str) else ""
    return [part.strip().lower() for part in text.split(";", 256)] if text else []


def _at(parts: list[str], at: int) -> str:
    return parts[at] if at < len(parts) else ""

