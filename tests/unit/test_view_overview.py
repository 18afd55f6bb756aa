"""The first screen as data: the sentence, the rows, the pictures."""

from __future__ import annotations

from msgspec.structs import replace

from potminer.base.address import encode_address
from potminer.view import plot
from potminer.view.history import INTERVAL_MS, POINTS, History
from potminer.view.overview import overview
from potminer.view.reasons import EXPLAINED, explain, why_ended
from potminer.view.select import device_rows, refusals
from potminer.view.sentence import sentence
from potminer.view.text import UNKNOWN
from potminer.wire.control import (
    Alert,
    AlertLevel,
    ChainView,
    ControlView,
    DeviceKind,
    DeviceState,
    DeviceView,
    EarningsView,
    Mode,
    Outcome,
    Snapshot,
    Standing,
    TrainingView,
    UnitCounts,
    UnitOutcome,
)

NOW = 1_780_000_000_000
NONE = UnitCounts(assigned=0, accepted=0, rejected={})
TRAINING = TrainingView(
    task="ab" * 32, name="digits", round=1, rounds=9, phase="commit", phase_ends_ms=NOW + 9_000,
    units=NONE, my_units=NONE,
)


def device(state: DeviceState, kind: DeviceKind = DeviceKind.GPU) -> DeviceView:
    return DeviceView(bus="00000000:01:00.0", name="NVIDIA GeForce RTX 3060", kind=kind, state=state, since_ms=NOW)


def photograph(*states: DeviceState) -> Snapshot:
    return Snapshot(
        taken_ms=NOW,
        agent="potminer/0.1.0",
        network="devnet",
        rig="rig-07",
        node=encode_address(bytes(32)),
        control=ControlView(),
        devices=tuple(device(state) for state in states),
        earnings=EarningsView(today=0, pending=0, paid=0, total=0),
        chain=ChainView(height=7, view=0, epoch=0, peers=3, validators=4, role="trainer", state_root="0" * 64),
        training=TRAINING,
        next_check_ms=NOW + 41_000,
    )


def test_the_sentence_of_a_mixed_rig() -> None:
    seen = photograph(DeviceState.TRAINING, DeviceState.TRAINING, DeviceState.MINING, DeviceState.TRAINING)
    assert sentence(seen, NOW) == "3 of 4 GPUs training, GPU 2 mining, next check in 41 s"


def test_the_sentence_of_a_rig_that_does_one_thing() -> None:
    assert sentence(photograph(DeviceState.MINING), NOW) == "GPU mining, next check in 41 s"
    assert sentence(photograph(DeviceState.TRAINING), NOW) == "GPU training, next check in 41 s"
    both = photograph(DeviceState.IDLE_WAIT, DeviceState.IDLE_WAIT)
    assert sentence(both, NOW) == "both GPUs waiting, next check in 41 s"


def test_the_sentence_fits_its_line_and_drops_the_least_grave() -> None:
    seen = photograph(*DeviceState)
    line = sentence(seen, NOW, width=78)
    assert len(line) <= 78
    assert "GPU 10 at fault" in line
    assert line.endswith("next check in 41 s")


def test_an_override_is_said_first_and_with_its_end() -> None:
    seen = replace(photograph(DeviceState.IDLE_WAIT), control=ControlView(paused=True, paused_until_ms=NOW + 600_000))
    assert sentence(seen, NOW).startswith("paused for 10 min more, ")
    seen = replace(seen, control=ControlView(mode=Mode.MINE))
    assert sentence(seen, NOW).startswith("set to mining only, ")


def test_a_node_without_devices_says_its_role_or_how_far_behind_it_is() -> None:
    seen = photograph()
    assert sentence(seen, NOW) == "no device to train on"
    validator = replace(seen, chain=replace(seen.chain, role="validator"))
    assert sentence(validator, NOW) == "validating"
    assert sentence(replace(seen, chain=replace(seen.chain, target_height=10)), NOW) == "catching up, 3 blocks behind"


def test_devices_are_counted_within_their_kind() -> None:
    seen = photograph(DeviceState.TRAINING)
    seen = replace(seen, devices=(device(DeviceState.OFF, DeviceKind.CPU), *seen.devices))
    assert [row.label for row in device_rows(seen, NOW)] == ["CPU", "GPU 0"]


def test_a_device_that_tells_nothing_shows_dashes() -> None:
    row = device_rows(photograph(DeviceState.TRAINING), NOW)[0]
    assert (row.rate, row.power, row.temperature, row.memory) == (UNKNOWN,) * 4
    assert (row.name, row.bus) == ("RTX 3060", "01:00.0")


def test_every_state_has_a_look() -> None:
    rows = device_rows(photograph(*DeviceState), NOW)
    assert [row.state for row in rows] == [state.value for state in DeviceState]
    assert all(row.sign for row in rows)


def test_stale_is_older_than_ten_seconds() -> None:
    seen = photograph(DeviceState.MINING)
    assert not overview(seen, NOW + 10_000).stale
    assert overview(seen, NOW + 12_000).stale
    assert overview(seen, NOW + 12_000).age == "12 s old"


def test_alerts_come_gravest_first_then_newest() -> None:
    levels = (AlertLevel.NOTE, AlertLevel.FAULT, AlertLevel.WARNING, AlertLevel.WARNING)
    alerts = tuple(Alert(level=level, text=str(at), since_ms=NOW - 9 + at) for at, level in enumerate(levels))
    seen = overview(replace(photograph(), alerts=alerts), NOW)
    assert [row.text for row in seen.alerts] == ["1", "3", "2", "0"]


