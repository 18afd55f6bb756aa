"""The crew: the worker processes of this rig, by the device they work on, and who gets which job."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import AsyncExitStack, suppress
from dataclasses import dataclass, field

from potminer.wire.task import Unit
from potminer.wire.trainer import Audited, Failed, Job, Ready, Report, Trained, TrainJob
from potminer.world.child import Child, ChildState, Launch

RATE_WINDOW_MS = 60_000
LOADING_S = 60.0
"""How long one worker's loading of torch may keep the next from beginning."""


@dataclass(frozen=True, slots=True)
class CrewHands:
    """*failed* hears that a device's workers are gone without having been told to; ``lacks_kernels`` that the
    installed torch cannot use the device; *finished* that a device's last job ended and none will be begun."""

    clock: Callable[[], int]
    note: Callable[[str, str], None]
    failed: Callable[[str, int], None]
    lacks_kernels: Callable[[str], None]
    finished: Callable[[str, int], None]
    worked: Callable[[Unit, str], None] = lambda unit, bus: None
    """Which device begins a unit."""


@dataclass(slots=True)
class Worker:
    child: Child
    job: int | None = None
    loaded: bool = False
    """It has torch in memory, or a first job showed that it needs none."""
    given_up: bool = False
    """Its job is no longer wanted, also where it has not been given it yet."""


@dataclass(slots=True)
class Team:
    """The workers of one device while a run lasts."""

    run: int
    began_ms: int
    workers: list[Worker] = field(default_factory=list)
    finishing: bool = False


