"""Members that break the rules on purpose, beyond core/misbehave.py: they rewrite what an honest replica wants to say.

An adversary sees the effects of its replica and every message that reaches it. Its key is its
own: it may sign anything in its own name, and nothing in anybody else's.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable
from random import Random
from typing import Any, Protocol

import msgspec

from potminer.core.committee import Committee
from potminer.core.machine import Broadcast, Send
from potminer.wire import sync
from potminer.wire.block import Certificate, block_digest
from potminer.wire.codec import Wire
from potminer.wire.pbft import (
    NewView,
    PreparedBlock,
    PrePrepare,
    Status,
    Transactions,
    ViewChange,
    Vote,
    VotesWanted,
    view_change_digest,
)
from potminer.wire.seal import Purpose, SigningKey, statement

HUGE_VIEW = 2**31
HUGE_MS = 2**62
REMEMBERED = 64
"""Messages that a mutator keeps to say again."""


class Fault(Protocol):
    """What a faulty host does to the effects of its replica (core/misbehave.py's shape)."""

    def transform(self, effects: Iterable[object]) -> list[object]: ...


class Adversary:
    """Base: honest. *chance* is this member's own."""

    def __init__(self, *, key: SigningKey, chain: bytes, committee: Committee, chance: Random) -> None:
        self.key = key
        self.chain = chain
        self.committee = committee
        self.chance = chance
        me = committee.index_of(key.public)
        self.me = 0 if me is None else me
        self.height = 1
        self.epoch = committee.epoch
        """The newest that its own replica spoke of."""

    def transform(self, effects: Iterable[object]) -> list[object]:
        told: list[object] = []
        for effect in effects:
            if isinstance(effect, Broadcast) and isinstance(effect.message, Status):
                self.height = effect.message.height
                told += self.tick()
            if isinstance(effect, Broadcast) and isinstance(effect.message, Vote | ViewChange):
                self.epoch = effect.message.epoch
            told += self.bend(effect)
        return told

    def bend(self, effect: object) -> list[object]:
        """What is done instead of *effect*."""
        return [effect]

    def tick(self) -> list[object]:
        """Once per status period."""
        return []

    def hear(self, message: Wire) -> None:
        """A message reached this member."""

    # ---- signing in one's own name -------------------------------------------------------

    def sign(self, purpose: Purpose, *, epoch: int, height: int, view: int, digest: bytes) -> bytes:
        return self.key.sign(
            statement(
                purpose, chain=self.chain, signer=self.key.public, digest=digest, epoch=epoch, height=height, view=view
            )
        )

    def vote(self, purpose: Purpose, *, height: int, view: int, digest: bytes) -> Vote:
        epoch = self.epoch
        signature = self.sign(purpose, epoch=epoch, height=height, view=view, digest=digest)
        return Vote(
            purpose=purpose, epoch=epoch, height=height, view=view, digest=digest, signer=self.me, signature=signature
        )

    def change(self, view: int, prepared: Certificate | None = None) -> ViewChange:
        epoch, height = self.epoch, self.height
        value = view_change_digest(prepared=prepared)
        return ViewChange(
            epoch=epoch, height=height, view=view, prepared=prepared, signer=self.me,
            signature=self.sign(Purpose.VIEW_CHANGE, epoch=epoch, height=height, view=view, digest=value),
        )


class Withholder(Adversary):
    """Its proposals reach a few, bodies nobody: whoever prepares must get the block from the others."""

    def bend(self, effect: object) -> list[object]:
        match effect:
            case Send(_, PreparedBlock() | Transactions() | sync.Blocks()):
                return []
            case Broadcast(PrePrepare() | NewView() as message):
                others = [member for member in self.committee.members if member != self.key.public]
                few = self.chance.sample(others, k=self.chance.randint(0, len(others)))
                return [Send(member, message) for member in few]
            case _:
                return [effect]


class ViewSpammer(Adversary):
    """Huge views, the next view, and votes in views that nobody is in."""

    def tick(self) -> list[object]:
        junk = self.chance.randbytes(32)
        wild: list[Wire] = [
            self.change(self.chance.choice((1, 2, 3, HUGE_VIEW, HUGE_VIEW + self.chance.randrange(99)))),
            self.vote(Purpose.COMMIT, height=self.height, view=HUGE_VIEW, digest=junk),
            self.vote(Purpose.PREPARE, height=self.height + self.chance.randrange(3), view=7, digest=junk),
            VotesWanted(
                height=self.height, view=self.chance.choice((0, 1, HUGE_VIEW)), opening=True, prepares=2**32 - 1,
                commits=2**32 - 1, changes=2**32 - 1,
            ),
            Status(height=self.chance.choice((self.height, 2**40)), view=HUGE_VIEW, time_ms=HUGE_MS),
        ]
        return [Broadcast(message) for message in wild]


class Flood(Adversary):
    """Votes in everybody's name that nobody signed, *per_tick* of them."""

    per_tick = 24

    def tick(self) -> list[object]:
        chance = self.chance
        return [
            Broadcast(
                Vote(
                    purpose=chance.choice((Purpose.PREPARE, Purpose.COMMIT, Purpose.CHECKPOINT)),
                    epoch=self.epoch,
                    height=self.height + chance.randrange(2),
                    view=chance.randrange(3),
                    digest=chance.randbytes(32),
                    signer=chance.randrange(len(self.committee.members)),
                    signature=chance.randbytes(64),
                )
            )
            for _ in range(self.per_tick)
        ]


class Torrent(Flood):
    """As many as a link lets in."""

    per_tick = 1_000


class Mutator(Adversary):
    """Every third message is altered, kept back or joined by an old one of anybody's."""

    def __init__(self, *, key: SigningKey, chain: bytes, committee: Committee, chance: Random) -> None:
        super().__init__(key=key, chain=chain, committee=committee, chance=chance)
        self._heard: deque[Wire] = deque(maxlen=REMEMBERED)

    def hear(self, message: Wire) -> None:
        if isinstance(message, Vote | ViewChange | NewView | PrePrepare):
            self._heard.append(message)

    def bend(self, effect: object) -> list[object]:
        if not isinstance(effect, Broadcast | Send) or self.chance.randrange(3):
            return [effect]
        match self.chance.randrange(4):
            case 0:
                return []
            case 1 if self._heard:
                return [effect, Broadcast(self.chance.choice(self._heard))]
            case 2:
                return [effect, _told(effect, self._mutated(effect.message))]
            case _:
                return [_told(effect, self._mutated(effect.message))]

    # ---- mutations -----------------------------------------------------------------------

    def _mutated(self, message: Wire) -> Wire:
        match message:
            case Vote():
                return self._mutated_vote(message)
            case ViewChange():
                return self._mutated_change(message)
            case NewView():
                return self._mutated_new_view(message)
            case PrePrepare():
                return self._mutated_proposal(message)
            case _:
                return message

    def _mutated_vote(self, vote: Vote) -> Vote:
        altered: Vote = msgspec.structs.replace(vote, **self._one_of(
            {"view": vote.view + 1}, {"view": max(0, vote.view - 1)}, {"height": vote.height + 1},
            {"height": max(1, vote.height - 1)}, {"digest": self.chance.randbytes(32)}, {"epoch": vote.epoch + 1},
            {"signer": (vote.signer + 1) % len(self.committee.members)},
            {"purpose": self.chance.randrange(1, 10)},
        ))
        if self.chance.randrange(3) == 0:
            return altered  # under the old signature
        signature = self.sign(
            Purpose(altered.purpose), epoch=altered.epoch, height=altered.height, view=altered.view,
            digest=altered.digest,
        )
        return msgspec.structs.replace(altered, signature=signature)

    def _mutated_change(self, change: ViewChange) -> ViewChange:
        prepared = change.prepared
        altered: ViewChange = msgspec.structs.replace(change, **self._one_of(
            {"view": change.view + 1}, {"view": max(0, change.view - 1)}, {"height": change.height + 1},
            {"prepared": None}, {"prepared": prepared if prepared is None else self._mutated_certificate(prepared)},
        ))
        value = view_change_digest(prepared=altered.prepared)
        signature = self.sign(
            Purpose.VIEW_CHANGE, epoch=altered.epoch, height=altered.height, view=altered.view, digest=value
        )
        return msgspec.structs.replace(altered, signature=signature)

    def _mutated_certificate(self, proof: Certificate) -> Certificate:
        signatures = list(proof.signatures)
        place = self.chance.randrange(len(signatures)) if signatures else 0
        shuffled = self.chance.sample(signatures, len(signatures))
        return msgspec.structs.replace(proof, **self._one_of(
            {"view": proof.view + 1}, {"height": proof.height + 1}, {"digest": self.chance.randbytes(32)},
            {"purpose": Purpose.COMMIT}, {"signatures": tuple(signatures[:place] + signatures[place + 1 :])},
            {"signatures": tuple(signatures[:1] * len(signatures))}, {"signatures": tuple(shuffled)},
            {"signatures": tuple((index, self.chance.randbytes(64)) for index, _ in signatures)},
        ))

    def _mutated_new_view(self, new_view: NewView) -> NewView:
        changes = new_view.view_changes
        return msgspec.structs.replace(new_view, **self._one_of(
            {"view": new_view.view + 1}, {"height": new_view.height + 1}, {"view_changes": changes[1:]},
            {"view_changes": changes[:1] * len(changes)}, {"view_changes": tuple(reversed(changes))},
            {"view_changes": tuple(msgspec.structs.replace(c, prepared=None) for c in changes)},
            {"proposal": self._mutated_proposal(new_view.proposal)},
        ))

    def _mutated_proposal(self, proposal: PrePrepare) -> PrePrepare:
        header, leaves = proposal.header, proposal.leaves
        bent = msgspec.structs.replace(header, **self._one_of(
            {"time_ms": header.time_ms + 1}, {"height": header.height + 1}, {"parent": self.chance.randbytes(32)},
            {"epoch": header.epoch + 1}, {"proposer": self.committee.members[self.chance.randrange(len(
                self.committee.members))]}, {"transactions_root": self.chance.randbytes(32)},
            {"state_root": self.chance.randbytes(32)}, {},
        ))
        view = proposal.view + self.chance.choice((0, 0, 0, 1))
        if leaves and self.chance.randrange(4) == 0:
            leaves = self.chance.choice((leaves[1:], leaves * 2, (self.chance.randbytes(32), *leaves[1:])))
        signature = self.sign(
            Purpose.PRE_PREPARE, epoch=bent.epoch, height=bent.height, view=view, digest=block_digest(bent)
        )
        return PrePrepare(view=view, header=bent, leaves=leaves, signature=signature)

    def _one_of(self, *changes: dict[str, Any]) -> dict[str, Any]:
        return self.chance.choice(changes)


def _told(effect: Broadcast | Send, message: Wire) -> object:
    return Broadcast(message) if isinstance(effect, Broadcast) else Send(effect.peer, message)


ADVERSARIES: dict[str, Callable[..., Adversary]] = {
    "mutator": Mutator,
    "withholder": Withholder,
    "view-spammer": ViewSpammer,
    "flood": Flood,
    "torrent": Torrent,
}
"""By the role of the plan."""
