"""A miner's company: the devices of one miner that cannot release one of them and go on with the others.

The miner pauses and mines as a whole, so its devices agree: one that earns is paused only when every
device is free for work; one that earns nothing as soon as a single device is. It is resumed only when no work
of ours holds any of them. Who leaves for reasons of its own, while others work on, hands the duty to
resume the miner on to one of those.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from potminer.core.duty.state import Reason, State

if TYPE_CHECKING:
    from potminer.core.duty.machine import Device

HOLDING = frozenset({State.RELEASING, State.VERIFYING, State.TRAINING, State.DRAINING})
"""Between the first word to the miner and the worker's release."""

MINERS_BUSINESS = frozenset(
    {Reason.COMPANY, Reason.MINER_EARNS, Reason.MINER_TURN, Reason.MINER_UNCONTROLLABLE, Reason.MINER_UNKNOWN,
     Reason.UNPROFITABLE}
)  # fmt: skip
"""Reasons to give the miner back for all of its devices, not for one alone."""


class Company:
    """One for every miner; a device without companions is alone in it."""

    def __init__(self) -> None:
        self._devices: list[Device] = []

    def enter(self, device: Device) -> None:
        self._devices.append(device)

    def others(self, device: Device) -> list[Device]:
        return [each for each in self._devices if each is not device]

    def bids_wait(self, device: Device, *, earns: bool) -> bool:
        """Whether *device* must not begin yet: the miner is being given back, or it earns on a device that is
        not free for work."""
        others = self.others(device)
        if self.is_returning(device):
            return True
        return earns and not all(other.state in HOLDING or other.willing for other in others)

    def is_returning(self, device: Device) -> bool:
        """Whether another device gives the miner back."""
        return any(other.state is State.RESTORING for other in self.others(device))

    def is_held(self, device: Device) -> bool:
        """Whether another device is being taken or worked on: the miner must not run yet."""
        return any(other.state in HOLDING for other in self.others(device))

    def heir(self, device: Device) -> Device | None:
        """Who works on and can see to it that the miner is resumed later."""
        working = (State.VERIFYING, State.TRAINING)
        return next((other for other in self.others(device) if other.state in working), None)
