"""The first screen as data: every string of it, made from one photograph and one moment."""

from __future__ import annotations

from dataclasses import dataclass

from potminer.view import text
from potminer.view.earnings import earnings_facts
from potminer.view.select import AlertRow, DeviceRow, Fact, Tone, alert_rows, device_rows, refusals, refused
from potminer.view.sentence import sentence
from potminer.wire.control import ChainView, Snapshot, Standing, TrainingView, UnitCounts

STALE_MS = 10_000
"""A photograph older than this is shown dimmed, with its age."""


@dataclass(frozen=True, slots=True)
class Overview:
    place: str
    """``rig-07 · devnet · validator``"""
    sentence: str
    devices: tuple[DeviceRow, ...]
    earnings: tuple[Fact, ...]
    training: tuple[Fact, ...]
    """Empty where the rig works on no task."""
    losses: tuple[int, ...]
    progress: tuple[int, int]
    """Rounds closed, of how many."""
    chain: tuple[Fact, ...]
    alerts: tuple[AlertRow, ...]
    age: str
    stale: bool


def overview(snapshot: Snapshot, now_ms: int) -> Overview:
    training = snapshot.training
    old = now_ms - snapshot.taken_ms
    return Overview(
        place=" · ".join(
            text.clean(part, 32) or text.UNKNOWN for part in (snapshot.rig, snapshot.network, snapshot.chain.role)
        ),
        sentence=sentence(snapshot, now_ms),
        devices=device_rows(snapshot, now_ms),
        earnings=earnings_facts(snapshot.earnings),
        training=() if training is None else training_facts(training, now_ms),
        losses=tuple(point.loss_micro for point in snapshot.losses),
        progress=(0, 0) if training is None else (max(0, training.round - 1), training.rounds),
        chain=chain_facts(snapshot.chain, now_ms),
        alerts=alert_rows(snapshot, now_ms),
        age=f"{text.span(old)} old",
        stale=old > STALE_MS,
    )


def training_facts(training: TrainingView, now_ms: int) -> tuple[Fact, ...]:
    phase = text.clean(training.phase, 32) or text.UNKNOWN
    if training.phase_ends_ms is not None:
        phase += f", ends {text.until(training.phase_ends_ms, now_ms)}"
    return (
        Fact("task", f"{text.clean(training.name, 20)} {text.short_id(training.task)}"),
        Fact("round", f"{training.round:,} of {training.rounds:,}"),
        Fact("phase", phase),
        Fact("loss", text.loss(training.loss_micro)),
        Fact("accuracy", text.percent(training.accuracy_ppm)),
        Fact("units", _counts(training.units)),
        Fact("mine", _counts(training.my_units), _tone(training.my_units)),
        Fact("refused", refusals(training.units) or "none"),
    )


def _counts(counts: UnitCounts) -> str:
    return f"{counts.accepted:,} ok, {refused(counts):,} refused"


def _tone(counts: UnitCounts) -> Tone:
    return Tone.WARNING if 10 * refused(counts) > counts.accepted + refused(counts) else Tone.PLAIN


_SEATS = {
    Standing.CANDIDATE: "none, but a candidate",
    Standing.COMING: "from the next epoch on",
    Standing.SEATED: "in the committee",
    Standing.LEAVING: "until the epoch ends",
    Standing.SLASHED: "slashed",
}
_SEAT_TONES = {Standing.LEAVING: Tone.WARNING, Standing.SLASHED: Tone.FAULT}


def chain_facts(chain: ChainView, now_ms: int) -> tuple[Fact, ...]:
    last = text.UNKNOWN if chain.last_block_ms is None else text.span(now_ms - chain.last_block_ms)
    facts = [
        Fact("height", text.count(chain.height)),
        Fact("view", f"{chain.view:,}", Tone.PLAIN if chain.view == 0 else Tone.WARNING),
        Fact("epoch", text.count(chain.epoch)),
        Fact("block age", last),
        Fact("commit", text.milliseconds(chain.commit_p50_ms)),
        Fact("peers", text.count(chain.peers), Tone.PLAIN if chain.peers else Tone.WARNING),
        Fact("validators", text.count(chain.validators)),
        Fact("waiting", f"{chain.mempool:,} tx"),
        Fact("state", text.short_id(chain.state_root)),
    ]
    if chain.standing is not Standing.NONE:
        facts.insert(-1, Fact("seat", _SEATS[chain.standing], _SEAT_TONES.get(chain.standing, Tone.PLAIN)))
    if chain.target_height is not None and chain.target_height > chain.height:
        facts.insert(1, Fact("behind", text.plural(chain.target_height - chain.height, "block"), Tone.WARNING))
    return tuple(facts)
