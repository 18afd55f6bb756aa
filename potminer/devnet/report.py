"""The last word of a devnet: one object, the contract that benchmarks and outside checks build on."""

from __future__ import annotations

from dataclasses import dataclass

from potminer.base.address import encode_address
from potminer.devnet.course import Course
from potminer.devnet.plan import Plan
from potminer.devnet.verify import Verified
from potminer.wire.task import TaskSpec

SCHEMA = 1

_PHASES = {
    "compute": ("commit",),
    "network": ("reveal", "aggregate"),
    "consensus": ("draw",),
    "audit": ("audit", "open", "dispute"),
}
"""Which phases of a round count as what: block time from one phase change to the next."""


@dataclass(frozen=True, slots=True)
class Fate:
    """What became of a faulty trainer: outcomes of its units by reason, and what it was paid."""

    kind: str
    outcomes: dict[str, int]
    paid: int


def make_report(
    plan: Plan, course: Course, spec: TaskSpec, verified: Verified, *, model: str, wallets: dict[str, int],
    fates: dict[str, Fate],
) -> dict[str, object]:
    """Times in seconds, money in grains, bytes as all members sent them together."""
    wall_s = course.ended_s - course.started_s
    samples = course.accepted * spec.samples_per_unit
    sent = sum(course.sent_bytes.values())
    return {
        "schema": SCHEMA,
        "task": course.task,
        "rounds": len(course.rounds),
        "ended": "" if course.detail is None else course.detail.task.ended,
        "metric": {"name": "accuracy", "value": course.scores[-1].accuracy_ppm / 1e6 if course.scores else None},
        "loss": [view.loss_micro / 1e6 for view in course.rounds if view.loss_micro is not None],
        "validation": [
            {"round": score.round, "accuracy": score.accuracy_ppm / 1e6, "loss": score.loss_micro / 1e6}
            for score in course.scores
        ],
        "round_s": [((view.closed_ms or 0) - view.opened_ms) / 1_000 for view in course.rounds],
        "model": model,
        "model_id": None if course.detail is None else course.detail.task.model,
        "state_root": verified.state_root.hex(),
        "state_roots_equal": verified.roots_agree,
        "height": verified.height,
        "validators": len(plan.validators),
        "trainers": len(plan.trainers),
        "units": {"accepted": course.accepted, "rejected": course.rejected},
        "rewards": {encode_address(m.key): wallets[m.name] for m in plan.trainers},
        "supply_ok": verified.supply_ok,
        "bytes": {"sent": sent, "per_sample": round(sent / samples, 3) if samples else None},
        "samples": samples,
        "wall_s": round(wall_s, 3),
        "samples_per_s": round(samples / wall_s, 1) if wall_s > 0 else None,
        "phases_s": _phases(course),
        "commit_ms": {"p50": course.commit_ms[0], "p99": course.commit_ms[1]},
        "epoch": verified.epoch,
        "slashed": [member.name for member in plan.validators if member.key in verified.slashed],
        "byzantine": {
            name: {"kind": fate.kind, "outcomes": fate.outcomes, "paid": fate.paid} for name, fate in fates.items()
        },
    }


def _phases(course: Course) -> dict[str, float]:
    return {
        name: round(sum(view.phases_ms.get(p, 0) for view in course.rounds for p in phases) / 1_000, 3)
        for name, phases in _PHASES.items()
    }
