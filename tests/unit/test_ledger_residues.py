"""Who did not recompute: sketches against what trainers were bound to, and what follows from either's lie."""

from __future__ import annotations

from random import Random

import pytest
from msgspec.structs import replace

from potminer.base import draw
from potminer.core.ledger import event
from potminer.core.ledger.audits import _next_leaf
from potminer.core.ledger.close import _paid_auditors
from potminer.core.ledger.judge import rule_unit
from potminer.core.ledger.openings import opening_ms
from potminer.core.ledger.refusal import Refusal
from potminer.core.ledger.sketch import contradiction
from potminer.wire.record import Audit, CommitteeRecord, Opening, Outcome, Phase, Standing, UnitRecord, Verdict
from potminer.wire.residue import LEAVES, leaf_number, leaf_path, leaves_of, residue_root
from potminer.wire.task import AuditSpec
from potminer.wire.tx import AuditVerdict, Finding, OpenResidue
from tests.unit.ledger_stages import auditor, owner, stage
from tests.unit.ledger_world import World, key, residues, spec

ONE = spec(units_per_trainer=1)
GUESS = Random(7).randbytes(64)
OTHER_GUESS = Random(8).randbytes(64)


def first(world: World, slot: int = 0) -> Audit:
    return next(a for a in world.round.audits if a.slot == slot)


def outcome(world: World, slot: int = 0) -> Outcome:
    judgement = world.unit(slot).judgement
    assert judgement is not None
    return judgement.outcome


def earners(world: World) -> set[bytes]:
    return {share.earner for rewarded in world.happened(event.Rewarded) for share in rewarded.shares}


def expelled(world: World) -> list[tuple[bytes, str]]:
    return [(each.trainer, each.reason) for each in world.happened(event.Expelled)]


def audited(world: World, *, guessed: bytes | None = GUESS, opened: bool = True) -> World:
    """At the end of the audits: everybody honest, but the first auditor of slot 0 sketched *guessed*."""
    bodies = []
    for audit in world.round.audits:
        said = world.verdict_of(audit.slot, 3, segment=audit.segment)
        if audit == first(world) and guessed is not None:
            said = replace(said, error_ppm=0, sketch=guessed)
        assert audit.auditor is not None
        bodies.append((world.name_of(audit.auditor), said))
    assert set(world.step(*bodies)) == {None}
    if opened:
        world.open_all()
    return world


def judged(world: World, *sketches: bytes | None) -> None:
    """Validators find the first audit of slot 0 good, each with its own sketch; None sketches the truth."""
    true = world.verdict_of(0, 2, segment=first(world).segment)
    said = [true if sketch is None else replace(true, sketch=sketch) for sketch in sketches]
    world.step(*zip(world.validators, said, strict=False))


# ---- a lazy auditor ----------------------------------------------------------------------


def test_an_auditor_that_did_not_recompute_is_expelled_slashed_and_unpaid_and_the_unit_is_paid() -> None:
    world = audited(stage(Phase.AUDIT))
    lazy = first(world).auditor
    assert world.round.phase == Phase.DISPUTE
    assert [a for a in world.round.audits if a.disputed] == [replace(first(world), disputed=True)]
    judged(world, None, None)
    assert world.round.phase == Phase.DISPUTE
    judged(world, None, None, None)
    assert world.round.phase == Phase.AGGREGATE
    assert outcome(world) == Outcome.ACCEPTED
    assert expelled(world) == [(lazy, "lazy-audit")]
    world.attest()
    assert lazy not in earners(world)
    assert world.record.round == 1


def test_what_a_lazy_auditor_had_at_stake_is_gone() -> None:
    world = World()
    world.submit()
    world.whole_round()
    world.commit_all()
    world.reveal_all()
    world.until(Phase.AUDIT)
    audited(world)
    judged(world, None, None, None)
    assert world.happened(event.Expelled)[0].forfeited > 0


def test_one_lying_judge_does_not_save_a_lazy_auditor() -> None:
    world = audited(stage(Phase.AUDIT))
    judged(world, GUESS, None, None)
    assert world.round.phase == Phase.DISPUTE, "a quorum finds the work good, but who lied is not yet clear"
    judged(world, GUESS, None, None, None)
    assert [reason for _, reason in expelled(world)] == ["lazy-audit"]


def test_honest_auditors_are_never_disputed() -> None:
    world = audited(stage(Phase.AUDIT), guessed=None)
    assert world.round.phase == Phase.AGGREGATE
    assert expelled(world) == []


# ---- a trainer bound to false residues ---------------------------------------------------


