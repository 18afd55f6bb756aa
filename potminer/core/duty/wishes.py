"""Wishes: may this device train now, and must it stop? Pure rules over its senses.

To start, every rule must be content (and known to be); to stop, one is enough. The thresholds
to stop lie above those to start, so a device does not swing around one number.
"""

from __future__ import annotations

from potminer.core.duty.parameters import Parameters
from potminer.core.duty.senses import Senses
from potminer.core.duty.state import Mode, Policy, Reason


def hindrances(senses: Senses, *, mode: Mode, parameters: Parameters, now: int) -> frozenset[Reason]:
    """Why training must not start now; empty: it may."""
    found = _always(senses, mode=mode, now=now)
    if senses.miner_unknown(now):
        found.add(Reason.MINER_UNKNOWN)
    if senses.lacks_memory() and not senses.miner_runs:
        found.add(Reason.LOW_MEMORY)
    if _waits_for_idle(mode, parameters) and Reason.BLIND not in found:
        found |= _not_idle(senses, parameters, now)
    return frozenset(found)


def endings(senses: Senses, *, mode: Mode, parameters: Parameters, now: int) -> frozenset[Reason]:
    """Why training must end now; empty: it may go on."""
    found = _always(senses, mode=mode, now=now)
    if senses.has_miner and senses.miner_runs:
        found.add(Reason.MINER_EARNS)
    if senses.miner_unknown(now):
        found.add(Reason.MINER_UNKNOWN)
    if _waits_for_idle(mode, parameters):
        found |= _owner_returned(senses, parameters)
    return frozenset(found)


def _waits_for_idle(mode: Mode, parameters: Parameters) -> bool:
    return mode is not Mode.TRAIN and parameters.policy is Policy.IDLE_ONLY


def _always(senses: Senses, *, mode: Mode, now: int) -> set[Reason]:
    """Rules that neither policy nor override can lift."""
    rules = {
        Reason.MANUAL: mode in (Mode.OFF, Mode.MINE),
        Reason.BLIND: senses.is_blind(now),
        Reason.DEVICE_LOST: senses.is_lost,
        Reason.THERMAL: senses.is_hot,
        Reason.NO_KERNELS: senses.lacks_kernels,
        Reason.KERNELS_UNKNOWN: senses.kernels_unasked,
    }
    return {reason for reason, holds in rules.items() if holds}


def _owner_returned(senses: Senses, parameters: Parameters) -> set[Reason]:
    idle, load = senses.input_idle_ms, senses.load_ppm
    busy = parameters.cpu_busy_ppm if senses.is_cpu else parameters.gpu_busy_ppm
    rules = {
        Reason.BATTERY: senses.on_battery,
        Reason.INPUT_UNKNOWN: senses.input_matters and idle is None,
        Reason.USER_ACTIVE: senses.input_matters and idle is not None and idle < parameters.input_idle_ms,
        Reason.FOREIGN_LOAD: load is not None and load >= busy,
    }
    return {reason for reason, holds in rules.items() if holds}


def _not_idle(senses: Senses, parameters: Parameters, now: int) -> set[Reason]:
    found = _owner_returned(senses, parameters)
    if senses.miner_earns:
        found.add(Reason.MINER_EARNS)
    elif senses.load_ppm is None and not senses.has_miner:
        found.add(Reason.LOAD_UNKNOWN)
    elif senses.quiet_ms(now) < parameters.quiet_ms:
        found.add(Reason.FOREIGN_LOAD)
    return found
