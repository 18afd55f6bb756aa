"""How a node behaves where it could lie. The honest conduct computes; the others exist for devnets,
where cheats must be seen to fail, and are refused on any other network (``node/build.py``).

Cheats in the numbers themselves (garbage, sign flips, ...) are made in the GPU child.
"""

from __future__ import annotations

from msgspec.structs import replace

from potminer.base.digest import Domain, digest, number
from potminer.wire.codec import encode
from potminer.wire.record import Outcome, TaskRecord, UnitRecord
from potminer.wire.residue import LEAF_BYTES
from potminer.wire.tx import TRIAL_MICRO, AuditVerdict, Finding, RevealWork

HOPELESS = 10
"""Times the allowed error: less may be an unlucky unit."""


class Conduct:
    """Honest: reveals what it computed and audits by recomputing."""

    stubborn = False
    """Whether it goes on with work that its device was found not to do: only cheats have a reason to."""

    def gives_up(self, unit: UnitRecord) -> bool:
        """Whether how our own *unit* ended shows that this device cannot do the task's work: it would be expelled."""
        if self.stubborn or unit.judgement is None or unit.judgement.outcome != Outcome.OUT_OF_TOLERANCE:
            return False
        measured, allowed = unit.judgement.measured_ppm or 0, unit.judgement.allowed_ppm
        return unit.calibrating or measured > HOPELESS * allowed

    def observe(self, unit: UnitRecord) -> None:
        """A revealed unit of somebody's was seen on the ledger."""

    def reveal(self, work: RevealWork) -> RevealWork:
        """What is committed to and revealed for an honestly computed *work*."""
        return work

    def verdict(self, blank: AuditVerdict) -> AuditVerdict | None:
        """A verdict given without recomputing, or None to recompute."""
        return None

    def score(self, task: TaskRecord, closed: int) -> tuple[int, int, int] | None:
        """Score, loss and trial of the model after *closed* rounds without running it, or None to run it."""
        return None


class Stubborn(Conduct):
    """Cheats elsewhere, in the GPU child, and is not impressed."""

    stubborn = True


class Copycat(Stubborn):
    """Claims the newest update it saw somebody else reveal."""

    def __init__(self, own: bytes) -> None:
        self._own = own
        self._seen: tuple[bytes, ...] = ()

    def observe(self, unit: UnitRecord) -> None:
        if unit.trainer != self._own and unit.snapshots:
            self._seen = unit.snapshots

    def reveal(self, work: RevealWork) -> RevealWork:
        return replace(work, snapshots=self._seen) if len(self._seen) == len(work.snapshots) else work


class RubberStamp(Stubborn):
    """Finds every unit perfect without looking. (``guess``, a cheat of the child, looks at the snapshots first.)"""

    def verdict(self, blank: AuditVerdict) -> AuditVerdict | None:
        return replace(blank, finding=Finding.MEASURED, error_ppm=0, sketch=_invented(blank))


class Accuser(Stubborn):
    """Finds every unit false without looking."""

    def verdict(self, blank: AuditVerdict) -> AuditVerdict | None:
        return replace(blank, finding=Finding.MEASURED, error_ppm=987_654, sketch=_invented(blank))


class Parrot(Stubborn):
    """Says of every model what was said of the one before, and guesses the rest."""

    def __init__(self, own: bytes) -> None:
        self._own = own

    def score(self, task: TaskRecord, closed: int) -> tuple[int, int, int] | None:
        last = task.metric
        return (*((last.score_ppm, last.loss_micro) if last is not None else (500_000, 10**6)), self._guess(closed))

    def _guess(self, closed: int) -> int:
        """Somewhere within two deviations."""
        chance = int.from_bytes(digest(Domain.SCORE, self._own, number(closed))[:8], "big")
        return TRIAL_MICRO // 2 + chance % 4_000_000 - 2_000_000


class Flatterer(Parrot):
    """Says that every model is perfect."""

    def score(self, task: TaskRecord, closed: int) -> tuple[int, int, int] | None:
        return 10**6, 0, self._guess(closed)


def _invented(blank: AuditVerdict) -> bytes:
    """Residues out of nothing."""
    return b"".join(digest(Domain.RESIDUES, encode(blank), number(half)) for half in range(LEAF_BYTES // 32))


def conduct_of(kind: str | None, *, own: bytes) -> Conduct:
    """The conduct called *kind*; honest for None and for cheats that live elsewhere."""
    match kind:
        case "copy":
            return Copycat(own)
        case "rubber-stamp":
            return RubberStamp()
        case "accuse":
            return Accuser()
        case "parrot":
            return Parrot(own)
        case "flatter":
            return Flatterer(own)
        case _:
            return Conduct() if kind is None else Stubborn()
