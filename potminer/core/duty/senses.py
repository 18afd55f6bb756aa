"""Senses of one device: what the latest samples say, and since when.

Three-valued throughout: True, False, or None where nobody knows.
"""

from __future__ import annotations

from collections import deque
from statistics import median_low

from potminer.core.duty.events import Sampled
from potminer.core.duty.parameters import MINUTE_MS, Parameters
from potminer.wire.facts import CPU, MinerSample, Terms

RATES = 60
"""Hash rates kept, one a minute: the median is over the last hour of mining."""


class Senses:
    def __init__(self, *, bus: str, has_miner: bool, parameters: Parameters, ask_kernels: bool = False) -> None:
        self.kernels_unasked = ask_kernels
        self.lacks_kernels = False
        self.bus = bus
        self.has_miner = has_miner
        self._parameters = parameters
        self._sample: Sampled | None = None
        self._sampled_at = 0
        self._quiet_since: int | None = None
        self._hot = False
        self._miner: MinerSample | None = None
        self._miner_at = 0
        self._rates: deque[int] = deque(maxlen=RATES)
        self._rated_at = -MINUTE_MS

    def learn(self, sample: Sampled, *, now: int, miner_taken_at: int) -> None:
        """*miner_taken_at* is the miner sample's time on the machine's clock, as *now* is."""
        gap = self._sample is None or now - self._sampled_at > self._parameters.stale_ms
        self._sample, self._sampled_at = sample, now
        if sample.miner is not None and self.has_miner:
            self._miner, self._miner_at = sample.miner, min(now, miner_taken_at)
        self._learn_heat()
        self._learn_rate(now)
        if gap or not self._unused():
            self._quiet_since = now if self._unused() else None
        elif self._quiet_since is None:
            self._quiet_since = now

    def learn_kernels(self, fits: bool | None) -> None:
        self.kernels_unasked, self.lacks_kernels = False, fits is False

    # ---- readings --------------------------------------------------------------------------

    @property
    def is_cpu(self) -> bool:
        return self.bus == CPU

    @property
    def last_sample_at(self) -> int | None:
        return None if self._sample is None else self._sampled_at

    @property
    def is_hot(self) -> bool:
        """Above the stop temperature, and not yet below the one to resume at."""
        return self._hot

    @property
    def on_battery(self) -> bool:
        return self._sample is not None and self._sample.host.on_battery is True

    @property
    def input_matters(self) -> bool:
        """A display, or a card that may have one on a machine that may have a seat."""
        if self._sample is None or self._sample.gpu is None or self._sample.host.has_seat is False:
            return False
        return self._sample.gpu.drives_display is not False

    @property
    def input_idle_ms(self) -> int | None:
        return None if self._sample is None else self._sample.host.input_idle_ms

    @property
    def load_ppm(self) -> int | None:
        """Load by anyone but us."""
        if self._sample is None:
            return None
        if self.is_cpu:
            return self._sample.host.cpu_load_ppm
        return None if self._sample.gpu is None else self._sample.gpu.foreign_utilisation_ppm

    @property
    def is_lost(self) -> bool:
        """A GPU that the last look did not find."""
        return self._sample is not None and not self.is_cpu and self._sample.gpu is None

    def is_blind(self, now: int) -> bool:
        return self._sample is None or now - self._sampled_at > self._parameters.stale_ms

    @property
    def terms(self) -> Terms | None:
        return None if self._sample is None else self._sample.terms

    @property
    def power_mw(self) -> int | None:
        return None if self._sample is None or self._sample.gpu is None else self._sample.gpu.power_mw

    def quiet_ms(self, now: int) -> int:
        """How long nobody but us has used the device."""
        return 0 if self._quiet_since is None else now - self._quiet_since

    def lacks_memory(self) -> bool:
        """Known to have too little free memory for our work."""
        gpu = None if self._sample is None else self._sample.gpu
        if gpu is None or gpu.memory_total_bytes is None or gpu.memory_used_bytes is None:
            return False
        return gpu.memory_total_bytes - gpu.memory_used_bytes < self._parameters.memory_needed_bytes

    # ---- the miner -------------------------------------------------------------------------

    def miner_unknown(self, now: int) -> bool:
        """It has one and has not heard of it lately."""
        return self.has_miner and (
            self._miner is None or now - self._miner_at > self._parameters.miner_silence_ms
        )

    @property
    def miner_runs(self) -> bool:
        """Alive and not known to be paused: it may use the device at any moment."""
        return self._miner is not None and self._miner.alive and not self._is_paused(self._miner)

    def _is_paused(self, miner: MinerSample) -> bool:
        """As a whole, or on this device alone where it can do that."""
        alone = miner.pauses_single_gpus and any(gpu.bus == self.bus and gpu.paused is True for gpu in miner.gpus)
        return alone or miner.paused is True

    @property
    def miner_dead(self) -> bool:
        return self._miner is not None and not self._miner.alive

    @property
    def miner_rate_hs(self) -> int | None:
        """Of this device, or of the whole miner where it cannot release one device alone."""
        miner = self._miner
        if miner is None or not miner.alive:
            return None
        if miner.pauses_single_gpus:
            return next((gpu.hashrate_hs for gpu in miner.gpus if gpu.bus == self.bus), miner.hashrate_hs)
        return miner.hashrate_hs

    @property
    def miner_idles(self) -> bool:
        """It says itself that it does not earn: dead, paused, or at 0 H/s. An unknown rate is not zero."""
        return self._miner is not None and (not self.miner_runs or self.miner_rate_hs == 0)

    @property
    def miner_earns(self) -> bool:
        """It runs and does not say that it earns nothing."""
        return self.miner_runs and self.miner_rate_hs != 0

    @property
    def median_hs(self) -> int:
        """Median hash rate of the last hour of mining, 0 where it was never seen to mine."""
        return median_low(self._rates) if self._rates else 0

    def miner_released(self, since: int) -> bool:
        """Whether a miner sample taken after *since* says that the device is free. Always without a miner."""
        if not self.has_miner:
            return True
        return self._miner is not None and self._miner_at >= since and not self.miner_runs

    def miner_seen(self, since: int) -> bool:
        return self._miner is not None and self._miner_at >= since

    def miner_word(self, now: int) -> str:
        """For faces: ``none``, ``unknown``, ``dead``, ``paused``, ``idle`` or ``mining``."""
        if not self.has_miner:
            return "none"
        if self.miner_unknown(now):
            return "unknown"
        if self.miner_dead:
            return "dead"
        if not self.miner_runs:
            return "paused"
        return "mining" if self.miner_earns else "idle"

    # ---- learning --------------------------------------------------------------------------

    def _unused(self) -> bool:
        """Nobody computes on it: its miner says so, and the load where it can be read."""
        if self.has_miner and not self.miner_idles:
            return False
        load = self.load_ppm
        if load is None:
            return self.has_miner
        return load < (self._parameters.cpu_quiet_ppm if self.is_cpu else self._parameters.gpu_quiet_ppm)

    def _learn_heat(self) -> None:
        gpu = None if self._sample is None else self._sample.gpu
        if gpu is None:
            return
        core, memory, limit = gpu.temperature_milli_c, gpu.memory_temperature_milli_c, self._parameters
        if (core is not None and core >= limit.core_stop_milli_c) or (
            memory is not None and memory >= limit.memory_stop_milli_c
        ):
            self._hot = True
        elif (core is not None or memory is not None) and (
            (core is None or core <= limit.core_resume_milli_c)
            and (memory is None or memory <= limit.memory_resume_milli_c)
        ):
            self._hot = False

    def _learn_rate(self, now: int) -> None:
        rate = self.miner_rate_hs
        if self.miner_runs and rate and now - self._rated_at >= MINUTE_MS:
            self._rates.append(rate)
            self._rated_at = now