def false_residues() -> World:
    """Slot 0 is bound to residues that nobody finds."""
    world = World()
    world.submit()
    false = residue_root(residues("false"))
    lie = replace(world.reveal_of(0), residues=false)
    world.step((owner(world, 0), world.commit_of(0, lie)))
    world.commit_all(but=(0,))
    assert world.step((owner(world, 0), lie)) == [None]
    world.reveal_all(but=(0,))
    world.until(Phase.AUDIT)
    return world


def open_falsely(world: World) -> None:
    made, bodies = residues("false"), []
    for audit in (a for a in world.round.audits if a.slot == 0):
        at = leaf_number(audit.segment, audit.leaf)
        opening = OpenResidue(*world.place(0), audit.segment, audit.leaf, leaves_of(made)[at], leaf_path(made, at))
        bodies.append((owner(world, 0), opening))
    assert set(world.step(*bodies)) == {None}


def test_a_trainer_that_was_bound_to_false_residues_pays_and_its_auditors_are_paid() -> None:
    world = audited(false_residues(), guessed=None, opened=False)
    liar, accused = world.round.slots[0], {a.auditor for a in world.round.audits if a.slot == 0}
    world.open_all(but=(0,))
    open_falsely(world)
    assert world.round.phase == Phase.DISPUTE
    world.judge(0, 2)
    assert outcome(world) == Outcome.FALSE_RESIDUES
    assert expelled(world) == [(liar, "false-residues")]
    world.attest()
    assert accused <= earners(world)
    assert liar not in earners(world)


# ---- a trainer that does not open --------------------------------------------------------


def test_who_does_not_open_in_time_loses_the_unit_alone_and_its_auditors_are_paid() -> None:
    world = audited(stage(Phase.AUDIT), guessed=None, opened=False)
    owed, asked = world.round.slots[0], {a.auditor for a in world.round.audits if a.slot == 0}
    assert world.round.phase == Phase.OPEN
    world.open_all(but=(0,))
    assert world.round.phase == Phase.OPEN
    world.pass_deadline()
    assert world.round.phase == Phase.AGGREGATE
    assert outcome(world) == Outcome.NOT_OPENED
    assert outcome(world, 1) == Outcome.ACCEPTED
    assert expelled(world) == []
    assert {m.trainer: m.standing for m in world.record.members}[owed] == Standing.INACTIVE
    world.attest()
    assert asked <= earners(world)


def test_silence_is_no_way_around_a_dispute() -> None:
    """A bad segment is known; not opening the others must not turn an expulsion into a missed deadline."""
    world = stage(Phase.AUDIT)
    cheat = world.round.slots[0]
    world.audit_all(bad=(0,), unopened=(0,))
    assert world.round.phase == Phase.OPEN
    world.pass_deadline()
    assert world.round.phase == Phase.DISPUTE
    world.judge(0, 900_000)
    assert expelled(world) == [(cheat, "out-of-tolerance")]


def test_work_that_was_accused_falsely_and_not_opened_is_unpaid_and_the_accuser_pays() -> None:
    world = stage(Phase.AUDIT)
    accuser = first(world).auditor
    world.audit_all(bad=(0,), unopened=(0,))
    world.pass_deadline()
    world.judge(0, 3)
    assert outcome(world) == Outcome.NOT_OPENED
    assert expelled(world) == [(accuser, "false-accusation")]


# ---- when nobody can tell ----------------------------------------------------------------


@pytest.mark.parametrize("sketches", [(OTHER_GUESS,) * 4, (None, None, GUESS, GUESS), (None, None)])
def test_without_a_quorum_that_agrees_with_one_of_them_nobody_pays(sketches: tuple[bytes | None, ...]) -> None:
    """Judges who find the work good, but residues like neither's, or each side's: a segment that machines
    compute differently proves nobody a liar."""
    world = audited(stage(Phase.AUDIT))
    judged(world, *sketches)
    if len(sketches) < 4:
        world.pass_deadline()
    assert world.round.phase == Phase.AGGREGATE
    assert outcome(world) == Outcome.ACCEPTED
    assert expelled(world) == []
    unpaid = first(world)
    assert sum(audit.auditor == unpaid.auditor for audit in world.round.audits) > 1
    assert paid_audits(world, unpaid) == sum(audit.auditor == unpaid.auditor for audit in world.round.audits) - 1


def paid_audits(world: World, audit: Audit) -> int:
    assert audit.auditor is not None
    units = [world.unit(slot) for slot in range(len(world.round.slots))]
    return _paid_auditors(world.round, units, world.record.spec).count(audit.auditor)


