"""The mesh of one topic: the few peers that are sent every item in full.

Both ends may graft and prune. A prune sets a backoff on both sides, so that two peers do
not graft and prune in turn. A mesh that is one-sided after a lost message costs
bandwidth only: lazy announcements repair delivery (``wanted.py``).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping

from potminer.base.draw import shuffled
from potminer.core.gossip.parameters import Parameters
from potminer.core.machine import Send
from potminer.wire.gossip import Graft, Prune, Topic

Score = Callable[[bytes], int]
BACKOFF_CAP_MS = 3_600_000
"""A peer may ask us to stay away for at most an hour."""
BACKOFFS = 1_024
"""Many times the links a node can have."""


class Mesh:
    """Members of *topic*'s mesh, and until when others are to be left alone."""

    def __init__(self, topic: Topic, parameters: Parameters, chance: Iterator[int]) -> None:
        self.topic = topic
        self.members: dict[bytes, None] = {}
        self._parameters = parameters
        self._chance = chance
        self._backoff: dict[bytes, int] = {}

    def beat(self, peers: Mapping[bytes, bool], score: Score, now: int) -> list[Send]:
        """Keep between low and high members; *peers* maps key to "we dialled it"."""
        self._backoff = {peer: until for peer, until in self._backoff.items() if until > now}
        effects = [self._prune(peer, now) for peer in list(self.members) if score(peer) < 0]
        if len(self.members) < self._parameters.degree_low:
            effects += self._fill(peers, score)
        elif len(self.members) > self._parameters.degree_high:
            effects += self._cut(peers, score, now)
        return effects

    def asked_in(self, peer: bytes, score: Score, now: int, *, outbound: bool) -> list[Send]:
        """*peer* grafted us: it is a member from now on, or is told no.

        A full mesh still takes those we dialled ourselves, and is cut at the next beat: else
        whoever dials us first could keep them out.
        """
        if peer in self.members:
            return []
        full = len(self.members) >= self._parameters.degree_high and not outbound
        if full or score(peer) < 0 or self._backoff.get(peer, 0) > now:
            return [self._prune(peer, now)]
        self.members[peer] = None
        return []

    def asked_out(self, peer: bytes, backoff_ms: int, now: int) -> None:
        """*peer* pruned us."""
        self.members.pop(peer, None)
        self._leave_alone(peer, now + min(backoff_ms, BACKOFF_CAP_MS))

    def gone(self, peer: bytes) -> None:
        """The link is gone. The backoff stays: reconnecting is no way around it."""
        self.members.pop(peer, None)

    def _prune(self, peer: bytes, now: int) -> Send:
        self.members.pop(peer, None)
        self._leave_alone(peer, now + self._parameters.backoff_ms)
        return Send(peer, Prune(self.topic, self._parameters.backoff_ms))

    def _leave_alone(self, peer: bytes, until_ms: int) -> None:
        self._backoff[peer] = until_ms
        if len(self._backoff) > BACKOFFS:
            del self._backoff[min(self._backoff, key=self._backoff.__getitem__)]

    def _fill(self, peers: Mapping[bytes, bool], score: Score) -> list[Send]:
        strangers = [p for p in sorted(peers) if p not in self.members and p not in self._backoff and score(p) >= 0]
        chosen = shuffled(self._chance, strangers)[: self._parameters.degree - len(self.members)]
        self.members.update(dict.fromkeys(chosen))
        return [Send(peer, Graft(self.topic)) for peer in chosen]

    def _cut(self, peers: Mapping[bytes, bool], score: Score, now: int) -> list[Send]:
        """Keep the best by score, enough that we dialled, and the rest by chance."""
        drawn = shuffled(self._chance, sorted(self.members))
        ranked = sorted(drawn, key=lambda p: -score(p))
        order = ranked[: self._parameters.keep_best]
        kept_outbound = sum(peers.get(p, False) for p in order)
        dialled = [p for p in drawn if peers.get(p, False) and p not in order]
        order += dialled[: max(0, self._parameters.outbound_least - kept_outbound)]
        order += [p for p in drawn if p not in order]
        return [self._prune(peer, now) for peer in order[self._parameters.degree :]]
