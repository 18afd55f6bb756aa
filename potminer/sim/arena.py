"""The arena: real replicas play a Twins scenario without a clock, round by round, then the partition heals.

A round is a view: its view changes reach everybody, each side's own first; proposals and votes
reach only the side they were said on. Then every view timer fires. Where the script cuts before the
COMMIT, those of a round are heard under the next round's partition. Signatures are real; the
answers to "did this key sign this" are remembered, for scenarios say the same things over and over.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field

from potminer.base.digest import Domain, digest, number
from potminer.core.committee import Committee
from potminer.core.machine import TimerFired
from potminer.core.pbft.application import Head, Timers
from potminer.core.pbft.machine import Replica
from potminer.sim.checkers import Members, Witnesses
from potminer.sim.fork import fork
from potminer.sim.host import Host
from potminer.sim.ledger import Chain, genesis
from potminer.sim.notary import Notary, NotedCommittee, NotedKey
from potminer.sim.twins import Cut, Script, Space
from potminer.wire.block import CertifiedBlock
from potminer.wire.codec import Wire
from potminer.wire.pbft import NewView, ViewChange, Vote
from potminer.wire.seal import Purpose

CHAIN = digest(Domain.GENESIS, b"twins")
EPOCH = 0
ROUND_MS = 2_000
HEAL_VIEWS = 10
"""Views after the heal within which every honest replica must have a block above all that was final."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ScriptedCommittee(NotedCommittee):
    """Leaders as the script says for its rounds (a round is a view, or the next height), then by turn.
    A script's turns say nothing of who missed one; where it names nobody, the turns are the product's."""

    leaders: tuple[int, ...]

    def primary(self, *, height: int, view: int) -> int:
        if not self.leaders:
            return NotedCommittee.primary(self, height=height, view=view)
        passed = height - 1 + view
        return self.leaders[passed] if passed < len(self.leaders) else (height + view) % len(self.members)


class Actor(Host):
    """A host whose timers fire when the arena says so, not when a clock does."""

    __slots__ = ()

    def _arm(self, name: str, delay_ms: int) -> None:
        self._timers[name] = delay_ms

    def ring(self, slot: str) -> None:
        """Fires what is running of *slot*; timers that this starts wait for their own turn."""
        for name in [name for name in self._timers if name.startswith(slot)]:
            if self._timers.pop(name, None) is not None:
                self.handle(TimerFired(name))


@dataclass(frozen=True, slots=True)
class Verdict:
    """What became of a scenario. *healed_views* counts the views until all had committed; *evidence* is what
    honest hosts heard, where it was asked for."""

    violations: tuple[str, ...]
    height: int
    highest_view: int
    healed_views: int
    reproposals: int
    """NEW-VIEWs said that had to begin with a prepared block."""
    skipping: int = 0
    """Rounds and views that began with an honest host for whom somebody had no turn any more."""
    evidence: tuple[Wire, ...] = ()


@dataclass(slots=True)
class Stands:
    """What all scenarios of a run share: keys of the seats, the notary, which replica runs."""

    make: type[Replica] = Replica
    make_committee: type[ScriptedCommittee] = ScriptedCommittee
    collect: bool = False
    notary: Notary = field(default_factory=Notary)
    _keys: dict[int, NotedKey] = field(default_factory=dict)

    def key(self, seat: int) -> NotedKey:
        if seat not in self._keys:
            self._keys[seat] = NotedKey(digest(Domain.DRAW, b"seat", number(seat)), self.notary)
        return self._keys[seat]

    def committee(self, script: Script) -> ScriptedCommittee:
        return self.make_committee(
            epoch=EPOCH,
            members=tuple(self.key(seat).public for seat in range(script.nodes)),
            powers=(1,) * script.nodes,
            leaders=script.leaders,
            notary=self.notary,
        )

    def play(self, script: Script) -> Verdict:
        """One scenario, from its beginning."""
        arena = Arena(script, self)
        arena.begin()
        for split in script.sides:
            arena.play_round(split)
        return arena.finish()

    def sweep(self, space: Space, indices: Iterable[int]) -> Iterator[tuple[int, Verdict]]:
        """Scenarios of *space*. Neighbours share their first rounds: those are played once and forked."""
        played: list[tuple[tuple[int, ...], Arena]] = []
        """Arenas by the number of rounds played, each under the split of its last round."""
        for index in indices:
            script = space.script(index)
            shared = 0
            while shared < len(played) - 1 and played[shared + 1][0] == script.sides[shared]:
                shared += 1
            del played[shared + 1 :]
            if not played:
                played.append(((), Arena(script, self)))
                played[0][1].begin()
            for split in script.sides[shared:]:
                arena = fork(played[-1][1])
                arena.play_round(split)
                played.append((split, arena))
            yield index, played.pop()[1].finish()


