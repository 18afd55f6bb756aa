"""The log under attack: a line per offence would be a second attack."""

from __future__ import annotations

from potminer.node.hush import KINDS, OFTEN, WINDOW_MS, Hush


class Log:
    def __init__(self) -> None:
        self.now, self.lines = 0, list[tuple[str, str]]()
        self.hush = Hush(lambda level, line: self.lines.append((level, line)), lambda: self.now)


def test_a_storm_of_offences_from_many_keys_writes_few_lines_and_says_how_many_it_kept_back() -> None:
    log = Log()
    for at in range(10_000):
        log.hush("warning", f"peer {at * 7_919:012x} penalised: forged (a vote that its signer did not sign)")
    assert len(log.lines) == OFTEN
    log.hush("error", "the disk is full")
    assert log.lines[-1] == ("error", "the disk is full"), "a storm of one kind hides no other"
    log.now += WINDOW_MS
    log.hush("warning", "peer 00000000beef penalised: forged (a vote that its signer did not sign)")
    assert log.lines[-2] == ("warning", f"{10_000 - OFTEN} more lines like the next were not written")
    assert log.lines[-1][1].startswith("peer 00000000beef")


def test_what_is_remembered_is_bounded_and_debug_is_what_the_owner_asked_for() -> None:
    log = Log()
    for at in range(3 * KINDS):
        log.hush("info", "kind " + "x" * at)
    assert len(log.hush._kinds) <= KINDS
    before = len(log.lines)
    for _ in range(OFTEN * 2):
        log.hush("debug", "block 7: UnitCommitted")
    assert len(log.lines) == before + OFTEN * 2


def test_a_clock_that_is_set_back_silences_nothing() -> None:
    log = Log()
    log.now = 10**9
    for _ in range(OFTEN + 1):
        log.hush("warning", "a line")
    log.now = 0
    log.hush("warning", "a line")
    assert log.lines[-1] == ("warning", "a line")
    assert len(log.lines) == OFTEN + 2
