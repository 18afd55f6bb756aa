"""What the node answers beside its photograph: network, earnings, log, settings, day."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from potminer.base.address import encode_address
from potminer.core.ledger.ledger import Ledger
from potminer.node.daybook import Daybook
from potminer.node.engine import Engine
from potminer.node.gaps import Gaps
from potminer.node.history import History, TaskHistory
from potminer.node.logbook import LogBook
from potminer.node.outlook import held_work
from potminer.node.takings import UNKNOWN_DAY
from potminer.wire import record as records
from potminer.wire.answers import (
    COMMITS,
    DAYS,
    PEERS,
    TASKS,
    DayEarnings,
    DayView,
    DeviceEarnings,
    EarningsDetail,
    LogLevel,
    LogTail,
    MemberView,
    NetworkView,
    PeerView,
    SettingsView,
    TaskEarnings,
)
from potminer.wire.control import EarningsView
from potminer.wire.record import TaskRecord, Trainer
from potminer.world.net.network import Network, PeerInfo


@dataclass(frozen=True, slots=True)
class Prices:
    """In millionths of *currency*; None: nobody said."""

    pot_micro: int | None = None
    kwh_micro: int | None = None
    currency: str | None = None


@dataclass(frozen=True, slots=True)
class Books:
    """What is written down for faces alone."""

    log: LogBook
    day: Daybook
    settings: SettingsView
    prices: Prices
    gaps: Gaps


class Answers:
    """*own* is the node's key."""

    def __init__(
        self, own: bytes, ledger: Ledger, history: History, network: Network, engine: Engine, books: Books,
        clock: Callable[[], int],
    ) -> None:
        self._own = own
        self._ledger = ledger
        self._history = history
        self._network = network
        self._engine = engine
        self._books = books
        self._clock = clock

    # ---- network --------------------------------------------------------------------------

    def network(self) -> NetworkView:
        committee = self._ledger.committee
        turn = committee.primary(height=self._ledger.state.head.height + 1, view=self._engine.view)
        now = self._clock()
        listening = self._network.listening
        return NetworkView(
            taken_ms=now,
            listening=None if listening is None else f"{listening[0]}:{listening[1]}",
            peers=tuple(self._peer(peer, now) for peer in self._network.peers()[:PEERS]),
            committee=tuple(
                MemberView(
                    key=encode_address(member),
                    power=power,
                    linked=None if member == self._own else self._network.linked(member),
                    primary=at == turn,
                )
                for at, (member, power) in enumerate(zip(committee.members, committee.powers, strict=True))
            ),
            commit_ms=self._engine.commit_ms[-COMMITS:],
        )

    def _peer(self, peer: PeerInfo, now: int) -> PeerView:
        return PeerView(
            key=encode_address(peer.key),
            host=peer.address[0][:200],
            port=peer.address[1],
            outbound=peer.outbound,
            agent=peer.hello.agent[:200],
            height=peer.hello.height,
            since_ms=max(0, now - int(1000 * (self._network.now - peer.since))),
            sent_bytes=peer.sent_bytes,
            received_bytes=peer.received_bytes,
            queued_bytes=peer.queued_bytes,
            validator=peer.key in self._ledger.state.committee.members,
        )

    # ---- money ----------------------------------------------------------------------------

    def money(self) -> EarningsView:
        sums, prices = self._history.takings.all, self._books.prices
        priced = prices.pot_micro is not None and prices.currency is not None
        trainer = self._ledger.state.get(Trainer, records.trainer_key(self._own))
        held, held_for = held_work(self._ledger.state, self._own)
        kept = 0 if trainer is None else min(sums.bond, trainer.bond + trainer.unbonding + held)
        return EarningsView(
            today=self._history.earned_on(self._clock()),
            pending=sums.pending,
            paid=sums.paid + sums.bond - kept,
            total=sums.total,
            currency=prices.currency if priced else None,
            price_micro=prices.pot_micro if priced else None,
            kept=kept,
            leapt_blocks=self._books.gaps.blocks,
            leapt_last=self._books.gaps.last,
            held=held,
            held_for=held_for,
        )

    def earnings(self, units: int) -> EarningsDetail:
        history, takings, day = self._history, self._history.takings, self._books.day
        days = sorted({*takings.days, *day.days} - {UNKNOWN_DAY})[-DAYS:]
        return EarningsDetail(
            taken_ms=self._clock(),
            earnings=self.money(),
            days=tuple(
                DayEarnings(day_ms=at, earned=takings.day(at).earned, energy_mwh=day.energy_mwh(at)) for at in days
            ),
            tasks=tuple(
                self._task(task, seen) for task, seen in list(reversed(history.tasks.items()))[:TASKS]
            ),
            units=history.my_units(None, units),
            devices=tuple(
                DeviceEarnings(bus=bus, accepted=each.accepted, refused=each.refused, earned=each.by_units)
                for bus, each in sorted(takings.devices.items())[:64]
                if each.accepted or each.refused
            ),
            kwh_price_micro=self._books.prices.kwh_micro,
            kwh_currency=self._books.prices.currency,
            height=self._ledger.state.head.height,
        )

    def _task(self, task: bytes, seen: TaskHistory) -> TaskEarnings:
        record = self._ledger.state.get(TaskRecord, records.task_key(task))
        sums = self._history.takings.task(task)
        return TaskEarnings(
            task=task.hex(),
            name=seen.name[:200],
            status=(seen.ended or "open") if record is None else record.status.name.lower(),
            accepted=sums.accepted,
            refused=sums.refused,
            pending=sums.pending,
            paid=sums.released,
            kept=min(sums.kept, sums.released),
            escrow=0 if record is None else record.escrow,
        )

    # ---- the rest -------------------------------------------------------------------------

    def log(self, *, after: int, last: int, level: LogLevel) -> LogTail:
        return self._books.log.tail(after=after, last=last, level=level)

    def settings(self) -> SettingsView:
        return self._books.settings

    def day(self) -> DayView:
        return DayView(points=self._books.day.points)
