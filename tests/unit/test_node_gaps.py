"""After a leap the books say what is pending as the ledger does, never a wrong sum, and what they do not know."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from potminer.core.ledger.event import Event
from potminer.core.ledger.refusal import Refusal
from potminer.core.ledger.stake import window
from potminer.core.ledger.state import State
from potminer.node.gaps import KEY, Gaps
from potminer.node.history import History
from potminer.node.takings import UNKNOWN_DAY
from potminer.view.earnings import earnings_facts
from potminer.view.select import Tone
from potminer.wire import record as records
from potminer.wire.control import EarningsView
from potminer.wire.record import PendingRound, Phase
from potminer.wire.tx import Body
from tests.unit.ledger_world import World, key, spec

OWN = key("ann").public
Step = tuple[list[Event], State]


class Books:
    """A rig's history that leaps where it is told to."""

    def __init__(self, saved: bytes | None = None, head: int = 0) -> None:
        self.history = History(OWN)
        self.written: dict[bytes, bytes | None] = {}
        self.gaps = Gaps(OWN, self.history, self._persist, saved=saved, head=head)

    async def _persist(self, entries: Sequence[tuple[bytes, bytes | None]]) -> None:
        self.written.update(entries)

    async def live(self, story: list[Step], leaps: dict[int, int]) -> None:
        """*leaps* are from a height to a height."""
        landing = 0
        for events, state in story:
            height = state.head.height
            if height in leaps:
                landing = leaps[height]
                await self.gaps.open(height, landing)
            if height == landing:
                self.gaps.settle(state)
            elif height > landing:
                self.history.fold(events, height=height, time_ms=state.head.time_ms)
                assert self.pending() == owed(state, self.history), f"after block {height}"

    def pending(self) -> dict[bytes, int]:
        return {task: sums.pending for task, sums in self.history.takings.tasks.items() if task}


def owed(state: State, history: History) -> dict[bytes, int]:
    found = dict.fromkeys((task for task in history.takings.tasks if task), 0)
    for task in found:
        record = state.need(records.TaskRecord, records.task_key(task))
        for number in window(state.parameters, record):
            pending = state.get(PendingRound, records.pending_key(task, number))
            found[task] += sum(s.amount for s in pending.shares if s.earner == OWN) if pending is not None else 0
    return found


class Told(World):
    """A world that keeps what happened block by block."""

    def __init__(self) -> None:
        super().__init__()
        self.story: list[Step] = []

    def step(self, *bodies: tuple[str, Body], after_ms: int = 1_000, view: int = 0) -> list[Refusal | None]:
        before = len(self.events)
        answer = super().step(*bodies, after_ms=after_ms, view=view)
        self.story.append((self.events[before:], self.state))
        return answer


def story_of(cheat: bool = False) -> list[Step]:
    """A task of four rounds from its order to its end, or to ann's expulsion in its second round."""
    world = Told()
    world.submit(spec(rounds=4))
    world.whole_round()
    if cheat:
        world.commit_all()
        world.reveal_all()
        world.until(Phase.AUDIT)
        slot = next(n for n, trainer in enumerate(world.round.slots) if trainer == OWN)
        world.audit_all(bad=(slot,))
        world.until(Phase.DISPUTE)
        world.judge(slot, 900_000)
        world.step()
    else:
        for _ in range(3):
            world.whole_round()
    world.step()
    return world.story


@pytest.fixture(scope="module")
def honest() -> list[Step]:
    return story_of()


async def test_without_a_gap_the_books_are_left_alone(honest: list[Step]) -> None:
    books = Books()
    await books.live(honest, {})
    before = books.history.takings.all.amounts
    books.gaps.settle(honest[3][1])
    assert books.history.takings.all.amounts == before
    assert books.gaps.blocks == 0


async def test_wherever_a_leap_begins_and_ends_pending_is_the_ledgers_and_total_never_too_much(
    honest: list[Step],
) -> None:
    whole = Books()
    await whole.live(honest, {})
    truth, heights = whole.history.takings.all, len(honest)
    assert truth.total > 0
    assert truth.pending == 0, "the task has ended"
    missed = 0
    for first in range(2, heights, 3):
        for last in range(first, heights, 4):
            books = Books()
            await books.live(honest, {first: last})
            sums = books.history.takings.all
            assert sums.pending == 0
            assert 0 <= sums.total <= truth.total
            assert 0 <= sums.paid <= truth.paid
            assert min(sums.amounts) >= 0
            assert (books.gaps.blocks, books.gaps.last) == (last - first + 1, last)
            assert set(books.history.takings.days) - {UNKNOWN_DAY} <= set(whole.history.takings.days)
            missed += sums.total < truth.total
    assert missed, "else nothing would have to be said"


async def test_what_was_expelled_in_the_gap_is_lost_and_never_paid() -> None:
    story = story_of(cheat=True)
    whole, books = Books(), Books()
    await whole.live(story, {})
    trainer = story[-1][1].need(records.Trainer, records.trainer_key(OWN))
    assert trainer.expelled
    opened = next(at for at, (_, state) in enumerate(story) if owed(state, whole.history)[next(iter(whole.pending()))])
    await books.live(story, {story[opened + 1][1].head.height: len(story)})
    for each in (whole, books):
        sums = each.history.takings.all
        assert (sums.pending, sums.bond, sums.released - sums.kept) == (0, 0, 0)
        assert sums.lost > 0


async def test_a_gap_outlives_a_restart_and_a_landing_that_was_none_leaves_no_gap(honest: list[Step]) -> None:
    books = Books()
    await books.gaps.open(5, 9)
    saved = books.written[KEY]
    assert Books(saved, head=9).gaps.blocks == 5
    assert Books(saved, head=4).gaps.blocks == 0, "the process died before the ledger was set down"
    for n in range(600):
        await books.gaps.open(10 + 2 * n, 10 + 2 * n)
    assert books.gaps.last == 10 + 2 * 599
    assert len(books.written[KEY] or b"") < 8_192


def test_a_face_says_what_is_not_known() -> None:
    known = EarningsView(today=1, pending=2, paid=3, total=9, kept=1)
    assert "unknown" not in [fact.label for fact in earnings_facts(known)]
    view = EarningsView(today=1, pending=2, paid=3, total=9, kept=1, leapt_blocks=1_234, leapt_last=5_678)
    facts = {fact.label: fact for fact in earnings_facts(view)}
    assert facts["unknown"].value == "1,234 blocks leapt over, up to 5,678"
    assert facts["unknown"].tone is Tone.WARNING
    assert facts["total"].value.startswith("at least ")
    assert facts["as bond"].value.startswith("at most ")
