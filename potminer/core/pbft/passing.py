"""Passing on what others said: a replica that stands still asks what it lacks, and gets it from whoever heard it.

Everything that is passed on is signed by who said it and is judged as if it had come from there, so
nobody is believed who passes on. The asker names what it lacks, seat by seat, and asks few; an
answer holds each thing once, and nobody is answered twice in a status period.
"""

from __future__ import annotations

from potminer.core.pbft.height import Stage, Table
from potminer.wire.codec import Wire
from potminer.wire.pbft import VotesWanted
from potminer.wire.seal import Purpose

ASKED = 3
"""Members asked at a time."""


def lacked(at: Table) -> VotesWanted:
    """What *at* lacks to go on: of the others all that it never heard in its view."""
    opening = at.opening is None or at.stage is Stage.CHANGING
    least = _least(at.view, opening=opening)
    primary = at.committee.primary(height=at.height, view=at.view)
    may_prepare = at.stage is not Stage.COMMITTING
    prepares = commits = changes = 0
    for seat in range(len(at.committee.members)):
        bit, change = 1 << seat, at.log.changes.get(seat)
        if seat == at.me:
            continue
        if may_prepare and seat != primary and at.log.vote(purpose=Purpose.PREPARE, signer=seat, view=at.view) is None:
            prepares |= bit
        if at.log.vote(purpose=Purpose.COMMIT, signer=seat, view=at.view) is None:
            commits |= bit
        if change is None or change.view < least:
            changes |= bit
    return VotesWanted(
        height=at.height, view=at.view, opening=opening, prepares=prepares, commits=commits, changes=changes
    )


def passed_on(at: Table, wanted: VotesWanted) -> list[Wire]:
    """What we have of what is *wanted* at our height, what begins a view first. Of a view that we left nothing is
    said again of our own: its records are forgotten."""
    found: list[Wire] = []
    if at.opening is not None and at.view >= wanted.view + (not wanted.opening):
        found.append(at.opening)
    least = _least(wanted.view, opening=wanted.opening)
    for seat in range(len(at.committee.members)):
        change = at.log.changes.get(seat)
        lacks = wanted.changes >> seat & 1 and change is not None and change.view >= least
        if change is not None and lacks and (seat != at.me or change.view == at.view):
            found.append(change)
        for purpose, mask in ((Purpose.PREPARE, wanted.prepares), (Purpose.COMMIT, wanted.commits)):
            vote = at.log.vote(purpose=purpose, signer=seat, view=wanted.view) if mask >> seat & 1 else None
            if vote is not None and (seat != at.me or at.view == wanted.view):
                found.append(vote)
    return found


def whom(at: Table, turn: int) -> list[bytes]:
    """The next few to ask: who was heard in this view comes before who was not."""
    others = [seat for seat in range(len(at.committee.members)) if seat != at.me]
    ordered = sorted(others, key=lambda seat: (not _heard(at, seat), seat))
    first = turn * ASKED
    return [at.committee.members[ordered[(first + step) % len(ordered)]] for step in range(min(ASKED, len(ordered)))]


def _heard(at: Table, seat: int) -> bool:
    votes = (at.log.vote(purpose=purpose, signer=seat, view=at.view) for purpose in (Purpose.PREPARE, Purpose.COMMIT))
    return seat in at.log.changes or any(votes)


def _least(view: int, *, opening: bool) -> int:
    """The lowest view to which a VIEW-CHANGE is of use to who stands in *view*."""
    return max(1, view + (not opening))
