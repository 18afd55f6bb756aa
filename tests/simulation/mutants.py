"""B1-B30, the bugs of shipped PBFT code, and two that our own design invites, each put into our replica and hunted.

Five hunters: the tables of attacks on one replica (and on sync), the scenarios of the simulator, its swarm,
the Twins scenarios, the race against the executable spec. The command prints the kill matrix, with that of the
ledger's mutants (``ledger_mutants.py``) below it:

    nice -n 15 python -m tests.simulation.mutants > docs/mutants.md
"""

from __future__ import annotations

import inspect
import re
import struct
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from random import Random
from time import monotonic
from types import ModuleType

import click
import pytest

from potminer.core.committee import Committee
from potminer.core.pbft.log import Log
from potminer.core.pbft.machine import Replica
from potminer.core.sync.machine import Sync
from potminer.sim.arena import ScriptedCommittee, Stands
from potminer.sim.catalogue import drawn
from potminer.sim.notary import Notary
from potminer.sim.twins import Cut, Leads, Space
from potminer.sim.world import EPOCH, MakeCommittee, run
from potminer.wire.pbft import NewView, ViewChange
from tests.simulation import bent, ledger_mutants
from tests.simulation.control import Bent
from tests.simulation.race import Race
from tests.unit import test_pbft_attacks, test_pbft_gather, test_pbft_normal, test_pbft_viewchange, test_sync_machine
from tests.unit.pbft_bench import Subject, on_the_bench

HUNTS = {"storm-lossy": 4, "storm-lossy-equivocate": 18, "crash-partition": 2, "storm-twins": 2, "calm": 1}
"""Scenarios and seeds: a mutant that survives all of them is left to the other hunters."""
SEEN = {
    "B1": "storm-twins 0",
    "B6": "storm-lossy 2",
    "B7": "storm-lossy-equivocate 6",
    "P1": "storm-lossy 0",
}
"""Runs in which these break a promise to everybody: nobody forges anything for them. Hunted last."""
SWARM = 20
TWINS = 90
RACES = 40
FAILURES = (
    ArithmeticError, AssertionError, AttributeError, LookupError, RecursionError, TypeError, ValueError, struct.error,
    pytest.fail.Exception,
)  # fmt: skip


@dataclass(frozen=True)
class Mutant:
    """*bug* as in the research's list; *about* says what is bent."""

    bug: str
    about: str
    replica: type[Replica] = Replica
    committee: type[Committee] = Committee
    scripted: type[ScriptedCommittee] = ScriptedCommittee
    sync: type[Sync] = Sync


def of(bug: str, replica: type[Bent]) -> Mutant:
    return Mutant(bug, (replica.__doc__ or "").partition(": ")[2].rstrip("."), replica)


CONTROL = Mutant("-", "nothing is bent", Bent)
MUTANTS = (
    Mutant("B1", "2·floor(n/3) + 1 members are a quorum", committee=bent.FloorQuorumCommittee,
           scripted=bent.FloorQuorumScripted),
    of("B2", bent.CountsPrimaryTwice),
    Mutant("B3", "any member's key signs for any seat", committee=bent.AnybodysKeyCommittee,
           scripted=bent.AnybodysKeyScripted),
    of("B4", bent.AnyPurpose),
    of("B5", bent.AnyProof),
    of("B6", bent.DropsPrepared),
    of("B7", bent.TrustsThePrimary),
    of("B8", bent.AnyPrepared),
    of("B10", bent.LooseRoot),
    of("B11", bent.LooseEnvelope),
    of("B12", bent.AnyView),
    of("B13", bent.AnyParent),
    Mutant("B14", "sync executes a block without its certificate", sync=bent.TrustingSync),
    of("B15", bent.StoresFirst),
    of("B16", bent.FollowsAnybody),
    of("B17", bent.RecursiveTimer),
    of("B18", bent.UncappedTimer),
    of("B19", bent.OnlyLocalTimers),
    of("B20", bent.StaysChanging),
    of("B21", bent.ReplaysStale),
    of("B22", bent.Forgets),
    Mutant("B23", "the last block is served once it has a successor", sync=bent.KeepsTheLast),
    of("B24", bent.AlwaysFresh),
    Mutant("B25", "a signature counts for every purpose", committee=bent.BareDigestCommittee,
           scripted=bent.BareDigestScripted),
    of("B26", bent.TimesIdleness),
    of("B27", bent.KeepsRecords),
    of("B28", bent.AnySeat),
    of("B28", bent.BelievesHeights),
    of("B29", bent.WaitsForTheRest),
    of("B30", bent.UnverifiedProof),
    of("P1", bent.PreparesUnseen),
    of("P2", bent.TakesAnything),
)  # fmt: skip
def no_watermarks() -> None:
    """A `ViewChange` has a height, a view and one certificate, of which none is a checkpoint's; a `NewView` has
    view changes of its own height alone; a `Log` is of one height."""
    assert ViewChange.__struct_fields__ == ("epoch", "height", "view", "prepared", "signer", "signature")
    assert NewView.__struct_fields__ == ("height", "view", "view_changes", "proposal")
    assert "height" in Log.__slots__
    assert not {"low", "high", "stable", "checkpoint"} & set(Log.__slots__)


