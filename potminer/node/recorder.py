"""A recorder of what the rig's senses say, for ``potminer simulate policy``. It holds no key, address or wallet."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import BinaryIO

import msgspec

from potminer.base.errors import ConfigError
from potminer.core.duty.company import HOLDING
from potminer.core.duty.machine import Device
from potminer.core.duty.parameters import Parameters
from potminer.wire.facts import CPU, RigSample, Terms
from potminer.wire.trace import (
    GAP_MS,
    TRACE_BYTES,
    LookLine,
    RigLine,
    SaidLine,
    TraceDevice,
    TraceLine,
    gpu_line,
    host_line,
    miner_line,
    terms_line,
)

AGAIN_MS = GAP_MS // 2
"""A look that says what the last one said is written only so often."""


class Recorder:
    """Appends lines to *path*, which must not exist yet; stops for good when the file is full."""

    def __init__(self, path: Path, note: Callable[[str, str], None]) -> None:
        self._note = note
        self._room = TRACE_BYTES
        self._last: LookLine | None = None
        try:
            self._file: BinaryIO | None = path.open("xb")
        except OSError as error:
            raise ConfigError(f"cannot record to {path}: {error.strerror}", "Name a new file.") from error

    def begin(self, devices: Sequence[Device], miners: Mapping[str, tuple[str, bool]], currency: str) -> None:
        """*miners*: name, and whether it releases one card alone, by the bus of the device that it may use."""
        defaults, said = asdict(Parameters()), asdict(devices[0].parameters) if devices else {}
        self._write(
            RigLine(
                devices=tuple(
                    TraceDevice(bus=each.bus, miner=miners[each.bus][0], single=miners[each.bus][1] and each.bus != CPU)
                    if each.bus in miners
                    else TraceDevice(bus=each.bus)
                    for each in devices
                ),
                parameters={name: value for name, value in said.items() if value != defaults[name]},
                currency=currency,
            )
        )

    def look(self, sample: RigSample, terms: Mapping[str, Terms], devices: Sequence[Device], now: int) -> None:
        line = LookLine(
            at_ms=now,
            host=host_line(sample.host),
            gpus=tuple(gpu_line(gpu) for gpu in sample.gpus),
            miners=tuple(miner_line(miner) for miner in sample.miners),
            terms=tuple(terms_line(each, bus) for bus, each in terms.items()),
            held=tuple(device.bus for device in devices if device.state in HOLDING),
        )
        last = self._last
        if last is not None and now - last.at_ms < AGAIN_MS and msgspec.structs.replace(line, at_ms=last.at_ms) == last:
            return
        self._last = line
        self._write(line)

    def said(self, line: SaidLine) -> None:
        self._write(line)

    def close(self) -> None:
        if self._file is not None:
            self._file.close()
            self._file = None

    def _write(self, line: TraceLine) -> None:
        if self._file is None:
            return
        text = msgspec.json.encode(line) + b"\n"
        self._room -= len(text)
        try:
            if self._room < 0:
                raise OSError(0, "the recording is full")
            self._file.write(text)
            self._file.flush()
        except OSError as error:
            self._note("warning", f"recording ends: {error.strerror}")
            self.close()
