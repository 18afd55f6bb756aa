"""The round machine, event by event: what a node does given how the ledger stands."""

from __future__ import annotations

import pytest
from msgspec.structs import replace

from potminer.core.machine import Persist
from potminer.core.rounds.bound import PREFIX
from potminer.core.rounds.conduct import Conduct, Stubborn, conduct_of
from potminer.core.rounds.events import (
    BlobFetched,
    DutyChanged,
    Reported,
)
from potminer.core.rounds.job import RETRY_JOB_MS
from potminer.core.rounds.means import BLOBS_REMEMBERED, RESUBMIT_MS, RETRY_FETCH_MS
from potminer.wire.codec import encode
from potminer.wire.record import (
    Attestation,
    Audit,
    Judgement,
    Outcome,
    Phase,
    Standing,
    TaskStatus,
    UnitRecord,
    Verdict,
)
from potminer.wire.trainer import Aggregated, AggregateJob, Audited, AuditJob, Failed, Job, Trained, TrainJob
from potminer.wire.tx import (
    AggregateResult,
    AuditVerdict,
    CommitWork,
    Finding,
    JoinTask,
    LeaveTask,
    RegisterTrainer,
    RevealWork,
    commitment,
)
from tests.unit.ledger_world import blob
from tests.unit.rounds_node import (
    ACCEPTED,
    BASE,
    DATA,
    OTHER,
    OWN,
    RESIDUES,
    SNAPSHOTS,
    SPEC,
    TASK,
    THEIRS,
    Node,
    Submitted,
    cancelled,
    committed,
    current,
    fetched,
    jobs,
    said,
    seen,
    trained,
)

# ---- membership --------------------------------------------------------------------------

JOIN, LEAVE, REGISTER = JoinTask(TASK), LeaveTask(TASK), RegisterTrainer(blob("payout"))
MEMBERSHIP: dict[str, tuple[bool, bool, Standing | None, bool, TaskStatus, Submitted]] = {
    # may train, trainer at all, standing, registered, status -> said
    "unregistered": (True, True, None, False, TaskStatus.OPEN, [REGISTER]),
    "registered": (True, True, None, True, TaskStatus.OPEN, [JOIN]),
    "inactive": (True, True, Standing.INACTIVE, True, TaskStatus.OPEN, [JOIN]),
    "left": (True, True, Standing.LEFT, True, TaskStatus.OPEN, [JOIN]),
    "active": (True, True, Standing.ACTIVE, True, TaskStatus.OPEN, []),
    "expelled": (True, True, Standing.EXPELLED, True, TaskStatus.OPEN, []),
    "cancelled": (True, True, None, True, TaskStatus.CANCELLED, []),
    "duty lost": (False, True, Standing.ACTIVE, True, TaskStatus.OPEN, [LEAVE]),
    "duty never had": (False, True, None, False, TaskStatus.OPEN, []),
    "no duty and inactive": (False, True, Standing.INACTIVE, True, TaskStatus.OPEN, []),
    "no duty and expelled": (False, True, Standing.EXPELLED, True, TaskStatus.OPEN, []),
    "validator": (True, False, None, False, TaskStatus.OPEN, []),
}


@pytest.mark.parametrize("case", MEMBERSHIP)
def test_membership_follows_duty(case: str) -> None:
    may_train, payout, standing, registered, status, expected = MEMBERSHIP[case]
    node = Node(payout=payout)
    node.tell(DutyChanged(may_train))
    effects = node.tell(seen(standing=standing, registered=registered, status=status))
    assert said(effects) == expected


def test_training_data_is_fetched_before_the_first_round() -> None:
    node = Node()
    node.tell(DutyChanged(True))
    assert fetched(node.tell(seen(standing=None))) == {SPEC.data.train}
    assert fetched(node.tell(seen(standing=None), after_ms=10_000)) == set(), "asked for once"
    assert fetched(node.tell(BlobFetched(SPEC.data.train, False))) == set()
    later = node.tell(seen(standing=None), after_ms=RETRY_FETCH_MS)
    assert fetched(later) == {SPEC.data.train}, "again some time after a failure"


# ---- training ----------------------------------------------------------------------------


