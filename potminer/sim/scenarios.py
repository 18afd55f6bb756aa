"""Scenarios as data: what is done to the replicas in the first phase of a run.

In the second phase the network is healed, everybody is restarted, faulty members stay faulty,
and the rest must make progress.
"""

from __future__ import annotations

from dataclasses import dataclass

from potminer.core.misbehave import Kind


@dataclass(frozen=True, slots=True)
class Scenario:
    """Chances are in parts per thousand per message; times in virtual milliseconds."""

    name: str
    about: str
    chaos_ms: int = 24_000
    sizes: tuple[int, ...] = (4, 5, 7)
    delay_ms: tuple[int, int] = (5, 30)
    """Smallest delay of a message, and the mean of what comes on top (exponential: messages overtake)."""
    loss: int = 0
    repeat: int = 0
    """Chance that a message arrives once more, up to five seconds later."""
    partitions: int = 0
    """How many partitions, one after the other; about half of them cut one direction only."""
    crashes: int = 0
    leader_crashes: int = 0
    blackouts: int = 0
    """How often everybody crashes at nearly the same time: only what was written is left in the world."""
    faulty: Kind | None = None
    twins: bool = False
    """The faulty member is two honest replicas with one key, each with its own memory."""
    too_many: bool = False
    """More than a third of the power is faulty: agreement may break, and must be seen to."""
    transactions: int = 24
    skew_ms: int = 400
    """Every host's clock is off by up to this."""
    astray_ms: int = 0
    """One member's clock is off by this: its proposals are refused, and it refuses those of others."""
    view_base_ms: int = 2_000
    """A base below the network's delay makes views fail all the time, with blocks prepared in several of them."""
    heal_ms: int = 90_000
    """Within this time after the heal every honest replica must have executed everything."""


SCENARIOS = {
    scenario.name: scenario
    for scenario in (
        Scenario("calm", "no faults at all", chaos_ms=16_000),
        Scenario("lossy", "a fifth of all messages lost, a fifth repeated, long delays", loss=200, repeat=200,
                 delay_ms=(5, 150)),
        Scenario("crash-partition", "crashes between any two effects, partitions of both kinds, some loss",
                 chaos_ms=36_000, loss=80, repeat=60, partitions=8, crashes=8,
                 blackouts=1),
        Scenario("leader-crash", "whoever leads crashes, again and again", leader_crashes=6, loss=10),
        Scenario("byzantine-equivocate", "a member proposes and votes both ways, under loss and a partition",
                 faulty=Kind.EQUIVOCATE, loss=30, repeat=60, partitions=2, crashes=2),
        Scenario("byzantine-silent", "one says nothing while others crash", faulty=Kind.SILENT, loss=20, crashes=2),
        Scenario("byzantine-slow", "a member proposes as late as it can", faulty=Kind.SLOW_LEADER, loss=10),
        Scenario("byzantine-censor", "a member leaves one sender's transactions out", faulty=Kind.CENSOR, loss=10),
        Scenario("clock-astray", "one member's clock is half a minute off", astray_ms=30_000, loss=20, crashes=2),
        Scenario("storm", "views shorter than the network is fast, heavy loss, crashes: many views per height",
                 chaos_ms=20_000, view_base_ms=150, delay_ms=(5, 60), loss=150, repeat=60, crashes=4,
                 partitions=2, blackouts=5),
        Scenario("storm-equivocate", "the storm, with a member that says one thing here and another there",
                 chaos_ms=20_000, view_base_ms=150, delay_ms=(5, 60), loss=100, crashes=4, blackouts=2,
                 faulty=Kind.EQUIVOCATE),
        Scenario("storm-lossy", "four members, two messages in five lost: blocks prepared by one of them alone",
                 sizes=(4,), chaos_ms=12_000, view_base_ms=150, delay_ms=(5, 60), loss=400, repeat=60,
                 transactions=4),
        Scenario("storm-lossy-equivocate", "the same, with a member that ignores what was prepared",
                 sizes=(4,), chaos_ms=12_000, view_base_ms=150, delay_ms=(5, 60), loss=350, repeat=60,
                 faulty=Kind.EQUIVOCATE, transactions=4),
        Scenario("storm-twins", "the storm, with one key that runs two replicas",
                 chaos_ms=20_000, view_base_ms=150, delay_ms=(5, 60), loss=100, crashes=4, blackouts=2,
                 partitions=3, twins=True),
        Scenario("twins", "one key runs two replicas, under partitions and crashes", twins=True, loss=20, repeat=60,
                 partitions=4, crashes=3),
    )
}  # fmt: skip

OVERRUN = {
    scenario.name: scenario
    for scenario in (
        Scenario("too-many-twins", "more than a third run two replicas with one key: agreement breaks, to be seen",
                 twins=True, too_many=True, sizes=(4,), partitions=12, crashes=2, transactions=12, heal_ms=20_000),
    )
}  # fmt: skip
"""More faults than the protocol bears: witnesses must report, forensics must name the culprits."""
