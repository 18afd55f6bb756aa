"""Who hides in random histories, shows it later or does not, and what must hold of the stakes that are held."""

from __future__ import annotations

from collections import defaultdict
from random import Random
from typing import TYPE_CHECKING

from msgspec.structs import replace

from potminer.base.quorum import is_quorum, is_weak_quorum
from potminer.core.ledger import event
from potminer.core.ledger.stake import pending_of, stakes
from potminer.core.ledger.state import Draft, State
from potminer.wire import record as records
from potminer.wire.held import HeldStake, HiddenUnit
from potminer.wire.record import CommitteeRecord, TaskRecord, Trainer
from potminer.wire.tx import AuditVerdict, Body, Finding, ShowSnapshots

if TYPE_CHECKING:
    from tests.property.test_ledger_histories import Play

CHEATS = ("dee", "eve")
Seen = tuple[bytes, int, int, int, int]
"""Task, round, attempt, slot, segment."""


def withheld(play: Play, true: AuditVerdict) -> AuditVerdict:
    """What is found of a segment whose snapshots nobody has: those of a cheat often, of the others now and then."""
    place = (true.task, true.round, true.attempt, true.slot)
    unit = play.state.need(records.UnitRecord, records.unit_key(true.task, true.round, true.slot))
    chance = 0.4 if play.names[unit.trainer] in CHEATS else 0.04
    if Random(repr(("hides", *place, true.segment))).random() >= chance:
        return true
    return replace(true, finding=Finding.UNAVAILABLE, error_ppm=0, cheat_ppm=0)


def held_stakes(play: Play) -> dict[bytes, HeldStake]:
    found = ((key, play.state.get(HeldStake, records.held_key(key))) for key in play.names)
    return {key: held for key, held in found if held is not None}


def held_of(state: State, trainer: bytes) -> int:
    held = state.get(HeldStake, records.held_key(trainer))
    return held.amount if held is not None else 0


def shows(play: Play) -> list[tuple[str, Body]]:
    """Who shows, too often and too soon, and what the committee finds. Cheats mostly do not show, and half is false."""
    acts: list[tuple[str, Body]] = []
    for trainer, held in held_stakes(play).items():
        name = play.names[trainer]
        for unit in held.units:
            place = (unit.task, unit.round, unit.attempt, unit.slot)
            if play.random.random() < (0.05 if name in CHEATS else 0.3):
                acts.append((play.random.choice((name, name, name, "ann")), ShowSnapshots(*place)))
        if held.showing is not None:
            acts += _looks(play, name, held.units[held.showing.index])
    if play.random.random() < 0.02:
        acts.append(("ben", ShowSnapshots(play.random.randbytes(32), 0, 0, 0)))
    return acts


def _looks(play: Play, owner: str, unit: HiddenUnit) -> list[tuple[str, Body]]:
    acts: list[tuple[str, Body]] = []
    for part in unit.segments:
        place = (unit.task, unit.round, unit.attempt, unit.slot, part.segment)
        false = owner in CHEATS and Random(repr(("false", *place))).random() < 0.5
        small = Random(repr(("small", *place))).random() < 0.2
        finding = play.random.choice((Finding.MEASURED, Finding.MEASURED, Finding.MALFORMED)) if false else (
            Finding.MEASURED
        )
        ppm = 500_000 if false else 2_000 if small else 3
        true = AuditVerdict(*place, finding, ppm, bytes(64) if finding == Finding.MEASURED else b"")
        gone = play.random.random() < 0.1
        for judge in play.world.validators:
            said = replace(true, finding=Finding.UNAVAILABLE, error_ppm=0, sketch=b"") if gone else true
            if judge == "validator-3":
                lie = play.random.choice((0, 10**6))
                said = replace(true, finding=Finding.MEASURED, error_ppm=lie, sketch=bytes(64))
            if play.random.random() < 0.5:
                acts.append((judge, said))
    return acts


class Watch:
    """Follows a history block by block."""

    def __init__(self, play: Play) -> None:
        self.play = play
        self._before: dict[bytes, HeldStake] = {}
        self._events = len(play.events)
        self._said: dict[Seen, dict[bytes, int]] = defaultdict(dict)
        """What judges measured, ppm."""
        self._committees: set[CommitteeRecord] = set()
        self._tasks: set[bytes] = set()

    def look(self) -> None:
        play, now = self.play, held_stakes(self.play)
        self._committees.add(replace(self.play.state.need(CommitteeRecord, records.COMMITTEE), skipped=()))
        self._hear()
        happened, self._events = play.events[self._events :], len(play.events)
        expelled = {each.trainer for each in happened if isinstance(each, event.Expelled)}
        returned = {each.trainer: each.amount for each in happened if isinstance(each, event.StakeReturned)}
        for trainer, held in self._before.items():
            there = now.get(trainer)
            gone = [unit for unit in held.units if there is None or not _is_in(unit, there)]
            if trainer in expelled:
                assert there is None
                continue
            for unit in gone:
                assert all(self._is_seen(unit, part.segment) for part in unit.segments), "not shown to a quorum"
            if there is None:
                assert not held.sealed
                assert len(gone) == len(held.units)
                assert returned[trainer] >= held.amount
                continue
            assert there.amount >= held.amount, "what is held is let go whole or not at all"
        for trainer in returned:
            assert trainer in self._before or any(
                isinstance(each, event.StakeHeld) and each.trainer == trainer for each in happened
            )
        self._before = now
        self._check(now)

    def _hear(self) -> None:
        for signed in self.play.blocks[-1].transactions:
            body = signed.transaction.body
            if isinstance(body, AuditVerdict) and body.finding == Finding.MEASURED:
                place = (body.task, body.round, body.attempt, body.slot, body.segment)
                self._said[place].setdefault(signed.transaction.sender, body.error_ppm)

    def _is_seen(self, unit: HiddenUnit, segment: int) -> bool:
        """Whether judges with more than 2/3 of the power of some committee so far have measured it, or with more than
        1/3 have found it good."""
        said = self._said[unit.task, unit.round, unit.attempt, unit.slot, segment]
        for committee in self._committees:
            power = dict(zip(committee.members, committee.powers, strict=True))
            total, good = sum(committee.powers), [m for m in said if said[m] <= unit.allowed_ppm]
            if is_quorum(sum(power.get(m, 0) for m in said), total):
                return True
            if is_weak_quorum(sum(power.get(m, 0) for m in good), total):
                return True
        return False

    def _check(self, now: dict[bytes, HeldStake]) -> None:
        state = self.play.state
        self._tasks.update(state.head.open_tasks)
        for task_id in self._tasks:
            state.need(TaskRecord, records.task_key(task_id))
        draft, shown = Draft(state), set(state.head.showing)
        assert shown == {trainer for trainer, held in now.items() if held.showing is not None}
        for trainer in now:
            found = state.need(Trainer, records.trainer_key(trainer))
            assert not found.expelled
            for task_id in state.head.open_tasks:
                task = state.need(TaskRecord, records.task_key(task_id))
                owed = pending_of(draft, task_id, task)[trainer]
                assert stakes(draft, task_id, task, [trainer])[trainer] == found.bond + owed, "held money is no stake"


def _is_in(unit: HiddenUnit, held: HeldStake) -> bool:
    """Whether something of *unit* is hidden still."""
    place = (unit.task, unit.round, unit.attempt, unit.slot)
    return any((each.task, each.round, each.attempt, each.slot) == place for each in held.units)
