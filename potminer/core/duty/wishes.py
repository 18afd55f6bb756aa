"""Wishes: may this device train now, and must it stop? Pure rules over its senses.

To start, every rule must be content (and known to be); to stop, one is enough. The thresholds
to stop lie above those to start, so a device does not swing around one number.
"""

from __future__ import annotations

from potminer.core.duty.parameters import Parameters
from potminer.core.duty.senses import Senses
from potminer.core.duty.state import Mode, Policy, Reason
from potminer.core.duty.week import within
from potminer.wire.facts import Terms


def hindrances(senses: Senses, *, mode: Mode, parameters: Parameters, now: int) -> frozenset[Reason]:
    """Why training must not start now; empty: it may."""
    found = _always(senses, mode=mode, now=now)
    if senses.miner_unknown(now):
        found.add(Reason.MINER_UNKNOWN)
    if senses.lacks_memory() and not senses.miner_runs:
        found.add(Reason.LOW_MEMORY)
    if _waits_for_idle(mode, parameters) and Reason.BLIND not in found:
        found |= _not_idle(senses, parameters, now)
    if mode is not Mode.TRAIN:
        found |= _against_terms(senses.terms or Terms(), parameters, least_mw=parameters.surplus_least_mw)
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
    if mode is not Mode.TRAIN:
        found |= _against_terms(senses.terms or Terms(), parameters, least_mw=0)
    return frozenset(found)


def _waits_for_idle(mode: Mode, parameters: Parameters) -> bool:
    return mode is not Mode.TRAIN and parameters.policy is not Policy.ALWAYS


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


def _against_terms(terms: Terms, parameters: Parameters, *, least_mw: int | None) -> set[Reason]:
    """Hours and limits of power that the owner set. What a limit is set for must be known."""
    found: set[Reason] = set()
    if parameters.hours and (terms.week_minute is None or not within(terms.week_minute, parameters.hours)):
        found.add(Reason.SCHEDULE)
    limits = (
        (parameters.kwh_most, terms.kwh, Reason.POWER_DEAR),
        (parameters.carbon_most_g_kwh, terms.carbon_g_kwh, Reason.POWER_DIRTY),
    )
    for most, now, reason in limits:
        if most is not None and (now is None or now > most):
            found.add(Reason.POWER_UNKNOWN if now is None else reason)
    if parameters.surplus_least_mw is not None and least_mw is not None:
        if terms.surplus_mw is None:
            found.add(Reason.POWER_UNKNOWN)
        elif terms.surplus_mw < least_mw:
            found.add(Reason.NO_SURPLUS)
    return found


def _owner_returned(senses: Senses, parameters: Parameters) -> set[Reason]:
    idle, load = senses.input_idle_ms, senses.load_ppm
    busy = parameters.cpu_busy_ppm if senses.is_cpu else parameters.gpu_busy_ppm
    rules = {
        Reason.BATTERY: senses.on_battery,
        Reason.INPUT_UNKNOWN: senses.input_matters and idle is None,
        Reason.USER_ACTIVE: senses.input_matters and idle is not None and idle < parameters.input_idle_ms,
        Reason.FOREIGN_LOAD: load is not None and load >= busy and not _is_its_miners(senses, parameters),
    }
    return {reason for reason, holds in rules.items() if holds}


def _is_its_miners(senses: Senses, parameters: Parameters) -> bool:
    """Under ``profit`` the load of a miner that earns is not somebody's who came."""
    return parameters.policy is Policy.PROFIT and senses.miner_earns


def _not_idle(senses: Senses, parameters: Parameters, now: int) -> set[Reason]:
    found = _owner_returned(senses, parameters)
    if senses.miner_earns:
        found |= set() if parameters.policy is Policy.PROFIT else {Reason.MINER_EARNS}
    elif senses.load_ppm is None and not senses.has_miner:
        found.add(Reason.LOAD_UNKNOWN)
    elif senses.quiet_ms(now) < parameters.quiet_ms:
        found.add(Reason.FOREIGN_LOAD)
    return found