@pytest.mark.parametrize(("allowed", "compression", "last", "proves"), [
    (5_000, "lan", True, True), (5_001, "lan", True, False), (5_000, "wan2", False, True),
    (300, "wan2", True, True), (301, "wan2", True, False), (5_001, "wan2", False, False),
])  # fmt: skip
def test_where_a_task_tolerates_noise_like_a_guess_residues_prove_nothing(
    allowed: int, compression: str, last: bool, proves: bool
) -> None:
    task = spec(audit=AuditSpec(1_000_000, allowed), compression=compression)
    audit = Audit(0, 4 if last else 3, key("ann").public, 7)
    verdict = Verdict(key("ann").public, audit.segment, Finding.MEASURED, 0, GUESS)
    unit = UnitRecord(key("ben").public, openings=(Opening(audit.segment, 7, OTHER_GUESS),), verdicts=(verdict,))
    assert (contradiction(audit, unit, verdict, task) is not None) == proves


def test_bad_work_is_bad_whatever_the_residues_say() -> None:
    world = audited(stage(Phase.AUDIT))
    cheat, friend = world.round.slots[0], first(world).auditor
    world.judge(0, 900_000)
    assert outcome(world) == Outcome.OUT_OF_TOLERANCE
    assert {trainer for trainer, _ in expelled(world)} == {cheat, friend}


# ---- order and time ----------------------------------------------------------------------


def test_opening_takes_one_block_more_and_none_where_all_is_open_already() -> None:
    world = audited(stage(Phase.AUDIT), guessed=None, opened=False)
    assert world.round.phase == Phase.OPEN
    world.open_all()
    assert world.round.phase == Phase.AGGREGATE

    world = stage(Phase.AUDIT)
    last = world.round.audits[-1]
    world.audit_all(silent=(last.slot,))
    assert world.round.phase == Phase.AUDIT, "openings are taken while others still audit"
    assert all(unit.openings for unit in (world.unit(s) for s in range(6)))


def test_who_owes_many_openings_has_longer_for_them() -> None:
    world = stage(Phase.AUDIT)
    one = world.round.audits[0]
    spec_ = world.record.spec
    assert opening_ms([one] * 64, world.round, spec_) == spec_.deadlines.reveal_ms
    assert opening_ms([one] * 65, world.round, spec_) == 2 * spec_.deadlines.reveal_ms
    others = [audit for audit in world.round.audits if world.round.slots[audit.slot] != world.round.slots[one.slot]]
    assert opening_ms([one] * 64 + others, world.round, spec_) == spec_.deadlines.reveal_ms


def test_a_leaf_is_opened_once() -> None:
    world = stage(Phase.AUDIT)
    audit = first(world)
    world.step((auditor(world, 0), world.verdict_of(0, 3)))
    opening = world.opening_of(0, audit.segment, audit.leaf)
    assert world.step((owner(world, 0), opening)) == [None]
    assert world.step((owner(world, 0), opening)) == [Refusal.ALREADY_DONE]


def test_auditors_of_one_segment_are_never_asked_for_the_same_leaf() -> None:
    """Or the second could repeat what the first has said."""
    stream = draw.words(b"leaves")
    taken: list[int] = []
    for _ in range(LEAVES):
        taken.append(_next_leaf(stream, taken))
    assert sorted(taken) == list(range(LEAVES))


def test_leaves_are_drawn_after_the_reveals() -> None:
    """Two chains that differ in the beacon alone ask for other leaves."""
    asked = []
    for validators in (4, 5):
        world = World(validators=validators)
        world.submit(ONE)
        world.commit_all()
        world.reveal_all()
        world.until(Phase.AUDIT)
        asked.append([audit.leaf for audit in world.round.audits])
    assert asked[0] != asked[1]
    assert len(set(asked[0])) > 3


def test_a_sketch_of_another_size_never_reaches_the_record() -> None:
    world = stage(Phase.AUDIT)
    said = world.verdict_of(0, 0)
    assert isinstance(said, AuditVerdict)
    assert world.step((auditor(world, 0), replace(said, sketch=bytes(63)))) == [Refusal.WRONG_SKETCH]
    assert world.unit(0).verdicts == ()


