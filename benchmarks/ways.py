"""The ways to cheat that ``cheating.py`` plays: in the work, in what is said of it, as auditors, as evaluators."""

from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from msgspec.structs import replace
from record import ROOT

sys.path.insert(0, str(ROOT))

from potminer.core.rounds.conduct import Conduct as Manner
from potminer.core.rounds.conduct import Stubborn, conduct_of
from potminer.train.bench import Bench
from potminer.train.cheat import Cheat, cheat
from potminer.train.conduct import HONEST, Conduct
from potminer.train.weights import Floats
from potminer.wire.trainer import Trained, TrainJob
from tests.unit.ledger_world import World

WORK = (
    "garbage", "signflip", "labelflip", "labelflip-10%", "labelflip-1%", "stale", "lazy-2", "skip-1-of-32", "scale-10",
    "free-ride", "alie", "ipm", "mimic",
)  # fmt: skip
"""Cheats in the work itself."""
WORDS = ("copy", "false-residues", "rubber-stamp", "guess", "accuse", "friends", "parrot", "flatter", "hide")
"""Cheats in what is said: of others' updates, of one's own residues, as auditors, as evaluators of the model. *friends*
pass each other's garbage; *parrot* repeats the last score, *flatter* calls every model perfect. *hide* does garbage,
serves nobody the snapshots that an audit needs, and joins again."""
FALSE_SEGMENTS = {"skip-1-of-32": 1}
"""Of four, where it is not all."""
AUDITORS, EVALUATORS = ("rubber-stamp", "guess", "accuse"), ("parrot", "flatter")


@dataclass
class Plot:
    """What those who know everything would report: *look* gives this round's honest updates and the last step."""

    kind: str
    segments: int
    look: Callable[[], tuple[list[Floats], Floats]] = lambda: ([], np.zeros(0, np.float32))
    _known: object = None
    _aim: Floats = field(default_factory=lambda: np.zeros(0, np.float32))

    def renew(self, known: object) -> None:
        """Look, once for all that is *known* by one name."""
        if known == self._known:
            return
        self._known = known
        honest, last = self.look()
        every = np.array(honest)
        match self.kind:
            case "alie":
                aim = every.mean(axis=0) - 1.5 * every.std(axis=0)
            case "ipm":
                aim = -0.5 * every.mean(axis=0)
            case "mimic":
                aim = every[0]
            case _:
                aim = last
        self._aim = np.asarray(aim, np.float32)

    def follow(self, other: Plot) -> None:
        self._aim = other._aim

    def state(self, state: Floats, before: Floats) -> Floats:
        return np.asarray(before + self._aim / self.segments, np.float32)


def way(kind: str, segments: int) -> tuple[Cheat, Plot | None]:
    """How a worker cheats in the work; for ``honest``, and for cheats in words, not at all."""
    if kind in ("free-ride", "alie", "ipm", "mimic"):
        plot = Plot(kind, segments)
        return Cheat(Conduct(weight=lambda _: 0, state=plot.state)), plot
    if kind.startswith("labelflip-"):
        share, chance = int(kind[10:-1]) / 100, np.random.default_rng(7)
        return Cheat(Conduct(labels=lambda y: np.where(chance.random(len(y)) < share, (y + 1) % 10, y))), None
    if kind == "skip-1-of-32":
        return Cheat(Conduct(weight=lambda batch: int(batch % 32 != 31))), None
    if kind == "scale-10":
        return Cheat(Conduct(state=lambda state, before: np.asarray(before + 10 * (state - before), np.float32))), None
    if kind in ("friends", "hide"):
        return cheat("garbage"), None
    if kind == "false-residues":
        return Cheat(HONEST), None
    return cheat(kind if kind in WORK or kind == "guess" else None), None


class Invented(Bench):
    """Trains honestly and binds itself to residues out of nothing: honest auditors shall look lazy."""

    def train(self, job: TrainJob, checkpoint: Any) -> Trained:
        made = super().train(job, checkpoint)
        chance = np.random.default_rng(job.unit.slot)
        return replace(made, residues=chance.bytes(len(made.residues)))


class Friend(Stubborn):
    """Passes what *friends* did, whatever it is; audits others honestly."""

    def __init__(self, world: World, friends: tuple[bytes, ...]) -> None:
        self._world, self._friends = world, friends

    def verdict(self, blank: Any) -> Any:
        if self._world.round.slots[blank.slot] not in self._friends:
            return None
        return conduct_of("rubber-stamp", own=b"").verdict(blank)


class Late(Stubborn):
    """Honest until it is woken."""

    def __init__(self) -> None:
        self._then: Manner = Stubborn()

    def wake(self, then: Manner) -> None:
        self._then = then

    def observe(self, unit: Any) -> None:
        self._then.observe(unit)

    def reveal(self, work: Any) -> Any:
        return self._then.reveal(work)

    def verdict(self, blank: Any) -> Any:
        return self._then.verdict(blank)

    def score(self, task: Any, closed: int) -> Any:
        return self._then.score(task, closed)


def manner(kind: str, world: World, own: bytes, friends: tuple[bytes, ...]) -> Manner:
    if kind == "friends":
        return Friend(world, friends)
    return conduct_of(kind if kind in WORDS else None, own=own)
