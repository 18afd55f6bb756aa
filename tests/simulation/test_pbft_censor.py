"""Transactions that primaries leave out: relayed, complained of, and in a block within eight seconds."""

from __future__ import annotations

from dataclasses import replace

import pytest

from potminer.core.committee import Committee
from potminer.core.pbft.application import Head
from potminer.sim.host import Host
from potminer.sim.plan import Plan, Role
from potminer.sim.world import EPOCH, World, client
from potminer.wire.block import CertifiedBlock
from potminer.wire.tx import SignedTransaction

IN_TIME_MS = 8_000


class Watch(World):
    """Notes when each transaction was submitted, and when the last honest member had executed it."""

    only: int | None = None
    """The one seat that clients reach, where they do not reach everybody."""

    def watch(self) -> dict[bytes, list[int]]:
        if not hasattr(self, "times"):
            self.times: dict[bytes, list[int]] = {}
        return self.times

    def _submit(self, signed: SignedTransaction) -> None:
        if self.clock.now < 1_000:  # not everybody has begun
            self.clock.after(1_000, self._submit, signed)
            return
        self.watch()[signed.digest] = [self.clock.now, 0]
        if self.only is None:
            super()._submit(signed)
        else:
            self.submitted.append(signed)
            self.witnesses.submitted(signed.digest)
            self.hosts[self.only].submit(signed)

    def executed(self, host: Host, *, head: Head, certified: CertifiedBlock) -> None:
        super().executed(host, head=head, certified=certified)
        for signed in certified.block.transactions:
            if host.honest and signed.digest in self.watch():
                self.watch()[signed.digest][1] = self.clock.now

    def longest_ms(self, sender: bytes | None = None) -> int:
        """From submission to execution by everybody, of the transactions submitted before the heal."""
        mine = [s for s in self.submitted if sender in (None, s.transaction.sender)]
        times = [self.watch()[signed.digest] for signed in mine]
        assert times
        return max((done or 10**9) - begun for begun, done in times)


class OneLeads(Committee):
    """Member 0 leads every height's view 0: without complaints nobody else would ever propose."""

    def primary(self, *, height: int, view: int) -> int:
        return view % len(self.members)

    def missed(self, *, height: int, proposer: bytes) -> tuple[int, ...]:
        """Whoever loses its turn has it again at the next height."""
        return ()


def one_leads(members: tuple[bytes, ...], powers: tuple[int, ...]) -> Committee:
    return OneLeads(EPOCH, members, powers)


def censored(nodes: int, censors: int, *, seed: int) -> Plan:
    roles = {(3 + seat) % nodes: Role.CENSOR for seat in range(censors)}
    return Plan("censor", seed, powers=(1,) * nodes, roles=roles, transactions=40, chaos_ms=20_000)


@pytest.mark.parametrize(("nodes", "censors"), [(4, 1), (7, 2), (10, 3), (16, 5)])
def test_as_many_censors_in_a_row_as_may_be_do_not_hold_a_transaction_up(nodes: int, censors: int) -> None:
    for seed in range(3 if nodes < 16 else 1):
        world = Watch(censored(nodes, censors, seed=seed))
        report = world.run()
        assert not report.violations
        assert world.longest_ms(client(0).public) <= IN_TIME_MS


def test_a_censor_who_always_leads_loses_its_turn_for_each_victim() -> None:
    plan = replace(censored(4, 0, seed=1), roles={0: Role.CENSOR}, transactions=60, chaos_ms=30_000)
    world = Watch(plan, make_committee=one_leads)
    report = world.run()
    assert not report.violations
    assert report.highest_view >= 1
    assert world.longest_ms(client(0).public) <= IN_TIME_MS
    assert world.longest_ms(client(1).public) <= 2_000


def test_what_a_client_shows_to_one_member_alone_is_relayed_and_costs_nobody_a_turn() -> None:
    for seat in range(4):
        world = Watch(replace(censored(4, 0, seed=seat), weather=censored(4, 0, seed=0).weather))
        world.only = seat
        report = world.run()
        assert not report.violations
        assert report.highest_view == 0
        assert world.longest_ms() <= IN_TIME_MS
