"""Errors an operator sees: each has an exit code of its own and a hint."""

from __future__ import annotations

import pytest

from potminer.base import errors
from potminer.base.errors import Exit, PotminerError

CODES = [
    (errors.PotminerError, 1),
    (errors.UsageError, 2),
    (errors.ConfigError, 3),
    (errors.Unreachable, 4),
    (errors.AlreadyRunning, 5),
    (errors.NoDevice, 6),
    (errors.NotPermitted, 7),
]


@pytest.mark.parametrize(("kind", "code"), CODES)
def test_an_error_ends_with_its_exit_code(kind: type[PotminerError], code: int) -> None:
    assert kind("what").exit == code


def test_codes_are_the_published_ones() -> None:
    assert {e.name: e.value for e in Exit} == {
        "OK": 0, "FAILURE": 1, "USAGE": 2, "CONFIG": 3, "UNREACHABLE": 4, "RUNNING": 5,
        "NO_DEVICE": 6, "NOT_PERMITTED": 7, "BAD_SIGNATURE": 8, "RESTART": 42, "INTERRUPTED": 130,
    }  # fmt: skip


def test_the_hint_stands_below_what_went_wrong() -> None:
    assert str(PotminerError("no disk space", "free some")) == "no disk space\n  free some"
    assert str(PotminerError("no disk space")) == "no disk space"


def test_malformed_is_no_operator_error() -> None:
    assert not issubclass(errors.Malformed, PotminerError)