class Crew:
    """*launches*: how each device's workers are started. *one_by_one*: only one loads torch at a time."""

    def __init__(self, launches: Mapping[str, Sequence[Launch]], *, one_by_one: bool, hands: CrewHands) -> None:
        self._launches = launches
        self._hands = hands
        self._teams: dict[str, Team] = {}
        self._done: dict[str, deque[tuple[int, int]]] = {bus: deque(maxlen=10_000) for bus in launches}
        self._loading = asyncio.Lock() if one_by_one else None
        self._freed = asyncio.Condition()
        self._waiting: dict[int, bool] = {}
        """Jobs without a worker yet, and whether they are still wanted."""
        self._stopping: dict[str, asyncio.Task[None]] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self.trained: dict[str, int] = dict.fromkeys(launches, 0)
        """Samples by device since the node started."""
        self.compute_us = 0
        self.audit_us = 0
        self.samples = 0

    # ---- who works ------------------------------------------------------------------------

    @property
    def willing(self) -> int:
        """Workers that take new jobs."""
        return sum(len(team.workers) for team in self._teams.values() if not team.finishing)

    @property
    def finishing(self) -> bool:
        return any(team.finishing for team in self._teams.values())

    async def start(self, bus: str, run: int) -> None:
        """The device is ours: all its workers, for *run*."""
        await self._stopped(bus)
        if bus in self._teams:
            return
        team = self._teams[bus] = Team(run, self._hands.clock())
        for launch in self._launches[bus]:
            worker = self._hire(bus, team, launch)
            team.workers.append(worker)
            worker.child.start()
        await self._tell()

    def _hire(self, bus: str, team: Team, launch: Launch) -> Worker:
        def introduced(ready: Ready) -> None:
            self._introduce(bus, worker, ready)

        worker = Worker(Child(launch, on_state=lambda state: self._see(bus, team, state), on_ready=introduced))
        return worker

    def stop(self, bus: str, deadline_ms: int) -> Awaitable[None]:
        """At once nobody gives them work; when awaited, within the deadline, the workers of *bus* are gone and its
        memory is free."""
        team = self._teams.pop(bus, None)
        if team is not None:
            self._stopping[bus] = asyncio.create_task(self._stop(team, deadline_ms))
        return self._stopped(bus)

    async def _stopped(self, bus: str) -> None:
        stopping = self._stopping.get(bus)
        if stopping is not None:
            await stopping

    async def stop_all(self) -> None:
        await asyncio.gather(*(self.stop(bus, 2_000) for bus in list(self._launches)))

    def finish(self, bus: str, run: int) -> None:
        """Begin no other job on *bus*; ``hands.finished`` when the last one ended."""
        team = self._teams.get(bus)
        if team is None or team.run != run:
            return
        team.finishing = True
        self._end_if_finished(bus, team)

    async def _stop(self, team: Team, deadline_ms: int) -> None:
        # A quarter of the deadline is the worker's own; the rest is for the kill, the driver and our last look.
        await asyncio.gather(*(worker.child.stop(within_ms=deadline_ms // 4) for worker in team.workers))
        await self._tell()

    def _see(self, bus: str, team: Team, state: ChildState) -> None:
        """One worker died by itself: the run is over for the device, and nothing is started again before duty says."""
        if state is ChildState.WAITING and self._teams.get(bus) is team:
            self._spawn(self._give_up(bus, team))

    async def _give_up(self, bus: str, team: Team) -> None:
        await self.stop(bus, 0)
        self._hands.failed(bus, team.run)

    def _introduce(self, bus: str, worker: Worker, ready: Ready) -> None:
        self._hands.note("info", f"{bus}: worker {ready.pid}: device {ready.device} ({ready.reason})")
        worker.loaded = worker.loaded or ready.device != "none yet"
        self._spawn(self._tell())

    def _end_if_finished(self, bus: str, team: Team) -> None:
        if team.finishing and all(worker.job is None for worker in team.workers):
            self._hands.finished(bus, team.run)

    # ---- jobs -----------------------------------------------------------------------------

    async def work(self, job: Job) -> Report:
        """The one answer to *job*. One whose device is taken away is given to another free worker."""
        while True:
            self._waiting[job.job] = True
            try:
                found = await self._take(job.job)
            finally:
                wanted = self._waiting.pop(job.job)
            if found is None:
                why = ("stopped", "duty does not allow work") if wanted else ("cancelled", "before it began")
                return Failed(job.job, *why)
            bus, team, worker = found
            if isinstance(job, TrainJob):
                self._hands.worked(job.unit, bus)
            at = f"{bus}: worker {team.workers.index(worker) + 1} of {len(team.workers)}"
            try:
                report = await self._in_turn(at, worker, job)
            finally:
                worker.job, worker.given_up = None, False
                self._end_if_finished(bus, team)
                await self._tell()
            if isinstance(report, Failed) and report.reason == "stopped" and self.willing:
                continue
            self._count(bus, report)
            return report

    def cancel(self, job: int) -> None:
        """Give *job* up, also where it still waits for a worker."""
        if job in self._waiting:
            self._waiting[job] = False
            self._spawn(self._tell())
        for team in self._teams.values():
            for worker in team.workers:
                if worker.job == job:
                    worker.given_up = True
                    worker.child.cancel(job)

    async def _take(self, job: int) -> tuple[str, Team, Worker] | None:
        """A free worker, waited for while others are at work; None where nobody may work."""
        async with self._freed:
            while self.willing and self._waiting[job]:
                for bus, team in self._teams.items():
                    for worker in team.workers:
                        if worker.job is None and not team.finishing:
                            worker.job = job
                            return bus, team, worker
                await self._freed.wait()
        return None

    async def _in_turn(self, at: str, worker: Worker, job: Job) -> Report:
        """Give *job* to *worker*; where that makes it load torch, only when no other worker is at that."""
        async with AsyncExitStack() as stack:
            if self._loading is None or worker.loaded:
                return await self._ask(at, worker, job)
            async with self._loading:
                if worker.given_up:
                    return Failed(job.job, "cancelled", "before it began")
                asked = asyncio.ensure_future(self._ask(at, worker, job))
                stack.callback(asked.cancel)
                with suppress(TimeoutError):
                    async with asyncio.timeout(LOADING_S):
                        await self._loaded_or_done(worker, asked)
            return await asked

    async def _ask(self, at: str, worker: Worker, job: Job) -> Report:
        self._hands.note("debug", f"{at} begins {type(job).__name__} {job.job}")
        try:
            return await worker.child.request(job)
        finally:
            self._hands.note("debug", f"{at} ended {type(job).__name__} {job.job}")

    async def _loaded_or_done(self, worker: Worker, asked: asyncio.Future[Report]) -> None:
        async with self._freed:
            asked.add_done_callback(lambda _: self._spawn(self._tell()))
            await self._freed.wait_for(lambda: worker.loaded or asked.done())
        worker.loaded = True

    async def _tell(self) -> None:
        async with self._freed:
            self._freed.notify_all()

    def _count(self, bus: str, report: Report) -> None:
        match report:
            case Trained():
                self._done[bus].append((self._hands.clock(), report.samples))
                self.trained[bus] += report.samples
                self.samples += report.samples
                self.compute_us += report.compute_us
            case Audited():
                self.audit_us += report.compute_us
            case Failed() if report.reason not in ("cancelled", "stopped"):
                self._hands.note("warning", f"{bus}: worker: {report.reason}: {report.detail}")
                if report.reason == "no-device":
                    self._hands.lacks_kernels(bus)
            case _:
                pass

    # ---- for faces ------------------------------------------------------------------------

    def samples_per_s_milli(self, bus: str, now: int) -> int | None:
        """Thousandths of a sample a second over the last minute of work on *bus*, or since it began."""
        recent = [samples for at, samples in self._done.get(bus, ()) if at > now - RATE_WINDOW_MS]
        team = self._teams.get(bus)
        began = now - RATE_WINDOW_MS if team is None else team.began_ms
        window_ms = min(RATE_WINDOW_MS, max(1_000, now - began))
        return sum(recent) * 1_000_000 // window_ms if recent else None

    def _spawn(self, work: Awaitable[None]) -> None:
        task = asyncio.ensure_future(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
