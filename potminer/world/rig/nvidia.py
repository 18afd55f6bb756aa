"""NVIDIA GPUs through NVML. Every single reading may be missing; nothing is ever written.

All calls may block: use it through ``aside.Aside``.
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import dataclass
from typing import Any

import pynvml

from potminer.base.bounded import MILLION
from potminer.wire.facts import GPUS, GpuSample, bus_key

_PPM_PER_PERCENT = MILLION // 100
_MEMORY_TEMPERATURE = getattr(pynvml, "NVML_FI_DEV_MEMORY_TEMP", 82)


@dataclass(frozen=True, slots=True)
class Sight:
    """The GPUs seen; *reason* says why there are none or some are missing, empty where all is well."""

    gpus: tuple[GpuSample, ...]
    reason: str


class NvidiaProbe:
    """*own_pids*: processes whose load is ours. The library is loaded with the first sample, and again after a loss."""

    def __init__(self, *, clock: Callable[[], int], own_pids: Callable[[], Collection[int]]) -> None:
        self._clock = clock
        self._own_pids = own_pids
        self._open = False
        self._seen_us: dict[str, int] = {}

    def sample(self) -> Sight:
        try:
            self._connect()
            count = min(int(pynvml.nvmlDeviceGetCount()), GPUS)
        except pynvml.NVMLError as error:
            self.close()
            return Sight((), _word(error))
        own = frozenset(self._own_pids())
        gpus: list[GpuSample] = []
        reason = ""
        for index in range(count):
            try:
                gpus.append(self._one(pynvml.nvmlDeviceGetHandleByIndex(index), own))
            except pynvml.NVMLError as error:
                reason = f"GPU {index}: {_word(error)}"
        if reason:
            self.close()  # a lost GPU may come back under a fresh session only
        return Sight(tuple(gpus), reason)

    def close(self) -> None:
        if self._open:
            self._open = False
            _ask(pynvml.nvmlShutdown)

    def _connect(self) -> None:
        if not self._open:
            pynvml.nvmlInit()
            self._open = True

    def _one(self, gpu: Any, own: frozenset[int]) -> GpuSample:
        """NVMLError where the GPU cannot even be named."""
        bus = bus_key(_text(pynvml.nvmlDeviceGetPciInfo(gpu).busId))
        if bus is None:
            raise pynvml.NVMLError(pynvml.NVML_ERROR_UNKNOWN)
        memory = _ask(pynvml.nvmlDeviceGetMemoryInfo, gpu)
        rates = _ask(pynvml.nvmlDeviceGetUtilizationRates, gpu)
        load = None if rates is None else _share(rates.gpu)
        core = _ask(pynvml.nvmlDeviceGetTemperature, gpu, pynvml.NVML_TEMPERATURE_GPU)
        display = _ask(pynvml.nvmlDeviceGetDisplayActive, gpu)
        return GpuSample(
            bus=bus,
            name=_text(_ask(pynvml.nvmlDeviceGetName, gpu) or "")[:96],
            memory_used_bytes=None if memory is None else int(memory.used),
            memory_total_bytes=None if memory is None else int(memory.total),
            utilisation_ppm=load,
            foreign_utilisation_ppm=self._foreign(gpu, bus, load, own),
            temperature_milli_c=_temperature(core),
            memory_temperature_milli_c=_temperature(_field(gpu, _MEMORY_TEMPERATURE)),
            power_mw=_count(_ask(pynvml.nvmlDeviceGetPowerUsage, gpu)),
            drives_display=None if display is None else bool(display),
            taken_at_ms=self._clock(),
        )

    def _foreign(self, gpu: Any, bus: str, load: int | None, own: frozenset[int]) -> int | None:
        """Load by others. Where we do not compute, all of it; where we do, NVML must tell the processes apart."""
        running = _ask(pynvml.nvmlDeviceGetComputeRunningProcesses, gpu)
        if running is None:
            return None
        if not any(int(process.pid) in own for process in running):
            return load
        return self._foreign_by_process(gpu, bus, own)

    def _foreign_by_process(self, gpu: Any, bus: str, own: frozenset[int]) -> int | None:
        since = self._seen_us.get(bus, 0)
        try:
            samples = pynvml.nvmlDeviceGetProcessUtilization(gpu, since)
        except pynvml.NVMLError as error:
            # nothing ran since the last look
            return 0 if error.value == pynvml.NVML_ERROR_NOT_FOUND and since else None
        latest: dict[int, tuple[int, int]] = {}
        for sample in samples:
            stamp = int(sample.timeStamp)
            latest[int(sample.pid)] = max(latest.get(int(sample.pid), (0, 0)), (stamp, int(sample.smUtil)))
            self._seen_us[bus] = max(self._seen_us.get(bus, 0), stamp)
        shares = [_share(percent) for pid, (_, percent) in latest.items() if pid not in own]
        return min(MILLION, sum(share for share in shares if share is not None))


def _ask(call: Callable[..., Any], *arguments: Any) -> Any:
    """The reading, or None where this card, driver or library does not have it.

    A lost GPU is no missing field: that error goes on.
    """
    try:
        return call(*arguments)
    except pynvml.NVMLError as error:
        if error.value == pynvml.NVML_ERROR_GPU_IS_LOST:
            raise
        return None


def _field(gpu: Any, field: int) -> Any:
    values = _ask(pynvml.nvmlDeviceGetFieldValues, gpu, [field])
    if not values or values[0].nvmlReturn != pynvml.NVML_SUCCESS:
        return None
    return values[0].value.uiVal


def _share(percent: Any) -> int | None:
    value = _count(percent)
    return None if value is None or value > 100 else value * _PPM_PER_PERCENT


def _temperature(celsius: Any) -> int | None:
    """0, negative and absurd readings are what broken sensors and lost cards report."""
    value = _count(celsius)
    return None if not value or value > 200 else value * 1_000


def _count(value: Any) -> int | None:
    return value if isinstance(value, int) and value >= 0 else None


def _text(value: Any) -> str:
    text = value.decode(errors="replace") if isinstance(value, bytes) else str(value)
    return "".join(c for c in text if c.isprintable())


def _word(error: Any) -> str:
    if isinstance(error, getattr(pynvml, "NVMLError_LibraryNotFound", ())):
        return "no NVIDIA driver is installed"
    return _text(error)[:80]
