"""One device: mining, idle or training, and the hand-overs between.

A hand-over is a transaction. Before the miner is touched, a journal entry says that it must
run again; the entry is forgotten only when it was seen running (or is gone). So wherever a
crash falls, the next start gives the device back first.

    IDLE_WAIT -> RELEASING -> VERIFYING -> TRAINING -> DRAINING -> RESTORING -> COOLDOWN
              (no miner, or it is paused already: straight to VERIFYING, and no RESTORING)

Two rules hold on every path: work starts only after a fresh reading says that the miner is
paused or dead; the miner is resumed only after our work has let go.
"""

from __future__ import annotations

from typing import assert_never

from potminer.core.duty.company import MINERS_BUSINESS, Company
from potminer.core.duty.effects import Effect, FinishWork, Note, PauseMiner, ResumeMiner, StartWork, StopWork
from potminer.core.duty.entry import PREFIX, Entry
from potminer.core.duty.events import (
    Ask,
    Event,
    FinishAsked,
    JournalRestored,
    KernelsChecked,
    MinerReplied,
    Nudged,
    Overridden,
    Sampled,
    WorkerFailed,
    WorkerReleased,
)
from potminer.core.duty.parameters import Parameters
from potminer.core.duty.purse import Purse
from potminer.core.duty.senses import Senses
from potminer.core.duty.sentence import Status
from potminer.core.duty.state import LEGAL_MOVES, PASSING, RESTING, Mode, Policy, Reason, State
from potminer.core.duty.steady import Steady
from potminer.core.duty.switches import SwitchBudget
from potminer.core.duty.wishes import endings, hindrances
from potminer.core.machine import Persist, SetTimer, TimerFired

_OWN_DOING = frozenset({Reason.MINER_EARNS, Reason.MINER_UNKNOWN})
"""Of no weight during a hand-over: pausing the miner is what it is about."""
_IN_THE_DARK = frozenset({Reason.BLIND, Reason.MINER_UNKNOWN})
"""Who says that the miner earns?"""
_MOVES_PER_EVENT = 8


