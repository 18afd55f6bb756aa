"""Replicas, committees and syncs with one rule bent. The product knows nothing of them: they inherit from it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from potminer.core.committee import Committee
from potminer.core.machine import Broadcast, Execute, Executed, Persist
from potminer.core.pbft.ahead import Ahead
from potminer.core.pbft.height import Stage
from potminer.core.pbft.log import Log
from potminer.core.pbft.voice import Voice
from potminer.core.sync.machine import Effect, ReadBlocks, Sync
from potminer.sim.arena import ScriptedCommittee
from potminer.wire.block import Certificate, block_digest
from potminer.wire.codec import Wire
from potminer.wire.pbft import PreparedBlock, PrePrepare, Transactions, ViewChange
from potminer.wire.seal import Purpose, verify
from potminer.wire.sync import BlocksWanted
from tests.simulation.control import Bent, BentTable

# ---- bent committees ---------------------------------------------------------------------


class FloorQuorum:
    """B1: 2·floor(n/3) others and oneself."""

    members: tuple[bytes, ...]

    def is_quorum(self, indices: Iterable[int]) -> bool:
        return len(set(indices)) >= len(self.members) // 3 * 2 + 1


class AnybodysKey:
    """B3: some member signed it."""

    members: tuple[bytes, ...]

    def signed_by(self, index: int, message: bytes, signature: bytes) -> bool:
        return any(verify(member, message, signature) for member in self.members)


class BareDigest:
    """B25: what a signature is for does not matter."""

    members: tuple[bytes, ...]

    def signed_by(self, index: int, message: bytes, signature: bytes) -> bool:
        for purpose in range(1, 7):
            if verify(self.members[index], message[:52] + bytes([purpose]) + message[53:], signature):
                return True
        return False


class FloorQuorumCommittee(FloorQuorum, Committee):
    pass


class FloorQuorumScripted(FloorQuorum, ScriptedCommittee):
    pass


class AnybodysKeyCommittee(AnybodysKey, Committee):
    pass


class AnybodysKeyScripted(AnybodysKey, ScriptedCommittee):
    pass


class BareDigestCommittee(BareDigest, Committee):
    pass


class BareDigestScripted(BareDigest, ScriptedCommittee):
    pass


# ---- bent replicas -----------------------------------------------------------------------


class CountsPrimaryTwice(Bent):
    """B2: the primary's PREPARE counts besides its PRE-PREPARE."""

    skip = frozenset({"primary"})

    class log(Log):
        __slots__ = ()

        def prepared(self, proposal: PrePrepare) -> Certificate | None:
            digest = block_digest(proposal.header)
            primary = self.committee.primary(height=self.height, view=proposal.view)
            signatures = self._signatures(Purpose.PREPARE, proposal.view, digest)
            power = self.committee.power_of(signatures) + self.committee.powers[primary]
            signatures[primary] = proposal.signature
            if 3 * power <= 2 * self.committee.total:
                return None
            return Certificate(
                purpose=Purpose.PREPARE,
                epoch=self.committee.epoch,
                height=self.height,
                view=proposal.view,
                digest=digest,
                signatures=tuple(sorted(signatures.items())),
            )


class AnyPurpose(Bent):
    """B4: what a vote is for is not looked at before it is used."""

    skip = frozenset({"vote's purpose"})


class AnyProof(Bent):
    """B5: a prepared certificate's height and view are not compared."""

    skip = frozenset({"proof's height", "proof's view"})


class DropsPrepared(Bent):
    """B6: a view change forgets what was prepared."""

    class voice(Voice):
        __slots__ = ()

        def change(self, view: int) -> tuple[ViewChange, list[Persist]]:
            self.said.prepared = None
            return super().change(view)


class TrustsThePrimary(Bent):
    """B7: the choice is not recomputed."""

    skip = frozenset({"choice"})


class AnyPrepared(Bent):
    """B8: any prepared certificate may win; here the oldest."""

    @staticmethod
    def choose(changes: Sequence[ViewChange]) -> Certificate | None:
        proofs = [change.prepared for change in changes if change.prepared is not None]
        return min(proofs, key=lambda proof: (proof.view, proof.digest), default=None)


class LooseRoot(Bent):
    """B10: the body is not the one that the header names."""

    skip = frozenset({"whole"})

    def _body(self, peer: bytes, message: PreparedBlock) -> None:
        if self._at.wanted.pop(block_digest(message.block.header), None) is not None:
            self._at.keep(message.block, self._voice.said)


class LooseEnvelope(Bent):
    """B11: the height on the envelope is not compared with the header's."""

    skip = frozenset({"height"})


class AnyView(Bent):
    """B12: a PRE-PREPARE of a higher view is handled in this one."""

    skip = frozenset({"first view"})


class AnyParent(Bent):
    """B13: nobody asks whether a block follows the head."""

    skip = frozenset({"parent"})

    def _execute_when_committed(self) -> None:
        proof = self._at.log.committed()
        if proof is None:
            return
        block = self._at.log.body(proof.digest)
        if block is None:
            self._out += self._at.want(proof)
            return
        self._at.decided = proof.digest
        self._at.move(Stage.EXECUTING)
        self._out.append(Execute(block, proof))


class StoresFirst(Bent):
    """B15: a vote is stored, then verified."""

    skip = frozenset({"verify first"})


class FollowsAnybody(Bent):
    """B16: the highest view that anybody asks for."""

    def _join_higher_view(self) -> None:
        target = max((change.view for change in self._at.log.changes.values()), default=0)
        if target > self._at.view:
            self._change_view(target)


