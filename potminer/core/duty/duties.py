"""All devices of a rig: an event goes to one of them, and its companions are told that something moved."""

from __future__ import annotations

from collections.abc import Iterable

from potminer.core.duty.effects import Effect
from potminer.core.duty.events import Event, JournalRestored, Nudged
from potminer.core.duty.machine import Device
from potminer.core.machine import SetTimer

_PASSES = 12


class Duties:
    """The devices by their bus, in the order given."""

    def __init__(self, devices: Iterable[Device] = ()) -> None:
        self.devices = {device.bus: device for device in devices}

    def handle(self, bus: str, event: Event, now: int) -> list[Effect]:
        """Effects of *event* for the device *bus*, then of its companions, until all rest."""
        device = self.devices[bus]
        effects = device.handle(event, now)
        if not _moved(effects) or isinstance(event, JournalRestored):
            return effects  # every device reads its journal before anything else
        company = [device, *device.companions]
        for _ in range(_PASSES * len(company)):
            more = [effect for each in company for effect in each.handle(Nudged(), now)]
            effects += more
            if not _moved(more):
                return effects
        raise AssertionError(f"the company of {bus} does not settle")


def _moved(effects: list[Effect]) -> bool:
    return any(not isinstance(effect, SetTimer) for effect in effects)
