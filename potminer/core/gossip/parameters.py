"""Numbers of the overlay. They shape traffic, never validity: nodes may differ in them.

The mesh numbers are GossipSub v1.1's, the address book's follow Bitcoin's rules.
"""

from __future__ import annotations

from dataclasses import dataclass

MIB = 1024 * 1024


@dataclass(frozen=True, slots=True)
class Parameters:
    """Times in milliseconds, sizes in bytes."""

    # mesh
    degree: int = 8
    degree_low: int = 6
    degree_high: int = 12
    keep_best: int = 5
    """Members kept by score when the mesh is cut; the rest is drawn."""
    outbound_least: int = 3
    """Members we dialled ourselves that a cut leaves: an attacker cannot dial its way around us."""
    heartbeat_ms: int = 700
    backoff_ms: int = 60_000

    # lazy repair
    lazy: int = 6
    announce_beats: int = 3
    announce_items: int = 1_024
    announce_late_ms: int = 1_400
    announce_few: int = 32
    """Among members, where an item is pushed to everybody: only what no block has taken after so long is announced, so
    many a beat and peer, until it is let go of."""
    want_timeout_ms: int = 2_000
    wants_per_peer: int = 512
    announcers: int = 6
    broken_promises: int = 16
    """Wanted items that a peer announced and did not send, per penalty."""

    # spread
    seen_ms: int = 120_000
    seen_items: int = 131_072
    cache_ms: int = 30_000
    cache_bytes: int = 16 * MIB
    cache_items: int = 16_384
    """Five seconds of three thousand a second: an item is announced for two and asked for in the two after them."""
    flood_bytes: int = 2_048
    """Own items up to this size go to every peer at once: a publisher's mesh may be hostile."""
    push_bytes: int = MIB
    push_alone_burst: int = 64
    push_alone_ms: int = 50
    """Items to one peer go alone in bursts of this many, and one in so many milliseconds in the long run."""
    push_flush_ms: int = 50
    """How long the others wait for company."""
    pushes_waiting: int = 4_096
    alone_most: int = 8
    """What comes in larger company is never pushed alone."""
    bulk_items: int = 16_384
    """Items in such company that wait for the next flush; what is beyond is announced."""
    carry_bytes: int = 32_768
    """From so many bytes of items on, brought in at once, members carry them for each other: two seconds of a line of
    0.1 Mbit/s, where one more hop costs a latency."""
    carry_ms: int = 10_000
    """After so long what was to be carried, and was not, is pushed directly, whatever became of the rest."""
    carry_rest_ms: int = 60_000
    """How long a member whose lots did not arrive is given none."""
    pending_ms: int = 30_000
    pending_items: int = 8_192
    pending_per_peer: int = 2_048

    # quotas, per peer and window
    window_ms: int = 10_000
    window_items: int = 20_000
    window_bytes: int = 16 * MIB

    # addresses and dialling
    outbound: int = 8
    outbound_per_group: int = 2
    dials_per_beat: int = 2
    sought_per_beat: int = 8
    """Members of the committee, beside the others: the whole of it is dialled within seconds of a start."""
    dial_timeout_ms: int = 30_000
    dial_backoff_ms: int = 2_000
    dial_backoff_cap_ms: int = 3_600_000
    dial_backoff_known_cap_ms: int = 30_000
    """For seeds: a network that starts together must find together."""
    dial_backoff_sought_cap_ms: int = 5_000
    """For sought keys: a committee that everybody lost, or that was cut in two, waits for nothing else."""
    dial_failures: int = 8
    addresses_new: int = 1_024
    addresses_tried: int = 256
    addresses_per_group: int = 64
    addresses_per_source: int = 128
    exchange_ms: int = 60_000

    def __post_init__(self) -> None:
        if not 0 < self.degree_low <= self.degree <= self.degree_high:
            raise AssertionError("mesh degrees contradict each other")
        if self.cache_ms >= self.seen_ms // 2 or self.cache_items >= self.seen_items // 2:
            raise AssertionError("an item must be forgotten as cached before it is forgotten as seen")
