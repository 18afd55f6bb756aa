"""What a trainer has at stake: what is kept as bond, what may leave, what a cheat loses, how much is audited."""

from __future__ import annotations

from copy import deepcopy
from fractions import Fraction
from itertools import combinations_with_replacement
from math import comb
from random import Random

import pytest
from msgspec.structs import replace

from potminer.base.bounded import MILLION
from potminer.core.ledger import event
from potminer.core.ledger.audits import draw_audits
from potminer.core.ledger.refusal import Refusal
from potminer.core.ledger.rewards import at_risk, audited_ppm
from potminer.core.ledger.stake import Need
from potminer.core.ledger.state import Draft
from potminer.wire import record as records
from potminer.wire.record import Outcome, Phase, Standing, TaskRecord, Trainer
from potminer.wire.task import AuditSpec, Reward
from potminer.wire.tx import Bond, Finding, JoinTask, LeaveTask, RegisterTrainer, SubmitTask, Transfer, Unbond
from tests.unit.ledger_world import World, blob, key, spec

PRICE = 1_000_003
NEED = 10 * 2 * PRICE


def trainer(world: World, name: str) -> Trainer:
    return world.state.need(Trainer, records.trainer_key(key(name).public))


def at_audit(world: World, task: object = None, trainers: tuple[str, ...] = ("ann", "ben", "cy")) -> World:
    world.submit(task, trainers)  # type: ignore[arg-type]
    world.commit_all()
    world.reveal_all()
    world.until(Phase.AUDIT)
    return world


# ---- how much is audited -----------------------------------------------------------------


def escapes(wanted_ppm: int, *, segments: int, cheated: int) -> Fraction:
    """Chance that none of the *cheated* segments of a unit is among those drawn."""
    whole, part = divmod(wanted_ppm, MILLION)
    missed = [
        Fraction(comb(segments - cheated, drawn), comb(segments, drawn)) if drawn <= segments else Fraction(0)
        for drawn in (whole, whole + 1)
    ]
    return missed[0] + (missed[1] - missed[0]) * Fraction(part, MILLION)


def check_never_pays(
    stake: int, segments: int, false: tuple[int, ...], *, price: int = PRICE, factor: int = 10
) -> None:
    """*false* segments in each unit of a trainer, drawn together: who is caught is not paid for the others either."""
    wanted = audited_ppm(
        price=price, stake=stake, units=len(false), segments=segments, factor=factor, floor_ppm=30_000
    )  # fmt: skip
    missed = Fraction(1)
    for cheated in false:
        missed *= escapes(wanted, segments=segments, cheated=cheated)
    gain = Fraction(sum(map(bool, false))) * price
    honest = len(false) * price - gain
    assert (stake + honest) * (1 - missed) >= factor * missed * gain, (stake, segments, false)


