"""A light client at work: asks one node, believes none."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from typing import Final, TypeVar

from potminer.base.errors import Malformed, NotProven, PotminerError
from potminer.core.light import epochs, header, shown
from potminer.core.light.flaw import Flaw
from potminer.core.light.shown import Fact, Fate
from potminer.core.light.trust import Terms, Trust
from potminer.wire import record as records
from potminer.wire.block import block_digest
from potminer.wire.genesis import Genesis
from potminer.wire.proof import EPOCHS_PER_REPLY, CertifiedHeader, Shown, TransactionProof
from potminer.wire.record import TaskRecord
from potminer.world.api.attach import Client

T = TypeVar("T")

_TRIES: Final = 3

WHY: Final[dict[Flaw, str]] = {
    Flaw.OTHER: "a certificate of something else",
    Flaw.UNKNOWN_EPOCH: "a committee that nothing names",
    Flaw.WRONG_EPOCH: "a block of an epoch that it cannot be of",
    Flaw.DUPLICATE: "a certificate with a signer twice, or one who is not of the committee",
    Flaw.INSUFFICIENT: "a certificate without a quorum",
    Flaw.FORGED: "a signature that does not hold",
    Flaw.STALE: "something older than what is known already",
    Flaw.EXPIRED: "something older than the trusting period",
    Flaw.FUTURE: "a block from the future",
    Flaw.BROKEN: "a block that does not follow the one before",
    Flaw.CONFLICT: "a second final block of one height: a committee broke agreement (potminer chain blame)",
    Flaw.NOT_SHOWN: "a proof that does not show what it is for",
    Flaw.BAD_COMMITTEE: "a committee that cannot be one",
}


class Misled(NotProven):
    """A node showed what its signatures and digests do not bear out: *flaw*."""

    def __init__(self, flaw: Flaw) -> None:
        super().__init__(f"the node shows {WHY[flaw]} ({flaw})", "Do not believe it; ask another node.")
        self.flaw = flaw


class Follower:
    """*trust* moves on with ``catch_up``. *clock* gives Unix milliseconds. NotProven where a node misleads."""

    def __init__(self, trust: Trust, terms: Terms, *, clock: Callable[[], int]) -> None:
        self.trust = trust
        self.step: Shown | None = None
        """What showed us the newest committees; None where we have not learnt any."""
        self._terms = terms
        self._clock = clock

    async def catch_up(self, node: Client, *, most_epochs: int | None = None) -> Trust:
        """To the newest block that *node* can show; after *most_epochs* epochs it ends where it is."""
        status = await node.chain()
        if status.chain != self.trust.chain.hex():
            raise NotProven(f"the node is of another chain, {status.chain[:12]}", "Check the genesis file.")
        start, first = self.trust.height, self.trust.newest_epoch
        while self.trust.newest_epoch < status.epoch:
            before = self.trust.newest_epoch
            left = EPOCHS_PER_REPLY if most_epochs is None else min(EPOCHS_PER_REPLY, first + most_epochs - before)
            if left <= 0:
                return self.trust
            for step in (await node.epochs(before, left)).steps:
                if not self._passed(step.certified, start):
                    self.trust = self._sound(epochs.learn(self.trust, step, self._terms, now_ms=self._clock()))
                    self.step = step
                await asyncio.sleep(0)  # a face paints between two certificates
            if self.trust.newest_epoch == before:
                raise PotminerError(f"the node cannot show the committee of epoch {before + 1}", "Ask another node.")
        for certified in (await node.headers(status.height, 1)).headers:
            if not self._passed(certified, start):
                self.trust = self._sound(header.follow(self.trust, certified, self._terms, now_ms=self._clock()))
        return self.trust

    def _passed(self, certified: CertifiedHeader, start: int) -> bool:
        """Whether we moved on past this header while we asked: blocks come all the time, and somebody else may use
        the same follower. What was old already at the *start* is a flaw."""
        return start <= certified.header.height < self.trust.height

    async def facts(self, node: Client, keys: Sequence[bytes]) -> tuple[Fact, ...]:
        """The records of *keys*, after the newest block that *node* can prove."""
        told = await self._shown(node, keys)
        moved = header.follow(self.trust, told.certified, self._terms, now_ms=self._clock())
        if moved is Flaw.UNKNOWN_EPOCH:
            await self.catch_up(node)
            told = await self._shown(node, keys)
        return self._sound(shown.facts(told, keys, self.trust, self._terms, now_ms=self._clock()))

    async def facts_after(
        self, node: Client, keys: Sequence[bytes], height: int
    ) -> tuple[tuple[Fact, ...], CertifiedHeader]:
        """The records of *keys* after block *height*, and the header that shows them. It may be older than what is
        trusted: who names a height asks for no news."""
        told = await node.show(keys, height=height)
        found = shown.past_facts(told, keys, self.trust, self._terms, now_ms=self._clock())
        top = told.certified.header
        if found is Flaw.UNKNOWN_EPOCH and top.height > self.trust.height:
            await self.catch_up(node)
            found = shown.past_facts(told, keys, self.trust, self._terms, now_ms=self._clock())
        facts = self._sound(found)
        if top.height != height + 1:
            raise Misled(Flaw.NOT_SHOWN)
        if top.height == self.trust.height and block_digest(top) != self.trust.digest:
            raise Misled(Flaw.CONFLICT)
        return facts, told.certified

    async def _shown(self, node: Client, keys: Sequence[bytes]) -> Shown:
        """What *node* shows; again where we moved on while it answered."""
        for _ in range(_TRIES):
            start = self.trust.height
            told = await node.show(keys)
            if not self._passed(told.certified, start):
                break
        return told

    async def model(self, node: Client, task: bytes, round: int) -> bytes:
        """Id of *task*'s model after *round* rounds, as a quorum vouched for it then."""
        told = await node.model_proof(task, round)
        key = [records.task_key(task)]
        found = shown.past_facts(told, key, self.trust, self._terms, now_ms=self._clock())
        if found is Flaw.UNKNOWN_EPOCH:
            await self.catch_up(node)
            found = shown.past_facts(told, key, self.trust, self._terms, now_ms=self._clock())
        try:
            record = self._sound(found)[0].record(TaskRecord)
        except Malformed as error:
            raise NotProven(f"a record is not what it should be: {error}", "Is this potminer too old?") from error
        if record is None or record.round != round:
            raise NotProven(f"the node shows another round than {round}", "Do not believe it; ask another node.")
        return record.model

    async def fate(self, node: Client, proof: TransactionProof, name: bytes) -> Fate:
        """What *proof*, which came from *node*, shows of transaction *name*."""
        told = self.judge(proof)
        if told is Flaw.UNKNOWN_EPOCH:
            await self.catch_up(node)
            told = self.judge(proof)
        fate = self._sound(told)
        if fate.transaction != name:
            raise NotProven("the node proves another transaction", "Do not believe it; ask another node.")
        return fate

    def judge(self, proof: TransactionProof) -> Fate | Flaw:
        return shown.fate(proof, self.trust, self._terms, now_ms=self._clock())

    def _sound(self, told: T | Flaw) -> T:
        if isinstance(told, Flaw):
            raise Misled(told)
        return told


async def anchored(node: Client, genesis: Genesis, *, height: int, digest: bytes) -> Trust:
    """Trust in block *height* with that *digest*, which somebody vouches for. Nodes keep what an anchor needs for
    the last block of every epoch, and of other blocks only for some minutes."""
    blocks = genesis.parameters.epoch_blocks
    if height % blocks == 0:
        steps: tuple[Shown, ...] = (await node.epochs(height // blocks - 1, 1)).steps
    else:
        steps = (await node.show(epochs.KEYS, height=height - 1),)
    if not steps or steps[0].certified.header.height != height:
        hint = f"Take the last block of an epoch (a height that {blocks} divides)."
        raise PotminerError(f"the node cannot show the committees of block {height}", hint)
    trust = epochs.from_anchor(genesis, digest, steps[0])
    if isinstance(trust, Flaw):
        found = block_digest(steps[0].certified.header).hex()
        raise NotProven(f"block {height} of the node is {found}, not {digest.hex()} ({trust})", "One of them lies.")
    return trust
