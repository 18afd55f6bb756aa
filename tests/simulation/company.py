"""A whole network in one process without sockets: the real ledger, every member's round machine, real training.

Blocks are proposed in turn, messages arrive in a drawn order. Members share a blob folder, so nothing is ever missing.
"""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Mapping, Sequence

from potminer.core.committee import committee_of
from potminer.core.rounds.conduct import Conduct, conduct_of
from potminer.core.rounds.events import (
    BlobFetched,
    DutyChanged,
    ExcerptFetched,
    Fetch,
    FetchExcerpt,
    Remade,
    Reported,
    StartJob,
    Submit,
)
from potminer.core.rounds.machine import Rounds
from potminer.node.outlook import held_seen, task_seen
from potminer.train import bookwork
from potminer.train.bench import Bench
from potminer.train.cheat import Cheat, cheat
from potminer.train.folder import Folder
from potminer.wire.trainer import AggregateJob, AssembleJob, AuditJob, EvaluateJob, Job, Report, SliceJob, TrainJob
from potminer.wire.tx import Body
from tests.unit.ledger_world import World, key
from tests.unit.train_kit import go_on


class Company:
    """Validators and *trainers* of a World. *cheats* and *conducts* say who is not honest, and how."""

    def __init__(
        self, world: World, folder: Folder, order: random.Random, trainers: Sequence[str], *,
        cheats: Mapping[str, Cheat] | None = None, conducts: Mapping[str, Conduct] | None = None,
    ) -> None:
        self.world = world
        self.order = order
        self.folder = folder
        self.trainers = tuple(trainers)
        honest = cheat(None)
        own = dict(cheats or {})
        shared = self._bench(honest)
        self.benches = {name: self._bench(own[name]) if name in own else shared for name in self.trainers}
        self.benches |= dict.fromkeys(world.validators, shared)
        self.machines = {
            name: self._machine(name, (conducts or {}).get(name)) for name in (*world.validators, *self.trainers)
        }
        self.submitted: list[tuple[str, Body]] = []
        self.hidden: set[tuple[bytes, int]] = set()
        """Slices of updates that nobody gives away, but to who is told of them."""
        self.told: set[str] = set()
        self.lost: set[bytes] = set()
        """Blobs that nobody serves."""
        self.dead: set[str] = set()
        """Members that hear and say nothing."""
        self.fetched: Counter[str] = Counter()
        """Bytes of excerpts."""
        self.remade: list[Remade] = []

    def _bench(self, how: Cheat) -> Bench:
        return Bench(self.folder, device="cpu", threads=1, max_bytes=2**32, cheat=how)

    def _machine(self, name: str, conduct: Conduct | None) -> Rounds:
        validator, own = name in self.world.validators, key(name).public
        payout = None if validator else key(f"{name}-wallet").public
        return Rounds(
            key=own, payout=payout, validator=validator, salt_secret=b"s" * 32, persisted={},
            conduct=conduct or conduct_of(None, own=own),
        )

    def start(self) -> None:
        for name in self.trainers:
            self.tell(name, DutyChanged(True))

    def tell(self, name: str, event: object) -> None:
        """Hand *event* to a machine and do what it asks, until nothing is left to do."""
        events = [event]
        while events:
            for effect in self.machines[name].handle(events.pop(0), self.world.state.head.time_ms):  # type: ignore[arg-type]
                match effect:
                    case Submit(body):
                        self.submitted.append((name, body))
                    case Fetch(blob):
                        here = blob not in self.lost and self.folder.path(blob).is_file()
                        events.append(BlobFetched(blob, here))
                    case FetchExcerpt():
                        events.append(self._excerpt(name, effect))
                    case Remade():
                        self.remade.append(effect)
                    case StartJob(job):
                        events.append(Reported(self._work(self.benches[name], job)))

    def _excerpt(self, name: str, wanted: FetchExcerpt) -> ExcerptFetched:
        """What *name* may have of an update: see ``hidden``."""
        excerpt = None
        if (wanted.update, wanted.index) not in self.hidden or name in self.told:
            data = self.folder.path(wanted.update).read_bytes()
            excerpt = self.folder.write(b"".join(data[first:last] for first, last in wanted.ranges))
            self.fetched[name] += self.folder.path(excerpt).stat().st_size
        return ExcerptFetched(wanted.update, wanted.index, excerpt)

    def _work(self, bench: Bench, job: Job) -> Report:
        match job:
            case TrainJob():
                return bench.train(job, go_on)
            case AuditJob():
                return bench.audit(job, go_on)
            case EvaluateJob():
                return bench.evaluate(job, go_on)
            case AggregateJob():
                return bookwork.aggregate_updates(self.folder, job, go_on)
            case SliceJob():
                return bookwork.aggregate_slice(self.folder, job, go_on)
            case AssembleJob():
                return bookwork.assemble(self.folder, job)
        raise AssertionError(f"nobody asked for {job}")

    def block(self) -> None:
        """One block of what was submitted, in a drawn order of senders, and everybody looks at the result."""
        bodies, self.submitted = self.submitted, []
        self.order.shuffle(bodies)
        self.world.step(*bodies)
        names = list(self.machines)
        self.order.shuffle(names)
        for name in names:
            if name in self.dead:
                continue
            state, own = self.world.state, key(name).public
            committee = committee_of(state.committee)
            self.tell(name, task_seen(state, self.world.task, own=own, committee=committee))
            self.tell(name, held_seen(state, own=own))

    def restart(self, name: str) -> None:
        """*name* comes back: what was in memory is gone, what was durable is there."""
        self.dead.discard(name)
        self.machines[name] = self._machine(name, None)
