"""Between a node and its GPU child: words by pipe, weights by blob id.

Both sides share one blob folder (``base.blobs.file_name``). A message is four big-endian
bytes of length, then the canonical encoding of one Job or Report.
"""

from __future__ import annotations

from typing import Annotated

from msgspec import Meta

from potminer.base import limits
from potminer.base.bounded import U16, U32, U63, BlobId, DeviceClass, Hash, Ppm
from potminer.wire.codec import Wire
from potminer.wire.length import Lengths
from potminer.wire.model import ModelSpec
from potminer.wire.residue import SEGMENT_BYTES, LeafIndex, Sketch
from potminer.wire.task import TaskSpec, Unit
from potminer.wire.tx import Finding, Trial

PIPE_BYTES = 1_048_576
Text = Annotated[str, Meta(max_length=2_000)]


class TrainJob(Wire, frozen=True, tag="train"):
    """Compute *unit* from model *base*, in a round that is cut into *slices*. Answered by Trained."""

    job: U32
    spec: TaskSpec
    unit: Unit
    base: BlobId
    slices: Annotated[int, Meta(ge=1, le=limits.COMMITTEE)] = 1


class AuditJob(Wire, frozen=True, tag="audit"):
    """Recompute *segment* (1 .. S) of *unit* from snapshot *before* (None for the first) and
    measure it against snapshot *after*; *leaf* is the one to sketch. Where it is to *calibrate*, what the
    smallest cheat would measure is asked for as well. Answered by Audited."""

    job: U32
    spec: TaskSpec
    unit: Unit
    base: BlobId
    segment: Annotated[int, Meta(ge=1, le=limits.SEGMENTS)]
    before: BlobId | None
    after: BlobId
    leaf: LeafIndex
    calibrate: bool = False


class AggregateJob(Wire, frozen=True, tag="aggregate"):
    """theta - eta * mean(updates), exactly. Answered by Aggregated. Needs no torch. *said* is how long each update is
    said to be: one that is not is malformed. Without, nobody has said anything."""

    job: U32
    spec: TaskSpec
    base: BlobId
    units: Annotated[tuple[Unit, ...], Meta(max_length=limits.UNITS_PER_ROUND)]
    updates: Annotated[tuple[BlobId, ...], Meta(max_length=limits.UNITS_PER_ROUND)]
    said: Annotated[tuple[U16, ...], Meta(max_length=limits.UNITS_PER_ROUND)] = ()


class SliceJob(Wire, frozen=True, tag="slice"):
    """Slice *index* of *of* of the next model, from *excerpts* of the updates (``wire.slice``). Answered by Sliced.
    Where updates are clipped, *lengths* are those on every slice; without them the lengths on this one are asked for.
    *said* is how long each excerpt is said to be, as in AggregateJob. Needs no torch."""

    job: U32
    spec: TaskSpec
    base: BlobId
    units: Annotated[tuple[Unit, ...], Meta(max_length=limits.UNITS_PER_ROUND)]
    updates: Annotated[tuple[BlobId, ...], Meta(max_length=limits.UNITS_PER_ROUND)]
    excerpts: Annotated[tuple[BlobId, ...], Meta(max_length=limits.UNITS_PER_ROUND)]
    index: Annotated[int, Meta(ge=0, lt=limits.COMMITTEE)]
    of: Annotated[int, Meta(ge=2, le=limits.COMMITTEE)]
    lengths: Annotated[tuple[BlobId, ...], Meta(max_length=limits.COMMITTEE)] = ()
    said: Annotated[tuple[U16, ...], Meta(max_length=limits.UNITS_PER_ROUND)] = ()


class AssembleJob(Wire, frozen=True, tag="assemble"):
    """The model that *parts* are the slices of, in their order. Answered by Aggregated. Needs no torch."""

    job: U32
    spec: TaskSpec
    parts: Annotated[tuple[BlobId, ...], Meta(min_length=2, max_length=limits.COMMITTEE)]


