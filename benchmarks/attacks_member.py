"""Attacks by one Byzantine of four: a member of the committee whose key was taken, linked to everybody."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from contextlib import suppress

from attacker import FAR, HELLO, HOST, Scene, attack, bounds

from potminer.base import limits
from potminer.wire import block as blocks
from potminer.wire import pbft
from potminer.wire.codec import Wire
from potminer.wire.gossip import Item, Push, Topic
from potminer.wire.hello import Hello
from potminer.wire.seal import Purpose, statement
from potminer.world.net.network import Network, NetworkLimits
from potminer.world.net.refusal import LinkRefused


class Ear:
    """What honest members say to us. The newest of each kind is remembered, to be said again."""

    def __init__(self) -> None:
        self.heard: list[Wire] = []
        self.proposal: pbft.PrePrepare | None = None
        self.fresh = asyncio.Event()

    def link_up(self, peer: bytes, hello: Hello, outbound: bool, address: tuple[str, int]) -> None:
        pass

    def link_down(self, peer: bytes) -> None:
        pass

    def offence(self, peer: bytes, offence: str, detail: str) -> None:
        pass

    def message(self, peer: bytes, message: Wire) -> None:
        if isinstance(message, pbft.Vote | pbft.PrePrepare | pbft.ViewChange | pbft.NewView):
            self.heard = [*self.heard[-200:], message]
        if isinstance(message, pbft.PrePrepare):
            self.proposal = message
            self.fresh.set()


class Member:
    """The taken key, linked to everybody as a member is."""

    def __init__(self, scene: Scene, network: Network, ear: Ear) -> None:
        self.scene, self.network, self.ear, self.seat = scene, network, ear, scene.seat

    @property
    def height(self) -> int:
        return 1 if self.ear.proposal is None else self.ear.proposal.header.height

    @property
    def epoch(self) -> int:
        return 0 if self.ear.proposal is None else self.ear.proposal.header.epoch

    def sign(self, purpose: Purpose, digest: bytes, *, epoch: int, height: int, view: int) -> bytes:
        own = self.scene.taken
        said = statement(
            purpose, chain=self.scene.chain, signer=own.public, digest=digest, epoch=epoch, height=height, view=view
        )
        return own.sign(said)

    def vote(self, purpose: Purpose, *, height: int, view: int, epoch: int, good: bool) -> pbft.Vote:
        digest = self.scene.chance.randbytes(32)
        signature = self.sign(purpose, digest, epoch=epoch, height=height, view=view) if good else bytes(64)
        return pbft.Vote(purpose, epoch, height, view, digest, self.seat, signature)

    async def tell(self, message: Wire) -> None:
        for target in self.scene.targets:
            if not self.network.linked(target.key):
                with suppress(LinkRefused):
                    await self.network.dial(HOST, target.port, target.key)
                    self.scene.did["links"] += 1
            self.scene.did["said" if self.network.send(target.key, message) else "dropped"] += 1
        await asyncio.sleep(0)


async def as_member(scene: Scene, what: Callable[[Member], Wire | None], *, per_s: float) -> None:
    ear = Ear()
    network = Network(scene.taken, scene.chain, None, lambda: HELLO, ear, lambda _: True, NetworkLimits())
    async with network:
        member = Member(scene, network, ear)
        began, count = time.monotonic(), 0
        while scene.goes_on:
            message = what(member)
            if message is not None:
                await member.tell(message)
            count += 1
            await asyncio.sleep(max(0.0, began + count / per_s - time.monotonic()))


@attack("votes")
async def votes(scene: Scene) -> None:
    """A thousand votes a second: mis-signed, of other epochs, of heights and views far ahead, and others' again."""

    def what(member: Member) -> Wire:
        match scene.chance.randrange(6):
            case 0:
                return member.vote(Purpose.PREPARE, height=member.height + 1, view=0, epoch=member.epoch, good=False)
            case 1:
                return member.vote(Purpose.COMMIT, height=member.height + 1, view=0, epoch=member.epoch + 7, good=True)
            case 2:
                return member.vote(Purpose.COMMIT, height=FAR, view=0, epoch=member.epoch, good=True)
            case 3:
                view = scene.chance.randrange(10**6, 2**31)
                return member.vote(Purpose.PREPARE, height=member.height + 1, view=view, epoch=member.epoch, good=True)
            case 4:
                return member.vote(Purpose.CHECKPOINT, height=FAR, view=0, epoch=member.epoch, good=False)
            case _:
                return scene.chance.choice(member.ear.heard) if member.ear.heard else pbft.Status(1, 0, 0)

    await as_member(scene, what, per_s=900)


