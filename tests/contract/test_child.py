"""The real worker process behind the real Child."""

from __future__ import annotations

import asyncio
import dataclasses
import subprocess
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import msgspec
import psutil
import pytest

from potminer.train.folder import Folder
from potminer.train.snap import decode_snapshot
from potminer.wire.codec import decode, encode
from potminer.wire.trainer import (
    Aggregated,
    AggregateJob,
    Audited,
    AuditJob,
    Evaluated,
    EvaluateJob,
    Failed,
    Initialised,
    InitialiseJob,
    Progress,
    Ready,
    Report,
    Trained,
    TrainJob,
)
from potminer.wire.tx import Finding
from potminer.world.child import OUTSTANDING, Child, ChildState, Launch
from tests.unit.train_kit import MODEL, digits_task, unit


def launch(tmp_path: Path, **changes: object) -> Launch:
    return dataclasses.replace(Launch(tmp_path, device="cpu", pauses_ms=(10, 10)), **changes)


class Moves:
    """States a child went through, and a way to wait for one."""

    def __init__(self) -> None:
        self.seen: list[ChildState] = []
        self._changed = asyncio.Event()

    def __call__(self, state: ChildState) -> None:
        self.seen.append(state)
        self._changed.set()

    async def until(self, reached: Callable[[list[ChildState]], bool]) -> None:
        while not reached(self.seen):
            self._changed.clear()
            await self._changed.wait()


@pytest.fixture
async def child(tmp_path: Path) -> AsyncIterator[Child]:
    async with Child(launch(tmp_path)) as running:
        yield running


def initialise(child: Child) -> InitialiseJob:
    return InitialiseJob(child.next_job(), MODEL, 5)


async def test_a_round_from_training_to_evaluation(tmp_path: Path, child: Child) -> None:
    folder = Folder(tmp_path)
    spec = digits_task(folder)
    trained = [await child.request(TrainJob(child.next_job(), spec, unit(s), spec.initial_model)) for s in range(2)]
    assert all(isinstance(report, Trained) and report.samples == 128 for report in trained)
    made = [report.snapshots for report in trained if isinstance(report, Trained)]
    assert child.ready is not None
    assert child.ready.device == "cpu"
    data = folder.path(made[1][3]).read_bytes()
    decode_snapshot(data, spec=spec, unit=unit(1), segment=4)

    audited = await child.request(
        AuditJob(child.next_job(), spec, unit(1), spec.initial_model, 3, made[1][1], made[1][2], 0)
    )
    assert isinstance(audited, Audited)
    assert (audited.finding, audited.error_ppm) == (Finding.MEASURED, 0)

    updates = tuple(snapshots[-1] for snapshots in made)
    summed = await child.request(AggregateJob(child.next_job(), spec, spec.initial_model, (unit(0), unit(1)), updates))
    assert isinstance(summed, Aggregated)
    assert summed.malformed == ()
    assert summed.model is not None
    before = await child.request(EvaluateJob(child.next_job(), spec, spec.initial_model))
    after = await child.request(EvaluateJob(child.next_job(), spec, summed.model))
    assert isinstance(before, Evaluated)
    assert isinstance(after, Evaluated)
    assert after.loss_micro < before.loss_micro


async def test_work_audited_by_another_process_passes(tmp_path: Path, child: Child) -> None:
    spec = digits_task(Folder(tmp_path))
    async with Child(launch(tmp_path, threads=2)) as auditor:
        trained = await child.request(TrainJob(1, spec, unit(), spec.initial_model))
        assert isinstance(trained, Trained)
        audit = AuditJob(1, spec, unit(), spec.initial_model, 2, trained.snapshots[0], trained.snapshots[1], 0)
        audited = await auditor.request(audit)
    assert isinstance(audited, Audited)
    assert audited.error_ppm <= 5


async def test_aggregating_never_loads_torch(tmp_path: Path, child: Child) -> None:
    folder = Folder(tmp_path)
    spec = digits_task(folder)
    made = await child.request(initialise(child))
    assert isinstance(made, Initialised)
    await child.request(AggregateJob(child.next_job(), spec, made.model, (unit(),), (folder.write(b"x"),)))
    assert child.ready is not None
    assert child.ready.device == "none yet"
    assert psutil.Process(child.ready.pid).memory_info().rss < 120_000_000  # torch alone takes 260 MB


async def test_a_killed_worker_comes_back_and_its_jobs_fail(tmp_path: Path) -> None:
    moves = Moves()
    heard = asyncio.Event()
    endless = digits_task(Folder(tmp_path), segments=64, batches=4_096)
    async with Child(launch(tmp_path), on_state=moves, on_progress=lambda _: heard.set()) as child:
        job = asyncio.create_task(child.request(TrainJob(child.next_job(), endless, unit(), endless.initial_model)))
        await heard.wait()
        assert child.ready is not None
        psutil.Process(child.ready.pid).kill()
        report = await job
        assert isinstance(report, Failed)
        assert report.reason == "child-died"
        assert isinstance(await child.request(initialise(child)), Initialised)
    starting, running, waiting = ChildState.STARTING, ChildState.RUNNING, ChildState.WAITING
    assert moves.seen == [starting, running, waiting, starting, running, ChildState.STOPPED]