class EvaluateJob(Wire, frozen=True, tag="evaluate"):
    """Loss and accuracy of *model* on the validation split, and the trial that *seed* draws. Answered by Evaluated."""

    job: U32
    spec: TaskSpec
    model: BlobId
    seed: Hash = bytes(32)


class InitialiseJob(Wire, frozen=True, tag="initialise"):
    """Write freshly initialised weights. Answered by Initialised."""

    job: U32
    model: ModelSpec
    seed: U63


class Cancel(Wire, frozen=True, tag="cancel"):
    """Give *job* up at the next micro-batch. Answered by Failed with reason ``cancelled``."""

    job: U32


Job = TrainJob | AuditJob | AggregateJob | SliceJob | AssembleJob | EvaluateJob | InitialiseJob | Cancel


class Ready(Wire, frozen=True, tag="ready"):
    """First word of a child: the device it will use and why. Said at once with the device ``none yet``,
    and again with the real one when a first job needs torch."""

    device: Text
    reason: Text
    pid: U32


class Heartbeat(Wire, frozen=True, tag="heartbeat"):
    resident_bytes: U63


class Progress(Wire, frozen=True, tag="progress"):
    job: U32
    done: U32
    total: U32


class Trained(Wire, frozen=True, tag="trained"):
    """*residues* are those of every segment, one after the other (``wire.residue``). *lengths* is how long the update
    is on every slice. *device* computed them."""

    job: U32
    snapshots: Annotated[tuple[BlobId, ...], Meta(min_length=1, max_length=limits.SEGMENTS)]
    loss_micro: U63
    samples: U63
    compute_us: U63
    residues: Annotated[bytes, Meta(max_length=limits.SEGMENTS * SEGMENT_BYTES)]
    lengths: Lengths
    device: DeviceClass = ""


class Audited(Wire, frozen=True, tag="audited"):
    """*sketch* is the asked leaf of the auditor's own recomputation; empty unless something was measured. *cheat_ppm*
    is what the smallest cheat would measure, where that was asked for."""

    job: U32
    finding: Finding
    error_ppm: Ppm
    samples: U63
    compute_us: U63
    sketch: Sketch
    cheat_ppm: Ppm = 0


class Aggregated(Wire, frozen=True, tag="aggregated"):
    """*malformed* are positions in ``AggregateJob.units`` that were left out of the mean.
    *model* is None where nothing was left to aggregate."""

    job: U32
    model: BlobId | None
    malformed: Annotated[tuple[U32, ...], Meta(max_length=limits.UNITS_PER_ROUND)]
    compute_us: U63


class Sliced(Wire, frozen=True, tag="sliced"):
    """*malformed* are positions in ``SliceJob.units`` that were left out; *part*, the slice or the lengths on it, is
    None where nothing was left."""

    job: U32
    part: BlobId | None
    malformed: Annotated[tuple[U32, ...], Meta(max_length=limits.UNITS_PER_ROUND)]
    compute_us: U63


class Evaluated(Wire, frozen=True, tag="evaluated"):
    job: U32
    accuracy_ppm: U32
    loss_micro: U63
    trial_micro: Trial
    samples: U63


class Initialised(Wire, frozen=True, tag="initialised"):
    job: U32
    model: BlobId


class Failed(Wire, frozen=True, tag="failed"):
    """*reason* is a word, *detail* says more. A child's words: ``cancelled``, ``missing-blob``, ``bad-weights``,
    ``bad-data``, ``bad-task``, ``diverged``, ``out-of-memory``, ``no-device``, ``busy``, ``fault``. Said in its
    place by whoever holds it: ``busy``, ``child-died``, ``stopped``."""

    job: U32
    reason: Text
    detail: Text


Report = (
    Ready | Heartbeat | Progress | Trained | Audited | Aggregated | Sliced | Evaluated | Initialised | Failed
)
