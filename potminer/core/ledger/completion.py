"""Whether what waits in a mempool completes a phase of a round: then a block need not wait for more.

Batching is for the many who send what nobody waits for. A round is the other way round: everybody waits for the last
word of its phase, so that word must not wait for company.
"""

from __future__ import annotations

from collections.abc import Iterable
from itertools import islice

from msgspec.structs import replace

from potminer.core.ledger.advance import advance
from potminer.core.ledger.event import Event
from potminer.core.ledger.progress import rounds_of
from potminer.core.ledger.state import Draft, State
from potminer.core.ledger.transact import Work, perform
from potminer.wire import record as records
from potminer.wire.record import RoundRecord
from potminer.wire.tx import AggregateResult, SignedTransaction, Transaction

MOST = 64
"""Waiting transactions that are looked at. Of more, some are still on their way, and the block is worth its batch."""
UNITS = 256
"""In a larger round trying costs more than it saves: every look reads all its units."""


def completes_a_phase(state: State, waiting: Iterable[SignedTransaction], *, now: int) -> bool:
    """Whether a block of *waiting*, in that order, would move a round on: found by trying it."""
    looked_at = list(islice(waiting, MOST + 1))
    works = [signed.transaction for signed in looked_at if isinstance(signed.transaction.body, Work)]
    if not works or len(looked_at) > MOST or not all(_is_attested_by_all(state, t.body, works) for t in works):
        return False
    draft, events = Draft(state), list[Event]()
    if sum(len(current.slots) for task in draft.head.open_tasks for current in rounds_of(draft, task)) > UNITS:
        return False
    draft.put(records.CHAIN, replace(draft.head, time_ms=max(now, draft.head.time_ms + 1)))
    for transaction in works:
        perform(draft, transaction, events)
    before = len(events)
    advance(draft, proposer=b"", events=events)
    return len(events) > before


def _is_attested_by_all(state: State, body: object, works: list[Transaction]) -> bool:
    """Who has attested when a round closes is paid for it. A third of the power closes it, so the others are given
    the time of a batch; an early attestation closes nothing."""
    if not isinstance(body, AggregateResult) or body.early:
        return True
    current = state.get(RoundRecord, records.round_key(body.task, body.round))
    said = {attestation.validator for attestation in current.attestations} if current is not None else set()
    said |= {t.sender for t in works if isinstance(t.body, AggregateResult) and t.body.task == body.task}
    return said.issuperset(state.committee.members)