def test_train_commit_reveal() -> None:
    node = Node(have=DATA)
    node.tell(DutyChanged(True))
    (job,) = jobs(node.tell(seen(current())))
    assert isinstance(job, TrainJob)
    assert (job.unit.slot, job.unit.trainer, job.base) == (0, OWN, BASE)
    effects = node.tell(trained(job))
    assert isinstance(effects[0], Persist), "durable before it is said"
    (bound,) = said(effects)
    assert isinstance(bound, CommitWork)
    mine = UnitRecord(OWN, bound.commitment)
    assert said(node.tell(seen(current(), (mine, UnitRecord(OTHER))))) == []
    (work,) = said(node.tell(seen(current(Phase.REVEAL), (mine, UnitRecord(OTHER)))))
    assert isinstance(work, RevealWork)
    assert (work.snapshots, work.loss_micro) == (SNAPSHOTS, 500_000)
    assert commitment(work, trainer=OWN) == bound.commitment
    assert bound.base == BASE
    shown = replace(mine, snapshots=SNAPSHOTS)
    assert node.tell(seen(current(Phase.REVEAL), (shown, UnitRecord(OTHER))), after_ms=10_000) == []


def test_nothing_is_trained_before_everything_is_here() -> None:
    node = Node()
    node.tell(DutyChanged(True))
    effects = node.tell(seen(current()))
    assert (fetched(effects), jobs(effects)) == ({BASE, SPEC.data.train}, [])
    assert jobs(node.tell(BlobFetched(BASE, True))) == []
    assert len(jobs(node.tell(BlobFetched(SPEC.data.train, True)))) == 1


def test_the_same_is_said_again_only_after_a_while() -> None:
    node = Node(have=DATA)
    bound = committed(node)
    assert said(node.tell(seen(current()), after_ms=RESUBMIT_MS - 1)) == []
    assert said(node.tell(seen(current()), after_ms=1)) == [bound]
    assert said(node.tell(seen(current()))) == []


def test_a_restart_between_commit_and_reveal_reveals_the_same_bytes() -> None:
    before = Node(have=DATA)
    bound = committed(before)
    mine = UnitRecord(OWN, bound.commitment)
    (expected,) = said(before.tell(seen(current(Phase.REVEAL), (mine, UnitRecord(OTHER)))))
    after = Node(persisted={**before.stored, b"duty/cpu": b"of another machine"})
    assert expected in said(after.tell(seen(current(Phase.REVEAL), (mine, UnitRecord(OTHER)))))


def test_a_restart_between_training_and_commit_does_not_train_again() -> None:
    before = Node(have=DATA)
    bound = committed(before)
    after = Node(persisted=before.stored, have=DATA)
    after.tell(DutyChanged(True))
    effects = after.tell(seen(current()))
    assert (said(effects), jobs(effects)) == ([bound], [])


def test_duty_lost_cancels_the_running_job_and_leaves_the_task() -> None:
    node = Node(have=DATA)
    node.tell(DutyChanged(True))
    (job,) = jobs(node.tell(seen(current())))
    effects = node.tell(DutyChanged(False))
    assert cancelled(effects) == [job.job]
    assert said(effects) == [LEAVE]
    assert cancelled(node.tell(seen(current()), after_ms=100)) == [], "told once"
    assert jobs(node.tell(Reported(Failed(job.job, "cancelled", "")))) == []
    assert len(jobs(node.tell(DutyChanged(True)))) == 1, "and begins again as soon as it may"


def test_work_already_committed_to_is_revealed_even_without_duty() -> None:
    node = Node(have=DATA)
    bound = committed(node)
    node.tell(DutyChanged(False))
    mine = UnitRecord(OWN, bound.commitment)
    effects = node.tell(seen(current(Phase.REVEAL), (mine, UnitRecord(OTHER))))
    assert [type(body) for body in said(effects)] == [RevealWork]


