"""The control of the mutants: our replica, with its checks repeated one by one, so that one can be left out.

``Bent`` itself leaves out none. It must be the product to the byte, and survive every attack.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import ClassVar

from potminer.core.committee import Committee, certificate_holds
from potminer.core.machine import Offence, Penalize
from potminer.core.pbft import viewchange
from potminer.core.pbft.ahead import Ahead
from potminer.core.pbft.events import DoubleVote, ViewEntered, Witnessed
from potminer.core.pbft.height import Stage, Table
from potminer.core.pbft.log import Log
from potminer.core.pbft.machine import Replica
from potminer.core.pbft.normal import vote_is_signed
from potminer.core.pbft.voice import Voice
from potminer.wire.block import Certificate, block_digest, leaves_root
from potminer.wire.pbft import NewView, PrePrepare, ViewChange, Vote, view_change_digest
from potminer.wire.seal import Purpose, statement

Skip = frozenset[str]
Choose = Callable[[Sequence[ViewChange]], Certificate | None]


def first_fault(checks: Iterable[tuple[str, bool]], skip: Skip) -> str | None:
    return next((name for name, holds in checks if not holds and name not in skip), None)


# ---- the product's checks, one by one ----------------------------------------------------


def proposal_fault(proposal: PrePrepare, replica: Replica, *, fresh: bool, skip: Skip) -> str | None:
    committee, head, header = replica._committee, replica._head, proposal.header
    leader = committee.primary(height=header.height, view=proposal.view)
    primary = committee.members[leader]

    def checks() -> Iterable[tuple[str, bool]]:
        yield "height", header.height == head.height + 1
        yield "parent", header.parent == head.digest
        yield "epoch", header.epoch == committee.epoch
        yield "proposer", not fresh or header.proposer == primary
        yield "member", header.proposer in committee.members
        yield "whole", leaves_root(proposal.leaves) == header.transactions_root
        signed = statement(
            Purpose.PRE_PREPARE,
            chain=replica._chain,
            signer=primary,
            digest=block_digest(header),
            epoch=committee.epoch,
            height=header.height,
            view=proposal.view,
        )
        yield "signed", committee.signed_by(leader, signed, proposal.signature)

    return first_fault(checks(), skip)


def change_fault(change: ViewChange, committee: Committee, *, chain: bytes, height: int, skip: Skip) -> str | None:
    proof = change.prepared

    def checks() -> Iterable[tuple[str, bool]]:
        yield "place", (change.height, change.epoch) == (height, committee.epoch)
        yield "seat", change.signer < len(committee.members)
        yield "zero", change.view > 0
        yield "proof's purpose", proof is None or proof.purpose == Purpose.PREPARE
        yield "proof's height", proof is None or proof.height == height
        yield "proof's view", proof is None or proof.view < change.view
        signed = statement(
            Purpose.VIEW_CHANGE,
            chain=chain,
            signer=committee.members[change.signer],
            digest=view_change_digest(prepared=proof),
            epoch=change.epoch,
            height=height,
            view=change.view,
        )
        yield "signed", committee.signed_by(change.signer, signed, change.signature)
        yield "certificate", proof is None or certificate_holds(proof, committee, chain=chain)

    return first_fault(checks(), skip)


def new_view_fault(new_view: NewView, replica: Replica, *, choose: Choose, skip: Skip) -> str | None:
    committee, height = replica._committee, replica._head.height + 1
    changes, proposal = new_view.view_changes, new_view.proposal
    signers = [change.signer for change in changes]
    chosen = choose(changes)

    def checks() -> Iterable[tuple[str, bool]]:
        yield "envelope", (new_view.height, proposal.view) == (height, new_view.view) and new_view.view > 0
        yield "distinct", signers == sorted(set(signers)) and all(s < len(committee.members) for s in signers)
        yield "view", all(change.view == new_view.view for change in changes)
        yield "quorum", committee.is_quorum(signers)
        yield "choice", chosen is None or block_digest(proposal.header) == chosen.digest

    fault = first_fault(checks(), skip)
    for change in changes:
        if fault is None:
            fault = change_fault(change, committee, chain=replica._chain, height=height, skip=skip)
    return fault or proposal_fault(proposal, replica, fresh=chosen is None, skip=skip)


# ---- where the checks are asked ----------------------------------------------------------


class BentTable(Table):
    __slots__ = ()
    skip: ClassVar[Skip] = frozenset()

    def take_vote(self, peer: bytes, vote: Vote, *, chain: bytes) -> list[Penalize | DoubleVote]:
        if first_fault(self._form(vote), self.skip) is not None:
            return [Penalize(peer, Offence.MALFORMED, "a vote that nobody may cast")]
        held = self.log.vote(purpose=vote.purpose, signer=vote.signer, view=vote.view)
        if held is None and not self.log.wants(vote):
            return []
        if held is not None and (held.digest == vote.digest or vote.signer in self.accused):
            return []
        if "verify first" in self.skip:
            self.log.add(vote)
        if not vote_is_signed(vote, self.committee, chain=chain):
            return [Penalize(peer, Offence.FORGED, "a vote that its signer did not sign")]
        if held is None:
            self.log.add(vote)
            return []
        first, second = (held.digest, held.signature), (vote.digest, vote.signature)
        return [self.accuse(vote.signer, Purpose(vote.purpose), view=vote.view, first=first, second=second)]

    def _form(self, vote: Vote) -> Iterable[tuple[str, bool]]:
        yield "vote's epoch", vote.epoch == self.committee.epoch
        yield "vote's seat", vote.signer < len(self.committee.members)
        yield "vote's purpose", vote.purpose in (Purpose.PREPARE, Purpose.COMMIT)
        primary = self.committee.primary(height=vote.height, view=vote.view)
        yield "primary", vote.purpose != Purpose.PREPARE or vote.signer != primary

    def take_change(self, peer: bytes, change: ViewChange, *, chain: bytes) -> list[Penalize | Witnessed]:
        held = self.log.changes.get(change.signer)
        if held is not None and held.view >= change.view:
            return []
        fault = change_fault(change, self.committee, chain=chain, height=self.height, skip=self.skip)
        if fault is not None:
            return [Penalize(peer, Offence.FORGED, fault)]
        self.log.add_change(change)
        return list(self.witness(change))


class Bent(Replica):
    """The control: bends nothing."""

    skip: ClassVar[Skip] = frozenset()
    table: ClassVar[type[Table]] = BentTable
    voice: ClassVar[type[Voice]] = Voice
    log: ClassVar[type[Log]] = Log
    ahead: ClassVar[type[Ahead]] = Ahead

    @staticmethod
    def choose(changes: Sequence[ViewChange]) -> Certificate | None:
        return viewchange.choose(changes)

    def __init_subclass__(cls) -> None:
        cls.table = type(cls.table.__name__, (cls.table,), {"__slots__": (), "skip": cls.skip})

    def _sit(self, committee: Committee, records: Mapping[bytes, bytes]) -> None:
        super()._sit(committee, records)
        self._voice.__class__ = self.voice

    def _begin_height(self) -> None:
        super()._begin_height()
        self._at.__class__ = self.table
        self._at.log.__class__ = self.log
        self._ahead.__class__ = self.ahead

    def _fault(self, proposal: PrePrepare, *, fresh: bool) -> str | None:
        return proposal_fault(proposal, self, fresh=fresh, skip=self.skip)

    def _pre_prepare(self, peer: bytes, proposal: PrePrepare, now: int) -> None:
        if proposal.view > 0 and "first view" not in self.skip:
            self._out.append(Penalize(peer, Offence.UNEXPECTED, "a later view is opened by its NEW-VIEW"))
            return
        if self._at.view > 0 or self.is_primary or self._is_another(proposal):
            return
        if self._at.stage is not Stage.WAITING:
            return
        fault = self._fault(proposal, fresh=True)
        if fault is None:
            self._at.opening = proposal
            self._consider(proposal, fresh=True, now=now)
        else:
            self._out.append(Penalize(peer, Offence.FORGED, fault))

    def _open_view(self, now: int) -> None:
        if self._at.stage is not Stage.CHANGING or not self.is_primary:
            return
        missing = []
        for quorum in viewchange.quorums(self._at.log.changes_for(self._at.view), self._committee):
            chosen = self.choose(quorum)
            block = self._at.log.body(chosen.digest) if chosen is not None else self._fresh(now)
            if block is not None:
                self._out.append(ViewEntered(self.height, self._at.view, changing=False))
                self._lead(block, quorum)
                return
            if chosen is not None:
                missing.append(chosen)
        for proof in missing:
            self._out += self._at.want(proof)

    def _new_view(self, peer: bytes, new_view: NewView, now: int) -> None:
        view = new_view.view
        if view < self._at.view or self._committee.primary(height=self.height, view=view) == self._me:
            return
        if view == self._at.view and (self._is_another(new_view.proposal) or self._at.standing is not None):
            return
        fault = new_view_fault(new_view, self, choose=self.choose, skip=self.skip)
        if fault is None and "exempt" in self.skip:
            fault = self._fault(new_view.proposal, fresh=True)
        if fault is not None:
            self._out.append(Penalize(peer, Offence.FORGED, fault))
            return
        self._at.enter(view, Stage.WAITING)
        self._at.opening = new_view
        self._out += [*self._at.witness(new_view), ViewEntered(self.height, view, changing=False)]
        self._consider(new_view.proposal, fresh=self.choose(new_view.view_changes) is None, now=now)
