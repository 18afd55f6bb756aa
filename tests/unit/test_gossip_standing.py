"""Offences add up, fade, and end in bans that expire."""

from __future__ import annotations

from potminer.core.gossip.quota import Quota
from potminer.core.gossip.standing import FADE_MS, FIRST_BAN_S, LONGEST_BAN_S, POINTS, RECORDS, Standing
from potminer.core.machine import Offence

PEER = bytes(32)


def test_every_offence_has_points() -> None:
    assert set(POINTS) == set(Offence)


def test_two_forgeries_are_a_ban_and_it_expires() -> None:
    standing = Standing()
    assert standing.offended(PEER, Offence.FORGED, 0) is None
    assert standing.score(PEER, 0) == -50
    assert standing.offended(PEER, Offence.FORGED, 1) == FIRST_BAN_S
    assert standing.banned(PEER, FIRST_BAN_S * 1_000)
    assert not standing.banned(PEER, FIRST_BAN_S * 1_000 + 1)


def test_small_offences_fade() -> None:
    standing = Standing()
    for n in range(200):
        assert standing.offended(PEER, Offence.WITHHELD, n * 5 * FADE_MS) is None
    assert standing.score(PEER, 200 * 5 * FADE_MS) == 0


def test_each_ban_is_longer_up_to_a_day() -> None:
    standing, now, bans = Standing(), 0, []
    while len(bans) < 12:
        seconds = standing.offended(PEER, Offence.FORGED, now)
        if seconds:
            bans.append(seconds)
            now += seconds * 1_000 + 1
    assert bans[:3] == [600, 1_200, 2_400]
    assert bans[-1] == LONGEST_BAN_S


def test_an_offence_during_a_ban_changes_nothing() -> None:
    standing = Standing()
    standing.offended(PEER, Offence.FORGED, 0)
    standing.offended(PEER, Offence.FORGED, 0)
    assert [standing.offended(PEER, Offence.FORGED, n) for n in range(1, 5)] == [None] * 4


def test_records_are_bounded_and_bans_outlive_trifles() -> None:
    standing = Standing()
    standing.offended(PEER, Offence.FORGED, 0)
    standing.offended(PEER, Offence.FORGED, 0)
    for n in range(1, 2 * RECORDS):
        standing.offended(n.to_bytes(32, "big"), Offence.WITHHELD, 10)
    assert len(standing._records) == RECORDS
    assert standing.banned(PEER, 10)


def test_a_quota_s_window_ends_also_where_the_clock_was_set_back() -> None:
    quota, now = Quota(window_ms=10_000, items=2, size=100), 10**12
    assert [quota.take(now, size=1) for _ in range(3)] == [True, True, False]
    assert quota.take(now - 3_600_000, size=1)
