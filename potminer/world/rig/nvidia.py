"""NVIDIA GPUs through NVML. Every single reading may be missing; nothing is ever written.

All calls may block: use it through ``aside.Aside``.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from dataclasses import replace
from typing import Any

import pynvml

from potminer.base.bounded import MILLION
from potminer.wire.facts import GPUS, GpuSample, bus_key
from potminer.world.rig.sight import Roll, Sight

_PPM_PER_PERCENT = MILLION // 100
_MEMORY_TEMPERATURE = 82
"""NVML_FI_DEV_MEMORY_TEMP"""
_LOST = ("NVML_ERROR_GPU_IS_LOST", "NVML_ERROR_RESET_REQUIRED", "NVML_ERROR_GPU_NOT_FOUND")

_MISSING = ("NVML_ERROR_LIBRARY_NOT_FOUND", "NVML_ERROR_DRIVER_NOT_LOADED")


class NvidiaProbe:
    """*own_pids*: processes whose load is ours. *library* speaks as the module pynvml does; it is
    opened with the first sample, and again after a loss."""

    def __init__(
        self, *, clock: Callable[[], int], own_pids: Callable[[], Collection[int]], library: Any = pynvml
    ) -> None:
        self._clock = clock
        self._own_pids = own_pids
        self._nvml = library
        self._lost = self._codes(_LOST)
        self._missing = self._codes(_MISSING)
        self._open = False
        self._seen_us: dict[str, int] = {}
        self._roll = Roll()

    def sample(self) -> Sight:
        try:
            self._connect()
            count = min(int(self._nvml.nvmlDeviceGetCount()), GPUS)
        except self._nvml.NVMLError as error:
            self.close()
            sight = self._called({}, self._word(error))
            return replace(sight, absent=self._roll.is_empty and error.value in self._missing)
        own = frozenset(self._own_pids())
        gpus: dict[str, GpuSample] = {}
        reason = ""
        for index in range(count):
            try:
                gpu = self._one(self._nvml.nvmlDeviceGetHandleByIndex(index), own)
                gpus[gpu.bus] = gpu
            except self._nvml.NVMLError as error:
                reason = f"GPU {index}: {self._word(error)}"
        if reason:
            self.close()  # a lost GPU may come back under a fresh session only
        return self._called(gpus, reason)

    def driver(self) -> str | None:
        """Version of the driver, None where there is none."""
        try:
            self._connect()
            return _text(self._nvml.nvmlSystemGetDriverVersion())[:40]
        except self._nvml.NVMLError:
            self.close()
            return None

    def close(self) -> None:
        if self._open:
            self._open = False
            try:
                self._nvml.nvmlShutdown()
            except self._nvml.NVMLError:
                return  # the session is gone either way

    def _codes(self, names: Sequence[str]) -> frozenset[int]:
        """Of the errors that this release of the library has a name for."""
        return frozenset(code for name in names if (code := getattr(self._nvml, name, None)) is not None)

    def _connect(self) -> None:
        if not self._open:
            self._nvml.nvmlInit()
            self._open = True

    def _called(self, gpus: dict[str, GpuSample], reason: str) -> Sight:
        missing = self._roll.call(gpus)
        words = [word for word in (missing, reason) if word]
        return Sight(tuple(gpus[bus] for bus in sorted(gpus)), "; ".join(words)[:96])

    def _one(self, gpu: Any, own: frozenset[int]) -> GpuSample:
        """NVMLError where the GPU cannot even be named, or is lost."""
        bus = bus_key(_text(self._nvml.nvmlDeviceGetPciInfo(gpu).busId))
        if bus is None:
            raise self._nvml.NVMLError(self._nvml.NVML_ERROR_UNKNOWN)
        memory = self._ask("nvmlDeviceGetMemoryInfo", gpu)
        rates = self._ask("nvmlDeviceGetUtilizationRates", gpu)
        load = None if rates is None else _share(rates.gpu)
        core = self._ask("nvmlDeviceGetTemperature", gpu, self._nvml.NVML_TEMPERATURE_GPU)
        return GpuSample(
            bus=bus,
            name=_text(self._ask("nvmlDeviceGetName", gpu) or "")[:96],
            memory_used_bytes=None if memory is None else _count(memory.used),
            memory_total_bytes=None if memory is None else _count(memory.total),
            utilisation_ppm=load,
            foreign_utilisation_ppm=self._foreign(gpu, bus, load, own),
            temperature_milli_c=_temperature(core),
            memory_temperature_milli_c=_temperature(self._field(gpu, _MEMORY_TEMPERATURE)),
            power_mw=_count(self._ask("nvmlDeviceGetPowerUsage", gpu)),
            drives_display=self._drives_display(gpu),
            taken_at_ms=self._clock(),
            architecture=_architecture(self._ask("nvmlDeviceGetCudaComputeCapability", gpu)),
            power_limit_mw=_count(self._ask("nvmlDeviceGetPowerManagementLimit", gpu)),
            fan_ppm=_share(self._ask("nvmlDeviceGetFanSpeed", gpu)),
            link_width=_lanes(self._ask("nvmlDeviceGetCurrPcieLinkWidth", gpu)),
        )

    def _drives_display(self, gpu: Any) -> bool | None:
        """A monitor is plugged in (mode), or a display server works on the card without one (active).

        False only where both are known: streaming to another room needs no monitor.
        """
        said = [self._ask(name, gpu) for name in ("nvmlDeviceGetDisplayMode", "nvmlDeviceGetDisplayActive")]
        if any(said):
            return True
        return None if None in said else False

    def _foreign(self, gpu: Any, bus: str, load: int | None, own: frozenset[int]) -> int | None:
        """Load by others. Where we do not compute, all of it; where we do, NVML must tell the processes apart."""
        running = self._running(gpu)
        if running is None:
            return None
        if not any(int(process.pid) in own for process in running):
            return load
        return self._foreign_by_process(gpu, bus, own)

    def _running(self, gpu: Any) -> Any:
        """Drivers older than the library know the earlier form of the question only."""
        running = self._ask("nvmlDeviceGetComputeRunningProcesses", gpu)
        return self._ask("nvmlDeviceGetComputeRunningProcesses_v2", gpu) if running is None else running

    def _foreign_by_process(self, gpu: Any, bus: str, own: frozenset[int]) -> int | None:
        since = self._seen_us.get(bus, 0)
        try:
            samples = self._nvml.nvmlDeviceGetProcessUtilization(gpu, since)
        except self._nvml.NVMLError as error:
            if error.value in self._lost:
                raise
            # nothing ran since the last look
            return 0 if error.value == self._nvml.NVML_ERROR_NOT_FOUND and since else None
        latest: dict[int, tuple[int, int]] = {}
        for sample in samples:
            stamp = int(sample.timeStamp)
            latest[int(sample.pid)] = max(latest.get(int(sample.pid), (0, 0)), (stamp, int(sample.smUtil)))
            self._seen_us[bus] = max(self._seen_us.get(bus, 0), stamp)
        shares = [_share(percent) for pid, (_, percent) in latest.items() if pid not in own]
        return min(MILLION, sum(share for share in shares if share is not None))

    def _ask(self, name: str, *arguments: Any) -> Any:
        """The reading, or None where this card, driver or library does not have it.

        A lost GPU is no missing field: that error goes on.
        """
        call = getattr(self._nvml, name, None)
        if call is None:
            return None
        try:
            return call(*arguments)
        except self._nvml.NVMLError as error:
            if error.value in self._lost:
                raise
            return None

    def _field(self, gpu: Any, field: int) -> Any:
        values = self._ask("nvmlDeviceGetFieldValues", gpu, [field])
        if not values or values[0].nvmlReturn != self._nvml.NVML_SUCCESS:
            return None
        return values[0].value.uiVal

    def _word(self, error: Any) -> str:
        if isinstance(error, getattr(self._nvml, "NVMLError_LibraryNotFound", ())):
            return "no NVIDIA driver is installed"
        return _text(error)[:80]


def _share(percent: Any) -> int | None:
    value = _count(percent)
    return None if value is None or value > 100 else value * _PPM_PER_PERCENT


def _temperature(celsius: Any) -> int | None:
    """0, negative and absurd readings are what broken sensors and lost cards report."""
    value = _count(celsius)
    return None if not value or value > 200 else value * 1_000


def _architecture(capability: Any) -> str:
    """(8, 6) is ``sm_86``."""
    if capability is None or len(capability) != 2:
        return ""
    major, minor = (_count(part) for part in capability)
    return f"sm_{major}{minor}" if major and minor is not None and major < 100 and minor < 10 else ""


def _lanes(width: Any) -> int | None:
    value = _count(width)
    return value if value is not None and 0 < value <= 32 else None


def _count(value: Any) -> int | None:
    return value if isinstance(value, int) and 0 <= value < 2**63 else None


def _text(value: Any) -> str:
    text = value.decode(errors="replace") if isinstance(value, bytes) else str(value)
    return "".join(c for c in text if c.isprintable())
