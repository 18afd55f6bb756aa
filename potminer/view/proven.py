"""What stands behind a daemon's numbers, as a person reads it: said plainly, and loudly where it lies."""

from __future__ import annotations

from collections.abc import Mapping

from potminer.view import text
from potminer.view.select import AlertRow, Fact, Tone
from potminer.wire.proven import Backing, ProvenView

BOOKS = "the daemon's own books"
"""Days and sums of the past: nobody vouches for them."""
_ASKING = "being asked"
LOUD = frozenset({Backing.CONTRADICTED, Backing.FORGED})
_TONES = {
    Backing.PROVEN: Tone.GOOD,
    Backing.WORD: Tone.WARNING,
    Backing.CONTRADICTED: Tone.FAULT,
    Backing.FORGED: Tone.FAULT,
}


def backing_line(view: ProvenView | None) -> str:
    """``proven at height 812 by 3 of 4 validators``, or why not."""
    if view is None:
        return f"the daemon's word, not proven: {_ASKING}"
    why = text.clean(view.why, 200)
    return {
        Backing.PROVEN: f"proven at height {text.count(view.height)} by {_by(view)} validators",
        Backing.WORD: f"the daemon's word, not proven: {why}",
        Backing.CONTRADICTED: f"CONTRADICTED by a proof at height {text.count(view.height)}: {why}",
        Backing.FORGED: f"FALSE PROOF: {why}",
    }[view.backing]


def backing_word(view: ProvenView | None) -> str:
    """For a cell of a table, and for the line on top where it is loud."""
    if view is None:
        return _ASKING
    words = {Backing.WORD: "its word", Backing.CONTRADICTED: "CONTRADICTED", Backing.FORGED: "FALSE PROOF"}
    return words.get(view.backing) or f"{view.signers:,}/{view.members:,} sign"


def backing_tone(view: ProvenView | None) -> tuple[str, Tone]:
    """Sign and tone."""
    if view is None:
        return "○", Tone.QUIET
    signs = {Backing.PROVEN: "●", Backing.WORD: "▲"}
    return signs.get(view.backing, "✗"), _TONES[view.backing]


def money_facts(view: ProvenView) -> tuple[Fact, ...]:
    """What the committee vouches for of this rig's money; nothing where nothing is proven."""
    if view.height is None or not view.anchored:
        return ()
    least = "" if view.whole else "at least "
    facts = [Fact("balance", _pot(view.balance)), Fact("owed", f"{least}{_pot(view.owed)}")]
    facts += [Fact("held", _pot(view.held), Tone.WARNING)] if view.held else []
    facts.append(Fact("bond", _pot(view.bond)))
    facts += [Fact("unbonding", _pot(view.unbonding))] if view.unbonding else []
    facts += [Fact("as validator", _pot(view.validator_bond))] if view.validator_bond else []
    facts.append(Fact("goes to", text.clean(view.payout or "", 80)[:12] + "…", Tone.QUIET))
    return tuple(facts)


def owed_by_task(view: ProvenView | None) -> Mapping[str, int] | None:
    """Proven grains that each task owes, by its id; None where nothing is proven."""
    if view is None or view.height is None or not view.anchored:
        return None
    owed: dict[str, int] = {}
    for each in view.rounds:
        owed[each.task] = owed.get(each.task, 0) + each.amount
    return owed


def owed_by_round(view: ProvenView | None) -> Mapping[tuple[str, int], int] | None:
    """Proven grains by task and round; None where nothing is proven."""
    if view is None or view.height is None or not view.anchored:
        return None
    return {(each.task, each.round): each.amount for each in view.rounds}


def backing_alerts(view: ProvenView | None, now_ms: int) -> tuple[AlertRow, ...]:
    """One for each thing that the daemon says otherwise than the committee."""
    if view is None or view.backing not in LOUD:
        return ()
    age = f"{text.span(now_ms - view.taken_ms)} ago"
    if not view.contradictions:
        return (AlertRow("✗", backing_line(view), age, Tone.FAULT),)
    return tuple(
        AlertRow(
            "✗",
            f"CONTRADICTED at {each.height:,}: {text.clean(each.what, 60)}: it says {text.clean(each.said, 60)}, "
            f"proven {text.clean(each.proven, 60)}",
            age,
            Tone.FAULT,
        )
        for each in view.contradictions
    )


def _by(view: ProvenView) -> str:
    return f"{view.signers:,} of {view.members:,}"


def _pot(grains: int | None) -> str:
    return text.UNKNOWN if grains is None else text.pot(grains)