@attack("status-lies")
async def status_lies(scene: Scene) -> None:
    """Heights, views and clocks that are none, and every vote wanted again and again."""

    def what(member: Member) -> Wire:
        if scene.chance.random() < 0.5:
            view, clock = scene.chance.choice((0, 1, 2**31)), scene.chance.choice((0, 2**53))
            return pbft.Status(scene.chance.choice((1, member.height, FAR)), view, clock)
        return pbft.VotesWanted(member.height + scene.chance.randrange(2), 0, True, 0, 0, 0)

    await as_member(scene, what, per_s=20)


@attack("view-storm")
async def view_storm(scene: Scene) -> None:
    """VIEW-CHANGEs that are well signed, one view after another, and NEW-VIEWs that prove nothing, of full size."""

    def what(member: Member) -> Wire | None:
        proposal = member.ear.proposal
        if proposal is None:
            return pbft.Status(member.height, 0, 0)
        height, view = member.height + 1, 1 + scene.chance.randrange(1_000)
        digest = pbft.view_change_digest(prepared=None)
        signature = member.sign(Purpose.VIEW_CHANGE, digest, epoch=member.epoch, height=height, view=view)
        change = pbft.ViewChange(member.epoch, height, view, None, member.seat, signature)
        if scene.chance.random() < 0.5:
            return change
        return pbft.NewView(height, view, (change,) * limits.COMMITTEE, proposal)

    await as_member(scene, what, per_s=18)


@attack("want-bodies")
async def want_bodies(scene: Scene) -> None:
    """Bodies wanted that nobody has, bodies brought that nobody wanted, relays of junk."""
    junk_made = [next(source) for source in [bounds(scene)] for _ in range(16)]

    def what(member: Member) -> Wire:
        digest = scene.chance.randbytes(32)
        if member.ear.proposal is not None and scene.chance.random() < 0.5:
            digest = blocks.block_digest(member.ear.proposal.header)
        match scene.chance.randrange(4):
            case 0:
                return pbft.PreparedBlockWanted(member.height, digest)
            case 1:
                return pbft.TransactionsWanted(member.height, digest, tuple(range(1_000)))
            case 2:
                return pbft.Transactions(digest, tuple(junk_made))
            case _:
                return pbft.Relay(tuple(junk_made))

    await as_member(scene, what, per_s=20)


@attack("member-gossip")
async def member_gossip(scene: Scene) -> None:
    """Junk items by a member, whom nobody cuts off: every one an offence."""

    def what(member: Member) -> Wire:
        return Push(tuple(Item(Topic.TRANSACTION, scene.chance.randbytes(60)) for _ in range(64)))

    await as_member(scene, what, per_s=45)


@attack("nobodys-bodies")
async def nobodys_bodies(scene: Scene) -> None:
    """At every height two proposals that contradict each other, naming transactions that nobody has. Its last act:
    both are signed, so it is evidence."""
    last = 0

    def what(member: Member) -> Wire | None:
        nonlocal last
        seen = member.ear.proposal
        if seen is None:
            return pbft.Status(1, 0, 0)
        if seen.header.height + 1 > last:
            last = seen.header.height + 1
        leaves = scene.hashes(1_000)
        header = blocks.Header(
            blocks.block_digest(seen.header), last, seen.header.epoch, blocks.leaves_root(leaves), bytes(32),
            scene.taken.public, int(time.time() * 1000), scene.chance.randbytes(32),
        )
        digest = blocks.block_digest(header)
        signature = member.sign(Purpose.PRE_PREPARE, digest, epoch=header.epoch, height=last, view=0)
        return pbft.PrePrepare(0, header, leaves, signature)

    await as_member(scene, what, per_s=15)
