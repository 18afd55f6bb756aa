"""What a node has at hand for its rounds: blobs that are here or on their way, what it has said a moment ago, and its
workers' jobs."""

from __future__ import annotations

from potminer.base.digest import Domain, digest
from potminer.core.rounds.events import Effect, Fetch, StartJob, Submit, TaskSeen
from potminer.core.rounds.job import Jobs, Purpose, Running
from potminer.wire.codec import encode
from potminer.wire.record import RoundRecord
from potminer.wire.task import data_bytes, model_bytes
from potminer.wire.trainer import AggregateJob, AssembleJob, AuditJob, SliceJob, TrainJob
from potminer.wire.tx import Body

RESUBMIT_MS = 3_000
RETRY_FETCH_MS = 2_000
LASTING_MS = 600_000
"""How long a fetch may take before it is asked for again."""
BLOBS_REMEMBERED = 65_536
SUBMITTED_REMEMBERED = 4_096
RoundJob = TrainJob | AuditJob | AggregateJob | SliceJob | AssembleJob


class Means:
    """*blobs* are here, *unavailable* were asked for and nobody had them."""

    def __init__(self) -> None:
        self.jobs = Jobs()
        self.blobs: set[bytes] = set()
        self.unavailable: set[bytes] = set()
        self._fetching: dict[bytes, int] = {}
        self._sought: dict[bytes, int] = {}
        """Since when we want what is not here."""
        self._submitted: dict[bytes, int] = {}

    def fetched(self, blob: bytes, found: bool, now: int) -> None:
        self._fetching.pop(blob, None)
        if found:
            self._sought.pop(blob, None)
            self.blobs.add(blob)
            self.unavailable.discard(blob)
            return
        self.unavailable.add(blob)
        self._fetching[blob] = now + RETRY_FETCH_MS

    def need(self, seen: TaskSeen, now: int, what: tuple[str, ...]) -> tuple[bool, list[Effect]]:
        """Whether the named blobs are here, and the fetches for those that are not."""
        spec = seen.record.spec
        blobs: list[tuple[bytes, int]] = []
        if "base" in what and seen.round is not None:
            blobs.append((seen.round.base, model_bytes(spec)))
        if "train" in what:
            blobs.append((spec.data.train, data_bytes(spec, samples=spec.data.train_samples)))
        missing = [(blob, limit) for blob, limit in blobs if blob not in self.blobs]
        effects: list[Effect] = []
        for blob, limit in missing:
            effects += self.fetch(blob, limit, now)
        return not missing, effects

    def fetch(self, blob: bytes, max_bytes: int, now: int) -> list[Effect]:
        """Ask for a blob once; again some time after a failure."""
        if blob in self.blobs or self._fetching.get(blob, -1) > now:
            return []
        self._fetching[blob] = now + LASTING_MS
        self._sought.setdefault(blob, now)
        return [Fetch(blob, max_bytes)]

    def in_vain(self, blob: bytes, now: int, patience_ms: int) -> bool:
        """Whether nobody had *blob*, or we have waited so long for it: a fetch may take longer than a phase lasts, and
        whoever claims to have it and sends nothing keeps one alive."""
        late = now - self._sought.get(blob, now) >= patience_ms
        return blob not in self.blobs and (late or blob in self.unavailable)

    def submit(self, body: Body, now: int) -> list[Effect]:
        """Submit *body* unless the same was submitted a moment ago."""
        mark = digest(Domain.MESSAGE, encode(body))
        if now - self._submitted.get(mark, -RESUBMIT_MS) < RESUBMIT_MS:
            return []
        self._submitted[mark] = now
        return [Submit(body)]

    def start(
        self, job: RoundJob, purpose: Purpose, current: RoundRecord, *, slots: tuple[int, ...] = (),
        left_out: tuple[int, ...] = (),
    ) -> list[Effect]:
        self.jobs.start(Running(job.job, purpose, current.phase, slots, left_out))
        return [StartJob(job)]

    def forget(self) -> None:
        """Stay within bounds. What is forgotten is fetched, found to be unavailable, or said again."""
        if len(self._submitted) > SUBMITTED_REMEMBERED:
            self._submitted.clear()
        for remembered in (self.blobs, self.unavailable, self._fetching, self._sought):
            if len(remembered) > BLOBS_REMEMBERED:
                remembered.clear()