async def test_a_worker_that_falls_silent_is_replaced(tmp_path: Path) -> None:
    moves = Moves()
    async with Child(launch(tmp_path, silence_ms=4_000), on_state=moves) as child:
        assert isinstance(await child.request(initialise(child)), Initialised)
        assert child.ready is not None
        psutil.Process(child.ready.pid).suspend()
        report = await child.request(initialise(child))
        assert isinstance(report, Failed)
        assert "silent" in report.detail
        assert isinstance(await child.request(initialise(child)), Initialised)


async def test_a_unit_is_given_up_at_the_next_micro_batch(tmp_path: Path) -> None:
    endless = digits_task(Folder(tmp_path), segments=64, batches=4_096)
    heard: list[Progress] = []
    async with Child(launch(tmp_path), on_progress=lambda progress: stop(progress)) as child:

        def stop(progress: Progress) -> None:
            heard.append(progress)
            child.cancel(progress.job)

        first = child.request(TrainJob(child.next_job(), endless, unit(), endless.initial_model))
        later = asyncio.create_task(child.request(initialise(child)))
        report = await first
        assert report == Failed(1, "cancelled", "given up by the node")
        assert isinstance(await later, Initialised)
    assert heard[0].total == 64 * 4_096


async def test_jobs_wait_for_a_worker_and_may_be_withdrawn(tmp_path: Path) -> None:
    async with Child(launch(tmp_path)) as child:
        waiting = [asyncio.create_task(child.request(initialise(child))) for _ in range(3)]
        await asyncio.sleep(0)
        child.cancel(2)
        reports = await asyncio.gather(*waiting)
    assert [type(report) for report in reports] == [Initialised, Failed, Initialised]


async def test_more_jobs_than_bounds_are_refused(tmp_path: Path) -> None:
    async with Child(launch(tmp_path)) as child:
        waiting = [asyncio.create_task(child.request(initialise(child))) for _ in range(OUTSTANDING)]
        await asyncio.sleep(0)
        report = await child.request(initialise(child))
        assert isinstance(report, Failed)
        assert report.reason == "busy"
    assert all(isinstance(report, Initialised | Failed) for report in await asyncio.gather(*waiting))
    after = await child.request(initialise(child))
    assert isinstance(after, Failed)
    assert after.reason == "stopped"


async def test_bad_jobs_are_answered_and_the_worker_lives(tmp_path: Path, child: Child) -> None:
    spec = digits_task(Folder(tmp_path))
    no_data = msgspec.structs.replace(spec, data=msgspec.structs.replace(spec.data, train=bytes(32)))
    wrong = msgspec.structs.replace(spec, data=msgspec.structs.replace(spec.data, train=spec.initial_model))
    reasons = []
    for bad, base in ((no_data, spec.initial_model), (wrong, spec.initial_model), (spec, spec.data.train)):
        report = await child.request(TrainJob(child.next_job(), bad, unit(), base))
        assert isinstance(report, Failed)
        reasons.append(report.reason)
    assert reasons == ["missing-blob", "bad-data", "bad-weights"]
    assert isinstance(await child.request(initialise(child)), Initialised)


async def test_a_worker_that_cannot_start_fails_no_request_twice(tmp_path: Path) -> None:
    moves = Moves()
    async with Child(launch(tmp_path, cheat="no-such-cheat"), on_state=moves) as child:
        waiting = asyncio.create_task(child.request(initialise(child)))
        await moves.until(lambda seen: seen.count(ChildState.WAITING) >= 2)
        assert "no-such-cheat" in child.stderr()
        assert not waiting.done()
    assert await waiting == Failed(1, "stopped", "the worker was stopped")


async def test_a_worker_too_large_ends_itself(tmp_path: Path) -> None:
    moves = Moves()
    async with Child(launch(tmp_path, max_bytes=1_000_000), on_state=moves):
        await moves.until(lambda seen: ChildState.WAITING in seen)


# ---- the worker alone, with a hostile or careless parent ---------------------------------


def talk(tmp_path: Path, words: bytes) -> tuple[int, list[Report]]:
    """Everything a worker answers to *words* followed by the end of its stdin."""
    command = Launch(tmp_path, device="cpu").command()
    done = subprocess.run(command, input=words, capture_output=True, timeout=60, check=False)
    reports, rest = [], done.stdout
    while rest:
        length = int.from_bytes(rest[:4], "big")
        reports.append(decode(Report, rest[4 : 4 + length], max_bytes=2**20))
        rest = rest[4 + length :]
    return done.returncode, reports


def frame(body: bytes) -> bytes:
    return len(body).to_bytes(4, "big") + body


def test_a_worker_ends_when_its_stdin_does(tmp_path: Path) -> None:
    code, reports = talk(tmp_path, b"")
    assert code == 0
    assert isinstance(reports[0], Ready)


def test_frames_that_are_no_jobs_are_answered(tmp_path: Path) -> None:
    unknown = encode(["dance", 3])
    code, reports = talk(tmp_path, frame(b"") + frame(b"\xc1" * 10) + frame(unknown))
    assert code == 0
    failures = [report for report in reports if isinstance(report, Failed)]
    assert [(failure.job, failure.reason) for failure in failures] == [(0, "fault")] * 3


@pytest.mark.parametrize("words", [b"\xff\xff\xff\xff", b"GET / HTTP/1.1\r\n", b"\0\0", frame(b"x" * 50)[:-1]])
def test_a_stream_that_cannot_be_followed_ends_the_worker(tmp_path: Path, words: bytes) -> None:
    code, reports = talk(tmp_path, words)
    assert code == 2
    assert not any(isinstance(report, Failed) for report in reports)
