"""One PySyncObj node that submits commands itself: run by ``raft.py`` with the Python of its own environment.

    raft_node.py SECONDS WINDOW BYTES OWN_ADDRESS OTHER_ADDRESS...
"""

from __future__ import annotations

import json
import sys
import time
from threading import Lock

from pysyncobj import SyncObj, SyncObjConf, replicated


class Table(SyncObj):
    def __init__(self, own: str, others: list[str]) -> None:
        super().__init__(own, others, SyncObjConf(dynamicMembershipChange=False, commandsQueueSize=1_000_000))
        self.values: dict[int, bytes] = {}

    @replicated
    def put(self, key: int, value: bytes) -> None:
        self.values[key] = value


def main() -> None:
    seconds, window, size = float(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3])
    table, value = Table(sys.argv[4], sys.argv[5:]), bytes(size)
    while not table.isReady():
        time.sleep(0.05)
    lock, waits, failed, open_commands = Lock(), list[float](), [0], [0]

    def submit(key: int) -> None:
        began = time.monotonic()

        def done(_: object, error: int) -> None:
            with lock:
                open_commands[0] -= 1
                if error:
                    failed[0] += 1
                else:
                    waits.append(time.monotonic() - began)

        with lock:
            open_commands[0] += 1
        table.put(key, value, callback=done)

    time.sleep(1.0)
    cpu, began, serial = time.process_time(), time.monotonic(), 0
    while time.monotonic() - began < seconds:
        if open_commands[0] < window:
            submit(serial % 10_000)
            serial += 1
        else:
            time.sleep(0.001)
    spent, elapsed = time.process_time() - cpu, time.monotonic() - began
    ordered = sorted(waits) or [0.0]
    figures = {
        "committed": len(waits), "failed": failed[0], "seconds": elapsed, "cpu_s": spent,
        "p50_ms": ordered[len(ordered) // 2] * 1e3, "p99_ms": ordered[int(len(ordered) * 0.99)] * 1e3,
    }
    sys.stdout.write(json.dumps(figures) + "\n")
    sys.stdout.flush()
    time.sleep(2.0)


if __name__ == "__main__":
    main()
