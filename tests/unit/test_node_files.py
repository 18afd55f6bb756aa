"""What a node keeps in files and re-reads: the genesis, its history; and the outbox that fills gaps."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from msgspec.structs import replace

from potminer.base.address import encode_address
from potminer.base.errors import ConfigError, Exit
from potminer.core.ledger import event
from potminer.core.ledger.ledger import Ledger
from potminer.node.genesisfile import read_genesis, write_genesis
from potminer.node.history import UNITS_KEPT, Fact, History
from potminer.node.outbox import LIFETIME_BLOCKS, Outbox
from potminer.node.takings import DAY_MS
from potminer.wire.genesis import GENESIS_BYTES, chain_id
from potminer.wire.record import Judgement, Outcome, Phase, Share
from potminer.wire.task import Unit
from potminer.wire.tx import JoinTask, LeaveTask, RegisterTrainer, signature_holds
from potminer.world.store.store import Store
from tests.unit.ledger_world import World, blob, key

# ---- genesis -----------------------------------------------------------------------------

Raw = dict[str, Any]


def test_a_genesis_file_says_the_genesis_again(tmp_path: Path) -> None:
    genesis = World().genesis
    path = tmp_path / "genesis.json"
    write_genesis(path, genesis)
    assert read_genesis(path) == genesis
    assert chain_id(read_genesis(path)) == chain_id(genesis)
    compact = tmp_path / "compact.json"
    compact.write_text(json.dumps(json.loads(path.read_text()), sort_keys=True))
    assert chain_id(read_genesis(compact)) == chain_id(genesis), "the identity is the meaning, not the spelling"


def raw_genesis(tmp_path: Path) -> Raw:
    path = tmp_path / "good.json"
    write_genesis(path, World().genesis)
    found = json.loads(path.read_text())
    assert isinstance(found, dict)
    return found


def refused(path: Path) -> str:
    """What is wrong with *path*: one line, a hint, and the exit code of a wrong config."""
    with pytest.raises(ConfigError) as caught:
        read_genesis(path)
    assert caught.value.hint
    assert caught.value.exit == Exit.CONFIG
    assert "\n" not in caught.value.what
    assert len(caught.value.what) < 500
    return caught.value.what


def put(raw: Raw, value: object, *way: str | int) -> None:
    place: Any = raw
    for step in way[:-1]:
        place = place[step]
    place[way[-1]] = value


def wrong(value: object, *way: str | int) -> Callable[[Raw], None]:
    return lambda raw: put(raw, value, *way)


def without(*way: str | int) -> Callable[[Raw], None]:
    def change(raw: Raw) -> None:
        place: Any = raw
        for step in way[:-1]:
            place = place[step]
        del place[way[-1]]

    return change


def doubled(name: str) -> Callable[[Raw], None]:
    return lambda raw: raw[name].append(raw[name][0])


VALID = encode_address(key("x").public)
TYPO = VALID[:-1] + ("q" if VALID[-1] != "q" else "p")
MISTAKES: dict[str, tuple[Callable[[Raw], None], str]] = {
    "no network": (without("network"), "'network' is missing"),
    "no seed": (without("seed"), "'seed' is missing"),
    "no parameters": (without("parameters"), "'parameters' is missing"),
    "a parameter left out": (without("parameters", "audit_factor"), "'audit_factor' is missing"),
    "no onion": (without("validators", 0, "onion"), "'onion' is missing"),
    "no validators": (wrong([], "validators"), "length"),
    "too many validators": (
        lambda raw: put(raw, [{**raw["validators"][0], "power": i + 1} for i in range(32)], "validators"), "length"),
    "validators in a dict": (wrong({"a": 1}, "validators"), ""),
    "a validator that is a word": (wrong("validator", "validators", 0), ""),
    "a mistyped address": (wrong(TYPO, "accounts", 0, "key"), ""),
    "an address that is none": (wrong("pot", "accounts", 0, "key"), ""),
    "an address that is a number": (wrong(7, "accounts", 0, "key"), ""),
    "power 0": (wrong(0, "validators", 0, "power"), ">= 1"),
    "a negative balance": (wrong(-1, "accounts", 0, "balance"), ">= 0"),
    "a broken balance": (wrong(1.5, "accounts", 0, "balance"), "int"),
    "a balance in words": (wrong("1", "accounts", 0, "balance"), "int"),
    "a balance no machine counts": (wrong(2**70, "accounts", 0, "balance"), ""),
    "a time no machine counts": (wrong(-(2**70), "time_ms"), ""),
    "a seed too short": (wrong("00", "seed"), "length"),
    "a seed that is no hex": (wrong("zz" * 32, "seed"), "hex"),
    "a seed that is nothing": (wrong(None, "seed"), ""),
    "a name with blanks": (wrong("my net", "network"), "matching"),
    "shares below one": (wrong(0, "parameters", "auditor_share_ppm"), "do not sum to 1000000"),
    "shares above one": (wrong(1_000_000, "parameters", "trainer_share_ppm"), "do not sum to 1000000"),
    "trainers earning nothing": (
        lambda raw: raw["parameters"].update(trainer_share_ppm=0, auditor_share_ppm=950_000), ">= 1"),
    "a share above a million": (wrong(1_000_001, "parameters", "trainer_share_ppm"), "<= 1000000"),
    "a validator twice": (doubled("validators"), "a validator stands in it twice"),
    "an account twice": (doubled("accounts"), "an account stands in it twice"),
    "too much money": (
        lambda raw: [put(raw, 2**62, "accounts", i, "balance") for i in range(2)] and None, "more grains"),
}


@pytest.mark.parametrize("case", MISTAKES)
def test_a_mistake_in_a_genesis_is_named_in_one_line(case: str, tmp_path: Path) -> None:
    change, said = MISTAKES[case]
    raw = raw_genesis(tmp_path)
    change(raw)
    path = tmp_path / "genesis.json"
    path.write_text(json.dumps(raw))
    assert said in refused(path)


TEXTS = {
    "empty": b"",
    "no json": b"network = 'devnet'",
    "a list": b"[]",
    "a number": b"7",
    "null": b"null",
    "no text": b"\xff\xfe\x00",
    "deep": b"[" * 200_000,
    "endless number": b'{"time_ms": ' + b"9" * 5_000 + b"}",
    "not a number": b'{"network": NaN}',
}


@pytest.mark.parametrize("case", TEXTS)
def test_a_file_that_is_no_genesis_is_refused(case: str, tmp_path: Path) -> None:
    path = tmp_path / "genesis.json"
    path.write_bytes(TEXTS[case])
    refused(path)


def test_no_file_a_folder_and_a_huge_file_are_refused(tmp_path: Path) -> None:
    assert "there is no genesis" in refused(tmp_path / "absent.json")
    refused(tmp_path)
    huge = tmp_path / "huge.json"
    with huge.open("wb") as file:
        file.truncate(GENESIS_BYTES + 1)
    assert "larger than any genesis" in refused(huge)


# ---- history -----------------------------------------------------------------------------

OWN, OTHER = key("ann").public, key("ben").public
TASK, SECOND = blob("task"), blob("second task")


def unit_ended(
    slot: int, outcome: Outcome, *, trainer: bytes = OWN, task: bytes = TASK, paid: int = 0
) -> event.UnitEnded:
    measured = 900_000 if outcome == Outcome.OUT_OF_TOLERANCE else None
    return event.UnitEnded(task, 0, 0, slot, trainer, Judgement(outcome, measured, 1_000), 5, paid)


def happenings() -> list[list[event.Event]]:
    """Blocks of a task's life, and of a second one."""
    return [
        [event.TaskOpened(TASK, "digits", OTHER, 100), event.TaskOpened(SECOND, "more", OTHER, 100)],
        [event.RoundOpened(TASK, 0, 0, 3)],
        [event.PhaseEntered(TASK, 0, 0, Phase.REVEAL)],
        [
            unit_ended(0, Outcome.ACCEPTED, paid=7),
            unit_ended(1, Outcome.OUT_OF_TOLERANCE),
            unit_ended(2, Outcome.LATE, trainer=OTHER),
            event.RoundClosed(TASK, 0, 0, blob("theta", 1), 5, 1, 2, 10),
            event.Rewarded(TASK, 0, (Share(OWN, OWN, 7), Share(OTHER, OTHER, 3))),
            event.Rewarded(SECOND, 0, (Share(OWN, OWN, 100),)),
        ],
        [event.Paid(TASK, 0, (Share(OWN, OWN, 7), Share(OTHER, OTHER, 3)))],
        [event.Rewarded(TASK, 1, (Share(OWN, OWN, 20),)), event.RoundFailed(TASK, 2, 0, "no unit was accepted")],
        [event.Expelled(TASK, OWN, "malformed", 20), event.TaskEnded(TASK, blob("theta", 1), 1, 80, "cancelled")],
    ]


