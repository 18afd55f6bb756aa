"""Which torch has kernels for which card."""

from __future__ import annotations

import pytest

from potminer.world.rig.kernels import Fit, holds, verdict

PYPI_27 = ("sm_50", "sm_60", "sm_70", "sm_75", "sm_80", "sm_86", "sm_90")
PYPI_28 = ("sm_70", "sm_75", "sm_80", "sm_86", "sm_90", "sm_100", "sm_120")
PYPI_215 = ("sm_75", "sm_80", "sm_86", "sm_90", "sm_100", "sm_120", "compute_120")
ROCM_72 = ("gfx900", "gfx906", "gfx908", "gfx90a", "gfx942", "gfx1030", "gfx1100", "gfx1101", "gfx1102")


@pytest.mark.parametrize(
    ("card", "architecture", "fit", "build"),
    [
        ("GTX 1060, P106", "sm_61", Fit.OLDER, "torch 2.7.1, not newer"),
        ("GTX 980", "sm_52", Fit.OLDER, "torch 2.7.1, not newer"),
        ("V100", "sm_70", Fit.OLDER, "torch 2.7 to 2.10"),
        ("RTX 2060, CMP 50HX", "sm_75", Fit.CURRENT, "torch 2.7 or newer"),
        ("RTX 3090, CMP 90HX", "sm_86", Fit.CURRENT, "torch 2.7 or newer"),
        ("RTX 4090", "sm_89", Fit.CURRENT, "torch 2.7 or newer"),
        ("RTX 5090", "sm_120", Fit.CURRENT, "torch 2.8 or newer"),
        ("GTX 780", "sm_35", Fit.NONE, "none"),
        ("RX 580", "gfx803", Fit.NONE, "none"),
        ("RX 5700", "gfx1010", Fit.NONE, "community builds only"),
        ("RX 6800", "gfx1030", Fit.ROCM, "torch for ROCm"),
        ("RX 6700", "gfx1031", Fit.ROCM, "torch for ROCm as gfx1030"),
        ("a card of tomorrow", "sm_200", Fit.UNKNOWN, "unknown"),
        ("no card", "", Fit.UNKNOWN, "unknown"),
        ("nonsense", "sm_8.6", Fit.UNKNOWN, "unknown"),
    ],
)
def test_verdicts(card: str, architecture: str, fit: Fit, build: str) -> None:
    found = verdict(architecture)
    assert (found.fit, found.build) == (fit, build)
    assert bool(found.hint) is (fit is not Fit.CURRENT)
    assert len(build) <= 26, "it stands in a table of 80 columns"


@pytest.mark.parametrize(
    ("built", "architecture", "runs"),
    [
        (PYPI_27, "sm_61", True),
        (PYPI_28, "sm_61", False),
        (PYPI_28, "sm_70", True),
        (PYPI_215, "sm_70", False),
        (PYPI_215, "sm_86", True),
        (PYPI_215, "sm_89", True),
        (("sm_86",), "sm_80", False),
        (PYPI_27, "sm_120", False),
        (PYPI_215, "sm_121", True),
        (("compute_75",), "sm_120", True),
        (("sm_90a",), "sm_90", False),
        (("sm_90a",), "sm_100", False),
        ((), "sm_86", False),
        (PYPI_28, "", None),
        (ROCM_72, "gfx1030", True),
        (ROCM_72, "gfx1031", True),
        (ROCM_72, "gfx803", False),
        (ROCM_72, "sm_86", False),
        (PYPI_28, "gfx1030", False),
    ],
)
def test_what_a_build_runs_on(built: tuple[str, ...], architecture: str, runs: bool | None) -> None:
    assert holds(built, architecture) is runs


@pytest.mark.parametrize("number", [50, 52, 60, 61, 70, 75, 80, 86, 89, 90, 100, 120])
def test_the_table_agrees_with_the_wheels(number: int) -> None:
    """A card is called current exactly where the newest wheel, or at least 2.8, runs on it."""
    architecture = f"sm_{number}"
    current = verdict(architecture).fit is Fit.CURRENT
    assert current is holds(PYPI_215, architecture)
    if not current:
        assert holds(PYPI_27, architecture)
