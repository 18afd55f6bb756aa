"""Faults for devnets and simulation: what a faulty member does to the effects of an honest machine.

The replica itself stays honest; a fault rewrites what leaves it. A node refuses every kind
outside a devnet.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Container, Iterable, Sequence
from enum import StrEnum

from potminer.base.digest import Domain, digest
from potminer.core.committee import Committee
from potminer.core.machine import Broadcast, Send, SetTimer
from potminer.core.pbft.application import Application, Head
from potminer.wire.block import Block, Header, block_digest, transactions_root
from potminer.wire.codec import Wire
from potminer.wire.pbft import NewView, PrePrepare, ViewChange, Vote, view_change_digest
from potminer.wire.seal import Purpose, SigningKey, statement
from potminer.wire.tx import SignedTransaction

_TWINS_KEPT = 16


class Kind(StrEnum):
    SILENT = "silent"
    """Takes part in nothing that others could see."""
    EQUIVOCATE = "equivocate"
    """Says one thing to half of the committee and another to the rest: blocks, votes and what it prepared."""
    SLOW_LEADER = "slow-leader"
    """Proposes as late as the view timer allows."""
    CENSOR = "censor"
    """Leaves its victims' transactions out of its blocks."""


class Misbehaviour:
    """One faulty member. ``transform`` takes the machine's effects and gives those to perform."""

    def __init__(
        self, kind: Kind, *, key: SigningKey, chain: bytes, committee: Callable[[], Committee], slow_ms: int = 1_800
    ) -> None:
        """*committee* says who sits at the height being agreed on."""
        self.kind = kind
        self._key = key
        self._chain = chain
        self._committee = committee
        self._slow_ms = slow_ms
        self._twins: dict[bytes, bytes] = {}

    def transform(self, effects: Iterable[object]) -> list[object]:
        match self.kind:
            case Kind.SILENT:
                return [effect for effect in effects if not isinstance(effect, Broadcast | Send)]
            case Kind.SLOW_LEADER:
                return [self._late(effect) for effect in effects]
            case Kind.EQUIVOCATE:
                return [told for effect in effects for told in self._two_faced(effect)]
            case Kind.CENSOR:
                return list(effects)

    def _late(self, effect: object) -> object:
        if isinstance(effect, SetTimer) and effect.name.startswith(("pbft/batch", "pbft/empty")):
            return SetTimer(effect.name, effect.delay_ms + self._slow_ms)
        return effect

    # ---- equivocation --------------------------------------------------------------------

    def _two_faced(self, effect: object) -> list[object]:
        """Members of even index hear the truth, those of odd index the twin, at some heights both."""
        if isinstance(effect, Send):
            index = self._committee().index_of(effect.peer)
            return [Send(effect.peer, self._twin(effect.message))] if index is not None and index % 2 else [effect]
        if not isinstance(effect, Broadcast):
            return [effect]
        twin = self._twin(effect.message)
        if twin is effect.message:
            return [effect]
        told: list[object] = []
        both = isinstance(twin, Vote) and twin.height % 2 == 1
        for index, member in enumerate(self._committee().members):
            if member == self._key.public:
                continue
            if index % 2 == 0 or both:
                told.append(Send(member, effect.message))
            if index % 2 == 1 or both:
                told.append(Send(member, twin))
        return told

    def _twin(self, message: Wire) -> Wire:
        """The contradicting message, or *message* itself where a contradiction would be pointless."""
        match message:
            case PrePrepare():
                return self._twin_proposal(message)
            case NewView():
                return NewView(
                    height=message.height,
                    view=message.view,
                    view_changes=message.view_changes,
                    proposal=self._twin_proposal(message.proposal),
                )
            case ViewChange() if message.prepared is not None:
                return self._amnesia(message)
            case Vote() if message.purpose in (Purpose.PREPARE, Purpose.COMMIT):
                other = self._twins.get(message.digest) or digest(Domain.MESSAGE, message.digest)
                signature = self._sign(Purpose(message.purpose), message.height, message.view, other)
                return Vote(
                    purpose=message.purpose,
                    epoch=message.epoch,
                    height=message.height,
                    view=message.view,
                    digest=other,
                    signer=message.signer,
                    signature=signature,
                )
            case _:
                return message

    def _twin_proposal(self, proposal: PrePrepare) -> PrePrepare:
        """A fresh block of our own, also where the view had to begin with a prepared one."""
        header = _changed(proposal.header, time_ms=proposal.header.time_ms + 1, proposer=self._key.public)
        other = block_digest(header)
        self._twins[block_digest(proposal.header)] = other
        while len(self._twins) > _TWINS_KEPT:
            del self._twins[next(iter(self._twins))]
        signature = self._sign(Purpose.PRE_PREPARE, header.height, proposal.view, other)
        return PrePrepare(view=proposal.view, header=header, leaves=proposal.leaves, signature=signature)

    def _amnesia(self, change: ViewChange) -> ViewChange:
        """The same view asked for, as if nothing had ever been prepared."""
        value = view_change_digest(prepared=None)
        return ViewChange(
            epoch=change.epoch,
            height=change.height,
            view=change.view,
            prepared=None,
            signer=change.signer,
            signature=self._sign(Purpose.VIEW_CHANGE, change.height, change.view, value),
        )

    def _sign(self, purpose: Purpose, height: int, view: int, value: bytes) -> bytes:
        return self._key.sign(
            statement(
                purpose,
                chain=self._chain,
                signer=self._key.public,
                digest=value,
                epoch=self._committee().epoch,
                height=height,
                view=view,
            )
        )


class Censoring:
    """An application that builds blocks without the transactions of *victims*."""

    def __init__(self, inner: Application, victims: Container[bytes]) -> None:
        self._inner = inner
        self._victims = victims

    @property
    def committee(self) -> Committee:
        return self._inner.committee

    @property
    def following(self) -> Committee:
        return self._inner.following

    def build(self, *, height: int, parent: Head, proposer: bytes, now: int, most: int) -> Block | None:
        block = self._inner.build(height=height, parent=parent, proposer=proposer, now=now, most=most)
        if block is None:
            return None
        kept = tuple(t for t in block.transactions if t.transaction.sender not in self._victims)
        return Block(header=_changed(block.header, transactions_root=transactions_root(kept)), transactions=kept)

    def refusal(self, block: Block, *, fresh: bool, now: int) -> str | None:
        return self._inner.refusal(block, fresh=fresh, now=now)

    def wants_block(self, now: int) -> bool:
        return self._inner.wants_block(now)

    def waits(self, now: int) -> bool:
        return self._inner.waits(now)

    def neglected(self, *, stalled: bool) -> Sequence[SignedTransaction]:
        return ()

    def left_out(self, block: Block) -> bytes | None:
        return None

    def leaves(self) -> Collection[bytes]:
        return self._inner.leaves()

    def transactions(self, leaves: Sequence[bytes]) -> Sequence[SignedTransaction | None]:
        return self._inner.transactions(leaves)


def _changed(
    header: Header,
    *,
    time_ms: int | None = None,
    transactions_root: bytes | None = None,
    proposer: bytes | None = None,
) -> Header:
    return Header(
        parent=header.parent,
        height=header.height,
        epoch=header.epoch,
        transactions_root=header.transactions_root if transactions_root is None else transactions_root,
        state_root=header.state_root,
        proposer=header.proposer if proposer is None else proposer,
        time_ms=header.time_ms if time_ms is None else time_ms,
        preimage=header.preimage,
    )
