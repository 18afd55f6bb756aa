"""What a task's audits cost while its trainers are new, before anybody trains: the ledger's own draw, by expectation.

A newcomer has nothing to lose, so its work is audited whole at first and less with every round that it was paid for
(docs/spec/rounds.md, 3). How fast that goes follows from how many units it has in a round: a cheat gains one of them,
and loses the pay of all.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice

from potminer.base import limits
from potminer.base.bounded import MILLION
from potminer.core.ledger.rewards import audited_ppm
from potminer.core.ledger.stake import Need
from potminer.node.taskfile import show_pot
from potminer.wire.genesis import Parameters
from potminer.wire.task import TaskSpec

EARLY = slice(0, 4)
"""Of the rounds after the first, which calibrates and is another matter: the second to the fifth."""
USUAL_PPM = 150_000
"""More of their training than this newcomers' audits had better not cost."""
MOST_ROUNDS = 2_000
"""That are looked at: of a longer task these are the dear ones."""


@dataclass(frozen=True, slots=True)
class Advice:
    """What makes audits cost no more than is usual in rounds two to five: so many *units* a trainer, None where no
    number that a round may have does, or a *bond* of so many grains a trainer from the beginning."""

    units: int | None
    bond: int


def audit_shares(spec: TaskSpec, parameters: Parameters, *, units: int | None = None) -> tuple[int, int]:
    """Work audited of work done, in millionths, where everybody begins new in the first round, loses nothing and
    leaves in what the ledger keeps: over rounds two to five, and over all but the first. Another number of *units* a
    trainer than the task's, if given. Zeros where there is one round. Second audits, the committee's work, are none of
    it."""
    each = units or spec.units_per_trainer
    drawn = [
        _share(spec, parameters, units=each, stake=stake)
        for stake in islice(_stakes(spec, parameters, each), min(spec.rounds, MOST_ROUNDS) - 1)
    ]
    return _mean(drawn[EARLY]), _mean(drawn)


def _share(spec: TaskSpec, parameters: Parameters, *, units: int, stake: int) -> int:
    """Of a unit, in millionths."""
    return audited_ppm(
        price=spec.reward.price_per_unit, stake=stake, units=units, segments=spec.segments,
        factor=parameters.audit_factor, floor_ppm=spec.audit.rate_ppm,
    ) // spec.segments  # fmt: skip


def _stakes(spec: TaskSpec, parameters: Parameters, units: int) -> Iterator[int]:
    """Of a trainer with *units* units, after one round, after two, and so on: what it is owed, and its bond."""
    price, factor = spec.reward.price_per_unit, parameters.audit_factor
    pay = units * price * (parameters.trainer_share_ppm + parameters.auditor_share_ppm) // MILLION
    least = factor * price * units
    need, bond = Need(least, max(least, factor * price * MILLION // spec.audit.rate_ppm)), 0
    owed: deque[int] = deque()
    while True:
        owed.append(pay)
        if len(owed) > parameters.escrow_rounds:
            bond += need.kept(owed.popleft(), bond=bond, keep_ppm=parameters.keep_ppm)
        yield bond + sum(owed)


def _mean(numbers: list[int]) -> int:
    return sum(numbers) // len(numbers) if numbers else 0


def advice(spec: TaskSpec, parameters: Parameters) -> Advice | None:
    """What would make newcomers' audits cost no more than is usual; None where they do not."""
    if audit_shares(spec, parameters)[0] <= USUAL_PPM:
        return None
    a_trainer = min(
        limits.UNITS_PER_ROUND // spec.max_trainers, limits.SEGMENTS_PER_ROUND // (spec.max_trainers * spec.segments)
    )
    counts = range(spec.units_per_trainer + 1, a_trainer + 1)
    enough = (count for count in counts if audit_shares(spec, parameters, units=count)[0] <= USUAL_PPM)
    gain = parameters.audit_factor * spec.reward.price_per_unit
    return Advice(next(enough, None), _round_up(-(-gain * (MILLION - USUAL_PPM) // USUAL_PPM)))


def _round_up(grains: int) -> int:
    """To two digits."""
    unit = int("1" + "0" * max(0, len(str(grains)) - 2))
    return -(-grains // unit) * unit


def say_newcomers(spec: TaskSpec, parameters: Parameters) -> list[str]:
    """In words, where it is more than usual, with what to change; nothing elsewhere."""
    (early, all_), better = audit_shares(spec, parameters), advice(spec, parameters)
    if better is None:
        return []
    whole = f"; {_percent(all_)} over all rounds" if spec.rounds > 5 else ""
    lines = [f"while trainers are new others compute {_percent(early)} of their work again, in rounds 2 to 5{whole}"]
    does = f"at most {_percent(USUAL_PPM)}: trainers that bond {show_pot(better.bond)} each"
    if better.units is not None:
        does += f", or units_per_trainer = {better.units} (of fewer samples, at a lower price, it is the same work)"
    return [*lines, does]


def _percent(ppm: int) -> str:
    return f"{(ppm + 5_000) // 10_000} %"
