"""Samples by class and by augmentation: what a skewed trainer sees, and what becomes of an image."""

from __future__ import annotations

from pathlib import Path

import msgspec
import numpy as np
import pytest

from potminer.train.data import Samples, training_split
from potminer.train.folder import Folder
from potminer.train.samples import URN, Sampler, mixture, varied
from potminer.wire.task import Augmentation, Skewed, spec_fault
from tests.unit.train_kit import digits_task, unit


def skewed(folder: Folder, milli: int, **changes: object) -> object:
    return msgspec.structs.replace(digits_task(folder, **changes), sampling=Skewed(milli))


def test_a_trainer_keeps_its_mixture_in_every_round(tmp_path: Path) -> None:
    folder = Folder(tmp_path)
    spec = skewed(folder, 100, micro_batch=4_096)
    split = training_split(folder, spec)
    shares = []
    for of in (unit(1, 0), unit(1, 5), unit(2, 0)):
        _, y = Sampler(spec, of, split).batch(3)
        shares.append(np.bincount(y, minlength=10) / 4_096)
        expected = mixture(Skewed(100), of, 10) / URN
        assert np.abs(shares[-1] - expected).max() < 0.05
    assert np.abs(shares[0] - shares[1]).max() < 0.05 < np.abs(shares[0] - shares[2]).max()


@pytest.mark.parametrize("milli", [100, 1_000, 10**6])
def test_the_concentration_is_dirichlets(milli: int) -> None:
    """Over ten classes the variances sum to 0.9 / (10 a + 1), and the urn's 4,096 draws add 0.9 / 4,096."""
    shares = np.array([mixture(Skewed(milli), unit(slot), 10) / URN for slot in range(24)])
    found = float(((shares - 0.1) ** 2).sum(axis=1).mean())
    assert found == pytest.approx(0.9 / (milli / 100 + 1) + 0.9 / URN, rel=0.3)
    assert (shares.sum(axis=1) == 1).all()


def test_a_class_without_samples_is_never_drawn(tmp_path: Path) -> None:
    spec = skewed(Folder(tmp_path), 50_000, micro_batch=512)
    x, y = np.zeros((40, 1, 8, 8), np.float32), np.repeat(np.array([2, 5, 7, 9]), 10)
    drawn = Sampler(spec, unit(), Samples(x, y)).batch(0)[1]
    assert set(drawn.tolist()) == {2, 5, 7, 9}


def test_mirrored_and_moved_images_are_copies(tmp_path: Path) -> None:
    x = np.arange(1, 1 + 64 * 2 * 5 * 4, dtype=np.float32).reshape(64, 2, 5, 4)
    how = Augmentation(mirror=True, shift=2)
    found = varied(x, how, unit(), 0)
    assert found.shape == x.shape
    assert np.array_equal(found, varied(x, how, unit(), 0))
    assert not np.array_equal(found, varied(x, how, unit(), 1))
    seen = set()
    for before, after in zip(x, found, strict=True):
        padded = {m: np.pad(before[..., ::-1] if m else before, ((0, 0), (2, 2), (2, 2))) for m in (False, True)}
        places = [
            (m, d, r) for m in (False, True) for d in range(5) for r in range(5)
            if np.array_equal(padded[m][:, d : d + 5, r : r + 4], after)
        ]
        assert places
        seen.add(places[0])
    assert len(seen) > 25  # of 50


def test_nothing_asked_nothing_changed() -> None:
    x = np.ones((3, 1, 2, 2), np.float32)
    assert varied(x, Augmentation(), unit(), 0) is x


def test_tasks_without_classes_or_images_cannot_ask(tmp_path: Path) -> None:
    spec = digits_task(Folder(tmp_path))
    flat = msgspec.structs.replace(spec, data=msgspec.structs.replace(spec.data, shape=(64,)))
    assert spec_fault(msgspec.structs.replace(spec, augmentation=Augmentation(shift=1))) == ""
    assert "images" in spec_fault(msgspec.structs.replace(flat, augmentation=Augmentation(shift=1)))
    regression = msgspec.structs.replace(spec, objective="regression", sampling=Skewed(100))
    assert "classes" in spec_fault(regression)
