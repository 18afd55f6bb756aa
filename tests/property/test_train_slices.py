"""A clipped model made in slices is the whole one, bit for bit: any updates, buckets, slices, threads, order."""

from __future__ import annotations

import math
import random
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest

from potminer.train import robust
from potminer.train.bookwork import aggregate_slice, aggregate_updates, assemble
from potminer.train.folder import Folder
from potminer.train.grid import LEAST, MOST, Grid
from potminer.train.refusal import Refused
from potminer.train.snap import encode_snapshot, snap
from potminer.train.weights import Model, encode_model
from potminer.wire.model import parameter_count
from potminer.wire.slice import LENGTH_BYTES, excerpt_ranges, lengths_size
from potminer.wire.task import BLOCK, AdamW, Clipped, InnerSpec, Mean, TaskSpec, carries
from potminer.wire.trainer import AggregateJob, AssembleJob, Sliced, SliceJob
from tests.unit.train_kit import digits_task, go_on, local_task, unit

CARRIED = InnerSpec(AdamW(carry=True), rate_nano=2_000_000)


class Round:
    """A drawn round: its task, units and updates of very different sizes, some of which are none."""

    def __init__(self, folder: Folder, seed: int) -> None:
        self.folder, self.chance = folder, random.Random(seed)
        chance = self.chance
        rule = Clipped(chance.randrange(1, 5), chance.choice((10_000, 500_000, 1_000_000, 3_000_000)))
        changes: dict[str, Any] = {
            "aggregation": rule, "segments": 2, "compression": chance.choice(("lan", "wan4", "wan2")),
            "outer_momentum_nano": chance.choice((0, 600_000_000)),
        }
        made = local_task(folder, CARRIED, **changes) if chance.random() < 0.5 else digits_task(folder, **changes)
        self.spec: TaskSpec = made
        self.base = self._base(seed)
        count = chance.randrange(1, 12)
        self.units = tuple(unit(slot) for slot in range(count))
        self.updates = tuple(self._update(slot, seed) for slot in range(count))

    def _base(self, seed: int) -> bytes:
        numbers = np.random.default_rng(seed)
        kept = [numbers.normal(0, 0.1, parameter_count(self.spec.model)).astype(np.float32) for _ in range(3)]
        momentum = kept[1] if self.spec.outer_momentum_nano else None
        moment = np.abs(kept[2]) if carries(self.spec) else None
        return self.folder.write(encode_model(self.spec.model, Model(kept[0], momentum, moment)))

    def _update(self, slot: int, seed: int) -> bytes:
        numbers, count = np.random.default_rng((seed, slot)), parameter_count(self.spec.model)
        scale = 10.0 ** numbers.uniform(-6, 3) if numbers.random() < 0.4 else 0.1
        state = [numbers.normal(0, scale, count), np.abs(numbers.normal(0, 1e-4, count))]
        vectors = tuple(each.astype(np.float32) for each in state[: 2 if carries(self.spec) else 1])
        data = encode_snapshot(snap(vectors, spec=self.spec, unit=unit(slot), segment=2), unit=unit(slot), segment=2)
        if slot and numbers.random() < 0.15:  # an exponent that no block has, somewhere
            at = 32 + 2 * int(numbers.integers(0, -(-count // BLOCK)))
            data = data[:at] + b"\xff\x7f" + data[at + 2 :]
        return self.folder.write(data)

    def whole(self) -> tuple[bytes | None, tuple[int, ...]]:
        order = self._order()
        job = AggregateJob(
            1, self.spec, self.base, tuple(self.units[i] for i in order), tuple(self.updates[i] for i in order)
        )
        report = aggregate_updates(self.folder, job, go_on)
        return report.model, tuple(sorted(order[position] for position in report.malformed))

    def _order(self) -> list[int]:
        return self.chance.sample(range(len(self.units)), len(self.units))

    def slices(self, of: int, *, threads: int) -> tuple[bytes | None, tuple[int, ...]]:
        """As validators do it: lengths until all leave out the same, then parts."""
        bad: tuple[int, ...] = ()
        while True:
            said = self._each(of, bad, (), threads)
            more = tuple(sorted(set(bad).union(*(malformed for _, malformed in said))))
            if len(more) == len(self.units):
                return None, more
            if more == bad:
                break
            bad = more
        lengths = tuple(blob for blob, _ in said if blob is not None)
        kept = len(self.units) - len(bad)
        assert {self.folder.path(blob).stat().st_size for blob in lengths} == {lengths_size(self.spec, kept)}
        parts = tuple(blob for blob, _ in self._each(of, bad, lengths, threads) if blob is not None)
        return assemble(self.folder, AssembleJob(1, self.spec, parts)).model, bad

    def _each(
        self, of: int, bad: tuple[int, ...], lengths: tuple[bytes, ...], threads: int
    ) -> list[tuple[bytes | None, tuple[int, ...]]]:
        orders = [[slot for slot in self._order() if slot not in bad] for _ in range(of)]
        with ThreadPoolExecutor(threads) as pool:
            made = list(pool.map(lambda at: self._slice(at, of, orders[at], lengths), range(of)))
        return [
            (each.part, (*bad, *(order[position] for position in each.malformed)))
            for each, order in zip(made, orders, strict=True)
        ]

    def _slice(self, index: int, of: int, order: list[int], lengths: tuple[bytes, ...]) -> Sliced:
        updates, excerpts = tuple(self.updates[slot] for slot in order), []
        for update in updates:
            data = self.folder.path(update).read_bytes()
            excerpts.append(self.folder.write(b"".join(data[a:b] for a, b in excerpt_ranges(self.spec, index, of))))
        units = tuple(self.units[slot] for slot in order)
        job = SliceJob(1, self.spec, self.base, units, updates, tuple(excerpts), index, of, lengths)
        return aggregate_slice(self.folder, job, go_on)


@pytest.mark.parametrize("seed", range(30))
def test_slices_with_lengths_are_the_whole(tmp_path: Path, seed: int) -> None:
    made = Round(Folder(tmp_path), seed)
    of = made.chance.randrange(2, 8)
    assert made.slices(of, threads=made.chance.choice((1, 2, 4))) == made.whole()


def some(update: Grid, first: int, last: int) -> Grid:
    """Its blocks from *first* on."""
    return Grid(update.exponents[first:last], update.levels[first * BLOCK : last * BLOCK])


@pytest.mark.parametrize("seed", range(20))
def test_lengths_are_the_correctly_rounded_sums_of_real_numbers(seed: int) -> None:
    """Exponents from end to end. Block by block, and by halves that know nothing of each other."""
    numbers, chance = np.random.default_rng(seed), random.Random(seed)
    blocks, rule = chance.randrange(2, 40), Clipped(chance.randrange(1, 4), 700_000)
    updates = [
        Grid(
            numbers.integers(LEAST, MOST, blocks, endpoint=True).astype(np.int16),
            numbers.integers(-126, 126, blocks * BLOCK, endpoint=True).astype(np.int8),
        )
        for _ in range(chance.randrange(1, 9))
    ]
    found = robust.lengths(updates, rule, seed=b"s")
    cut = chance.randrange(1, blocks)
    halves = [
        robust.lengths([some(u, first, last) for u in updates], rule, seed=b"s")
        for first, last in ((0, cut), (cut, blocks))
    ]
    assert [sum(pair) for pair in zip(*halves, strict=True)] == list(found)
    single = [robust.lengths([some(u, a, a + 1) for u in updates], rule, seed=b"s") for a in range(blocks)]
    told = [math.fsum(float(each) / 2.0**256 for each in row) for row in zip(*single, strict=True)]
    assert [each / 2**256 for each in found] == told
    assert max(found) < 2 ** (8 * LENGTH_BYTES)


def test_the_lengths_of_another_round_are_refused(tmp_path: Path) -> None:
    """Of too few buckets, of too few slices, and where the rule has none."""
    made = Round(Folder(tmp_path), 3)
    order = list(range(len(made.units)))
    short = made.folder.write(bytes(LENGTH_BYTES * 99))
    for lengths in ((short, short), (short,)):
        with pytest.raises(Refused):
            made._slice(0, 2, order, lengths)
    made.spec = msgspec.structs.replace(made.spec, aggregation=Mean())
    with pytest.raises(Refused):
        made._slice(0, 2, order, (short, short))
