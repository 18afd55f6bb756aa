"""The committee's clock: what a replica whose own clock is wrong goes by.

Each STATUS says its speaker's clock, uncorrected. A message on its way only ever makes a clock look
slow, so of a member's last few words the fastest counts. The median by power over a quorum lies
between honest clocks, whatever the faulty say: they are less than half of any quorum.
"""

from __future__ import annotations

from collections import deque

from potminer.core.committee import Committee

TOLERANCE_MS = 1_000
"""A clock that is off by less is left alone: so much is the network's."""
WORDS = 4
"""Of each member. After so many the past, when our own clock may have been another, is forgotten."""


class CommitteeClock:
    """How far the others' clocks are ahead of ours, by member."""

    __slots__ = ("_ahead", "_off_ms")

    def __init__(self) -> None:
        self._ahead: dict[bytes, deque[int]] = {}
        self._off_ms = 0

    def hear(self, peer: bytes, ahead_ms: int) -> None:
        """*peer* said a time that is *ahead_ms* above our clock at this moment."""
        words = self._ahead.get(peer)
        if words is None:
            words = self._ahead[peer] = deque(maxlen=WORDS)
        words.append(ahead_ms)

    def weigh(self, committee: Committee, me: int) -> int | None:
        """Asks the committee anew. How far we are off where that became or ceased to be more than is tolerated,
        or moved by as much; else None."""
        before, self._off_ms = self._off_ms, self.median(committee, me) or 0
        if abs(self._off_ms) <= TOLERANCE_MS:
            self._off_ms = 0
        return self._off_ms if abs(self._off_ms - before) > TOLERANCE_MS else None

    def read(self, now: int) -> int:
        """The committee's time where ours is *now*."""
        return now + self._off_ms

    def median(self, committee: Committee, me: int) -> int | None:
        """How far a quorum, ourselves among it, is ahead of us; None where no quorum was heard."""
        ahead = {seat: max(self._ahead[key]) for seat, key in enumerate(committee.members) if key in self._ahead}
        ahead |= {me: 0} if me >= 0 else {}
        if not committee.is_quorum(ahead):
            return None
        whole = left = committee.power_of(ahead)
        for _, seat in sorted([(ms, seat) for seat, ms in ahead.items()]):
            left -= committee.powers[seat]
            if 2 * left <= whole:
                return ahead[seat]
        raise AssertionError("some seat is in the middle")

    def behind_ms(self, committee: Committee, me: int) -> int | None:
        """By how much we are behind at least: as much as a weak quorum of the others says, so one that is honest does.
        None where too few were heard."""
        seats = committee.seats
        said = [(max(words), seats[key]) for key, words in self._ahead.items() if key in seats and seats[key] != me]
        heard: list[int] = []
        for ahead_ms, seat in sorted(said, reverse=True):
            heard.append(seat)
            if committee.is_weak_quorum(heard):
                return ahead_ms
        return None

    def forget_all_but(self, members: tuple[bytes, ...]) -> None:
        self._ahead = {key: words for key, words in self._ahead.items() if key in members}

    def size(self) -> int:
        return sum(map(len, self._ahead.values()))