def test_a_judge_of_a_committee_that_is_over_is_nobody_that_the_contradiction_could_wait_for() -> None:
    """Three of four seats found the work good but agree about the residues with neither: the fourth may decide."""
    seats = tuple(key(f"validator-{number}").public for number in range(4))
    leaf = Random(9).randbytes(64)
    unit = UnitRecord(
        key("ann").public, verdicts=(Verdict(key("ben").public, 1, Finding.MEASURED, 3, GUESS),), allowed_ppm=1_000,
        judges=tuple(
            Verdict(judge, 1, Finding.MEASURED, 3, sketch)
            for judge, sketch in zip((key("cy").public, *seats[:3]), (leaf, leaf, leaf, GUESS), strict=True)
        ),
        openings=(Opening(1, 0, leaf),),
    )  # fmt: skip
    audits = [Audit(0, 1, key("ben").public, 0, disputed=True)]
    committee = CommitteeRecord(3, seats, (1, 1, 1, 1))
    assert rule_unit(audits, unit, committee, spec(), final=False).outcome is None
    fourth = Verdict(seats[3], 1, Finding.MEASURED, 3, leaf)
    told = rule_unit(audits, replace(unit, judges=(*unit.judges, fourth)), committee, spec(), final=False)
    assert (told.outcome, told.lazy) == (Outcome.ACCEPTED, [key("ben").public])


# ---- several auditors of one segment -----------------------------------------------------


def shared(world: World, slot: int = 0) -> list[Audit]:
    """The audits of the one segment of a calibrating unit that several recompute, in their order."""
    mine = [a for a in world.round.audits if a.slot == slot]
    return next(several for a in mine if len(several := [b for b in mine if b.segment == a.segment]) > 1)


def calibrating(bound: bytes | None = None) -> World:
    """At the audits of a task that is not calibrated, every one of which is looked at again; slot 0 is bound to the
    residues *bound*."""
    world = World(calibrated=False, second_audit_ppm=1_000_000)
    world.submit(ONE, ("ann", "ben", "cy", "dee"))
    reveal = world.reveal_of(0)
    lie = replace(reveal, residues=residue_root(bound)) if bound is not None else reveal
    world.step((owner(world, 0), world.commit_of(0, lie)))
    world.commit_all(but=(0,))
    assert world.step((owner(world, 0), lie)) == [None]
    world.reveal_all(but=(0,))
    world.until(Phase.AUDIT)
    return world


def with_a_lie(world: World, segment: int, leaf: int) -> bytes:
    """What slot 0 computed, but for one leaf."""
    leaves = list(leaves_of(residues(*world.place(0))))
    leaves[leaf_number(segment, leaf)] = GUESS
    return b"".join(leaves)


@pytest.mark.parametrize("which", [0, 1, 2])
def test_whichever_leaf_is_false_judges_sketch_it_and_its_auditor_is_paid(which: int) -> None:
    """Of three audits of one segment, all looked at again, the committee sketches one leaf: where a sketch and a leaf
    contradict each other, theirs. Who lied, and whom to pay, would otherwise stay open."""
    honest = calibrating()
    lied = shared(honest)[which]
    made = with_a_lie(honest, lied.segment, lied.leaf)
    world = calibrating(made)
    assert shared(world)[which] == lied, "what is drawn does not follow from what was revealed"
    bodies: list[tuple[str, AuditVerdict | OpenResidue]] = []
    for audit in world.round.audits:
        said = world.verdict_of(audit.slot, 0, segment=audit.segment)
        sketch = world.sketch_of(audit.slot, audit.segment, audit.leaf)
        assert audit.auditor is not None
        bodies.append((world.name_of(audit.auditor), replace(said, sketch=sketch, cheat_ppm=40_000)))
    assert set(world.step(*bodies)) == {None}
    world.open_all(but=(0,))
    opened = []
    for audit in (a for a in world.round.audits if a.slot == 0):
        at = leaf_number(audit.segment, audit.leaf)
        opening = OpenResidue(*world.place(0), audit.segment, audit.leaf, leaves_of(made)[at], leaf_path(made, at))
        opened.append((owner(world, 0), opening))
    assert set(world.step(*opened)) == {None}
    assert world.round.phase == Phase.DISPUTE
    for asked in {(a.slot, a.segment): a for a in reversed(world.round.audits) if a.disputed}.values():
        sketch = world.sketch_of(asked.slot, asked.segment, asked.leaf)
        said = replace(world.verdict_of(asked.slot, 0, segment=asked.segment), sketch=sketch, cheat_ppm=40_000)
        world.step(*[(judge, said) for judge in world.validators])
    assert outcome(world) == Outcome.FALSE_RESIDUES
    assert paid_audits(world, lied) == sum(audit.auditor == lied.auditor for audit in world.round.audits)
