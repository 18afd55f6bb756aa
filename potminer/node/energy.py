"""What training costs in energy: joules and grams of CO2 for a thousand samples, from measured watts alone."""

from __future__ import annotations

from dataclasses import dataclass

GAP_MS = 10_000
"""Readings further apart are not joined: who knows what was drawn between them."""
UNKNOWN_PPM = 50_000
"""A twentieth of the time without a reading, and the whole is unknown."""
LEAST_SAMPLES = 1_000
_MILLION = 1_000_000


@dataclass(slots=True)
class Meter:
    """Of one device since the node started. Energy in microjoules (milliwatts times milliseconds), carbon in
    microgram-joules over a kWh."""

    energy_uj: int = 0
    carbon: int = 0
    metered_ms: int = 0
    dark_ms: int = 0
    """Trained without a reading of the power."""
    dirty_ms: int = 0
    """Trained without a reading of the carbon."""
    _at_ms: int | None = None
    _trained: bool = False

    def look(self, now_ms: int, *, training: bool, power_mw: int | None, carbon_g_kwh: int | None) -> None:
        """One look at the device; counted is the time between two looks at which it trained."""
        before, self._at_ms = self._at_ms, now_ms
        trained, self._trained = self._trained, training
        passed = 0 if before is None else now_ms - before
        if not (trained and training and 0 < passed <= GAP_MS):
            return
        if power_mw is None:
            self.dark_ms += passed
            return
        self.metered_ms += passed
        self.energy_uj += power_mw * passed
        if carbon_g_kwh is None:
            self.dirty_ms += passed
        else:
            self.carbon += power_mw * passed * carbon_g_kwh

    def energy_mj(self, samples: int) -> int | None:
        """Millijoules for a thousand samples; None where too few were made or too much was not measured."""
        if samples < LEAST_SAMPLES or not self.metered_ms or _too_much(self.dark_ms, self.metered_ms):
            return None
        return self.energy_uj // samples

    def carbon_mg(self, samples: int) -> int | None:
        """Milligrams of CO2 for a thousand samples: a kWh is 3.6 MJ."""
        if self.energy_mj(samples) is None or _too_much(self.dirty_ms, self.metered_ms - self.dirty_ms):
            return None
        # microjoules x g/kWh / 3.6e12 uJ/kWh = g; x 1000 mg x 1000 samples
        return self.carbon * _MILLION // (3_600_000 * _MILLION) // samples


def _too_much(unknown_ms: int, known_ms: int) -> bool:
    return unknown_ms * _MILLION > UNKNOWN_PPM * (unknown_ms + known_ms)