@pytest.mark.parametrize("segments", [1, 2, 3, 4, 8])
def test_a_cheat_expects_to_lose_ten_times_its_gain_whatever_it_does_in_however_many_units(segments: int) -> None:
    """Every way to spread false segments over the units of a round, at stakes from a grain to what the rate is for."""
    for units in range(1, 3 if segments == 8 else 4):
        for false in combinations_with_replacement(range(segments + 1), units):
            for stake in (0, 1, 2, 3, PRICE // 100, PRICE // 9, PRICE // 4, PRICE // 2, PRICE - 1, PRICE + 1):
                check_never_pays(stake, segments, false)
            for pay in (2, 3, 5, 8, 10, 13, 40, 100, 333):
                check_never_pays(pay * PRICE - 1, segments, false)


def test_a_cheat_expects_to_lose_ten_times_its_gain_at_every_size_and_factor() -> None:
    chance = Random(34)
    for _ in range(1_500):
        segments, units = chance.choice((1, 2, 5, 8, 16, 64)), chance.choice((1, 2, 3, 7, 64))
        few = chance.choice((1, 2, segments))
        false = tuple(min(segments, chance.randrange(few + 1)) for _ in range(units))
        price, factor = chance.choice((1, 7, 1_000, PRICE)), chance.choice((1, 2, 3, 10, 100))
        stake = chance.choice((chance.randrange(3), chance.randrange(price * units * 2), chance.randrange(price * 400)))
        check_never_pays(stake, segments, false, price=price, factor=factor)


def test_who_has_nothing_to_lose_gains_nothing_and_who_has_much_is_left_in_peace() -> None:
    plain = {"price": 800, "units": 1, "segments": 8, "factor": 10, "floor_ppm": 30_000}
    assert audited_ppm(stake=0, **plain) == 8 * MILLION
    assert audited_ppm(stake=0, **{**plain, "units": 64}) == 8 * MILLION, "pay alone is no stake: it may falsify all"
    assert audited_ppm(stake=8_000, **plain) == 4 * MILLION, "ten units of pay at stake: half of each unit"
    assert audited_ppm(stake=8_000, **{**plain, "units": 2}) == 3_809_524, "two units are lost together"
    assert audited_ppm(stake=10**6, **plain) == 63_493
    assert audited_ppm(stake=10**7, **plain) == 30_000
    assert audited_ppm(stake=10**6, **{**plain, "floor_ppm": MILLION}) == MILLION


def test_of_the_rounds_own_pay_no_more_counts_than_suffices_for_who_falsifies_everything() -> None:
    assert at_risk(price=800, stake=10**4, units=2, factor=10) == 10**4 + 800
    assert at_risk(price=800, stake=10**4, units=1, factor=10) == 10**4
    assert at_risk(price=800, stake=100, units=2, factor=10) == 500
    assert at_risk(price=800, stake=0, units=2, factor=10) == 0
    assert at_risk(price=800, stake=10**4, units=2, factor=1) == 10**4


def test_what_is_drawn_is_what_the_stake_asks_for() -> None:
    world = at_audit(World())
    assert {(a.slot, a.segment) for a in world.round.audits} == {(slot, at) for slot in range(6) for at in range(1, 5)}
    assert {world.unit(slot).stake for slot in range(6)} == {0}
    world.audit_all()
    world.attest()
    world.commit_all()
    world.reveal_all()
    world.until(Phase.AUDIT)
    for slot in range(6):
        stake = world.unit(slot).stake
        assert stake > PRICE, "what the task owes is at stake"
        wanted = audited_ppm(price=PRICE, stake=stake, units=2, segments=4, factor=10, floor_ppm=MILLION)
        drawn = [a.segment for a in world.round.audits if a.slot == slot]
        assert len(drawn) == len(set(drawn))
        assert len(drawn) - wanted // MILLION in (0, 1)


def test_an_audit_of_everything_gets_the_time_it_takes() -> None:
    world = at_audit(World())
    audits = world.round.audits
    load = max(sum(a.auditor == key(name).public for a in audits) for name in ("ann", "ben", "cy"))
    assert load == 8
    assert world.round.deadline_ms - world.state.head.time_ms == 10_000 * 4


# ---- what is kept ------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("amount", "bond", "kept"),
    [(100, 0, 100), (100, 950, 50 + 12), (100, 1_000, 25), (100, 1_490, 10), (100, 1_500, 0), (3, 1_000, 0), (0, 0, 0)],
)
def test_pay_is_kept_until_the_bond_suffices_then_in_part_until_it_is_full(amount: int, bond: int, kept: int) -> None:
    assert Need(1_000, 1_500).kept(amount, bond=bond, keep_ppm=250_000) == kept


def long_task(**changes: object) -> object:
    return spec(**{"rounds": 40, "reward": Reward(10**10, PRICE), **changes})