def lived() -> tuple[History, list[Fact]]:
    history, facts = History(OWN), []
    for height, block in enumerate(happenings()):
        facts += history.fold(block, height=height, time_ms=1_000 * height)
    return history, facts


def looks(history: History) -> object:
    tasks = {
        task: (
            h.name, h.accepted, dict(h.rejected), dict(h.my_rejected), h.expelled, h.ended, history.takings.task(task),
            list(h.rounds), list(h.losses),
        )
        for task, h in history.tasks.items()
    }
    return tasks, list(history.units), history.takings.all, history.earned_on(0)


def test_history_survives_a_restart() -> None:
    history, facts = lived()
    again = History(OWN)
    again.recall(facts)
    assert looks(again) == looks(history)
    again.recall([(0, "ANewerKind", "{}")])
    assert looks(again) == looks(history), "kinds of a newer version are passed over"


def test_history_adds_up() -> None:
    history, _ = lived()
    assert (history.takings.all.paid, history.takings.all.pending, history.takings.all.total) == (7, 0, 7)
    assert history.tasks[TASK].ended == "cancelled"
    assert (history.earned_on(4_000), history.earned_on(DAY_MS)) == (127, 0)
    unit = history.unit(TASK, round=0, slot=1)
    assert unit is not None
    assert (unit.reason, unit.measured_ppm, unit.allowed_ppm) == ("out-of-tolerance", 900_000, 1_000)
    assert [u.slot for u in history.my_units(None, 10)] == [1, 0]
    assert history.my_units(SECOND, 10) == ()


