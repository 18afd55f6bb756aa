"""What a draw hangs on: nothing that whoever proposes its block, and so sees the beacon first, could still choose."""

from __future__ import annotations

from msgspec.structs import replace

from potminer.core import trie
from potminer.core.ledger.evaluate import take_score
from potminer.core.ledger.penalty import expel
from potminer.core.ledger.refusal import Refusal
from potminer.core.ledger.state import Draft, State
from potminer.wire import record as records
from potminer.wire.codec import encode
from potminer.wire.record import EvaluationPhase, EvaluationRecord, Phase, RoundRecord, Score, TaskRecord
from potminer.wire.task import AuditSpec, Reward
from potminer.wire.tx import Bond, ScoreModel, Transfer
from tests.unit.ledger_world import World, blob, key, spec

PRICE = 1_000_003
BOND = 20 * PRICE


def waiting(*, bonded: tuple[str, ...] = ("ann", "ben", "cy")) -> World:
    """A second round is revealed; its draw waits for two proposers."""
    world = World()
    world.submit(spec(rounds=6, audit=AuditSpec(30_000, 1_000), reward=Reward(10**9, PRICE)))
    world.whole_round()
    world.step(*[("rich", Transfer(key(name).public, 10 * BOND)) for name in ("ann", "ben", "cy")])
    world.step(*[(name, Bond(BOND)) for name in bonded])
    world.commit_all()
    world.reveal_all()
    assert world.round.phase == Phase.DRAW
    return world


def drawn(world: World) -> dict[bytes, set[tuple[int, int]]]:
    world.until(Phase.AUDIT)
    return {
        owner: {(a.slot, a.segment) for a in world.round.audits if world.round.slots[a.slot] == owner}
        for owner in world.round.slots
    }


def test_what_is_bonded_after_the_reveals_does_not_count() -> None:
    """Or the last proposer bonds where that makes the draw miss its false segments, and where not keeps its money."""
    world = waiting(bonded=("ben", "cy"))
    slot = world.round.slots.index(key("ann").public)
    noted = world.unit(slot).stake
    world.step(("ann", Bond(9 * BOND)))
    world.until(Phase.AUDIT)
    assert world.unit(slot).stake == noted < BOND


def test_what_left_after_the_reveals_does_not_count_either() -> None:
    world = waiting()
    slot = world.round.slots.index(key("ann").public)
    noted = world.unit(slot).stake
    draft = Draft(world.state)
    found = draft.need(records.Trainer, records.trainer_key(key("ann").public))
    gone = records.Trainer(found.payout, bond=found.bond - 5, unbonding=5)
    world.state = State(
        world.chain, world.state.parameters,
        trie.update(world.state.tree, [(records.trainer_key(key("ann").public), encode(gone))]),
    )  # fmt: skip
    world.until(Phase.AUDIT)
    assert world.unit(slot).stake == noted - 5


def test_a_key_that_is_given_up_in_between_draws_nobody_elses_audits_anew() -> None:
    """Each spare key of a cheat would be another throw of the dice."""
    plain, bent = waiting(), waiting()
    draft = Draft(bent.state)
    expel(draft, task=bent.task, trainer=key("cy").public, reason="duplicate", events=[])
    bent.state = draft.finish(draft.changes())
    before, after = drawn(plain), drawn(bent)
    assert before[key("ann").public] == after[key("ann").public]
    assert before[key("ben").public] == after[key("ben").public]
    assert all(audit.auditor != key("cy").public for audit in bent.round.audits)


def test_an_evaluation_that_outlives_its_committee_keeps_the_words_of_who_sits() -> None:
    """A record with more judges than a committee has seats could be written, and never be read again."""
    world = waiting()
    draft = Draft(world.state)
    gone = tuple(Score(key(f"gone-{number}").public, 1, 1, 1) for number in range(31))
    record = EvaluationRecord(
        1, blob("model"), 10**9, (key("ann").public,), 0, blob("seed"), EvaluationPhase.JUDGE, judges=gone
    )
    draft.put(records.evaluation_key(world.task), record)
    judge = key(world.validators[0]).public
    said = ScoreModel(world.task, 1, 5, 5, 5, blob("salt"))
    assert take_score(draft, judge, said) is None
    found = draft.need(EvaluationRecord, records.evaluation_key(world.task))
    assert [each.scorer for each in found.judges] == [judge]
    assert take_score(draft, judge, said) == Refusal.ALREADY_DONE
    assert draft.need(TaskRecord, records.task_key(world.task)).round == 1
    assert draft.need(RoundRecord, records.round_key(world.task, 1)).number == 1


def test_the_block_of_the_draw_is_drawn_too_and_every_proposer_may_be_the_one() -> None:
    """Who reveals last chooses which proposers witness: its own must not be the one that draws."""
    waits, drawers = set(), set()
    for after in range(1, 13):
        world = waiting()
        stirred = encode(replace(world.state.head, beacon=blob("beacon", after)))
        world.state = State(
            world.chain, world.state.parameters, trie.update(world.state.tree, [(records.CHAIN, stirred)])
        )
        heights = []
        while world.round.phase == Phase.DRAW:
            world.step()
            heights.append(world.state.head.height)
            assert len(heights) < 12
        first = world.round.draws_at
        assert first == world.state.head.height
        waits.add(len(heights))
        drawers.add(world.blocks[-1].header.proposer)
    assert len(waits) > 2
    assert len(drawers) > 2