def test_the_first_pay_becomes_bond_and_the_payout_sees_it_once_the_bond_suffices() -> None:
    world = World(escrow_rounds=1)
    world.submit(long_task(audit=AuditSpec(100_000, 1_000)))  # type: ignore[arg-type]
    rounds = 0
    while not world.balance("ann-wallet"):
        world.whole_round()
        rounds += 1
        if not world.balance("ann-wallet"):
            assert trainer(world, "ann").bond < NEED
    assert trainer(world, "ann").bond >= NEED
    # 10 x 2 units' price is needed, a round pays about 0.95 of 2 units' price, one round later.
    assert rounds == 12
    kept = world.happened(event.Paid)[-1].kept
    assert {share.earner for share in kept} == {key(name).public for name in ("ann", "ben", "cy")}
    before = (world.balance("ann-wallet"), trainer(world, "ann").bond)
    world.whole_round()
    paid = world.balance("ann-wallet") - before[0]
    stays = trainer(world, "ann").bond - before[1]
    assert 0 <= paid - 3 * stays <= 3, "a quarter is still kept"


def test_at_the_end_of_the_last_task_nothing_more_is_kept() -> None:
    world = World(escrow_rounds=2)
    world.submit()
    for _ in range(3):
        world.whole_round()
    assert [bool(paid.kept) for paid in world.happened(event.Paid)] == [True, False, False]


def test_a_bond_that_the_work_needs_does_not_leave() -> None:
    world = World()
    world.submit()
    world.step(("rich", Transfer(key("ann").public, 2 * NEED)))
    assert world.step(("ann", Bond(NEED + 500))) == [None]
    assert world.step(("ann", Unbond(501))) == [Refusal.BOND_TOO_LOW]
    assert world.step(("ann", Unbond(500))) == [None]
    assert world.step(("ann", LeaveTask(world.task)), ("ann", Unbond(NEED))) == [None, None]


def test_work_in_two_tasks_needs_the_bond_of_both() -> None:
    world = World()
    world.submit()
    world.step(("requester", SubmitTask(spec(name="second"))))
    second = next(task for task in world.state.head.open_tasks if task != world.task)
    world.step(("rich", Transfer(key("ann").public, 3 * NEED)), ("ann", JoinTask(second)))
    world.step(("ann", Bond(2 * NEED)))
    assert world.step(("ann", Unbond(1))) == [Refusal.BOND_TOO_LOW]


# ---- what a cheat loses ------------------------------------------------------------------


def test_who_is_expelled_from_one_task_is_out_of_all_and_paid_by_none() -> None:
    world = World()
    world.submit(spec(rounds=5))
    first = world.task
    for _ in range(2):
        world.whole_round()
    world.step(("requester", SubmitTask(spec(name="second"))))
    second = next(task for task in world.state.head.open_tasks if task != first)
    world.step(*[(name, JoinTask(second)) for name in ("ann", "ben", "cy")])
    world.task = second
    world.commit_all()
    world.reveal_all()
    world.until(Phase.AUDIT)
    cheat = world.name_of(world.round.slots[0])
    world.audit_all(bad=(0,))
    world.judge(0, 900_000)
    gone = world.happened(event.Expelled)
    assert [(e.task, e.trainer) for e in gone] == [(second, key(cheat).public), (first, key(cheat).public)]
    assert trainer(world, cheat).expelled
    escrow = world.state.need(TaskRecord, records.task_key(first)).escrow
    world.task = first
    assert next(m for m in world.record.members if m.trainer == key(cheat).public).standing == Standing.EXPELLED
    world.whole_round()
    assert {share.earner for paid in world.happened(event.Paid) for share in paid.shares}.isdisjoint(
        {key(cheat).public}
    )
    accepted = sum(e.paid > 0 for e in world.happened(event.UnitEnded) if (e.task, e.round) == (first, 2))
    assert world.record.escrow > escrow - accepted * PRICE, "what the first task owed it is back in its escrow"
    assert world.balance(cheat + "-wallet") == 0
    world.task = first
    assert world.step((cheat, JoinTask(second))) == [Refusal.EXPELLED]


def test_a_cheat_does_not_rescue_its_bond_by_being_caught_in_a_task_of_its_own() -> None:
    """Forfeited bonds are burnt: the requester of the task it is caught in may be the cheat itself."""
    world = World()
    world.submit()
    world.step(("rich", Transfer(key("ann").public, 2 * NEED)))
    world.step(("ann", Bond(NEED)))
    world.commit_all()
    world.reveal_all()
    world.until(Phase.AUDIT)
    escrow = world.record.escrow
    slot = world.round.slots.index(key("ann").public)
    world.audit_all(bad=(slot,))
    world.judge(slot, 900_000)
    assert world.happened(event.Expelled)[0].forfeited == NEED
    assert world.record.escrow == escrow
    assert world.state.head.burnt == NEED


