"""Rigs to look at: real local APIs with made-up cards that change twice a second; for dashboard.py and walk.py.

    .venv/bin/python benchmarks/rigs.py FOLDER COUNT GPUS      serves FOLDER/rig-0 ... until it is told to stop
"""

from __future__ import annotations

import asyncio
import sys
import time
from collections.abc import AsyncGenerator
from pathlib import Path

from msgspec.structs import replace

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from potminer.wire.control import SNAPSHOT_BYTES, DeviceState, Snapshot, from_json
from potminer.world.api.serve import ApiServer
from potminer.world.paths import locate
from tests.contract.api_rig import Rig
from tests.contract.test_api_answers import Node

PHOTOGRAPH = Path(__file__).resolve().parents[1] / "tests/snapshot/photographs/training.json"
STATES = (DeviceState.TRAINING, DeviceState.TRAINING, DeviceState.MINING, DeviceState.IDLE_WAIT)


def now_ms() -> int:
    return time.time_ns() // 1_000_000


class Showing(Rig, Node):
    """A rig whose every number moves with every photograph."""

    def __init__(self, folder: Path, name: str, gpus: int) -> None:
        Rig.__init__(self, folder)
        Node.__init__(self)
        self._name, self._gpus, self._turn = name, gpus, 0
        self._base: Snapshot = from_json(Snapshot, PHOTOGRAPH.read_bytes(), max_bytes=SNAPSHOT_BYTES)

    async def snapshot(self) -> Snapshot:
        now = now_ms()
        device = self._base.devices[0]
        devices = tuple(
            replace(
                device,
                bus=f"0000:{at + 1:02x}:00.0",
                state=STATES[(at + self._turn // 20) % len(STATES)],
                since_ms=now - 60_000,
                samples_per_s_milli=900_000 + 1_000 * ((at * 37 + self._turn) % 97),
                power_mw=110_000 + 500 * ((at * 17 + self._turn) % 41),
                temperature_milli_c=55_000 + 500 * ((at + self._turn) % 13),
            )
            for at in range(self._gpus)
        )
        chain = replace(self._base.chain, height=self._base.chain.height + self._turn, last_block_ms=now - 200)
        return replace(self._base, rig=self._name, taken_ms=now, devices=devices, chain=chain)

    async def watch(self) -> AsyncGenerator[Snapshot, None]:
        while True:
            self._turn += 1
            yield await self.snapshot()
            await asyncio.sleep(0.5)


async def serve(folder: Path, count: int, gpus: int) -> None:
    servers = []
    for number in range(count):
        home = folder / f"rig-{number}"
        paths = locate({}, datadir=home, network="devnet")
        servers.append(await ApiServer.open(Showing(folder, f"rig-{number}", gpus), paths, clock=now_ms))
    sys.stdout.write("ready\n")
    sys.stdout.flush()
    await asyncio.to_thread(sys.stdin.read)
    for server in servers:
        await server.close()


if __name__ == "__main__":
    asyncio.run(serve(Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3])))