@dataclass(frozen=True)
class Impossible:
    """Why a bug cannot be written here, and what would fail if that changed."""

    reason: str
    assertion: Callable[[], None]


IMPOSSIBLE = {
    "B9": Impossible(
        "There are no watermarks: one height is in flight (`core/pbft/log.py`, `Log.height`), and a `ViewChange` "
        "(`wire/pbft.py`) says nothing of checkpoints, so no subset of view changes can be tested for them.",
        no_watermarks,
    )
}
"""Bugs that cannot be written here."""


# ---- hunters -----------------------------------------------------------------------------


@dataclass(frozen=True)
class Attack:
    name: str
    says: str
    """All that it says of itself: name, case and docstring; the bugs it is meant for are named there."""
    run: Callable[[], None]

    def is_meant_for(self, bug: str) -> bool:
        return re.search(rf"(?i)(?<![0-9a-z]){bug}(?![0-9])", self.says.replace("_", " ")) is not None


def attacks_of(module: ModuleType) -> Iterator[Attack]:
    """The tests of *module*, one by one; they take no fixtures."""
    for name, test in inspect.getmembers(module, inspect.isfunction):
        if not name.startswith("test_") or test.__module__ != module.__name__:
            continue
        cases: list[dict[str, object]] = [{}]
        for mark in getattr(test, "pytestmark", []):
            names = [n.strip() for n in mark.args[0].split(",")] if isinstance(mark.args[0], str) else mark.args[0]
            values = [v if len(names) > 1 else (v,) for v in mark.args[1]]
            cases = [{**case, **dict(zip(names, v, strict=True))} for case in cases for v in values]
        for case in cases:
            shown = f"{name}[{', '.join(str(v) for v in case.values())[:60]}]" if case else name
            yield Attack(shown, f"{shown} {test.__doc__ or ''}", partial(test, **case))


PBFT_TABLES = (test_pbft_normal, test_pbft_viewchange, test_pbft_attacks, test_pbft_gather)
PBFT_ATTACKS = tuple(attack for table in PBFT_TABLES for attack in attacks_of(table))
SYNC_ATTACKS = tuple(attacks_of(test_sync_machine))


def survived(run: Callable[[], object]) -> str | None:
    """What went wrong in *run*, or None."""
    try:
        run()
    except FAILURES as failure:
        return f"{type(failure).__name__}: {str(failure).strip().partition(chr(10))[0]}"
    return None


def attacked(mutant: Mutant) -> Iterator[tuple[Attack, str | None]]:
    """Every attack on *mutant* and what it showed; those that are meant for its bug come first."""
    attacks = SYNC_ATTACKS if mutant.sync is not Sync else PBFT_ATTACKS
    before, test_sync_machine.Node.make = test_sync_machine.Node.make, mutant.sync
    try:
        with on_the_bench(Subject(mutant.replica, mutant.committee)):
            for attack in sorted(attacks, key=lambda attack: not attack.is_meant_for(mutant.bug)):
                yield attack, survived(attack.run)
    finally:
        test_sync_machine.Node.make = before


def simulated(mutant: Mutant) -> Iterator[tuple[str, str | None]]:
    """Runs of the simulator, and the first violation in each."""
    notary = Notary()
    for seed in range(max(HUNTS.values())):
        for name, seeds in HUNTS.items():
            if seed < seeds:
                yield f"{name} {seed}", violation(mutant, name, seed, notary=notary)
    if mutant.bug in SEEN:
        name, known = SEEN[mutant.bug].split()
        yield SEEN[mutant.bug], violation(mutant, name, int(known), notary=notary)


def committee_maker(mutant: Mutant) -> MakeCommittee | None:
    def committee(members: tuple[bytes, ...], powers: tuple[int, ...]) -> Committee:
        return mutant.committee(epoch=EPOCH, members=members, powers=powers)

    return None if mutant.committee is Committee else committee


def violation(mutant: Mutant, name: str, seed: int, *, notary: Notary | None = None) -> str | None:
    """The first violation in run *seed* of a scenario, or of the swarm."""
    seen: list[str] = []

    def run_it() -> None:
        report = run(
            drawn(name, seed), make_committee=committee_maker(mutant), make_replica=mutant.replica, notary=notary,
            until_violated=True,
        )  # fmt: skip
        seen.extend(report.violations)

    return survived(run_it) or next(iter(seen), None)


def swarmed(mutant: Mutant) -> Iterator[tuple[str, str | None]]:
    """Runs of the swarm, from its first seed on."""
    notary = Notary()
    for seed in range(SWARM):
        yield f"swarm {seed}", violation(mutant, "swarm", seed, notary=notary)