def test_one_bad_segment_makes_a_unit_bad_and_the_others_auditors_are_paid() -> None:
    world = at_audit(World())
    bad = next(a for a in world.round.audits if a.slot == 0)
    others = {a.auditor for a in world.round.audits if a.slot == 0} - {None}
    world.audit_all(bad=(0,))
    world.judge(0, 900_000)
    assert [e.trainer for e in world.happened(event.Expelled)] == [world.round.slots[0]]
    assert next(a for a in world.round.audits if a.slot == 0) == type(bad)(
        0, bad.segment, bad.auditor, bad.leaf, True, Outcome.OUT_OF_TOLERANCE
    )
    world.attest()
    assert others <= {share.earner for share in world.happened(event.Rewarded)[0].shares}


# ---- second audits -----------------------------------------------------------------------


def repeated() -> World:
    """Every passing audit is repeated by the committee."""
    world = at_audit(World(second_audit_ppm=MILLION), spec(units_per_trainer=1))
    world.audit_all()
    assert world.round.phase == Phase.DISPUTE
    return world


def test_a_trainer_and_an_auditor_who_are_friends_are_both_expelled() -> None:
    world = repeated()
    cheat, segment = world.round.slots[0], world.round.audits[0].segment
    friend = world.round.audits[0].auditor
    body = world.verdict_of(0, 900_000, segment=segment)
    world.step(*[(v, body) for v in world.validators])
    assert {(e.trainer, e.reason) for e in world.happened(event.Expelled)} == {
        (cheat, "out-of-tolerance"), (friend, "false-pass"),
    }  # fmt: skip


def test_where_the_committee_agrees_everybody_is_paid_as_ever() -> None:
    world = repeated()
    for slot in range(3):
        world.judge(slot, 5)
    world.attest()
    assert world.happened(event.Expelled) == []
    ended = world.happened(event.UnitEnded)
    assert [(e.judgement.outcome, e.judgement.measured_ppm) for e in ended] == [(Outcome.ACCEPTED, 5)] * 3


def test_a_second_audit_that_nobody_judges_leaves_the_first_one_standing() -> None:
    world = repeated()
    world.judge(0, 900_000, judges=2)
    world.pass_deadline()
    world.attest()
    ended = world.happened(event.UnitEnded)
    assert [(e.judgement.outcome, e.judgement.measured_ppm) for e in ended] == [(Outcome.ACCEPTED, 3)] * 3
    assert world.happened(event.Expelled) == []


def test_what_the_committee_cannot_fetch_is_unpaid_whatever_the_auditor_said() -> None:
    world = repeated()
    world.judge(0, 0, finding=Finding.UNAVAILABLE)
    for slot in (1, 2):
        world.judge(slot, 5)
    world.attest()
    assert [e.judgement.outcome for e in world.happened(event.UnitEnded)] == [
        Outcome.UNAVAILABLE, Outcome.ACCEPTED, Outcome.ACCEPTED,
    ]  # fmt: skip
    assert world.happened(event.Expelled) == []


def test_about_one_passing_audit_in_twenty_is_repeated() -> None:
    again = total = 0
    for seed in range(12):
        world = World(second_audit_ppm=50_000)
        at_audit(world, spec(name=f"task-{seed}"))
        world.audit_all()
        again += sum(audit.disputed for audit in world.round.audits)
        total += len(world.round.audits)
    assert total == 12 * 24
    assert 5 <= again <= 30


