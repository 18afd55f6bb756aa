"""What a trainer stands to lose, what it must not take out, and what of its pay stays in as bond.

The stake in a round is its bond and what the task owes it: money that stays where it is until the round's audits
are decided, whatever the trainer does. How much of its work is audited follows from it (``rewards.audited_ppm``).
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable
from dataclasses import dataclass

from msgspec.structs import replace

from potminer.base.bounded import MILLION
from potminer.core.ledger.progress import rounds_of
from potminer.core.ledger.state import Draft
from potminer.wire import record as records
from potminer.wire.genesis import Parameters
from potminer.wire.record import PendingRound, Phase, Release, Share, Standing, TaskRecord, Trainer


@dataclass(frozen=True, slots=True)
class Need:
    """*least* is the bond below which every payment becomes bond, *full* the bond at which none does."""

    least: int = 0
    full: int = 0

    def kept(self, amount: int, *, bond: int, keep_ppm: int) -> int:
        """How much of *amount* becomes bond."""
        first = min(amount, max(0, self.least - bond))
        rest = (amount - first) * keep_ppm // MILLION
        return first + min(rest, max(0, self.full - bond - first))


def needs(draft: Draft) -> dict[bytes, Need]:
    """The need of everybody who is an active member of an open task.

    Least: the audit factor times all that its units of one round in all these tasks can earn. Full: where the rarest of
    the tasks' audit rates is reached by the bond alone.
    """
    least: Counter[bytes] = Counter()
    full: defaultdict[bytes, int] = defaultdict(int)
    factor = draft.parameters.audit_factor
    for task_id in draft.head.open_tasks:
        task = draft.need(TaskRecord, records.task_key(task_id))
        price, floor = task.spec.reward.price_per_unit, min(task.spec.audit.rate_ppm, MILLION)
        for member in task.members:
            if member.standing == Standing.ACTIVE:
                least[member.trainer] += factor * price * task.spec.units_per_trainer
                full[member.trainer] = max(full[member.trainer], factor * price * MILLION // floor)
    return {trainer: Need(amount, max(amount, full[trainer])) for trainer, amount in least.items()}


def pending_of(draft: Draft, task_id: bytes, task: TaskRecord) -> Counter[bytes]:
    """What the task owes to everybody for rounds still in the dispute window."""
    owed: Counter[bytes] = Counter()
    for number in window(draft.parameters, task):
        pending = draft.get(PendingRound, records.pending_key(task_id, number))
        for share in pending.shares if pending is not None else ():
            owed[share.earner] += share.amount
    return owed


def window(parameters: Parameters, task: TaskRecord) -> range:
    """Rounds closed and not yet paid."""
    return range(max(0, task.round - parameters.escrow_rounds), task.round)


def stakes(draft: Draft, task_id: bytes, task: TaskRecord, trainers: Iterable[bytes]) -> dict[bytes, int]:
    """What each of *trainers* stands to lose by a cheat in the round of *task* that is drawn now.

    Money that is being unbonded does not count: it is slashed too, but may be gone by the next draw. Nor does what is
    held (``hidden.py``): it may be lost already, and nobody knows.
    """
    owed = pending_of(draft, task_id, task)
    bonds = {trainer: draft.need(Trainer, records.trainer_key(trainer)).bond for trainer in trainers}
    return {trainer: bond + owed[trainer] for trainer, bond in bonds.items()}


def judged(draft: Draft) -> set[bytes]:
    """Who has work in a round whose audits are drawn and not yet decided: of them nothing is released."""
    result: set[bytes] = set()
    for task_id in draft.head.open_tasks:
        for current in rounds_of(draft, task_id):
            if current.phase in (Phase.AUDIT, Phase.OPEN, Phase.DISPUTE):
                result.update(current.slots)
    return result


def release_bonds(draft: Draft) -> None:
    """Pay out what has been unbonding long enough, but not of those whose work is being judged."""
    head = draft.head
    due = bonds_due(draft, now=head.time_ms)
    for release in due:
        key = records.trainer_key(release.trainer)
        trainer = draft.need(Trainer, key)
        draft.put(key, replace(trainer, unbonding=trainer.unbonding - release.amount))
        draft.credit(trainer.payout, release.amount)
    if due:
        draft.put(records.CHAIN, replace(head, releases=tuple(r for r in head.releases if r not in due)))


def bonds_due(draft: Draft, *, now: int) -> list[Release]:
    due = [release for release in draft.head.releases if release.time_ms <= now]
    busy = judged(draft) if due else set()
    return [release for release in due if release.trainer not in busy]


def pay(draft: Draft, shares: Iterable[Share]) -> tuple[tuple[Share, ...], tuple[Share, ...], int]:
    """Pay *shares*: what was paid, what of it was kept as bond, and what proven cheats have forfeited."""
    paid, kept, forfeited = [], [], 0
    need = needs(draft)
    for share in shares:
        key = records.trainer_key(share.earner)
        trainer = draft.get(Trainer, key)
        if trainer is not None and trainer.expelled:
            forfeited += share.amount
            continue
        stays = 0
        if trainer is not None:
            wanted = need.get(share.earner, Need())
            stays = wanted.kept(share.amount, bond=trainer.bond, keep_ppm=draft.parameters.keep_ppm)
        if trainer is not None and stays:
            draft.put(key, replace(trainer, bond=trainer.bond + stays))
            kept.append(replace(share, amount=stays))
        draft.credit(share.account, share.amount - stays)
        paid.append(share)
    return tuple(paid), tuple(kept), forfeited
