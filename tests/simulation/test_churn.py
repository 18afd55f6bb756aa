"""Another committee in every epoch, under the real ledger: joins, leaves, renewals, a slashing, crashes and splits."""

from __future__ import annotations

import pytest
from msgspec.structs import replace

from potminer.sim.churn import Churn, Witness
from potminer.wire.block import CertifiedBlock


@pytest.mark.parametrize("seed", range(3))
def test_committees_come_and_go_every_epoch_and_nothing_is_violated(seed: int) -> None:
    """Every certificate is judged with its own epoch's committee, by a ledger that nobody else touches."""
    report = Churn(seed).run()
    assert report.violations == ()
    assert report.slashed == (4,), "the one that says two things, and nobody else"
    assert report.epochs >= 10
    assert report.committees >= 5
    assert report.skipped > 0
    assert report.restarts > 0


def test_a_run_is_decided_by_its_seed() -> None:
    runs = [Churn(7, others=1).run(crashes=1, splits=1, acts=20) for _ in range(2)]
    assert runs[0] == runs[1]


def test_the_witness_sees_a_committee_that_is_not_the_epochs() -> None:
    played = Churn(5, others=1)
    start = played.witness.state
    played.run(crashes=0, splits=0, acts=10)
    first, second = played.hosts[0].chain.blocks[:2]
    for told in (
        CertifiedBlock(block=first.block, certificate=replace(first.certificate, epoch=1)),
        CertifiedBlock(block=first.block, certificate=second.certificate),
        CertifiedBlock(
            block=first.block, certificate=replace(first.certificate, signatures=first.certificate.signatures[:3])
        ),
    ):
        witness = Witness(start, played.witness.supply, played.witness.names, liar=4)
        witness.executed(0, told)
        assert witness.violations == ["certificate: block 1 is not its epoch's committee's"]
    honest = Witness(start, played.witness.supply, played.witness.names, liar=4)
    for certified in played.hosts[0].chain.blocks:
        honest.executed(0, certified)
    assert honest.violations == []
    slandered = Witness(start, played.witness.supply, played.witness.names, liar=0)
    for certified in played.hosts[0].chain.blocks:
        slandered.executed(0, certified)
    assert slandered.violations == ["slashed: 4 is honest"]
