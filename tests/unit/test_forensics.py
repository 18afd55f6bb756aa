"""What convicts a member, what does not, and that two certificates and a NEW-VIEW are enough."""

from __future__ import annotations

from dataclasses import replace

import msgspec
from hypothesis import given, settings
from hypothesis import strategies as st

from potminer.core.forensics import Fault, Fork, blame, forks, proves
from potminer.sim.ledger import GENESIS_MS
from potminer.wire.block import CertifiedBlock, block_digest
from potminer.wire.codec import Wire
from potminer.wire.pbft import Status
from potminer.wire.seal import Purpose
from tests.unit.pbft_bench import CHAIN, Bench

# At height 1 of four, member 1 leads view 0, member 2 view 1, member 3 view 2, member 0 view 3.


def culprits(bench: Bench, *evidence: Wire) -> dict[int, Fault]:
    found = blame(evidence, seats=lambda epoch: bench.committee, chain=CHAIN)
    assert all(proves(culprit, seats=lambda epoch: bench.committee, chain=CHAIN) for culprit in found)
    return {culprit.signer: culprit.fault for culprit in found}


def test_two_certificates_of_one_view_convict_those_who_signed_both() -> None:
    bench = Bench()
    a, b = bench.block(1), bench.block(1, salt=1)
    evidence = (
        CertifiedBlock(a, bench.certificate(Purpose.COMMIT, a, view=0, signers=(0, 1, 2))),
        bench.certificate(Purpose.COMMIT, b, view=0, signers=(0, 1, 3)),
    )
    assert culprits(bench, *evidence) == {0: Fault.DOUBLE, 1: Fault.DOUBLE}
    first, second = sorted((block_digest(a.header), block_digest(b.header)))
    assert forks(evidence, seats=lambda epoch: bench.committee, chain=CHAIN) == (Fork(1, (0, first), (0, second)),)


def test_two_certificates_across_views_convict_with_the_new_view_between_them() -> None:
    bench = Bench()
    a, b = bench.block(1), bench.block(2)
    one = bench.certificate(Purpose.COMMIT, a, view=0, signers=(0, 1, 2))
    two = bench.certificate(Purpose.COMMIT, b, view=1, signers=(0, 1, 3))
    between = bench.new_view((bench.change(0, 1), bench.change(1, 1), bench.change(3, 1)), b, view=1)
    assert culprits(bench, one, between, two) == {0: Fault.HIDDEN, 1: Fault.HIDDEN}
    assert culprits(bench, two, between, one) == {0: Fault.HIDDEN, 1: Fault.HIDDEN}
    assert not culprits(bench, one, two)  # alone they convict nobody: that is why NEW-VIEWs are kept
    assert forks((one, two), seats=lambda epoch: bench.committee, chain=CHAIN)


def test_two_prepared_certificates_of_one_view_convict_across_views() -> None:
    """The NEW-VIEW shows another block of the very view; nobody hid anything."""
    bench = Bench()
    a, b = bench.block(1), bench.block(1, salt=1)
    for_a = bench.certificate(Purpose.PREPARE, a, view=0, signers=(0, 1, 2))
    for_b = bench.certificate(Purpose.PREPARE, b, view=0, signers=(0, 1, 3))
    changes = (
        bench.change(0, 1, prepared=for_a),
        bench.change(2, 1, prepared=for_a),
        bench.change(3, 1, prepared=for_b),
    )
    assert culprits(bench, bench.new_view(changes, b, view=1)) == {0: Fault.DOUBLE, 1: Fault.DOUBLE}


def test_a_claim_that_nothing_proves_convicts_alone() -> None:
    bench = Bench()
    thin = bench.certificate(Purpose.PREPARE, bench.block(1), view=0, signers=(0, 1))
    late = bench.certificate(Purpose.PREPARE, bench.block(3), view=2, signers=(0, 1, 3))
    assert culprits(bench, bench.change(2, 1, prepared=thin)) == {2: Fault.UNPROVEN}
    assert culprits(bench, bench.change(2, 1, prepared=late)) == {2: Fault.UNPROVEN}


def test_what_an_honest_member_says_in_many_views_convicts_nobody() -> None:
    bench = Bench()
    a, b = bench.block(1), bench.block(2)
    early = bench.certificate(Purpose.PREPARE, a, view=0, signers=(0, 1, 2))
    later = bench.certificate(Purpose.PREPARE, b, view=1, signers=(0, 2, 3))
    said = (
        bench.propose(a),
        bench.vote(Purpose.PREPARE, 0, a),
        bench.vote(Purpose.COMMIT, 0, a),
        bench.change(0, 1, prepared=early),
        bench.vote(Purpose.PREPARE, 0, b, view=1),
        bench.vote(Purpose.COMMIT, 0, b, view=1),
        bench.change(0, 2, prepared=later),
        bench.change(0, 5, prepared=later),
        bench.change(3, 2),
    )
    assert not culprits(bench, *said, *said)


def test_what_was_signed_for_another_height_or_by_another_key_convicts_nobody() -> None:
    bench = Bench()
    a, b = bench.block(1), bench.block(1, salt=1)
    vote = bench.vote(Purpose.COMMIT, 3, a)
    framed = bench.vote(Purpose.COMMIT, 3, b, key_of=2)
    other = bench.vote(
        Purpose.COMMIT, 3, msgspec.structs.replace(b, header=msgspec.structs.replace(b.header, height=2))
    )
    moved = msgspec.structs.replace(other, height=1)
    stranger = msgspec.structs.replace(vote, signer=77)
    assert not culprits(bench, vote, framed, moved, stranger, Status(height=1, view=0, time_ms=GENESIS_MS))


def test_a_proof_is_worth_nothing_once_it_is_touched() -> None:
    bench = Bench()
    a, b = bench.block(1), bench.block(1, salt=1)
    evidence = (bench.vote(Purpose.COMMIT, 3, a), bench.vote(Purpose.COMMIT, 3, b))
    (culprit,) = blame(evidence, seats=lambda epoch: bench.committee, chain=CHAIN)
    assert culprit.second is not None
    for touched in (
        replace(culprit, signer=2),
        replace(culprit, member=bench.committee.members[0]),
        replace(culprit, second=culprit.first),
        replace(culprit, second=None),
        replace(culprit, fault=Fault.HIDDEN),
        replace(culprit, second=replace(culprit.second, view=1)),
    ):
        assert not proves(touched, seats=lambda epoch: bench.committee, chain=CHAIN)


@settings(max_examples=60, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 3), st.integers(0, 3), st.integers(0, 1), st.integers(0, 3)), max_size=12))
def test_liars_may_add_anything_and_frame_nobody(added: list[tuple[int, int, int, int]]) -> None:
    """Members 0 and 1 sign whatever they like, also in the names of 2 and 3, who said one thing each."""
    bench = Bench()
    blocks = (bench.block(1), bench.block(1, salt=1))
    evidence: list[Wire] = [bench.vote(Purpose.COMMIT, member, blocks[0]) for member in (2, 3)]
    for liar, framed, which, view in added:
        evidence.append(bench.vote(Purpose.COMMIT, framed, blocks[which], view=view, key_of=liar % 2))
        evidence.append(bench.vote(Purpose.PREPARE, liar % 2, blocks[which], view=view))
        if view:
            evidence.append(msgspec.structs.replace(bench.change(liar % 2, view), signer=framed))
    assert set(culprits(bench, *evidence)) <= {0, 1}