def test_refusals_are_listed_most_frequent_first() -> None:
    counts = UnitCounts(assigned=9, accepted=3, rejected={"late": 1, "malformed": 4, "duplicate": 0})
    assert refusals(counts) == "malformed 4, late 1"


def test_history_keeps_one_point_a_minute_and_a_day_of_them() -> None:
    history = History()
    for minute in range(POINTS + 5):
        for second in (0, 30):
            at = NOW + minute * INTERVAL_MS + second * 1000
            history = history.remember(replace(photograph(DeviceState.TRAINING), taken_ms=at))
    assert len(history.points) == POINTS
    assert set(history.strip()) == {"T"}
    assert history.remember(photograph()) == history


def test_bars_fill_their_box_and_follow_the_series() -> None:
    lines = plot.bars([9, 5, 1], width=6, height=2)
    assert lines == ["██    ", "████▁▁"]
    assert plot.bars([9, 5, 1], width=3, height=1, ascii_only=True) == ["#:."]
    assert plot.bars([4, 4], width=2, height=1) == ["▅▅"]
    assert plot.bars([], width=5, height=2) == ["", ""]
    assert plot.fit(list(range(100)), 10)[-1] == 94


def test_a_gauge_is_full_only_at_the_end() -> None:
    assert plot.gauge(99, 100, width=4) == "━━━─"
    assert plot.gauge(100, 100, width=4) == "━━━━"
    assert plot.gauge(0, 0, width=4, ascii_only=True) == "----"


def outcome(**change: object) -> UnitOutcome:
    unit = UnitOutcome(
        task="ab" * 32, task_name="digits", round=3, slot=1, trainer="pot1xyz", outcome=Outcome.REJECTED, reason="late"
    )
    return replace(unit, **change)


def test_every_reason_is_explained_and_an_unknown_one_is_shown() -> None:
    for reason, (meaning, _) in EXPLAINED.items():
        assert f"refused ({reason}): {meaning}" in "\n".join(explain(outcome(reason=reason)))
    assert "refused (brand-new)" in "\n".join(explain(outcome(reason="brand-new")))


def test_why_names_the_numbers() -> None:
    lines = "\n".join(explain(outcome(reason="out-of-tolerance", measured_ppm=44_120, allowed_ppm=10, height=812)))
    assert "digits (abababab) round 4 unit 1" in lines
    assert "measured 44,120 ppm off, allowed 10 ppm" in lines
    assert "decided in block 812" in lines
    known = "\n".join(explain(outcome(measured_ppm=3, allowed_ppm=10, noise_ppm=1, cheat_ppm=11_029)))
    assert "here honest work measures 1 ppm at most, the smallest cheat 11,029 ppm" in known
    paid = "\n".join(explain(outcome(outcome=Outcome.ACCEPTED, reason="", paid=1_500_000_000)))
    assert "accepted, paid 1.50 POT" in paid
    assert "paid out after the dispute window" in paid
    parts = {0: "paid out, all of it", 500_000_000: "1.00 POT; 0.50 POT became", 1_500_000_000: "all of it, 1.50 POT"}
    for kept, said in parts.items():
        unit = outcome(outcome=Outcome.ACCEPTED, reason="", paid=1_500_000_000, kept=kept, allowed_ppm=10)
        assert said in "\n".join(explain(unit)), "what became bond is said here, not somewhere else"
        assert "no audit measured it, allowed 10 ppm" in "\n".join(explain(unit))


def test_who_ordered_a_task_that_calibration_refused_reads_why_and_what_to_change() -> None:
    reason = "calibration: honest noise 1 ppm too near the smallest cheat 43 ppm"
    told = why_ended(reason)
    assert told[0] == reason
    assert "batches_per_segment" in told[-1]
    assert "budget has come back" in told[-1]
    assert why_ended("all rounds done") == ["all rounds done"]
    assert why_ended("") == []
    unit = outcome(outcome=Outcome.ACCEPTED, reason="", paid=1_500_000_000, task_ended=reason)
    assert f"the task ended: {reason}" in "\n".join(explain(unit))
    assert "the task ended" not in "\n".join(explain(outcome(task_ended="all rounds done")))


def test_a_validator_reads_where_it_stands() -> None:
    def seen(standing: Standing) -> tuple[str, dict[str, str]]:
        found = photograph()
        found = replace(found, chain=replace(found.chain, role="validator", standing=standing))
        return sentence(found, NOW), {fact.label: fact.value for fact in overview(found, NOW).chain}

    assert [seen(each)[0] for each in (Standing.NONE, Standing.SEATED, Standing.LEAVING)] == ["validating"] * 3
    assert "seat" not in seen(Standing.NONE)[1]
    assert seen(Standing.SEATED)[1]["seat"] == "in the committee"
    for standing, word in ((Standing.CANDIDATE, "waiting"), (Standing.COMING, "epoch"), (Standing.SLASHED, "slashed")):
        said, facts = seen(standing)
        assert word in said
        assert facts["seat"]


def test_a_device_that_has_nothing_to_compute_is_not_said_to_train() -> None:
    found = photograph(DeviceState.TRAINING, DeviceState.MINING)
    closed = replace(found, training=replace(TRAINING, phase="closed"))
    for idle in (closed, replace(found, training=None)):
        assert "ready, no task open" in sentence(idle, NOW)
        idling, mining = overview(idle, NOW).devices
        assert (idling.state, idling.why, mining.state) == ("ready", "no task open", "mining")
    assert [row.state for row in overview(found, NOW).devices] == ["training", "mining"]
    assert "no task open" not in sentence(found, NOW)