def test_work_too_late_to_commit_is_given_up_for_what_is_owed_now() -> None:
    node = Node(have=(*DATA, *THEIRS))
    node.tell(DutyChanged(True))
    (job,) = jobs(node.tell(seen(current())))
    late = UnitRecord(OWN, judgement=Judgement(Outcome.LATE, None, 1_000))
    audited = current(Phase.AUDIT, audits=(Audit(1, 2, OWN),))
    effects = node.tell(seen(audited, (late, UnitRecord(OTHER, blob("c"), 0, THEIRS))))
    assert (cancelled(effects), jobs(effects)) == ([job.job], [])
    effects = node.tell(Reported(Failed(job.job, "cancelled", "")))
    assert [type(each) for each in jobs(effects)] == [AuditJob]


def test_what_was_trained_for_an_attempt_that_is_over_is_forgotten() -> None:
    node = Node(have=DATA)
    node.tell(DutyChanged(True))
    (job,) = jobs(node.tell(seen(current())))
    again = current(attempt=1)
    assert cancelled(node.tell(seen(again, attempt=1))) == [job.job]
    effects = node.tell(trained(job))
    assert said(effects) == []
    assert [each.unit.attempt for each in jobs(effects) if isinstance(each, TrainJob)] == [1]
    assert node.stored == {}


def test_a_commitment_of_a_failed_attempt_is_not_revealed_in_the_next() -> None:
    node = Node(have=DATA)
    bound = committed(node)
    effects = node.tell(seen(current(attempt=1), attempt=1))
    assert said(effects) == []
    assert node.stored == {}
    mine = UnitRecord(OWN, bound.commitment)
    assert said(node.tell(seen(current(Phase.REVEAL, attempt=1), (mine, UnitRecord(OTHER)), attempt=1))) == []


def test_a_report_nobody_asked_for_is_nothing() -> None:
    node = Node(have=DATA)
    node.tell(DutyChanged(True))
    (job,) = jobs(node.tell(seen(current())))
    assert node.tell(Reported(Trained(job.job + 1, SNAPSHOTS, 1, 1, 1, b"", (30_000,)))) == []
    node.tell(trained(job))
    assert node.tell(trained(job)) == []


@pytest.mark.parametrize("reason", ["bad-task", "fault", "stopped", "missing-blob", "out-of-memory"])
def test_a_job_that_failed_rests(reason: str) -> None:
    """Or a task that cannot be trained would keep the rig spinning."""
    node = Node(have=DATA)
    node.tell(DutyChanged(True))
    (job,) = jobs(node.tell(seen(current())))
    assert jobs(node.tell(Reported(Failed(job.job, reason, "")))) == []
    for each in DATA:
        assert jobs(node.tell(BlobFetched(each, True))) == []
    assert jobs(node.tell(seen(current()), after_ms=RETRY_JOB_MS - 1)) == []
    assert len(jobs(node.tell(seen(current()), after_ms=1))) == 1


# ---- one thing at a time -----------------------------------------------------------------


def test_one_job_at_a_time_over_all_tasks() -> None:
    node = Node(have=(*DATA, *THEIRS))
    node.tell(DutyChanged(True))
    both = current(slots=(OWN, OWN))
    (first,) = jobs(node.tell(seen(both)))
    assert jobs(node.tell(seen(both, task=blob("task 2")))) == []
    assert jobs(node.tell(BlobFetched(blob("x"), True))) == []
    (second,) = jobs(node.tell(trained(first)))
    assert isinstance(second, TrainJob)
    assert second.job != first.job
    assert (second.unit.task, second.unit.slot) == (TASK, 1)
    (third,) = jobs(node.tell(trained(second, THEIRS)))
    assert isinstance(third, TrainJob)
    assert third.unit.task == blob("task 2")


# ---- auditing ----------------------------------------------------------------------------

THEIR_UNIT = UnitRecord(OTHER, blob("commitment"), 500_000, THEIRS)
OWN_UNIT = UnitRecord(OWN, blob("commitment"), 500_000, SNAPSHOTS)
AUDIT = current(Phase.AUDIT, audits=(Audit(1, 3, OWN), Audit(0, 1, OTHER)))
UNITS = (OWN_UNIT, THEIR_UNIT)


def auditing(*, have: tuple[bytes, ...] = (*DATA, *THEIRS), conduct: str | None = None) -> Node:
    node = Node(have=have, conduct=conduct)
    node.tell(DutyChanged(True))
    return node