def raced(mutant: Mutant) -> Iterator[tuple[str, str | None]]:
    """Histories told to *mutant* and to the executable spec."""
    with on_the_bench(Subject(mutant.replica, mutant.committee)):
        for seed in range(RACES):
            differs: list[str] = []

            def race(seed: int = seed, differs: list[str] = differs) -> None:
                found = Race(seed).run()
                differs.extend(() if found is None else (found.partition(": ")[2],))

            yield f"race {seed}", survived(race) or next(iter(differs), None)


def twinned(mutant: Mutant) -> Iterator[tuple[str, str | None]]:
    """Twins scenarios drawn by one seed from all six spaces, and the first violation in each."""
    chance = Random("twins")
    stands = Stands(make=mutant.replica, make_committee=mutant.scripted)
    spaces = [Space(leads=leads, cut=cut) for cut in Cut for leads in Leads]
    for number in range(TWINS):
        space = spaces[number % len(spaces)]
        index = chance.randrange(space.size)
        seen: list[str] = []

        def run(space: Space = space, index: int = index, seen: list[str] = seen) -> None:
            seen.extend(stands.play(space.script(index)).violations)

        yield f"{space.leads}/{space.cut} {index}", survived(run) or next(iter(seen), None)


# ---- the matrix --------------------------------------------------------------------------


def first(runs: Iterator[tuple[str, str | None]]) -> str:
    """The first run that showed something, what, and how many it took."""
    tried = 0
    for name, found in runs:
        tried += 1
        if found is not None:
            return f"{found.partition(':')[0]} in `{name}` ({tried})"
    return f"- ({tried})"


HUNTERS = (simulated, swarmed, twinned, raced)


def row(mutant: Mutant) -> str:
    begun = monotonic()
    shown = [(attack, found) for attack, found in attacked(mutant)]
    killers = [attack.name for attack, found in shown if found is not None]
    table = f"{len(killers)} of {len(shown)}" + (f": `{killers[0]}`" if killers else "")
    hunted = [first(hunter(mutant)) if mutant.sync is Sync else "not in consensus" for hunter in HUNTERS]
    return " | ".join((f"| {mutant.bug}", mutant.about, table, *hunted, f"{monotonic() - begun:.1f} |"))


HEAD = f"""# Mutants: thirty bugs of shipped PBFT code, in ours

Written by `python -m tests.simulation.mutants > docs/mutants.md`, all of it.

B1 to B30 are bugs that PBFT-family code had in production, P1 and P2 those that proposals without transactions
invite (docs/adr/0012-proposals-name-transactions.md). Each is put into our replica by inheritance
(`tests/simulation/bent.py`; the product has no switch) and must be killed. Hunters:

- **attacks**: the tables of attacks on one replica ({len(PBFT_ATTACKS)}) or on sync ({len(SYNC_ATTACKS)}); how many
  see the mutant, and the first of them;
- **simulator**: {", ".join(f"{name} ({seeds})" for name, seeds in HUNTS.items())}: scenarios and seeds,
  taken in turn, and at last a run that is known to show it ({", ".join(SEEN)});
- **swarm**: the first {SWARM} of its seeds, of which CI plays 2,000;
- **Twins**: {TWINS} scenarios drawn from all six spaces;
- **spec**: {RACES} histories of one height, told to the replica and to the executable spec (docs/spec/model/pbft.py).

In brackets: how many runs the kill took, or how many the mutant survived. A dash is no gap where another column
kills: a rule about a forged message is seen by the attack that forges it, for nobody in the simulator does.
The control repeats our rules with nothing bent: it must survive everything.

| bug | what is bent | attacks | simulator | swarm | Twins | spec | s |
|---|---|---|---|---|---|---|---|"""
LEDGER_HEAD = f"""
## The ledger's

Faults that a ledger could have, each put into a copy of its source (`tests/simulation/ledger_mutants.py`) and
raced against the executable spec of ledger.md and rounds.md: the first history of up to {ledger_mutants.HISTORIES}
that shows it, from one that is known to on, and where the two differ first. *Stops by itself*: an assertion of the
ledger's own is quicker.

| what is bent | file | first seen in | by |
|---|---|---|---|"""


@click.command()
def main() -> None:
    """Hunt every mutant with every hunter and print the kill matrix as Markdown."""
    click.echo(HEAD)
    for mutant in (CONTROL, *MUTANTS):
        click.echo(row(mutant))
    click.echo("\n## Cannot be written here\n")
    for bug, impossible in IMPOSSIBLE.items():
        impossible.assertion()
        said = " ".join((impossible.assertion.__doc__ or "").split())
        click.echo(f"- **{bug}**: {impossible.reason} Asserted by `{impossible.assertion.__name__}`: {said}")
    click.echo(LEDGER_HEAD)
    for line in ledger_mutants.rows():
        click.echo(line)


if __name__ == "__main__":
    main()