def test_what_is_kept_as_bond_is_neither_pending_nor_paid_and_gone_when_expelled() -> None:
    history = History(OWN)
    history.fold(happenings()[0], height=0, time_ms=0)
    history.fold([event.Rewarded(TASK, 0, (Share(OWN, OWN, 100),)), event.Rewarded(SECOND, 0, (Share(OWN, OWN, 9),))],
                 height=1, time_ms=1)
    history.fold([event.Paid(TASK, 0, (Share(OWN, OWN, 100),), (Share(OWN, OWN, 60),))], height=2, time_ms=2)
    assert money(history) == (9, 60, 40, 109)
    history.fold([event.Expelled(TASK, OWN, "malformed", 60)], height=3, time_ms=3)
    assert money(history) == (0, 0, 40, 40), "what others owed, too"


def test_a_unit_knows_what_of_its_pay_became_bond() -> None:
    history = History(OWN)
    history.fold([*happenings()[0], unit_ended(7, Outcome.ACCEPTED, paid=80)], height=0, time_ms=0)
    unit = history.unit(TASK, round=0, slot=7)
    assert unit is not None
    assert unit.kept is None, "inside the dispute window nobody knows"
    other = Share(bytes(32), bytes(32), 50)
    history.fold([event.Paid(TASK, 0, (Share(OWN, OWN, 100), other), (Share(OWN, OWN, 25),))], height=1, time_ms=1)
    unit = history.unit(TASK, round=0, slot=7)
    assert unit is not None
    assert (unit.paid, unit.kept) == (80, 20), "a quarter, as of all that this round paid us"


def money(history: History) -> tuple[int, int, int, int]:
    """Pending, kept as bond, paid, ever."""
    sums = history.takings.all
    return sums.pending, sums.bond, sums.paid, sums.total


