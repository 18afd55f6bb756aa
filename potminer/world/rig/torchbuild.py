"""The installed torch, asked through a short process: this one never imports it."""

from __future__ import annotations

import sys
from typing import Annotated

import msgspec
from msgspec import Meta

from potminer.world.rig.program import Run, run

DEADLINE_MS = 60_000
"""Importing torch from a cold disk on a rig's dual core."""

ARCHES_ARGUMENT = "__arches__"
"""First argument by which a frozen potminer (no ``python -m``) knows that it is to say what its torch was built for."""

Word = Annotated[str, Meta(max_length=200)]


class TorchBuild(msgspec.Struct, frozen=True):
    """*version* is None where torch is missing or does not load; *fault* then says why.

    *cuda* or *hip* is the platform it was built for; neither: for the CPU alone.
    """

    version: Word | None
    fault: Word = ""
    cuda: Word | None = None
    hip: Word | None = None
    architectures: Annotated[tuple[Word, ...], Meta(max_length=64)] = ()

    @property
    def platform(self) -> str:
        if self.cuda:
            return f"CUDA {self.cuda}"
        return f"ROCm {self.hip}" if self.hip else "CPU only"


def ask_torch(ask: Run | None = None) -> TorchBuild | None:
    """None where the process does not answer: an import that hangs."""
    question = ask or (lambda argv: run(argv, deadline_ms=DEADLINE_MS))
    frozen = bool(getattr(sys, "frozen", False))
    answer = question([sys.executable, ARCHES_ARGUMENT] if frozen else [sys.executable, "-m", "potminer.train.arches"])
    try:
        return None if answer is None else msgspec.json.decode(answer, type=TorchBuild)
    except (msgspec.DecodeError, UnicodeError):
        return None