class Device:
    """The machine of one device, named by its *bus*. *has_miner*: a miner that may use it is configured.

    *company* is shared with the other devices of a miner that pauses as a whole; ``Duties`` keeps them in step.
    *ask_kernels*: nothing starts before KernelsChecked.
    """

    def __init__(
        self, *, bus: str, has_miner: bool, parameters: Parameters, company: Company | None = None,
        ask_kernels: bool = False,
    ) -> None:
        self.bus = bus
        self._company = company or Company()
        self._company.enter(self)
        self.key = PREFIX + bus.encode()
        self.timer = f"duty/{bus}"
        self._parameters = parameters
        self._senses = Senses(bus=bus, has_miner=has_miner, parameters=parameters, ask_kernels=ask_kernels)
        self._clock = Steady()
        self._budget = SwitchBudget(parameters.switches_per_hour)
        self._purse = Purse(parameters)
        self._begun_at = 0  # when the miner was asked last, either way
        self._state = State.IDLE_WAIT
        self._since = 0
        self._reasons: frozenset[Reason] = frozenset({Reason.BLIND})
        self._noted: tuple[State, frozenset[Reason]] | None = None
        self._mode = Mode.AUTO
        self._mode_until: int | None = None
        self._finishing = False
        self._willing = False
        self._journal = Entry(self.key)
        self._run = 0
        self._failures = 0
        self._blocks: dict[Reason, int] = {}
        self._fresh_since = 0  # readings must be younger to count in a hand-over
        self._again_at = 0  # when to repeat what was not heeded
        self._attempts = 0
        self._ran = False  # the miner was seen running since we asked it to resume
        self._rest_ms = 0  # length of the cooldown that ends this hand-over
        self._armed: int | None = None
        self._effects: list[Effect] = []

    @property
    def state(self) -> State:
        return self._state

    @property
    def reasons(self) -> frozenset[Reason]:
        return self._reasons

    @property
    def parameters(self) -> Parameters:
        return self._parameters

    @property
    def willing(self) -> bool:
        """Whether nothing of its own keeps it from work."""
        return self._willing

    @property
    def companions(self) -> list[Device]:
        return self._company.others(self)

    def inherit(self, expected_hs: int) -> list[Persist]:
        """From now on this device sees to it that the miner is resumed; what must be written for that."""
        return [] if self._journal.resume_miner else self._journal.write(resume_miner=True, expected_hs=expected_hs)

    def handle(self, event: Event, now: int) -> list[Effect]:
        """Effects of *event*, to be performed in order. *now* in ms may jump; waits go on regardless."""
        self._clock.tick(now)
        self._effects = []
        self._expire()
        self._learn(event)
        for _ in range(_MOVES_PER_EVENT):
            if not self._step():
                break
        else:
            raise AssertionError(f"duty does not settle in {self._state}")
        self._note()
        self._arm()
        return self._effects

    def status(self, now: int) -> Status:
        """A photograph for faces; does not advance anything."""
        at = max(self._clock.now, self._clock.of(now))
        until = self._mode_until
        deadlines = [d for d in self._deadlines() if d > at]
        return Status(
            bus=self.bus,
            state=self._state,
            reasons=self._reasons,
            for_ms=at - self._since,
            mode=self._mode,
            override_left_ms=None if until is None else max(0, until - at),
            next_ms=min(deadlines) - at if deadlines else None,
            input_idle_ms=self._senses.input_idle_ms,
            miner=self._senses.miner_word(at),
        )

    # ---- learning --------------------------------------------------------------------------

    def _learn(self, event: Event) -> None:
        match event:
            case Sampled():
                taken = 0 if event.miner is None else self._clock.of(event.miner.taken_at_ms)
                self._senses.learn(event, now=self._now, miner_taken_at=taken)
                self._count_money()
            case Overridden():
                self._override(event)
            case MinerReplied():
                self._hear_miner(event)
            case WorkerReleased():
                self._let_go(event.run, failed=False)
            case WorkerFailed():
                self._let_go(event.run, failed=True)
            case JournalRestored():
                self._remember(event.value)
            case FinishAsked():
                self._finish()
            case KernelsChecked():
                self._senses.learn_kernels(event.fits)
            case TimerFired():
                self._armed = None
            case Nudged():
                pass
            case _:
                assert_never(event)

    def _count_money(self) -> None:
        senses, ours = self._senses, self._state not in RESTING
        training = self._state is State.TRAINING
        self._purse.learn_power(senses.power_mw, training=training, mining=senses.miner_earns, now=self._now)
        mines = bool(self._journal.expected_hs) if ours else senses.miner_earns
        self._purse.look(senses.terms, mines=mines, now=self._now)

    def _worthless(self, *, to_begin: bool) -> frozenset[Reason]:
        """Under ``profit``: why it does not pay."""
        if self._parameters.policy is not Policy.PROFIT or self._mode is Mode.TRAIN:
            return frozenset()
        since = self._budget.last_ms if to_begin else self._since
        return self._purse.against(to_begin=to_begin, since_ms=self._now - since)

    def _finish(self) -> None:
        """Where nothing is under way, to finish is to stop."""
        if self._state is State.TRAINING:
            if not self._finishing:
                self._finishing = True
                self._effects.append(FinishWork(self.bus, self._run))
        else:
            self._override(Overridden(Mode.OFF))

    def _override(self, event: Overridden) -> None:
        if self._finishing and self._state is State.TRAINING:
            # The worker takes no more jobs: end this run, and begin another where the owner wants work after all.
            self._effects.append(StopWork(self.bus, self._run, self._parameters.stop_deadline_ms))
            self._move(State.DRAINING, frozenset({Reason.MANUAL}))
            self._again_at = self._now + self._parameters.stop_again_ms
        self._finishing = False
        self._mode, self._mode_until = event.mode, None
        self._failures = 0
        if event.until_ms is not None and event.mode is not Mode.AUTO:
            self._mode_until = self._clock.of(event.until_ms)
        elif event.mode in (Mode.MINE, Mode.TRAIN):
            self._mode_until = self._now + self._parameters.override_ms
        self._write(off=event.mode is Mode.OFF and event.until_ms is None)
        self._expire()

    def _expire(self) -> None:
        if self._mode_until is not None and self._now >= self._mode_until:
            self._mode, self._mode_until = Mode.AUTO, None
        self._blocks = {reason: until for reason, until in self._blocks.items() if until > self._now}

    def _hear_miner(self, event: MinerReplied) -> None:
        if self._state is not State.RELEASING or event.ask is not Ask.PAUSE:
            return  # a late answer; readings tell what became of it
        if event.ok:
            self._fresh_since = self._now
            self._move(State.VERIFYING)
        else:
            self._refuse(Reason.MINER_UNCONTROLLABLE)

    def _let_go(self, run: int, *, failed: bool) -> None:
        """Our work ended, by itself or because it was told to."""
        if run != self._run or self._state not in (State.TRAINING, State.DRAINING):
            return
        if self._now - self._since >= self._parameters.proven_ms:
            self._failures = 0
        rest_ms, reasons = self._parameters.cooldown_ms, self._reasons - {Reason.WORKER_STUCK}
        if failed:
            backoff = self._parameters.failure_backoff_ms
            rest_ms = backoff[min(self._failures, len(backoff) - 1)]
            reasons |= {Reason.WORKER_FAILED}
            self._failures += 1
        if self._finishing:
            self._finishing = False
            self._override(Overridden(Mode.OFF))
        self._give_back(reasons, rest_ms=rest_ms)

    def _remember(self, value: bytes) -> None:
        if self._state is not State.IDLE_WAIT:
            raise AssertionError("the journal is read before anything else")
        self._journal.restore(value)
        if self._journal.off:
            self._mode = Mode.OFF
        if self._journal.resume_miner:
            self._give_back(frozenset(), rest_ms=self._parameters.cooldown_ms)

    # ---- deciding: each returns whether it moved -------------------------------------------

    def _step(self) -> bool:
        match self._state:
            case State.OFF | State.MINING | State.IDLE_WAIT | State.BLOCKED | State.FAULT:
                return self._rest()
            case State.RELEASING | State.VERIFYING:
                return self._take_over()
            case State.TRAINING:
                return self._train()
            case State.DRAINING:
                return self._drain()
            case State.RESTORING:
                return self._restore()
            case State.COOLDOWN:
                over = self._now >= self._since + self._rest_ms or self._mode is Mode.OFF
                return over and self._rest()
            case _:
                assert_never(self._state)

    def _rest(self) -> bool:
        reasons = hindrances(self._senses, mode=self._mode, parameters=self._parameters, now=self._now)
        reasons |= self._blocks.keys() | self._worthless(to_begin=True)
        if self._failures >= self._parameters.failures_allowed:
            reasons |= {Reason.WORKER_FAILED}
        self._willing = not reasons
        if self._company.bids_wait(self, earns=self._senses.miner_earns):
            reasons |= {Reason.COMPANY}
        target = self._resting_place(reasons)
        if target is not self._state:
            self._move(target, reasons)
            return True
        self._reasons = reasons
        return not reasons and self._begin()

    def _resting_place(self, reasons: frozenset[Reason]) -> State:
        if self._mode is Mode.OFF:
            return State.OFF
        if reasons & {Reason.DEVICE_LOST, Reason.WORKER_FAILED}:
            return State.FAULT
        if self._senses.miner_earns and reasons and not reasons & _IN_THE_DARK:
            return State.MINING
        return State.IDLE_WAIT if reasons <= PASSING else State.BLOCKED

    def _begin(self) -> bool:
        """The one door into a hand-over."""
        if not self._budget.room(self._now):
            self._blocks[Reason.FLAPPING] = self._now + self._parameters.flapping_ms
            return True
        self._budget.count(self._now)
        self._fresh_since = self._begun_at = self._now
        if not self._senses.miner_runs:
            self._move(State.VERIFYING)
            return True
        expected = max(1, self._senses.median_hs) if self._senses.miner_earns else 0
        self._write(resume_miner=True, expected_hs=expected)
        self._effects.append(PauseMiner(self.bus))
        self._move(State.RELEASING)
        return True

    def _take_over(self) -> bool:
        found = self._endings()
        # A miner's last load is read for some seconds more: what came from an earning one must only be gone in time.
        unwilling = found - _OWN_DOING - ({Reason.FOREIGN_LOAD} if self._journal.expected_hs else set())
        if unwilling:
            self._give_back(unwilling, rest_ms=self._parameters.cooldown_ms)
            return True
        verifying = self._state is State.VERIFYING
        if verifying and not self._journal.resume_miner and self._senses.miner_runs:
            self._give_back(frozenset({Reason.MINER_EARNS}), rest_ms=self._parameters.cooldown_ms)
            return True
        freed = verifying and self._senses.miner_released(self._fresh_since)
        if freed and not self._senses.lacks_memory() and Reason.FOREIGN_LOAD not in found:
            self._run += 1
            if self._journal.resume_miner:
                self._purse.learn_hand_over(self._now - self._begun_at, to_work=True)
            self._effects.append(StartWork(self.bus, self._run))
            self._move(State.TRAINING)
            return True
        if self._now < self._since + self._parameters.verify_ms:
            return False
        self._refuse(Reason.LOW_MEMORY if freed else Reason.MINER_UNCONTROLLABLE)
        return True

    def _train(self) -> bool:
        reasons = self._endings() | self._worthless(to_begin=False)
        due = self._lent_until()
        if due is not None and self._now >= due:
            reasons |= {Reason.MINER_TURN}
        if not reasons:
            self._reasons = frozenset({Reason.FINISHING}) if self._finishing else frozenset()
            return False
        self._effects.append(StopWork(self.bus, self._run, self._parameters.stop_deadline_ms))
        self._move(State.DRAINING, reasons)
        self._again_at = self._now + self._parameters.stop_again_ms
        return True

    def _drain(self) -> bool:
        """Never resume the miner on a device that a stuck worker still holds: insist instead."""
        if self._now >= self._again_at:
            self._effects.append(StopWork(self.bus, self._run, 0))
            self._reasons |= {Reason.WORKER_STUCK}
            self._again_at = self._now + self._parameters.stop_again_ms
        return False

    def _restore(self) -> bool:
        senses, late = self._senses, self._now >= self._since + self._parameters.restore_ms
        seen = senses.miner_seen(self._fresh_since)
        self._ran = self._ran or (seen and senses.miner_runs)
        if self._ran and (self._is_restored() or not senses.miner_runs):
            if self._journal.expected_hs and senses.miner_runs:
                self._purse.learn_hand_over(self._now - self._since, to_work=False)
            return self._close()
        if self._ran and late:
            return self._close(Reason.MINER_SLOW)
        if late and (not senses.has_miner or (seen and senses.miner_dead)):
            return self._close(Reason.MINER_GONE)
        if late and not self._ran:
            self._reasons |= {Reason.MINER_NOT_RESTORED}
        if not self._ran and self._now >= self._again_at:
            self._ask_resume()
        return False

    def _is_restored(self) -> bool:
        expected, rate = self._journal.expected_hs, self._senses.miner_rate_hs
        if expected <= 1:
            return True  # whatever it did before, its rate was not known: that it runs is all there is to see
        return rate is not None and rate * 1_000_000 >= expected * self._parameters.restored_ppm

    # ---- hand-over steps -------------------------------------------------------------------

    def _refuse(self, reason: Reason) -> None:
        """Roll back and leave the miner in peace for a while."""
        self._blocks[reason] = self._now + self._parameters.uncontrollable_ms
        self._give_back(frozenset({reason}), rest_ms=self._parameters.cooldown_ms)

    def _give_back(self, reasons: frozenset[Reason], *, rest_ms: int) -> None:
        """Our work holds nothing (any more): resume the miner if the journal says so, then rest."""
        self._budget.count(self._now)
        self._rest_ms = rest_ms
        if not self._journal.resume_miner or self._hands_on(reasons):
            self._move(State.COOLDOWN, reasons)
            return
        self._move(State.RESTORING, reasons)
        self._fresh_since = self._now
        self._attempts, self._ran = 0, False
        self._ask_resume()

    def _hands_on(self, reasons: frozenset[Reason]) -> bool:
        """Whether another device, that works on, takes over the duty to resume the miner."""
        heir = self._company.heir(self)
        if heir is None or self._mode is Mode.MINE or reasons & MINERS_BUSINESS:
            return False
        self._effects += heir.inherit(self._journal.expected_hs)
        self._write(resume_miner=False, expected_hs=0)
        return True

    def _ask_resume(self) -> None:
        if self._company.is_held(self):
            self._again_at = self._now  # as soon as the last companion lets go
            return
        waits = self._parameters.resume_again_ms
        self._effects.append(ResumeMiner(self.bus))
        self._again_at = self._now + waits[min(self._attempts, len(waits) - 1)]
        self._attempts += 1

    def _close(self, *alert: Reason) -> bool:
        """The miner is back, or there is nothing to bring back: the transaction ends."""
        self._write(resume_miner=False, expected_hs=0)
        self._move(State.COOLDOWN, (self._reasons - {Reason.MINER_NOT_RESTORED}) | set(alert))
        return True

    # ---- small parts -----------------------------------------------------------------------

    @property
    def _now(self) -> int:
        return self._clock.now

    def _endings(self) -> frozenset[Reason]:
        found = endings(self._senses, mode=self._mode, parameters=self._parameters, now=self._now)
        return found | {Reason.COMPANY} if self._company.is_returning(self) else found

    def _lent_until(self) -> int | None:
        """When the miner that we paused is due: at once if it earned before; None where nobody waits."""
        policy = self._parameters.policy
        if self._mode is not Mode.AUTO or policy is Policy.ALWAYS or not self._journal.resume_miner:
            return None
        if policy is Policy.PROFIT and self._journal.expected_hs:
            return None  # its earnings are weighed against ours all the time
        return self._since if self._journal.expected_hs else self._since + self._parameters.lend_ms

    def _write(
        self, *, resume_miner: bool | None = None, expected_hs: int | None = None, off: bool | None = None
    ) -> None:
        self._effects += self._journal.write(resume_miner=resume_miner, expected_hs=expected_hs, off=off)

    def _move(self, target: State, reasons: frozenset[Reason] = frozenset()) -> None:
        if target not in LEGAL_MOVES[self._state]:
            raise AssertionError(f"duty cannot move from {self._state} to {target}")
        self._state, self._since, self._reasons = target, self._now, reasons
        self._willing = self._willing and target in RESTING

    def _note(self) -> None:
        if self._noted != (self._state, self._reasons):
            self._noted = (self._state, self._reasons)
            self._effects.append(Note(self.bus, self._state, self._reasons))

    def _deadlines(self) -> list[int]:
        """Times at which something changes without an event. Some may be over."""
        found = [*self._blocks.values()]
        if self._mode_until is not None:
            found.append(self._mode_until)
        match self._state:
            case State.RELEASING | State.VERIFYING:
                found.append(self._since + self._parameters.verify_ms)
            case State.TRAINING:
                due = self._lent_until()
                found += [] if due is None else [due]
            case State.DRAINING:
                found.append(self._again_at)
            case State.RESTORING:
                found += [self._again_at, self._since + self._parameters.restore_ms]
            case State.COOLDOWN:
                found.append(self._since + self._rest_ms)
            case _:
                pass
        return found

    def _arm(self) -> None:
        deadlines = self._deadlines()
        if self._senses.last_sample_at is not None:
            deadlines.append(self._senses.last_sample_at + self._parameters.stale_ms + 1)
        due = min((d for d in deadlines if d > self._now), default=None)
        if due is not None and due != self._armed:
            self._armed = due
            self._effects.append(SetTimer(self.timer, due - self._now))