class Arena:
    """Hosts, two queues and witnesses of one scenario."""

    def __init__(self, script: Script, stands: Stands) -> None:
        self.script = script
        self.stands = stands
        committee, start = stands.committee(script), genesis(CHAIN)
        told = Members(
            chain=CHAIN,
            epoch=EPOCH,
            keys=committee.members,
            powers=committee.powers,
            honest=frozenset(range(script.twins, script.nodes)),
        )
        self.witnesses = Witnesses(told, start, stands.notary.verify)
        seats = [*range(script.nodes), *range(script.twins)]
        self.hosts = [self._actor(name, seat, committee, start) for name, seat in enumerate(seats)]
        self._sides = script.sides[0] if script.sides else (0,) * len(seats)
        self._holds = script.cut is Cut.COMMIT
        self._round = 0
        self._near: deque[tuple[Actor, Actor, Wire]] = deque()
        self._far: deque[tuple[Actor, Actor, Wire]] = deque()
        self._held: list[tuple[int, int, Wire]] = []
        self._reproposals = self._skipping = 0
        self._evidence: dict[Wire, None] = {}

    def _actor(self, name: int, seat: int, committee: Committee, start: Head) -> Actor:
        return Actor(
            name=name,
            member=seat,
            key=self.stands.key(seat),
            chain_id=CHAIN,
            parameters=_TIMERS,
            world=self,
            chain=Chain(head=start, committee=committee, counts_turns=not self.script.leaders),
            skew_ms=name,  # so that twins build different blocks
            honest=seat >= self.script.twins,
            make=self.stands.make,
            notary=self.stands.notary,
        )

    # ---- what hosts ask of the world (host.World) ----------------------------------------

    def send(self, host: Host, message: Wire, *, to: bytes | None) -> None:
        self.witnesses.said(member=host.member, honest=host.honest, message=message, durable=host.disk.records)
        if isinstance(message, NewView) and any(change.prepared for change in message.view_changes):
            self._reproposals += 1
        source, crosses = self.hosts[host.name], isinstance(message, ViewChange)
        held = self._holds and isinstance(message, Vote) and message.purpose == Purpose.COMMIT
        for target in self.hosts:
            if target.member == host.member or (to is not None and target.key.public != to):
                continue
            if held:
                self._held.append((source.name, target.name, message))
            elif self._sides[source.name] == self._sides[target.name]:
                self._near.append((source, target, message))
            elif crosses:
                self._far.append((source, target, message))

    def after(self, delay_ms: int, action: Callable[..., None], *arguments: object) -> None:
        raise AssertionError("an actor's timers are the arena's")

    def now(self) -> int:
        return self._round * ROUND_MS

    def executed(self, host: Host, *, head: Head, certified: CertifiedBlock) -> None:
        if host.honest:
            self.witnesses.executed(
                member=host.member,
                head=head,
                block=certified.block,
                certificate=certified.certificate,
                known=host.chain.executed,
            )
            self._note(host, certified.certificate)

    def reached(self, host: Host) -> None:
        if host.honest:
            self.witnesses.reached(member=host.member, head=host.chain.head)

    def broke(self, host: Host, error: Exception) -> None:
        if host.honest:
            self.witnesses.broke(member=host.member, error=error)

    def any_peer(self, host: Host) -> bytes:
        """Whoever on this side is ahead, so that a request for blocks is worth its while."""
        near = [h for h in self.hosts if h.member != host.member and self._sides[h.name] == self._sides[host.name]]
        return max(near, key=lambda peer: peer.height, default=self.hosts[0]).key.public

    def _note(self, host: Host, message: Wire) -> None:
        if self.stands.collect and host.honest:
            self._evidence[message] = None

    # ---- play ----------------------------------------------------------------------------

    def begin(self) -> None:
        for host in self.hosts:
            host.start()
        self._near.clear()  # what they say of themselves at the very beginning is not news

    def finish(self) -> Verdict:
        """Heals the network and judges."""
        healed = self._heal()
        return Verdict(
            violations=tuple(self.witnesses.violations),
            height=max(host.height for host in self.hosts if host.honest),
            highest_view=max(host.highest_view for host in self.hosts),
            healed_views=healed,
            reproposals=self._reproposals,
            skipping=self._skipping,
            evidence=tuple(self._evidence),
        )

    def play_round(self, split: tuple[int, ...]) -> None:
        self._sides = split
        self._note_turns()
        self._release()
        self._ring("pbft/view")
        self._ring("pbft/empty")
        self._settle()
        self._round += 1

    def _heal(self) -> int:
        """Everybody hears everybody again. Views until each honest host has a block above all that was final."""
        self._sides, self._holds = (0,) * len(self.hosts), False
        self._release()
        goal = max(host.height for host in self.hosts) + (1 if self.script.leaders else 2)
        """Where turns are skipped one block more: one that somebody without a turn has not proposed."""
        for views in range(HEAL_VIEWS + 1):
            self._note_turns()
            for slot in ("pbft/empty", "pbft/batch", "pbft/status"):
                self._ring(slot)
                self._settle()
                if all(host.height >= goal for host in self.hosts if host.honest):
                    return views
            self._ring("pbft/view")
            self._settle()
            self._round += 1
        self.witnesses.starved(f"no block {goal} everywhere within {HEAL_VIEWS} views after the heal")
        return HEAL_VIEWS

    def _note_turns(self) -> None:
        """Whoever has executed the same blocks has the same turns."""
        turns: dict[int, tuple[int, ...]] = {}
        for host in (host for host in self.hosts if host.honest):
            skipped = host.chain.committee.skipped
            if turns.setdefault(host.height, skipped) != skipped:
                self.witnesses.report(f"turns: at height {host.height} not everybody skips {skipped}")
        self._skipping += any(turns.values())

    def _ring(self, slot: str) -> None:
        for host in self.hosts:
            host.ring(slot)

    def _settle(self) -> None:
        """Delivers until all is quiet: each side first, then the view changes across, and what follows from them."""
        while self._near or self._far:
            while self._near:
                self._deliver(*self._near.popleft())
            while self._far:
                self._deliver(*self._far.popleft())

    def _release(self) -> None:
        """COMMITs of the last round reach those who are on their side now."""
        held, self._held = self._held, []
        for source, target, message in held:
            if self._sides[source] == self._sides[target]:
                self._near.append((self.hosts[source], self.hosts[target], message))
        self._settle()

    def _deliver(self, source: Actor, target: Actor, message: Wire) -> None:
        self._note(target, message)
        target.receive(source.key.public, message)


_TIMERS = Timers(checkpoint_blocks=100)