def test_a_new_key_after_an_expulsion_starts_with_nothing_and_is_audited_whole() -> None:
    world = World()
    world.submit(spec(rounds=9))
    world.whole_round()
    world.commit_all()
    world.reveal_all()
    world.until(Phase.AUDIT)
    world.audit_all(bad=(0,))
    world.judge(0, 900_000)
    world.attest()
    world.step(("dee", RegisterTrainer(blob("payout"))), ("dee", JoinTask(world.task)))
    world.whole_round()
    world.commit_all()
    world.reveal_all()
    world.until(Phase.AUDIT)
    fresh = [slot for slot, owner in enumerate(world.round.slots) if owner == key("dee").public]
    assert fresh
    for slot in fresh:
        assert [a.segment for a in world.round.audits if a.slot == slot] == [1, 2, 3, 4]


def test_the_audit_spec_bounds_what_full_means() -> None:
    world = World(escrow_rounds=1)
    world.submit(long_task(audit=AuditSpec(MILLION, 1_000)))  # type: ignore[arg-type]
    for _ in range(14):
        world.whole_round()
    assert trainer(world, "ann").bond == NEED, "where everything is audited anyway more bond is of no use"


def test_whatever_is_drawn_a_cheat_escapes_no_more_often_than_the_proof_says() -> None:
    """(1 - a/S)^c: never more often than were each of its segments drawn by itself."""
    for segments in range(1, 13):
        for cheated in range(1, segments + 1):
            for quarters in range(4 * segments):
                alone = 1 - Fraction(quarters, 4 * segments)
                assert escapes(quarters * MILLION // 4, segments=segments, cheated=cheated) <= alone**cheated


# ---- the round's own pay -----------------------------------------------------------------


def test_who_is_caught_in_one_unit_is_not_paid_for_the_others_of_the_round() -> None:
    world = World()
    world.submit(spec(rounds=4))
    world.whole_round()
    world.commit_all()
    world.reveal_all()
    world.until(Phase.AUDIT)
    cheat = world.round.slots[0]
    world.audit_all(bad=(0,))
    if world.round.phase == Phase.DISPUTE:
        world.judge(0, 900_000)
    world.attest()
    assert [e.trainer for e in world.happened(event.Expelled)] == [cheat]
    mine = [e for e in world.happened(event.UnitEnded) if e.round == 1 and e.trainer == cheat]
    assert {e.judgement.outcome for e in mine} == {Outcome.OUT_OF_TOLERANCE, Outcome.ACCEPTED}
    assert [e.paid for e in mine] == [0, 0]
    assert all(share.earner != cheat for e in world.happened(event.Rewarded)[1:] for share in e.shares)


def drawn_of(world: World, slot: int, *, beacons: int) -> int:
    """Segments of *slot*'s unit that are audited, over so many draws."""
    draft, total = Draft(world.state), 0
    task = draft.need(TaskRecord, records.task_key(world.task))
    units = [world.unit(each) for each in range(len(world.round.slots))]
    for at in range(beacons):
        draft.put(records.CHAIN, replace(draft.head, beacon=blob("beacon", at)))
        total += sum(audit.slot == slot for audit in draw_audits(draft, world.task, task, world.round, units))
    return total


def test_a_calibrating_unit_is_no_pay_that_a_cheat_would_lose() -> None:
    """It may be false at no cost, for an invented class of device: the draw of the other unit must not count it."""
    world, beacons = World(), 100
    world.submit(spec(rounds=4, audit=AuditSpec(30_000, 1_000)))
    world.whole_round()
    slot, other = (at for at, owner in enumerate(world.round.slots) if owner == world.round.slots[0])
    for device in ("", "invented"):
        bodies = [replace(world.commit_of(at), device=device if at == other else "") for at in range(6)]
        fork = deepcopy(world)
        fork.step(*[(fork.name_of(fork.round.slots[body.slot]), body) for body in bodies])
        fork.reveal_all()
        plain = {"price": PRICE, "segments": 4, "factor": 10, "floor_ppm": 30_000}
        stake = trainer(fork, fork.name_of(fork.round.slots[slot])).bond + 1_900_006
        wanted = audited_ppm(stake=stake, units=1 if device else 2, **plain)  # type: ignore[arg-type]
        assert abs(drawn_of(fork, slot, beacons=beacons) * MILLION / beacons - wanted) < MILLION / 8
