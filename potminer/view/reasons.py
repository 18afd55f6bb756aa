"""Why a unit ended as it did, in words a rig owner can act on."""

from __future__ import annotations

from potminer.view.text import clean, count, parts_per_million, pot, short_address, short_id
from potminer.wire.control import Outcome, UnitOutcome

EXPLAINED = {
    "late": ("the commitment came after the deadline", "Nothing is lost but the time: late work is never punished."),
    "not-revealed": (
        "the result was committed but never shown",
        "A rig that stops between commit and reveal causes this. It is never punished.",
    ),
    "unavailable": (
        "the result could not be fetched from anybody before the deadline",
        "Check the upload rate and that the port is reachable: potminer peers. If its stake is held for it, this rig "
        "shows the work by itself, as long as it runs and has its disk: potminer earnings.",
    ),
    "wrong-base": ("the work started from another model than the round's", "Catching up late causes this."),
    "malformed": (
        "the update is not one, or not as long as was said: wrong tag, size or range",
        "Update potminer; if it stays, report a bug.",
    ),
    "out-of-tolerance": (
        "recomputing a part of it gave another result",
        "Unstable memory or overclocking causes this: lower the memory clock and watch for errors. "
        "Near what is allowed it costs the pay alone, near a cheat the bond.",
    ),
    "not-opened": (
        "the proof that an auditor is checked by was not shown in time",
        "A rig that stops between its reveal and the end of the audits causes this. It is never punished.",
    ),
    "false-residues": (
        "the unit was bound to residues that nobody finds who recomputes it",
        "Update potminer; if it stays, report a bug.",
    ),
    "duplicate": ("the same update was shown before by somebody else", "A copied update is provably wrong."),
}


ENDED = {
    "calibration": (
        "An audit could not tell honest work from work that leaves out a hundredth of a segment: that has to measure "
        "100 ppm at the least, and 100 times what honest machines differ by.",
        "Order it with fewer batches_per_segment, in mode local with fewer segments too, or with more bits "
        "(compression). What was left of the budget has come back.",
    ),
}
"""By the first word of the ledger's reason."""


def why_ended(reason: str) -> list[str]:
    """Lines for who ordered the task: the ledger's reason, what it means, what to do. None while it goes on."""
    if not reason:
        return []
    return [clean(reason), *ENDED.get(reason.partition(":")[0], ())]


def explain(unit: UnitOutcome) -> list[str]:
    """A few lines: which unit, how it ended, the numbers, what to do."""
    place = f"{clean(unit.task_name, 40)} ({short_id(unit.task)}) round {unit.round + 1} unit {unit.slot}"
    lines = [f"{place} by {short_address(unit.trainer)}", f"  {_verdict(unit)}"]
    if unit.measured_ppm is not None or unit.allowed_ppm is not None:
        measured, allowed = parts_per_million(unit.measured_ppm), parts_per_million(unit.allowed_ppm)
        told = "no audit measured it" if unit.measured_ppm is None else f"measured {measured} off"
        lines.append(f"  {told}, allowed {allowed}")
        if unit.noise_ppm is not None and unit.cheat_ppm is not None:
            noise, cheat = parts_per_million(unit.noise_ppm), parts_per_million(unit.cheat_ppm)
            lines.append(f"  here honest work measures {noise} at most, the smallest cheat {cheat}")
    lines += _length(unit)
    if unit.outcome is Outcome.ACCEPTED and unit.paid:
        lines.append(f"  {_paid_out(unit)}")
    if unit.outcome is Outcome.REJECTED and unit.reason in EXPLAINED:
        lines.append(f"  {EXPLAINED[unit.reason][1]}")
    if unit.task_ended.startswith("calibration"):
        lines += [f"  the task ended: {why_ended(unit.task_ended)[0]}", f"  {ENDED['calibration'][0]}"]
    if unit.height is not None:
        lines.append(f"  decided in block {count(unit.height)}")
    return lines


def _length(unit: UnitOutcome) -> list[str]:
    if unit.length_nano is None:
        return []
    told = f"  its update is {unit.length_nano / 1e9:.3g} long"
    if not unit.outlier:
        return [told]
    return [f"{told}, more than three times what was usual in its round: an outlier, audited whole"]


def _paid_out(unit: UnitOutcome) -> str:
    if unit.kept is None:
        return "paid out after the dispute window; until then it is pending"
    if not unit.kept:
        return "paid out, all of it"
    if unit.kept >= unit.paid:
        return f"paid out: all of it, {pot(unit.kept)}, became this rig's bond; potminer unbond gives it back"
    rest = pot(unit.paid - unit.kept)
    return f"paid out: {rest}; {pot(unit.kept)} became this rig's bond, which potminer unbond gives back"


def _verdict(unit: UnitOutcome) -> str:
    if unit.outcome is Outcome.PENDING:
        return "pending: not decided yet"
    if unit.outcome is Outcome.ACCEPTED:
        return f"accepted, paid {pot(unit.paid)}"
    meaning = EXPLAINED.get(unit.reason, ("this version does not know the reason", ""))[0]
    return f"refused ({clean(unit.reason, 40) or 'no reason given'}): {meaning}"
