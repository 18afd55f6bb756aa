"""A folder that looks like the sysfs and procfs of a machine with AMD cards."""

from __future__ import annotations

import shutil
from pathlib import Path


class FakeAmd:
    """Cards by bus, written as files; ``/proc`` for our own processes."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self._numbers: dict[str, int] = {}

    def add(
        self,
        bus: str,
        *,
        model: str = "67DF",
        load: int = 40,
        monitor: bool = False,
        connectors: int = 2,
        gfx: str = "80003",
    ) -> Path:
        number = self._numbers.setdefault(bus, len(self._numbers))
        card = self.root / f"sys/class/drm/card{number}"
        device = card / "device"
        self.put(device / "vendor", "0x1002\n")
        self.put(device / "uevent", f"DRIVER=amdgpu\nPCI_CLASS=30000\nPCI_ID=1002:{model}\nPCI_SLOT_NAME={bus}\n")
        self.put(device / "gpu_busy_percent", f"{load}\n")
        self.put(device / "mem_info_vram_used", f"{2 * 2**30}\n")
        self.put(device / "mem_info_vram_total", f"{8 * 2**30}\n")
        self.put(device / "current_link_width", "1\n")
        self.put(device / "power/runtime_status", "active\n")
        hwmon = device / "hwmon/hwmon3"
        for name, label, value in (("temp1", "edge", 61_000), ("temp2", "junction", 72_000), ("temp3", "mem", 84_000)):
            self.put(hwmon / f"{name}_label", f"{label}\n")
            self.put(hwmon / f"{name}_input", f"{value}\n")
        self.put(hwmon / "power1_average", "120000000\n")
        self.put(hwmon / "power1_cap", "150000000\n")
        self.put(hwmon / "pwm1", "128\n")
        for at in range(connectors):
            state = "connected" if monitor and at == 0 else "disconnected"
            self.put(self.root / f"sys/class/drm/card{number}-DP-{at + 1}/status", f"{state}\n")
        self._node(number, bus, gfx)
        return device

    def remove(self, bus: str) -> None:
        shutil.rmtree(self.root / f"sys/class/drm/card{self._numbers[bus]}")

    def fdinfo(self, pid: int, bus: str, *, ns: int | None, client: int = 7, fd: int = 9) -> None:
        """*ns* None: the format of kernels 5.14 to 5.18, which gives percents."""
        engines = "gfx:\t12.00%\n" if ns is None else f"drm-engine-gfx:\t{ns} ns\ndrm-engine-compute:\t0 ns\n"
        text = f"pos:\t0\ndrm-driver:\tamdgpu\ndrm-pdev:\t{bus}\ndrm-client-id:\t{client}\n{engines}"
        self.put(self.root / f"proc/{pid}/fdinfo/{fd}", text)

    def kfd(self, pid: int) -> None:
        folder = self.root / f"proc/{pid}/fd"
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "5").symlink_to("/dev/kfd")

    @staticmethod
    def put(path: Path, text: str) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)

    def _node(self, number: int, bus: str, gfx: str) -> None:
        _, middle, last = bus.split(":")
        place = int(middle, 16) << 8 | int(last.split(".")[0], 16) << 3
        said = f"simd_count 144\nvendor_id 4098\nlocation_id {place}\ndomain 0\ngfx_target_version {gfx}\n"
        self.put(self.root / f"sys/class/kfd/kfd/topology/nodes/{number + 1}/properties", said)