class RecursiveTimer(Bent):
    """B17: one call per failed view."""

    def _tend(self, slot: str, delay_ms: int, wanted: bool) -> None:
        if slot == "view":
            self._wait(self._at.view)
        super()._tend(slot, delay_ms, wanted)

    def _wait(self, view: int) -> int:
        p = self._parameters
        return p.view_base_ms if view == 0 else min(p.view_cap_ms, self._wait(view - 1) * 3 // 2)


class UncappedTimer(Bent):
    """B18: the view timer doubles for ever."""

    def _tend(self, slot: str, delay_ms: int, wanted: bool) -> None:
        grown = self._parameters.view_base_ms << min(self._at.view, 4_096)
        super()._tend(slot, grown if slot == "view" else delay_ms, wanted)


class OnlyLocalTimers(Bent):
    """B19: nothing but the own timer leads to a higher view, and nobody is told again."""

    def _join_higher_view(self) -> None:
        pass

    def _status(self, peer: bytes, status: Wire, now: int) -> None:
        pass

    def _serve_votes(self, peer: bytes, wanted: Wire) -> None:
        pass


class StaysChanging(Bent):
    """B20: catching up does not leave a view change."""

    def _advance(self, executed: Executed, now: int) -> None:
        changing, view = self._at.stage is Stage.CHANGING, self._at.view
        super()._advance(executed, now)
        if changing:
            self._at.view, self._at.stage = view, Stage.CHANGING


class ReplaysStale(Bent):
    """B21: whatever was kept is handled at the next height, whichever that is."""

    class ahead(Ahead):
        __slots__ = ()

        def take(self, height: int) -> list[tuple[int, Wire]]:
            found = [(member, message) for (member, _), kept in self._kept.items() for _, message in kept]
            self._kept.clear()
            return found


class Forgets(Bent):
    """B22: a restart knows nothing of what it signed."""

    def _sit(self, committee: Committee, records: Mapping[bytes, bytes]) -> None:
        super()._sit(committee, {})


class AlwaysFresh(Bent):
    """B24: a block of an earlier view is judged as if it were new."""

    skip = frozenset({"exempt"})


class TimesIdleness(Bent):
    """B26: the view timer runs after execution, though nothing waits."""

    class table(BentTable):
        __slots__ = ()

        @property
        def must_move(self) -> bool:
            return self.stage is Stage.WAITING or super().must_move


class KeepsRecords(Bent):
    """B27: every view of a height stays in the log of votes."""

    class voice(Voice):
        __slots__ = ()

        def _is_past(self, kind: int, view: int) -> bool:
            return False


class AnySeat(Bent):
    """B28: an index from outside is used unchecked."""

    skip = frozenset({"vote's seat"})


class BelievesHeights(Bent):
    """B28: one peer's word about its height is believed."""

    class ahead(Ahead):
        __slots__ = ()

        def passed(self, committee: Committee) -> int:
            return max(self._claims.values(), default=0) - 1


class WaitsForTheRest(Bent):
    """B29: without data it does not vote before somebody shows it a block."""

    woken = False

    def _sit(self, committee: Committee, records: Mapping[bytes, bytes]) -> None:
        super()._sit(committee, records)
        self._member = self._member and self.woken

    def _advance(self, executed: Executed, now: int) -> None:
        self.woken, self._member = True, self._me >= 0
        super()._advance(executed, now)


class UnverifiedProof(Bent):
    """B30: a view change's certificate is used without being verified."""

    skip = frozenset({"certificate"})


class PreparesUnseen(Bent):
    """P1: a proposal is prepared before its transactions are here."""

    def _consider(self, proposal: PrePrepare, *, fresh: bool, now: int) -> None:
        super()._consider(proposal, fresh=fresh, now=now)
        if self._at.gathering is not None:
            digest = block_digest(proposal.header)
            vote = self._voice._vote(Purpose.PREPARE, height=self.height, view=proposal.view, digest=digest)
            self._out.append(Broadcast(vote))


class TakesAnything(Bent):
    """P2: whatever transaction is sent takes the place of a missing one."""

    def _gathered(self, peer: bytes, message: Transactions, now: int) -> None:
        gathering = self._at.gathering
        if gathering is not None:
            missing = [place for place, signed in enumerate(gathering._found) if signed is None]
            for place, signed in zip(missing, message.transactions, strict=False):
                gathering._found[place] = signed
            self._judge_whole(gathering, now)


# ---- bent sync ---------------------------------------------------------------------------


class TrustingSync(Sync):
    """B14: a block that follows ours is executed, whoever certified it."""

    def _advance(self, now: int) -> list[Effect]:
        held = self._held.pop(self._tip.height + 1, None) if self._executing is None else None
        if held is None or held.certified.block.header.parent != self._tip.digest:
            return []
        self._executing = held.certified.block.header.height
        return [Execute(held.certified.block, held.certified.certificate)]


class KeepsTheLast(Sync):
    """B23: the last block is served once its certificate is in the next."""

    def _serve(self, peer: bytes, wanted: BlocksWanted, now: int) -> list[Effect]:
        served = super()._serve(peer, wanted, now)
        return [
            ReadBlocks(e.peer, e.first, min(e.count, self._tip.height - e.first)) if isinstance(e, ReadBlocks) else e
            for e in served
            if not (isinstance(e, ReadBlocks) and e.first == self._tip.height)
        ]
