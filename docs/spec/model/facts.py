"""What a round is made of, in an executable reading of ../rounds.md: the records, and what can be asked of them alone.
"""

from __future__ import annotations

from typing import Any, NamedTuple

MEASURED, MALFORMED, UNAVAILABLE = range(3)
BAD = ("out-of-tolerance", "malformed")
BIND, SHOW, JUDGE = range(3)
CLASSES = 16
PIECE_BYTES = 2**20


class Judgement(NamedTuple):
    outcome: str
    measured_ppm: int | None
    allowed_ppm: int


class Verdict(NamedTuple):
    judge: bytes
    segment: int
    finding: int
    error_ppm: int
    sketch: bytes
    cheat_ppm: int


class Opening(NamedTuple):
    segment: int
    leaf: int
    residues: bytes


class Unit(NamedTuple):
    trainer: bytes
    commitment: bytes | None = None
    loss_micro: int = 0
    snapshots: tuple[bytes, ...] = ()
    verdicts: tuple[Verdict, ...] = ()
    judges: tuple[Verdict, ...] = ()
    judgement: Judgement | None = None
    stake: int = 0
    allowed_ppm: int | None = None
    device: str = ""
    calibrating: bool = False
    arrived_ms: int | None = None
    residues: bytes | None = None
    openings: tuple[Opening, ...] = ()
    lengths: tuple[int, ...] = ()
    outlier: bool = False

    @property
    def square(self) -> int:
        """§3: what it is said to be at the least; the first of eight bits is always one."""
        return sum((128 + said % 128) * 2 ** (said // 128) // 256 for said in self.lengths)

    def passes(self, said: Verdict | None) -> bool:
        """§4."""
        return said is not None and said.finding == MEASURED and said.error_ppm <= (self.allowed_ppm or 0)


class Audit(NamedTuple):
    slot: int
    segment: int
    auditor: bytes | None
    leaf: int
    disputed: bool = False
    ruling: str | None = None


class Attestation(NamedTuple):
    validator: bytes
    model: bytes
    malformed: tuple[int, ...]


class Round(NamedTuple):
    number: int
    attempt: int
    seed: bytes
    base: bytes
    phase: int
    opened_ms: int
    deadline_ms: int
    slots: tuple[bytes, ...]
    witnesses: tuple[bytes, ...] = ()
    audits: tuple[Audit, ...] = ()
    attestations: tuple[Attestation, ...] = ()
    slices: int = 1
    draws_at: int = 0


class PartAttestation(NamedTuple):
    validator: bytes
    part: bytes
    malformed: tuple[int, ...]


class Slice(NamedTuple):
    attestations: tuple[PartAttestation, ...]


class Share(NamedTuple):
    earner: bytes
    account: bytes
    amount: int


class Pending(NamedTuple):
    shares: tuple[Share, ...]
    updates: tuple[bytes, ...]


class Update(NamedTuple):
    round: int
    trainer: bytes


class Bound(NamedTuple):
    evaluator: bytes
    commitment: bytes


class Score(NamedTuple):
    scorer: bytes
    score_ppm: int
    loss_micro: int
    trial_micro: int

    def off(self, truth: Score) -> int:
        """How many times what is paid it is off, 11 for anything beyond ten."""
        for times in (1, 10):
            if (
                abs(self.score_ppm - truth.score_ppm) <= 5_000 * times
                and abs(self.trial_micro - truth.trial_micro) <= 1_000 * times
                and 200 * abs(self.loss_micro - truth.loss_micro) <= times * (truth.loss_micro + 200)
            ):
                return times
        return 11


class Evaluation(NamedTuple):
    closed: int
    model: bytes
    deadline_ms: int
    evaluators: tuple[bytes, ...]
    purse: int
    seed: bytes
    phase: int = 0
    bound: tuple[Bound, ...] = ()
    scores: tuple[Score, ...] = ()
    judges: tuple[Score, ...] = ()

    def most(self, count: int) -> bool:
        return 2 * count > len(self.evaluators)


class Metric(NamedTuple):
    closed: int
    score_ppm: int
    loss_micro: int
    answers: int


class Device(NamedTuple):
    name: str
    noise_ppm: int | None


class Calibration(NamedTuple):
    tolerance_ppm: int
    noise_ppm: int
    cheat_ppm: int
    devices: tuple[Device, ...]
    refused: bool = False


def median(numbers: Any) -> int:
    """The lower one."""
    ordered = sorted(numbers)
    return ordered[(len(ordered) - 1) // 2]


def per(count: int, of: int) -> int:
    """How many times *of* goes into *count*, rounded up, at least once."""
    return max(1, -(-count // of))


def differ(one: bytes, other: bytes) -> bool:
    """training.md, Residues."""
    apart = []
    for a, b in zip(one, other, strict=True):
        for x, y in ((a % 16, b % 16), (a // 16, b // 16)):
            if (x, y) != (15, 15):
                apart.append(7 if 15 in (x, y) else min((x - y) % 15, (y - x) % 15))
    return len(apart) >= 32 and 3 * sum(apart) > 7 * len(apart)


def shows(unit: Unit) -> bool:
    """§12: it was revealed, and is no copy."""
    return bool(unit.snapshots) and (unit.judgement is None or unit.judgement.outcome != "duplicate")


def refused(unit: Unit) -> bool:
    return shows(unit) and unit.judgement is not None and unit.judgement.outcome != "accepted"
