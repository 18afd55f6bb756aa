"""Writes assets/afternoon.jsonl: one afternoon of a rig with two cards, for ``potminer simulate policy``.

T-Rex mines on both and can release one alone; the first card drives the owner's screen. Times from noon:

  0:00  training pays less than mining: both mine
  0:30  the price of work rises: both are handed over
  1:00  the owner plays for 50 minutes on the first card
  2:30  the second card gets too hot, and is cool again a quarter of an hour later
  3:00  the miner dies, and is back half an hour later
  3:10  the price of work falls below the price of power
  4:00  the end
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import msgspec

from potminer.wire.trace import (
    LookLine,
    RigLine,
    TraceDevice,
    TraceGpu,
    TraceHost,
    TraceMiner,
    TraceMinerGpu,
    TraceTerms,
)

SCREEN, RISER = "0000:01:00.0", "0000:02:00.0"
NOON_MS = 1_763_985_600_000
"""24 November 2025, 12:00 UTC: a Monday."""
MINUTE_MS = 60_000
GIB = 2**30
STEP_MS = 30_000


@dataclass(frozen=True)
class At:
    """What is so, *minute* minutes after noon."""

    minute: float

    @property
    def playing(self) -> bool:
        return 60 <= self.minute < 110

    @property
    def hot(self) -> bool:
        return 150 <= self.minute < 165

    @property
    def mining(self) -> bool:
        return not 180 <= self.minute < 210

    @property
    def pay_h(self) -> int:
        """An hour of training on one card, in millionths of a euro."""
        if self.minute < 30:
            return 60_000
        return 140_000 if self.minute < 190 else 20_000

    def gpu(self, bus: str) -> TraceGpu:
        screen = bus == SCREEN
        load = 980_000 if (screen and self.playing) or self.mining else 0
        heat = 86_000 if self.hot and not screen else 62_000
        return TraceGpu(
            bus=bus, memory_used_bytes=GIB, memory_total_bytes=8 * GIB, foreign_utilisation_ppm=load,
            temperature_milli_c=heat, power_mw=120_000, drives_display=screen,
        )

    def look(self) -> LookLine:
        idle_ms = 500 if self.playing else int((self.minute - (110 if self.minute >= 110 else -90)) * MINUTE_MS) + 500
        rates = {SCREEN: 0 if self.playing else 30_000_000, RISER: 30_000_000}
        miner = TraceMiner(name="trex", alive=False, single=True)
        if self.mining:
            gpus = tuple(TraceMinerGpu(bus=bus, hashrate_hs=rate, paused=False) for bus, rate in rates.items())
            miner = TraceMiner(name="trex", paused=False, hashrate_hs=sum(rates.values()), single=True, gpus=gpus)
        return LookLine(
            at_ms=NOON_MS + int(self.minute * MINUTE_MS),
            host=TraceHost(cpu_load_ppm=50_000, on_battery=False, input_idle_ms=idle_ms, has_seat=True),
            gpus=(self.gpu(SCREEN), self.gpu(RISER)),
            miners=(miner,),
            terms=(TraceTerms(week_minute=720 + int(self.minute), pay_h=self.pay_h, mine_h=90_000, kwh=300_000),),
        )


def lines() -> Iterator[RigLine | LookLine]:
    devices = tuple(TraceDevice(bus=bus, miner="trex", single=True) for bus in (SCREEN, RISER))
    yield RigLine(devices=devices, parameters={"policy": "profit"}, currency="EUR")
    for step in range(240 * MINUTE_MS // STEP_MS + 1):
        yield At(step * STEP_MS / MINUTE_MS).look()


def main() -> None:
    target = Path(__file__).parent / "afternoon.jsonl"
    target.write_bytes(b"".join(msgspec.json.encode(line) + b"\n" for line in lines()))


if __name__ == "__main__":
    main()