@pytest.mark.parametrize(
    ("segment", "before", "after"), [(1, None, THEIRS[0]), (2, THEIRS[0], THEIRS[1]), (4, THEIRS[2], THEIRS[3])]
)
def test_an_audit_recomputes_its_segment_and_says_what_it_found(
    segment: int, before: bytes | None, after: bytes
) -> None:
    node = auditing()
    (job,) = jobs(node.tell(seen(current(Phase.AUDIT, audits=(Audit(1, segment, OWN),)), UNITS)))
    assert isinstance(job, AuditJob)
    assert (job.segment, job.before, job.after, job.unit.trainer) == (segment, before, after, OTHER)
    effects = node.tell(Reported(Audited(job.job, Finding.MEASURED, 7, 1, 1, b"sketch")))
    assert said(effects) == [AuditVerdict(TASK, 0, 0, 1, segment, Finding.MEASURED, 7, b"sketch")]


def test_only_what_the_audit_needs_is_fetched() -> None:
    node = auditing(have=DATA)
    assert fetched(node.tell(seen(AUDIT, UNITS))) == {THEIRS[1], THEIRS[2]}


def test_an_audit_done_is_not_done_again() -> None:
    node = auditing()
    told = replace(THEIR_UNIT, verdicts=(Verdict(OWN, 3, Finding.MEASURED, 7),))
    assert node.tell(seen(AUDIT, (OWN_UNIT, told))) == []


def test_a_missing_snapshot_is_called_unavailable_only_near_the_deadline() -> None:
    node = auditing(have=(*DATA, THEIRS[1]))
    node.tell(seen(AUDIT, UNITS))
    assert said(node.tell(BlobFetched(THEIRS[2], False))) == []
    assert said(node.tell(seen(AUDIT, UNITS), after_ms=7_500)) == []
    node.tell(BlobFetched(THEIRS[2], False))
    (verdict,) = said(node.tell(seen(AUDIT, UNITS), after_ms=1))
    assert verdict == AuditVerdict(TASK, 0, 0, 1, 3, Finding.UNAVAILABLE, 0, b"")


def test_whose_fetch_outlasts_the_phase_says_unavailable_and_is_not_silent() -> None:
    node = auditing(have=(*DATA, THEIRS[1]))
    assert fetched(node.tell(seen(AUDIT, UNITS))) == {THEIRS[2]}
    assert said(node.tell(seen(AUDIT, UNITS), after_ms=7_500)) == []
    (verdict,) = said(node.tell(seen(AUDIT, UNITS), after_ms=1))
    assert verdict == AuditVerdict(TASK, 0, 0, 1, 3, Finding.UNAVAILABLE, 0, b"")


def test_a_snapshot_that_was_found_at_last_is_audited() -> None:
    node = auditing(have=(*DATA, THEIRS[1]))
    node.tell(seen(AUDIT, UNITS))
    node.tell(BlobFetched(THEIRS[2], False))
    node.tell(seen(AUDIT, UNITS), after_ms=RETRY_FETCH_MS)
    effects = node.tell(BlobFetched(THEIRS[2], True), after_ms=7_000)
    assert (len(jobs(effects)), said(effects)) == (1, [])


def test_a_disputed_segment_is_recomputed_by_every_validator_once() -> None:
    node = Node(payout=False, validator=True, have=(*DATA, *THEIRS))
    disputed = tuple(replace(audit, disputed=True) for audit in AUDIT.audits)
    dispute = replace(AUDIT, phase=Phase.DISPUTE, audits=disputed)
    judged = replace(OWN_UNIT, judgement=ACCEPTED)
    (job,) = jobs(node.tell(seen(dispute, (judged, THEIR_UNIT))))
    assert isinstance(job, AuditJob)
    (verdict,) = said(node.tell(Reported(Audited(job.job, Finding.MALFORMED, 0, 1, 1, b""))))
    assert isinstance(verdict, AuditVerdict)
    assert verdict.finding == Finding.MALFORMED
    done = replace(THEIR_UNIT, judges=(Verdict(OWN, 3, Finding.MALFORMED, 0),))
    assert node.tell(seen(dispute, (judged, done)), after_ms=60_000) == []
    assert jobs(Node(have=(*DATA, *THEIRS)).tell(seen(dispute, (judged, THEIR_UNIT)))) == [], "trainers do not judge"


