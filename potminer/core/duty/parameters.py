"""Preferences of duty, each with its unit and what happens when it is turned."""

from __future__ import annotations

from dataclasses import dataclass

from potminer.core.duty.state import Policy
from potminer.core.duty.week import Spans

MINUTE_MS = 60_000
HOUR_MS = 60 * MINUTE_MS


@dataclass(frozen=True, slots=True)
class Parameters:
    """Defaults are for a machine that somebody else lives with."""

    policy: Policy = Policy.IDLE_ONLY

    input_idle_ms: int = 180_000
    """Quiet hands before a GPU with a display trains. Lower: training starts while a film is watched."""
    quiet_ms: int = 60_000
    """How long a device must be unused. Lower: starts between two frames of somebody's render job."""
    gpu_quiet_ppm: int = 50_000
    """GPU load by others that still counts as unused."""
    gpu_busy_ppm: int = 100_000
    """GPU load by others that ends training. Nearer to quiet: a blinking desktop stops us; higher: games stutter."""
    cpu_quiet_ppm: int = 250_000
    """The same two for a CPU device, of all cores."""
    cpu_busy_ppm: int = 500_000

    core_stop_milli_c: int = 85_000
    core_resume_milli_c: int = 70_000
    memory_stop_milli_c: int = 105_000
    """GDDR6X throttles at 110 °C."""
    memory_resume_milli_c: int = 95_000

    memory_needed_bytes: int = 0
    """Device memory that must be free before work starts; 0 asks nothing."""

    stop_deadline_ms: int = 2_000
    """What a worker gets to end its micro-batch; the owner waits this long for the device."""
    stop_again_ms: int = 5_000
    """A worker that has not let go is told to stop at once, again and again this often."""
    verify_ms: int = 30_000
    """How long a pause may take until the hand-over is rolled back. Too low for a miner that finishes a share first."""
    restore_ms: int = 5 * MINUTE_MS
    """How long a resumed miner may take to reach its rate (DAG or dataset build) before the owner is told."""
    restored_ppm: int = 800_000
    """Share of its former median hash rate that counts as restored."""
    resume_again_ms: tuple[int, ...] = (5_000, 30_000, 120_000)
    """Waits between attempts to resume a miner; the last repeats for ever: a miner is never given up."""
    lend_ms: int = 45 * MINUTE_MS
    """A miner that we paused while it idled runs again after this, to see whether its pool is back. Lower
    wastes training on hand-overs and meets the switch cap; higher loses the owner's mining time."""

    cooldown_ms: int = 120_000
    """Rest after a hand-over. Lower: a device swings with every coffee break."""
    switches_per_hour: int = 4
    """Changes of a device's use, both ways, in any hour; a start needs room for its own return."""
    flapping_ms: int = HOUR_MS
    uncontrollable_ms: int = HOUR_MS
    """How long a miner that refused to pause is left in peace."""

    stale_ms: int = 10_000
    """Readings older than this are no readings: training ends, quiet is counted anew."""
    miner_silence_ms: int = MINUTE_MS
    """How long a paused miner's API may be silent before training ends."""
    override_ms: int = HOUR_MS
    """How long ``mine`` and ``train`` hold where the owner names no time. ``off`` holds until changed."""

    hours: Spans = ()
    """When training is allowed, in minutes of the local week; empty: always."""
    kwh_most: int | None = None
    """Train only while a kWh costs no more than this, in millionths."""
    carbon_most_g_kwh: int | None = None
    surplus_least_mw: int | None = None
    """Begin only with so much power to spare; end when none is left: our own draw is part of what the meter sees."""

    gain_ppm: int = 50_000
    """How much better than mining training must pay before it begins. Lower: hand-overs for cents."""
    confirmations: int = 3
    """Looks in a row that must say so; a single one is enough to end."""
    check_ms: int = MINUTE_MS
    min_run_ms: int = 10 * MINUTE_MS
    """Prices do not end a run younger than this, nor begin one so soon after the last."""
    horizon_ms: int = HOUR_MS
    """Within this time the gain must pay for the hand-overs there and back."""
    switch_cost_ms: int = MINUTE_MS
    """What a hand-over costs until it was measured."""
    watts_mw: int = 0
    """Power of the device where no sensor tells; 0: unknown."""

    failure_backoff_ms: tuple[int, ...] = (5_000, 30_000, 120_000, 600_000)
    failures_allowed: int = 5
    """Failures of work in a row until the device is in FAULT; an override clears them."""
    proven_ms: int = 10 * MINUTE_MS
    """Training this long forgives earlier failures."""

    def __post_init__(self) -> None:
        if self.switches_per_hour < 2 or not self.resume_again_ms or not self.failure_backoff_ms:
            raise AssertionError("duty needs room for one hand-over and its return, and waits between attempts")
        pairs = (
            (self.gpu_quiet_ppm, self.gpu_busy_ppm),
            (self.cpu_quiet_ppm, self.cpu_busy_ppm),
            (self.core_resume_milli_c, self.core_stop_milli_c),
            (self.memory_resume_milli_c, self.memory_stop_milli_c),
        )
        if any(low > high for low, high in pairs):
            raise AssertionError("a threshold to return lies above the threshold to leave")


DEDICATED = Parameters(policy=Policy.ALWAYS, cooldown_ms=1_000, switches_per_hour=60, flapping_ms=MINUTE_MS)
"""For machines that do nothing else: devnets and dedicated trainers."""
