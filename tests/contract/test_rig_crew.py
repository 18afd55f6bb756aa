"""The workers of a device: on a small host they load torch one after the other. Real worker processes."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from potminer.node.crew import Crew, CrewHands
from potminer.wire.trainer import Failed, Initialised, InitialiseJob
from potminer.world.child import Launch
from tests.unit.train_kit import MODEL


def crew_of(folder: Path, said: list[str], *, one_by_one: bool, begun: asyncio.Event | None = None) -> Crew:
    def note(level: str, line: str) -> None:
        if "InitialiseJob" in line:
            said.append("begins" if " begins " in line else "ended")
            if begun is not None:
                begun.set()

    hands = CrewHands(lambda: 0, note, lambda bus, run: None, lambda bus: None, lambda bus, run: None)
    return Crew({"cpu": (Launch(folder, device="cpu"),) * 2}, one_by_one=one_by_one, hands=hands)


@pytest.mark.parametrize(
    ("one_by_one", "order"),
    [(True, ["begins", "ended", "begins", "ended"]), (False, ["begins", "begins", "ended", "ended"])],
)
async def test_first_jobs_are_given_in_turn_where_the_host_is_small(
    one_by_one: bool, order: list[str], tmp_path: Path
) -> None:
    said: list[str] = []
    crew = crew_of(tmp_path, said, one_by_one=one_by_one)
    async with asyncio.timeout(120):
        try:
            await crew.start("cpu", 1)
            reports = await asyncio.gather(*(crew.work(InitialiseJob(job, MODEL, job)) for job in (1, 2)))
            assert all(isinstance(report, Initialised) for report in reports)
            assert said == order
            said.clear()
            await asyncio.gather(*(crew.work(InitialiseJob(job, MODEL, job)) for job in (3, 4)))
            assert said[:2] == ["begins", "begins"], "afterwards they work side by side"
        finally:
            await crew.stop_all()


async def test_a_job_that_is_given_up_while_it_waits_for_its_turn_never_begins(tmp_path: Path) -> None:
    said: list[str] = []
    begun = asyncio.Event()
    crew = crew_of(tmp_path, said, one_by_one=True, begun=begun)
    async with asyncio.timeout(120):
        try:
            await crew.start("cpu", 1)
            first, second = (asyncio.create_task(crew.work(InitialiseJob(job, MODEL, job))) for job in (1, 2))
            await begun.wait()
            crew.cancel(2)
            assert isinstance(await first, Initialised)
            assert await second == Failed(2, "cancelled", "before it began")
            assert said == ["begins", "ended"]
        finally:
            await crew.stop_all()