# ---- aggregating -------------------------------------------------------------------------

AGGREGATE = current(Phase.AGGREGATE)
BAD = Judgement(Outcome.OUT_OF_TOLERANCE, 900_000, 1_000)


def validator(*have: bytes) -> Node:
    return Node(payout=False, validator=True, have=(BASE, *have))


def accepted(*snapshots: tuple[bytes, ...]) -> tuple[UnitRecord, ...]:
    return tuple(UnitRecord(OTHER, blob("c"), 0, each, judgement=ACCEPTED) for each in snapshots)


def aggregated(job: Job, model: bytes | None = BASE, malformed: tuple[int, ...] = ()) -> Reported:
    return Reported(Aggregated(job.job, model, malformed, 1))


def test_only_accepted_units_are_aggregated_and_malformed_ones_named_by_slot() -> None:
    node = validator(SNAPSHOTS[3], THEIRS[3])
    units = (replace(OWN_UNIT, judgement=BAD), *accepted(THEIRS, SNAPSHOTS))
    (job,) = jobs(node.tell(seen(replace(AGGREGATE, slots=(OTHER,) * 3), units)))
    assert isinstance(job, AggregateJob)
    assert (job.updates, [unit.slot for unit in job.units]) == ((THEIRS[3], SNAPSHOTS[3]), [1, 2])
    (result,) = said(node.tell(aggregated(job, blob("theta", 1), (1,))))
    assert result == AggregateResult(TASK, 0, 0, blob("theta", 1), (2,))


def test_updates_are_fetched_as_soon_as_they_are_revealed() -> None:
    node = validator()
    assert fetched(node.tell(seen(current(Phase.REVEAL), UNITS))) == {SNAPSHOTS[3], THEIRS[3]}
    assert fetched(Node().tell(seen(current(Phase.REVEAL), UNITS))) == set(), "trainers need them not"


def test_who_attested_is_done() -> None:
    node = validator(THEIRS[3])
    done = replace(AGGREGATE, attestations=(Attestation(OWN, BASE, ()),))
    assert node.tell(seen(done, accepted(THEIRS, THEIRS))) == []


def test_an_update_that_nobody_has_is_left_out_in_the_second_half_of_the_phase() -> None:
    """A trainer that shows its update to its auditor alone would otherwise stall the task for ever."""
    node = validator(THEIRS[3])
    view = seen(AGGREGATE, accepted(SNAPSHOTS, THEIRS))
    assert jobs(node.tell(view)) == []
    assert jobs(node.tell(BlobFetched(SNAPSHOTS[3], False))) == []
    assert jobs(node.tell(view, after_ms=5_000)) == []
    node.tell(BlobFetched(SNAPSHOTS[3], False))
    (job,) = jobs(node.tell(view, after_ms=1))
    assert isinstance(job, AggregateJob)
    assert job.updates == (THEIRS[3],)
    (result,) = said(node.tell(aggregated(job, blob("theta", 1))))
    assert result == AggregateResult(TASK, 0, 0, blob("theta", 1), (0,))


def test_where_nothing_is_left_to_aggregate_the_model_stays() -> None:
    node = validator(SNAPSHOTS[3], THEIRS[3])
    (job,) = jobs(node.tell(seen(AGGREGATE, accepted(SNAPSHOTS, THEIRS))))
    effects = node.tell(aggregated(job, None, (0, 1)))
    assert said(effects) == [AggregateResult(TASK, 0, 0, BASE, (0, 1))]
    assert jobs(effects) == [], "and it is not computed over and over"


def test_an_aggregate_that_comes_after_its_round_is_dropped() -> None:
    node = validator(SNAPSHOTS[3], THEIRS[3])
    (job,) = jobs(node.tell(seen(AGGREGATE, accepted(SNAPSHOTS, THEIRS))))
    assert cancelled(node.tell(seen(current(number=1), round=1))) == [job.job]
    assert said(node.tell(aggregated(job, blob("theta", 1), (0, 1)))) == []


