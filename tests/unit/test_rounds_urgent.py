"""What a validator judges first."""

from __future__ import annotations

from msgspec.structs import replace

from potminer.core.rounds.events import Effect, Reported
from potminer.wire.record import Phase
from potminer.wire.trainer import Audited, AuditJob
from potminer.wire.tx import Finding
from tests.unit.ledger_world import blob
from tests.unit.rounds_node import ACCEPTED, THEIRS, Node, jobs, seen
from tests.unit.test_rounds_machine import AUDIT, DATA, OWN_UNIT, THEIR_UNIT


def test_disputes_over_the_largest_stakes_are_judged_first_in_whatever_task_and_order_they_came() -> None:
    """Tasks and keys are nearly free: work with nothing at stake must not keep judges from a cheat's."""
    node = Node(payout=False, validator=True, have=(*DATA, *THEIRS))
    audits = tuple(replace(audit, disputed=True) for audit in AUDIT.audits)
    dispute, effects = replace(AUDIT, phase=Phase.DISPUTE, audits=audits), list[Effect]()
    for name, stake in (("spam", 0), ("more spam", 1), ("real", 10**9), ("last", 5)):
        units = (replace(OWN_UNIT, judgement=ACCEPTED), replace(THEIR_UNIT, stake=stake))
        effects += node.tell(seen(dispute, units, task=blob(name)))
    order = []
    while jobs(effects):
        (job,) = jobs(effects)
        assert isinstance(job, AuditJob)
        order.append(job.unit.task)
        effects = node.tell(Reported(Audited(job.job, Finding.MALFORMED, 0, 1, 1, b"")))
    assert order == [blob("spam"), blob("real"), blob("last"), blob("more spam")], "the first was all there was"
