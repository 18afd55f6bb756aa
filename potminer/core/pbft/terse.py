"""Long proposals in brief: six bytes stand for a transaction, for whoever hears of it has it already.

A proposal names its transactions by 32 bytes each, which no line makes shorter. Here the replica says it in brief, and
one that hears it in brief finds the leaves among what waits in its own mempool; the header's root proves that they are
the right ones. Inside nothing changes: a replica takes, keeps and judges whole proposals only. What cannot be found is
waited for while it comes, and then asked for whole of whoever said it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from hashlib import blake2b
from typing import Final

from potminer.base import limits
from potminer.core.machine import Broadcast, Executed, MessageArrived, Send, SetTimer, TimerFired
from potminer.core.pbft.application import Application, Head, Timers
from potminer.core.pbft.events import Effect, Event, WorkArrived
from potminer.core.pbft.height import Stage
from potminer.core.pbft.machine import Replica
from potminer.core.pbft.memory import WHOLE, Memory
from potminer.wire.block import leaves_root
from potminer.wire.codec import Wire
from potminer.wire.pbft import SHORT_BYTES, Brief, NewView, PrePrepare, Relay, Transactions, VotesWanted
from potminer.wire.seal import SigningKey

TIMER: Final = "pbft/brief"
LEAST: Final = 32
"""Fewer leaves are said whole."""
PATIENCE_MS: Final = 500
"""So long nothing more of it came: then it is asked for whole."""
BRINGS: Final = (WorkArrived, Executed)
KNOWN: Final = 4 * limits.MEMPOOL_TRANSACTIONS


def shortened(parent: bytes, leaf: bytes) -> bytes:
    """What stands for *leaf* in the block after *parent*: another one at each height, so that nobody can prepare two
    transactions of one name long before."""
    return blake2b(leaf, digest_size=SHORT_BYTES, key=parent).digest()


def in_brief(message: PrePrepare | NewView, least: int = LEAST) -> Wire:
    """*message*, or what stands for it."""
    proposal = message.proposal if isinstance(message, NewView) else message
    if len(proposal.leaves) < least:
        return message
    parent = proposal.header.parent
    names = b"".join([shortened(parent, leaf) for leaf in proposal.leaves])
    changes = message.view_changes if isinstance(message, NewView) else ()
    return Brief(proposal.view, changes, proposal.header, names, proposal.signature)


def at_length(brief: Brief, leaves: tuple[bytes, ...]) -> PrePrepare | NewView:
    """What *brief* stands for, if these are its leaves."""
    proposal = PrePrepare(brief.view, brief.header, leaves, brief.signature)
    if not brief.view_changes:
        return proposal
    return NewView(brief.header.height, brief.view, brief.view_changes, proposal)


@dataclass(slots=True)
class Kept:
    """A brief that is not understood yet. *missing*: names of which nothing is known; None before its height began."""

    brief: Brief
    missing: set[bytes] | None
    left: int
    """How many were missing when it was last looked at."""


class Names:
    """What waits here, by its short names in the block after one parent."""

    __slots__ = ("_known", "_leaves", "_parent")

    def __init__(self) -> None:
        self._parent = b""
        self._leaves: dict[bytes, bytes] = {}
        self._known: set[bytes] = set()

    def learn(self, parent: bytes, leaves: Iterator[bytes]) -> list[bytes]:
        """The names of those of *leaves* that are new. A height that lasts is begun anew, lest what comes and goes
        meanwhile be kept for ever."""
        if parent != self._parent or len(self._known) > KNOWN:
            self._parent, self._leaves, self._known = parent, {}, set()
        fresh = []
        for leaf in leaves:
            if leaf not in self._known:
                self._known.add(leaf)
                name = shortened(parent, leaf)
                self._leaves[name] = leaf
                fresh.append(name)
        return fresh

    def found(self, names: Sequence[bytes]) -> tuple[bytes, ...]:
        return tuple([self._leaves[name] for name in names if name in self._leaves])

    def missing(self, names: Sequence[bytes]) -> set[bytes]:
        return {name for name in names if name not in self._leaves}


class Terse(Replica):
    """A replica that says long proposals in brief. *busy*: whether anything waits for the line to a peer, on which a
    proposal is then not repeated."""

    least = LEAST

    def __init__(
        self, *, key: SigningKey, chain: bytes, application: Application, head: Head, persisted: Mapping[bytes, bytes],
        parameters: Timers, memory: Memory = WHOLE, busy: Callable[[bytes], bool] = lambda peer: False,
    ) -> None:
        super().__init__(
            key=key, chain=chain, application=application, head=head, persisted=persisted, parameters=parameters,
            memory=memory,
        )
        self._busy = busy
        self._briefs: dict[bytes, Kept] = {}
        self._names = Names()
        self._timer = False
        self._shortest: tuple[Wire, Wire] | None = None
        """What was said in brief last, and how."""

    def footprint(self) -> int:
        return super().footprint() + len(self._briefs)

    def handle(self, event: Event, now: int) -> list[Effect]:
        if type(event) is TimerFired and event.name == TIMER:
            return self._ask()
        if type(event) is MessageArrived:
            message = event.message
            if type(message) is Brief:
                return self._hear(event.peer, message, now)
            effects = self._said_shorter(super().handle(event, now), whole=type(message) is VotesWanted)
            return effects + self._look(now) if self._briefs and isinstance(message, Transactions | Relay) else effects
        effects = self._said_shorter(super().handle(event, now), whole=False)
        return effects + self._look(now) if self._briefs and isinstance(event, BRINGS) else effects

    # ---- saying --------------------------------------------------------------------------

    def _said_shorter(self, effects: list[Effect], *, whole: bool) -> list[Effect]:
        said: list[Effect] = []
        for effect in effects:
            if isinstance(effect, Broadcast | Send) and isinstance(effect.message, PrePrepare | NewView):
                said += self._in_brief(effect, effect.message, whole=whole)
            else:
                said.append(effect)
        return said

    def _in_brief(self, effect: Broadcast | Send, message: PrePrepare | NewView, *, whole: bool) -> list[Effect]:
        if self._shortest is None or self._shortest[0] is not message:
            self._shortest = message, in_brief(message, self.least)
        brief = self._shortest[1]
        if isinstance(effect, Broadcast):
            return [Broadcast(brief)]
        if brief is message:
            return [effect]
        return [] if self._busy(effect.peer) else [effect if whole else Send(effect.peer, brief)]

    def _is_stalled(self, now: int) -> bool:
        """What is proposed is known: nothing is relayed while it is decided on."""
        return super()._is_stalled(now) and self._at.standing is None and not self._briefs

    # ---- hearing -------------------------------------------------------------------------

    def _hear(self, peer: bytes, brief: Brief, now: int) -> list[Effect]:
        """Kept of each member is one, of this height or the next."""
        height = brief.header.height
        members = peer in self._committee.seats or peer in self._application.following.seats
        if not self._member or not members or height not in (self.height, self.height + 1):
            return []
        if height == self.height and brief.view < self.view:
            return []
        self._briefs[peer] = Kept(brief, None, len(brief.names))
        effects = self._look(now, peer)
        if self._briefs and not self._timer:
            self._timer = True
            effects.append(SetTimer(TIMER, PATIENCE_MS))
        return effects

    def _look(self, now: int, newest: bytes | None = None) -> list[Effect]:
        """Takes what is understood by now, as if it had come whole."""
        if self._decided:
            return []
        fresh = self._names.learn(self._head.digest, iter(self._application.leaves()))
        effects: list[Effect] = []
        for peer, kept in list(self._briefs.items()):
            header = kept.brief.header
            if header.height < self.height or (header.height == self.height and kept.brief.view < self.view):
                del self._briefs[peer]
            elif header.parent == self._head.digest and not self._decided:
                names = kept.brief.each
                if kept.missing is None:
                    kept.missing = self._names.missing(names)
                kept.missing.difference_update(fresh)
                leaves = () if kept.missing else self._names.found(names)
                kept.left = kept.left if kept.missing else -1  # found, and perhaps not the right ones: no use waiting
                if leaves and leaves_root(leaves) == header.transactions_root:
                    del self._briefs[peer]
                    message = MessageArrived(peer, at_length(kept.brief, leaves))
                    effects += self._said_shorter(super().handle(message, now), whole=False)
        return effects

    @property
    def _decided(self) -> bool:
        """Nothing is taken until the block that was decided on is executed."""
        return self.stage is Stage.EXECUTING

    def _ask(self) -> list[Effect]:
        """Whole, for what nothing more came of since the last look."""
        effects: list[Effect] = []
        for peer, kept in list(self._briefs.items()):
            header, left = kept.brief.header, len(kept.brief.each if kept.missing is None else kept.missing)
            if header.height < self.height or (header.height == self.height and kept.brief.view < self.view):
                del self._briefs[peer]
            elif header.height == self.height and left >= kept.left:
                wanted = VotesWanted(self.height, kept.brief.view, opening=True, prepares=0, commits=0, changes=0)
                effects.append(Send(peer, wanted))
            kept.left = left
        self._timer = bool(self._briefs)
        return [*effects, SetTimer(TIMER, PATIENCE_MS)] if self._timer else effects
