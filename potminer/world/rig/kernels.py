"""Which builds of torch hold kernels for which card.

A card without kernels fails only at the first launch, long after a unit was accepted: so the table is
asked first. Its CUDA rows were measured by unpacking the wheels of PyPI (2.4 to 2.15); its ROCm rows
are what ``get_arch_list`` says of the wheel for ROCm 7.2, and what owners report of older ones. The
rules of the drivers: a binary for sm_XY runs on cards of the same X and an equal or larger Y; AMD's
runs on its own gfx alone.
"""

from __future__ import annotations

import re
from collections.abc import Collection
from dataclasses import dataclass
from enum import StrEnum


class Fit(StrEnum):
    CURRENT = "current"
    """The newest torch of PyPI has its kernels."""
    OLDER = "older"
    """Only an older build has them."""
    ROCM = "rocm"
    """The ROCm build, which is not the one on PyPI."""
    NONE = "none"
    """No official build: the card can be watched and cannot train."""
    UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True)
class Verdict:
    """*build* in a few words for a table, *hint* what to do; empty where nothing is to be done."""

    fit: Fit
    build: str
    hint: str = ""


_OLD_PASCAL = Verdict(
    Fit.OLDER, "torch 2.7.1, not newer", "pip install 'torch==2.7.1' (Python 3.9 to 3.13): the last with these kernels."
)
_OLD_VOLTA = Verdict(
    Fit.OLDER, "torch 2.7 to 2.10", "pip install 'torch==2.10.*': later builds have no kernels for this card."
)
_KEPLER = Verdict(Fit.NONE, "none", "No torch from 2.7 on has kernels for this card: it can mine, it cannot train.")
_NEWEST = Verdict(Fit.CURRENT, "torch 2.8 or newer")
_CURRENT = Verdict(Fit.CURRENT, "torch 2.7 or newer")

_CUDA: tuple[tuple[int, int, Verdict], ...] = (
    (30, 49, _KEPLER),
    (50, 62, _OLD_PASCAL),
    (70, 72, _OLD_VOLTA),
    (75, 99, _CURRENT),
    (100, 109, _NEWEST),
    (120, 129, _NEWEST),
)
"""First and last compute capability (times ten), and what fits."""

_ROCM = Verdict(Fit.ROCM, "torch for ROCm", "Choose ROCm at https://pytorch.org/get-started/locally (Linux only).")
_ROCM_AS_1030 = Verdict(
    Fit.ROCM,
    "torch for ROCm as gfx1030",
    "Choose ROCm at https://pytorch.org/get-started/locally, and set HSA_OVERRIDE_GFX_VERSION=10.3.0 for potminer.",
)
_AMD_NONE = Verdict(
    Fit.NONE, "none", "No official torch has kernels for this card: it can mine, and this node can validate."
)
_AMD_COMMUNITY = Verdict(
    Fit.NONE, "community builds only", "Only builds made by others have kernels for this card; none was tried."
)
_AMD: dict[str, Verdict] = {
    **dict.fromkeys(("gfx700", "gfx701", "gfx702", "gfx801", "gfx802", "gfx803"), _AMD_NONE),
    **dict.fromkeys(("gfx902", "gfx909", "gfx1010", "gfx1011", "gfx1012"), _AMD_COMMUNITY),
    **dict.fromkeys(("gfx900", "gfx906", "gfx908", "gfx90a", "gfx942", "gfx950", "gfx1030"), _ROCM),
    **dict.fromkeys(("gfx1031", "gfx1032", "gfx1033", "gfx1034", "gfx1035", "gfx1036"), _ROCM_AS_1030),
    **dict.fromkeys(("gfx1100", "gfx1101", "gfx1102", "gfx1150", "gfx1151", "gfx1200", "gfx1201"), _ROCM),
}
_UNKNOWN = Verdict(Fit.UNKNOWN, "unknown", "potminer doctor compares the card with the torch that is installed.")


def verdict(architecture: str) -> Verdict:
    """For ``sm_86`` or ``gfx1030`` as in ``GpuSample.architecture``."""
    found = _AMD.get(architecture)
    if found is not None:
        return found
    capability = _capability(architecture)
    if capability is not None:
        for low, high, fits in _CUDA:
            if low <= capability <= high:
                return fits
    return _UNKNOWN


def holds(architectures: Collection[str], architecture: str) -> bool | None:
    """Whether a build with *architectures* (``torch.cuda.get_arch_list()``) runs on a card of
    *architecture*; None where the card's is unknown. ``compute_XY`` is code that the driver
    translates for any later card."""
    if not architecture:
        return None
    capability = _capability(architecture)
    if capability is None:
        return architecture in architectures or ("gfx1030" in architectures and verdict(architecture) is _ROCM_AS_1030)
    for built in architectures:
        other = _capability(built)
        if other is None or other > capability or built.endswith(("a", "f")):
            continue
        if other // 10 == capability // 10 or built.startswith("compute_"):
            return True
    return architecture in architectures


def _capability(name: str) -> int | None:
    """``sm_86`` and ``compute_86`` are 86, ``sm_120`` is 120."""
    found = re.fullmatch(r"(?:sm|compute)_(\d{2,3})[af]?", name)
    return None if found is None else int(found[1])