# ---- conduct -----------------------------------------------------------------------------


def test_a_rubber_stamp_and_an_accuser_answer_without_looking() -> None:
    for conduct, ppm in (("rubber-stamp", 0), ("accuse", 987_654)):
        node = auditing(have=(), conduct=conduct)
        effects = node.tell(seen(AUDIT, UNITS))
        verdicts = [body for body in said(effects) if isinstance(body, AuditVerdict)]
        assert [(v.finding, v.error_ppm) for v in verdicts] == [(Finding.MEASURED, ppm)]
        assert jobs(effects) == []


def test_a_copycat_claims_what_others_revealed() -> None:
    node = auditing(have=DATA, conduct="copy")
    node.tell(seen(AUDIT, UNITS))
    (job,) = jobs(node.tell(seen(current(number=1), round=1)))
    (bound,) = said(node.tell(trained(job)))
    assert isinstance(bound, CommitWork)
    mine = UnitRecord(OWN, bound.commitment)
    (work,) = said(node.tell(seen(current(Phase.REVEAL, number=1), (mine, UnitRecord(OTHER)), round=1)))
    assert isinstance(work, RevealWork)
    assert work.snapshots == THEIRS


def test_cheats_that_live_elsewhere_are_honest_here() -> None:
    assert type(conduct_of(None, own=OWN)) is Conduct
    assert type(conduct_of("garbage", own=OWN)) is Stubborn


# ---- memory ------------------------------------------------------------------------------


def test_many_rounds_leave_no_memory_behind() -> None:
    node = Node(validator=True, have=(SPEC.data.train,))
    node.tell(DutyChanged(True))
    largest = 0
    for number in range(300):
        base = blob("theta", number)
        node.tell(BlobFetched(base, True))
        slots = replace(current(number=number, base=base, deadline_ms=node.now + 10_000), slots=(OWN, OTHER))
        (job,) = jobs(node.tell(seen(slots, round=number), after_ms=10))
        work = said(node.tell(trained(job, tuple(blob(number, i) for i in range(4)))))
        assert len(work) == 1
        revealed = UnitRecord(OTHER, blob("c"), 0, tuple(blob("gone", number, i) for i in range(4)))
        node.tell(seen(replace(slots, phase=Phase.REVEAL), (UnitRecord(OWN, blob("c")), revealed), round=number))
        node.tell(BlobFetched(revealed.snapshots[-1], False))
        largest = max(largest, len(node.stored))
    assert largest == 1
    node.tell(seen(None, round=300, status=TaskStatus.CLOSED))
    assert node.stored == {}
    held = node.machine
    assert [len(m) for m in (held._seen, held._bound._units, held._verdicts, held._attester._found)] == [0] * 4


def test_what_is_remembered_of_blobs_and_words_is_bounded() -> None:
    node = Node()
    for number in range(BLOBS_REMEMBERED + 10):
        node.machine._means.unavailable.add(number.to_bytes(32, "big"))
        node.machine._means._fetching[number.to_bytes(32, "big")] = 0
        node.machine._means.blobs.add(number.to_bytes(32, "big"))
    node.machine._means._submitted.update({number.to_bytes(32, "big"): 0 for number in range(5_000)})
    for number in range(5_000):
        node.machine._means.jobs.rest((TASK, number, 0), 0)
    node.tell(seen(None))
    means = node.machine._means
    for memory in (means.unavailable, means._fetching, means.blobs, means._submitted):
        assert len(memory) < 10
    assert len(means.jobs._resting) <= 4_097


def test_what_is_persisted_is_the_reveal_itself_and_its_residues() -> None:
    node = Node(have=DATA)
    bound = committed(node)
    ((name, value),) = node.stored.items()
    assert name.startswith(PREFIX)
    mine = UnitRecord(OWN, bound.commitment)
    (work,) = said(node.tell(seen(current(Phase.REVEAL), (mine, UnitRecord(OTHER)))))
    assert value == len(encode(work)).to_bytes(4, "big") + encode(work) + RESIDUES
