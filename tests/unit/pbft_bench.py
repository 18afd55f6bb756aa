"""A bench for one replica: keys of the whole committee, and messages as its members would sign them."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import ClassVar, TypeVar

from potminer.base.digest import Domain, digest, number
from potminer.core.committee import Committee
from potminer.core.machine import Broadcast, Executed, MessageArrived, Persist, Send, SetTimer, TimerFired
from potminer.core.pbft.application import Head, Timers
from potminer.core.pbft.events import Event, Started, WorkArrived
from potminer.core.pbft.machine import Replica
from potminer.core.pbft.viewchange import choose
from potminer.sim.ledger import GENESIS_MS, Chain, TinyApplication, genesis, state_after
from potminer.wire.block import Block, Certificate, CertifiedBlock, block_digest
from potminer.wire.codec import Wire
from potminer.wire.pbft import NewView, PrePrepare, ViewChange, Vote, view_change_digest
from potminer.wire.seal import Purpose, SigningKey, statement
from potminer.wire.tx import SignedTransaction, Transaction, Transfer, sign_transaction

CHAIN = digest(Domain.GENESIS, b"bench")
T = TypeVar("T")


def key(index: int) -> SigningKey:
    return SigningKey(digest(Domain.DRAW, b"bench", number(index)))


KEYS = tuple(key(i) for i in range(8))


@dataclass(frozen=True)
class Subject:
    """What is on the bench: the product, or a mutant of it."""

    replica: type[Replica] = Replica
    committee: type[Committee] = Committee


def committee_of(size: int, *, epoch: int = 0) -> Committee:
    return Bench.subject.committee(epoch=epoch, members=tuple(k.public for k in KEYS[:size]), powers=(1,) * size)


def transfer(nonce: int) -> SignedTransaction:
    body = Transfer(to=KEYS[0].public, amount=1)
    return sign_transaction(
        Transaction(chain=CHAIN, sender=KEYS[7].public, nonce=nonce, fee=1, expiry=10**6, body=body), KEYS[7]
    )


def proposal_of(block: Block, *, view: int, signature: bytes) -> PrePrepare:
    leaves = tuple(signed.leaf for signed in block.transactions)
    return PrePrepare(view=view, header=block.header, leaves=leaves, signature=signature)


@dataclass
class Bench:
    """Replica *me* of *size* at height 1, where member ``(1 + view) % size`` leads *view*."""

    subject: ClassVar[Subject] = Subject()
    size: int = 4
    me: int = 0
    timers: Timers = field(default_factory=lambda: Timers(checkpoint_blocks=2))
    now: int = GENESIS_MS + 1_000

    def __post_init__(self) -> None:
        self.committee = committee_of(self.size)
        self.chain = Chain(head=genesis(CHAIN), committee=self.committee, counts_turns=False)
        self.disk: dict[bytes, bytes] = {}
        self.start()

    # ---- driving -------------------------------------------------------------------------

    def start(self) -> list[object]:
        """A process start on what is on disk."""
        self.application = TinyApplication(self.chain)
        self.replica = self.subject.replica(
            key=KEYS[self.me],
            chain=CHAIN,
            application=self.application,
            head=self.chain.head,
            persisted=dict(self.disk),
            parameters=self.timers,
        )
        return self.do(Started())

    def do(self, event: Event) -> list[object]:
        effects: list[object] = list(self.replica.handle(event, self.now))
        for effect in effects:
            if isinstance(effect, Persist) and effect.value is not None:
                self.disk[effect.key] = effect.value
            elif isinstance(effect, Persist):
                self.disk.pop(effect.key, None)
        return effects

    def hear(self, member: int, *messages: Wire) -> list[object]:
        return [e for message in messages for e in self.do(MessageArrived(KEYS[member].public, message))]

    def work(self, nonce: int = 0) -> list[object]:
        self.application.submit(transfer(nonce))
        return self.do(WorkArrived())

    def ring(self, slot: str, effects: list[object]) -> list[object]:
        """Fires the timer of *slot* that *effects* set."""
        names = [e.name for e in effects if isinstance(e, SetTimer) and e.name.startswith(f"pbft/{slot}")]
        return self.do(TimerFired(names[-1]))

    def execute(self, block: Block, certificate: Certificate) -> list[object]:
        self.chain.apply(CertifiedBlock(block=block, certificate=certificate))
        self.application.forget_executed()
        head = self.chain.head
        return self.do(Executed(head.height, head.digest, head.state_root, head.time_ms))

    def elect(self, committee: Committee) -> None:
        """Another committee from the next block on; what it says is ours to sign from then."""
        self.chain.committee = self.committee = committee

    # ---- what members say ----------------------------------------------------------------

    def primary(self, view: int, *, height: int | None = None) -> int:
        return self.committee.primary(height=self.head.height + 1 if height is None else height, view=view)

    @property
    def head(self) -> Head:
        return self.chain.head

    def block(self, proposer: int, *, salt: int = 0, head: Head | None = None) -> Block:
        """A block that the ledger takes; *salt* makes it another one."""
        at = head or self.head
        application = TinyApplication(Chain(head=at, committee=self.committee))
        return application.build(height=at.height + 1, parent=at, proposer=KEYS[proposer].public, now=self.now + salt)

    def propose(self, block: Block, *, view: int = 0, by: int | None = None) -> PrePrepare:
        signer = self.primary(view, height=block.header.height) if by is None else by
        signed = self.sign(
            Purpose.PRE_PREPARE, signer, view=view, digest=block_digest(block.header), height=block.header.height
        )
        return proposal_of(block, view=view, signature=signed)

    def vote(self, purpose: Purpose, signer: int, block: Block, *, view: int = 0, key_of: int | None = None) -> Vote:
        name, height = block_digest(block.header), block.header.height
        signature = self.sign(purpose, signer if key_of is None else key_of, view=view, digest=name, height=height)
        return Vote(purpose=purpose, epoch=0, height=height, view=view, digest=name, signer=signer, signature=signature)

    def certificate(self, purpose: Purpose, block: Block, *, view: int, signers: tuple[int, ...]) -> Certificate:
        primary = self.primary(view, height=block.header.height)
        name, height = block_digest(block.header), block.header.height
        signatures = []
        for signer in signers:
            said = Purpose.PRE_PREPARE if purpose is Purpose.PREPARE and signer == primary else purpose
            signatures.append((signer, self.sign(said, signer, view=view, digest=name, height=height)))
        return Certificate(
            purpose=purpose, epoch=0, height=height, view=view, digest=name, signatures=tuple(signatures)
        )

    def change(self, signer: int, view: int, *, prepared: Certificate | None = None) -> ViewChange:
        height = self.head.height + 1
        value = view_change_digest(prepared=prepared)
        signature = self.sign(Purpose.VIEW_CHANGE, signer, view=view, digest=value, height=height)
        return ViewChange(epoch=0, height=height, view=view, prepared=prepared, signer=signer, signature=signature)

    def new_view(self, changes: tuple[ViewChange, ...], block: Block, *, view: int) -> NewView:
        return NewView(
            height=self.head.height + 1, view=view, view_changes=changes, proposal=self.propose(block, view=view)
        )

    def sign(self, purpose: Purpose, signer: int, *, view: int, digest: bytes, height: int) -> bytes:
        return KEYS[signer].sign(
            statement(
                purpose, chain=CHAIN, signer=KEYS[signer].public, digest=digest, epoch=0, height=height, view=view
            )
        )


@contextmanager
def on_the_bench(subject: Subject) -> Iterator[None]:
    """Every bench made inside holds *subject*."""
    before, Bench.subject = Bench.subject, subject
    try:
        yield
    finally:
        Bench.subject = before


def of(kind: type[T], effects: list[object]) -> list[T]:
    return [effect for effect in effects if isinstance(effect, kind)]


def said(kind: type[T], effects: list[object]) -> list[T]:
    """Messages of *kind* that were broadcast."""
    return [e.message for e in effects if isinstance(e, Broadcast) and isinstance(e.message, kind)]


def sent(kind: type[T], effects: list[object]) -> list[T]:
    return [e.message for e in effects if isinstance(e, Send) and isinstance(e.message, kind)]


__all__ = [
    "CHAIN",
    "KEYS",
    "Bench",
    "Subject",
    "choose",
    "committee_of",
    "of",
    "on_the_bench",
    "proposal_of",
    "said",
    "sent",
    "state_after",
    "transfer",
]
