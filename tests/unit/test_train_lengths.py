"""How long an update is: exact, on slices as on the whole, and who says another length is left out of the sum."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest

from potminer.train.bench import Bench
from potminer.train.bookwork import aggregate_slice, aggregate_updates
from potminer.train.cheat import cheat
from potminer.train.folder import Folder
from potminer.train.grid import LEAST, MOST, PEAKS, Grid
from potminer.train.lengths import said_of, said_of_slices
from potminer.train.refusal import Reason, Refused
from potminer.wire.length import said_length
from potminer.wire.slice import LENGTH_UNIT, excerpt_ranges
from potminer.wire.task import BLOCK
from potminer.wire.trainer import AggregateJob, SliceJob, TrainJob
from tests.unit.train_kit import digits_task, go_on, unit


def grid(seed: int, count: int, bits: int = 8) -> Grid:
    numbers, peak = np.random.default_rng(seed), PEAKS[bits]
    exponents = numbers.integers(LEAST, MOST + 1, -(-count // BLOCK)).astype(np.int16)
    return Grid(exponents, numbers.integers(-peak, peak + 1, count).astype(np.int8), bits)


def square(update: Grid) -> int:
    """By fractions."""
    powers = [Fraction(2) ** int(exponent) for exponent in update.exponents]
    total = sum((int(q) * powers[at // BLOCK]) ** 2 for at, q in enumerate(update.levels))
    exact = total / Fraction(2) ** LENGTH_UNIT
    assert exact.denominator == 1
    return exact.numerator


@pytest.mark.parametrize("bits", [8, 4, 2])
@pytest.mark.parametrize("count", [1, 255, 256, 257, 3_000])
def test_a_length_is_that_of_the_payloads_integers(bits: int, count: int) -> None:
    update = grid(count, count, bits)
    assert said_of(update) == said_length(square(update))


def test_the_longest_and_the_shortest_update_have_a_length() -> None:
    longest = Grid(np.full(5_000, MOST, np.int16), np.full(5_000 * BLOCK, -126, np.int8))
    assert said_of(longest) == said_length(126**2 * 5_000 * BLOCK << 2 * MOST - LENGTH_UNIT)
    assert said_of(Grid(np.array([LEAST], np.int16), np.array([1], np.int8))) == said_length(2**4)
    assert said_of(Grid(np.array([LEAST], np.int16), np.zeros(9, np.int8))) == 0


class Trained:
    """Two honest units of digits, and what their trainers say of them in a round of so many slices."""

    def __init__(self, folder: Folder, *, slices: int = 1) -> None:
        self.folder, self.spec, self.of = folder, digits_task(folder), slices
        bench = Bench(folder, device="cpu", threads=1, max_bytes=2**32, cheat=cheat(None))
        self.units = (unit(0), unit(1))
        jobs = (TrainJob(1, self.spec, each, self.spec.initial_model, slices) for each in self.units)
        made = [bench.train(job, go_on) for job in jobs]
        self.updates = tuple(each.snapshots[-1] for each in made)
        self.lengths = [each.lengths for each in made]

    def whole(self, said: tuple[int, ...]) -> tuple[bytes | None, tuple[int, ...]]:
        job = AggregateJob(1, self.spec, self.spec.initial_model, self.units, self.updates, said)
        report = aggregate_updates(self.folder, job, go_on)
        return report.model, report.malformed

    def slice(self, index: int, said: tuple[int, ...]) -> tuple[int, ...]:
        ranges = excerpt_ranges(self.spec, index, self.of)
        data = (self.folder.path(update).read_bytes() for update in self.updates)
        excerpts = tuple(self.folder.write(b"".join(each[a:b] for a, b in ranges)) for each in data)
        job = SliceJob(
            1, self.spec, self.spec.initial_model, self.units, self.updates, excerpts, index, self.of, said=said
        )
        return aggregate_slice(self.folder, job, go_on).malformed


def test_who_says_a_false_length_is_left_out_whatever_it_says(tmp_path: Path) -> None:
    made = Trained(Folder(tmp_path))
    (honest,), (other,) = made.lengths
    assert made.whole((honest, other)) == made.whole(())
    alone = AggregateJob(1, made.spec, made.spec.initial_model, made.units[:1], made.updates[:1])
    without = aggregate_updates(made.folder, alone, go_on).model
    for false in (0, other - 1, other + 1, 2**16 - 1):
        assert made.whole((honest, false)) == (without, (1,))
    assert made.whole((0, 0)) == (None, (0, 1))


def test_every_slice_finds_its_own_length_false(tmp_path: Path) -> None:
    made = Trained(Folder(tmp_path), slices=3)
    assert all(len(lengths) == 3 for lengths in made.lengths)
    for index in range(3):
        honest, other = (lengths[index] for lengths in made.lengths)
        assert made.slice(index, (honest, other)) == ()
        assert made.slice(index, (honest - 1, other)) == (0,)


def test_slices_are_as_long_together_as_the_whole(tmp_path: Path) -> None:
    folder = Folder(tmp_path)
    spec = digits_task(folder)
    update = grid(3, 2_410)
    assert said_of_slices(update, spec, 1) == (said_of(update),)
    assert said_of_slices(update, spec, 4)[1] == said_of(Grid(update.exponents[2:5], update.levels[512:1_280]))


def test_as_many_lengths_as_units_are_said_or_none(tmp_path: Path) -> None:
    made = Trained(Folder(tmp_path))
    with pytest.raises(Refused) as refused:
        made.whole((1,))
    assert refused.value.reason == Reason.BAD_TASK


def test_what_a_node_says_of_a_false_update_is_its_length_too(tmp_path: Path) -> None:
    """It is measured, whatever the child did: to lie about it takes another node."""
    folder = Folder(tmp_path)
    spec, of = digits_task(folder), unit(0)
    worker = Bench(folder, device="cpu", threads=1, max_bytes=2**32, cheat=cheat("garbage"))
    made = worker.train(TrainJob(1, spec, of, spec.initial_model), go_on)
    job = AggregateJob(1, spec, spec.initial_model, (of,), made.snapshots[-1:], made.lengths)
    assert aggregate_updates(folder, job, go_on).malformed == ()