async def test_earnings_survive_a_restart_however_long_the_story(tmp_path: Path) -> None:
    """The store adds up; what the newest facts alone would tell is far less."""
    async with Store.open(tmp_path / "x.sqlite") as store:
        history, facts = History(OWN), []
        for height, block in enumerate(long_story()):
            facts += history.fold(block, height=height, time_ms=height * DAY_MS // 2)
            await store.add_takings(history.takings.drain())
        again = History(OWN)
        again.recall(facts[-3:])
        assert again.takings.all != history.takings.all, "the story is too short to show anything"
        again.takings.restore(await store.takings())
        for name in ("all", "tasks", "devices", "days"):
            assert getattr(again.takings, name) == getattr(history.takings, name), name
        assert again.takings.drain() == (), "what was restored is not written again"
        more = [event.Rewarded(TASK, 99, (Share(OWN, OWN, 1),))]
        for each in (history, again):
            each.fold(more, height=100, time_ms=99 * DAY_MS)
        assert money(again) == money(history)


def long_story() -> list[list[event.Event]]:
    rounds: list[list[event.Event]] = [
        [
            unit_ended(number, Outcome.ACCEPTED, paid=7),
            event.Rewarded(TASK, number, (Share(OWN, OWN, 9),)),
            event.Paid(TASK, number, (Share(OWN, OWN, 8),), (Share(OWN, OWN, 3),)),
        ]
        for number in range(20)
    ]
    return [*happenings()[:1], *rounds]


def test_what_an_older_store_still_tells_is_kept_once() -> None:
    _, facts = lived()
    history = History(OWN)
    history.recall(facts)
    rows = history.takings.drain()
    again = History(OWN)
    again.takings.restore(rows)
    assert money(again) == money(history) == (0, 0, 7, 7)


def test_a_unit_is_credited_to_the_device_that_computed_it() -> None:
    history = History(OWN)
    facts = history.fold(happenings()[0], height=0, time_ms=0)
    for slot, bus in ((0, "0000:01:00.0"), (1, "0000:02:00.0")):
        history.worked(Unit(TASK, 0, 0, slot, OWN, bytes(32)), bus)
    facts += history.fold(
        [unit_ended(0, Outcome.ACCEPTED, paid=7), unit_ended(1, Outcome.LATE), unit_ended(2, Outcome.ACCEPTED, paid=5)],
        height=1, time_ms=1,
    )  # fmt: skip
    told = {bus: (sums.accepted, sums.refused, sums.by_units) for bus, sums in history.takings.devices.items()}
    assert told == {"0000:01:00.0": (1, 0, 7), "0000:02:00.0": (0, 1, 0), "": (1, 0, 5)}
    again = History(OWN)
    again.recall(facts)
    assert [unit.device for unit in again.units] == ["", "0000:02:00.0", "0000:01:00.0"]


def test_a_restart_between_work_and_verdict_keeps_the_device() -> None:
    history = History(OWN)
    facts = history.fold(happenings()[0], height=0, time_ms=0)
    history.worked(Unit(TASK, 0, 0, 0, OWN, bytes(32)), "0000:01:00.0")
    facts += history.fold([], height=1, time_ms=1)
    again = History(OWN)
    again.recall(facts)
    again.fold([unit_ended(0, Outcome.ACCEPTED, paid=7)], height=2, time_ms=2)
    assert [unit.device for unit in again.units] == ["0000:01:00.0"]
    assert history.fold([], height=3, time_ms=3) == [], "a device is noted once"


def test_a_task_whose_beginning_is_forgotten_still_pays() -> None:
    history = History(OWN)
    history.fold([event.Rewarded(TASK, 7, (Share(OWN, OWN, 9),))], height=5, time_ms=5)
    assert money(history) == (9, 0, 0, 9)
    assert history.tasks[TASK].name == TASK.hex()[:8]


def test_history_keeps_so_many_units() -> None:
    history = History(OWN)
    history.fold([event.TaskOpened(TASK, "digits", OTHER, 1)], height=0, time_ms=0)
    history.fold([unit_ended(slot, Outcome.LATE) for slot in range(UNITS_KEPT + 5)], height=1, time_ms=1)
    assert len(history.units) == UNITS_KEPT


# ---- outbox ------------------------------------------------------------------------------


def posting() -> tuple[World, Ledger, Outbox]:
    world = World()
    ledger = Ledger(world.state, head=world.head)
    return world, ledger, Outbox(key("validator-0"), ledger)


FIRST, NEXT = JoinTask(blob(1)), LeaveTask(blob(1))


def test_everything_that_waits_is_sent_again_with_the_newest() -> None:
    _, ledger, outbox = posting()
    (first,) = outbox.submit(FIRST)
    assert signature_holds(first)
    assert first.transaction.expiry == LIFETIME_BLOCKS
    both = outbox.submit(NEXT)
    assert [s.transaction.body for s in both] == [FIRST, NEXT]
    assert [s.transaction.nonce for s in both] == [0, 1]
    assert outbox.submit(FIRST) == both, "said already: sent again, not signed again"
    assert len(ledger.mempool) == 2


def test_a_gap_in_the_nonces_is_filled_first() -> None:
    world, ledger, outbox = posting()
    late = world.sign("validator-0", NEXT, nonce=1)
    assert ledger.submit(late) is None
    sent = outbox.submit(FIRST)
    assert sorted(s.transaction.nonce for s in sent) == [0, 1]
    assert [s.transaction.nonce for s in ledger.mempool.ready(ledger.state)] == [0, 1]


def test_what_the_ledger_has_is_signed_anew_when_it_is_said_again() -> None:
    world, ledger, outbox = posting()
    (first,) = outbox.submit(FIRST)
    block = world.block(first)
    ledger.execute(block)
    (second,) = outbox.submit(FIRST)
    assert (second.transaction.nonce, second.transaction.expiry) == (1, 1 + LIFETIME_BLOCKS)


def test_what_the_ledger_would_not_take_is_not_sent() -> None:
    world = World()
    ledger = Ledger(world.state, head=world.head)
    assert Outbox(key("stranger"), ledger).submit(FIRST) == []
    registering = RegisterTrainer(blob("payout"))
    (sent,) = Outbox(key("stranger"), ledger).submit(registering)
    assert replace(sent.transaction, nonce=0) == sent.transaction
