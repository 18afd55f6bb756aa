"""A fake NVML: cards with readings, and a way for every single call to fail.

Speaks as the module pynvml does. ``faults`` maps a function to the error it raises; ``missing`` names
functions that this release of the library does not have.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any

UNINITIALIZED, NOT_SUPPORTED, NOT_FOUND, LIBRARY_NOT_FOUND, FUNCTION_NOT_FOUND, LOST, UNKNOWN = 1, 3, 6, 12, 13, 15, 999
WORDS = {
    UNINITIALIZED: "Uninitialized",
    NOT_SUPPORTED: "Not Supported",
    NOT_FOUND: "Not Found",
    LIBRARY_NOT_FOUND: "NVML Shared Library Not Found",
    FUNCTION_NOT_FOUND: "Function Not Found",
    LOST: "GPU is lost",
    UNKNOWN: "Unknown Error",
}


class FakeError(Exception):
    def __init__(self, value: int) -> None:
        super().__init__(WORDS[value])
        self.value = value


class FakeLibraryNotFound(FakeError):
    pass


@dataclass
class FakeCard:
    bus: str
    name: bytes | str = b"NVIDIA GeForce RTX 3070"
    used: int = 2 * 2**30
    total: int = 8 * 2**30
    load: int = 40
    core: int = 61
    memory_c: int | None = 84
    power: int = 120_000
    limit: int = 220_000
    fan: int = 55
    lanes: int = 1
    mode: int = 0
    active: int = 0
    capability: tuple[int, int] = (8, 6)
    lost: bool = False
    shares: dict[int, int] = field(default_factory=dict)
    """Percent by process."""


class FakeNvml:
    def __init__(self, *cards: FakeCard) -> None:
        self.cards = list(cards)
        self.faults: dict[str, int] = {}
        self.missing: set[str] = set()
        self.calls: list[str] = []
        self.stamp = 1_000
        self._open = False

    def library(self) -> SimpleNamespace:
        constants = {
            "NVMLError": FakeError,
            "NVMLError_LibraryNotFound": FakeLibraryNotFound,
            "NVML_SUCCESS": 0,
            "NVML_TEMPERATURE_GPU": 0,
            "NVML_ERROR_NOT_FOUND": NOT_FOUND,
            "NVML_ERROR_LIBRARY_NOT_FOUND": LIBRARY_NOT_FOUND,
            "NVML_ERROR_DRIVER_NOT_LOADED": 9,
            "NVML_ERROR_GPU_IS_LOST": LOST,
            "NVML_ERROR_UNKNOWN": UNKNOWN,
        }
        return SimpleNamespace(**constants, **{name: self._call(name) for name in ANSWERS if name not in self.missing})

    def _call(self, name: str) -> Callable[..., Any]:
        def call(*arguments: Any) -> Any:
            self.calls.append(name)
            if name in self.faults:
                value = self.faults[name]
                raise (FakeLibraryNotFound if value == LIBRARY_NOT_FOUND else FakeError)(value)
            if name == "nvmlInit":
                self._open = True
            elif name == "nvmlShutdown":
                self._open = False
            elif not self._open:
                raise FakeError(UNINITIALIZED)
            if arguments and isinstance(arguments[0], FakeCard) and arguments[0].lost:
                raise FakeError(LOST)
            return ANSWERS[name](self, *arguments)

        return call


def _utilization(fake: FakeNvml, card: FakeCard, since: int) -> list[SimpleNamespace]:
    fake.stamp += 1
    if not card.shares:
        raise FakeError(NOT_FOUND)
    return [SimpleNamespace(pid=pid, timeStamp=fake.stamp, smUtil=share) for pid, share in card.shares.items()]


def _fields(fake: FakeNvml, card: FakeCard, wanted: list[int]) -> list[SimpleNamespace]:
    code = NOT_SUPPORTED if card.memory_c is None or wanted != [82] else 0
    return [SimpleNamespace(nvmlReturn=code, value=SimpleNamespace(uiVal=card.memory_c))]


ANSWERS: dict[str, Callable[..., Any]] = {
    "nvmlInit": lambda fake: None,
    "nvmlShutdown": lambda fake: None,
    "nvmlSystemGetDriverVersion": lambda fake: b"550.54.14",
    "nvmlDeviceGetCount": lambda fake: len(fake.cards),
    "nvmlDeviceGetHandleByIndex": lambda fake, index: fake.cards[index],
    "nvmlDeviceGetPciInfo": lambda fake, card: SimpleNamespace(busId=card.bus.encode()),
    "nvmlDeviceGetName": lambda fake, card: card.name,
    "nvmlDeviceGetMemoryInfo": lambda fake, card: SimpleNamespace(used=card.used, total=card.total),
    "nvmlDeviceGetUtilizationRates": lambda fake, card: SimpleNamespace(gpu=card.load, memory=0),
    "nvmlDeviceGetTemperature": lambda fake, card, sensor: card.core,
    "nvmlDeviceGetFieldValues": _fields,
    "nvmlDeviceGetPowerUsage": lambda fake, card: card.power,
    "nvmlDeviceGetPowerManagementLimit": lambda fake, card: card.limit,
    "nvmlDeviceGetFanSpeed": lambda fake, card: card.fan,
    "nvmlDeviceGetCurrPcieLinkWidth": lambda fake, card: card.lanes,
    "nvmlDeviceGetDisplayMode": lambda fake, card: card.mode,
    "nvmlDeviceGetDisplayActive": lambda fake, card: card.active,
    "nvmlDeviceGetCudaComputeCapability": lambda fake, card: card.capability,
    "nvmlDeviceGetComputeRunningProcesses": lambda fake, card: [SimpleNamespace(pid=pid) for pid in card.shares],
    "nvmlDeviceGetComputeRunningProcesses_v2": lambda fake, card: [SimpleNamespace(pid=pid) for pid in card.shares],
    "nvmlDeviceGetProcessUtilization": _utilization,
}
