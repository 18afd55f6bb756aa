"""When a replica does something of its own accord: what is due, and which timers run."""

from __future__ import annotations

from potminer.core.pbft import viewchange
from potminer.core.pbft.alarms import Alarms
from potminer.core.pbft.breadth import Breadth
from potminer.core.pbft.height import Stage
from potminer.core.pbft.repair import Repair
from potminer.wire.block import Block, Certificate
from potminer.wire.seal import SigningKey

_WAITING, _GATHERING, _CHANGING = Stage.WAITING, Stage.GATHERING, Stage.CHANGING


class Timing(Repair):
    """The part of a replica (``machine.py``) that waits, on the same state."""

    _alarms: Alarms
    _breadth: Breadth
    _key: SigningKey
    _tended: tuple[object, ...] | None
    """What the running timers are for; None where one has fired since."""
    _seen: tuple[object, ...] | None
    """All that decides it, but for the view changes while one is asked for, and who was asked while gathering."""

    @property
    def collects(self) -> bool:
        """Whether the next block is ours to propose, and more transactions would still find a place in it."""
        return self._member and self._at.stage is Stage.WAITING and not self._at.batched and self._may_propose()

    def _look_for_work(self, now: int) -> None:
        """Once a block is due at this height it stays due: the view timer never starts over for it."""
        if not self._at.due and self._application.wants_block(self._clock.read(now)):
            self._at.due, self._at.due_ms = True, now
            self._at.batched = self._at.batched or self._application.waits(self._clock.read(now))

    def _build(self, now: int) -> Block | None:
        return self._application.build(
            height=self.height, parent=self._head, proposer=self._key.public, now=now, most=self._breadth.most
        )

    def _widen(self, block: Block, proof: Certificate, now: int) -> None:
        """A block came: ours may be a little longer, where it came in good time."""
        took_ms, view_ms = self._clock.read(now) - block.header.time_ms, self._parameters.view_base_ms
        self._breadth.decided(len(block.transactions), view=proof.view, took_ms=took_ms, view_ms=view_ms)

    def _may_propose(self) -> bool:
        return self._at.is_primary and self._at.view == 0 and self._voice.said.accepted is None

    def _tend_timers(self) -> None:
        """Starts, replaces and stops the timers of the height, so that exactly those that should run do."""
        at, member = self._at, self._member
        stage = at.stage
        seen = (at.height, stage, at.view, at.due, at.batched, member)
        if seen == self._seen and self._tended is not None and stage is not _CHANGING and stage is not _GATHERING:
            return  # most of what is heard changes nothing here
        self._seen = seen
        changing, waiting = stage is _CHANGING, member and stage is _WAITING
        view = member and at.must_move
        batch = waiting and at.due and not at.batched and self._may_propose()
        empty = waiting and not at.due and at.view == 0
        gather = member and stage is _GATHERING
        votes = view or (member and changing)
        tended = (at.height, at.view, changing, view, batch, empty, gather, gather and at.asked, votes)
        if tended == self._tended:
            return
        self._tended, p = tended, self._parameters
        running = self._alarms.running
        if view or running("view"):
            self._tend("view", self._patience_ms if view else 0, view)
        if batch or running("batch"):
            self._tend("batch", p.batch_ms, batch)
        if empty or running("empty"):
            self._tend("empty", p.empty_block_ms, empty)
        if gather or running("gather"):
            self._tend("gather", p.gather_ms if at.asked else p.gossip_ms, gather)
        if votes or running("votes"):
            self._tend("votes", p.status_ms if at.votes_asked else p.votes_ms, votes)  # nobody answers sooner twice

    @property
    def _patience_ms(self) -> int:
        view = self._at.view
        if view == 0:
            return self._parameters.view_base_ms
        return viewchange.timeout_ms(self._parameters, view, committee=self._committee, height=self.height)

    def _tend(self, slot: str, delay_ms: int, wanted: bool) -> None:
        at = self._at
        changing = "/changing" if at.stage is _CHANGING else ""
        name = f"pbft/{slot}/{at.height}/{at.view}{changing}" if wanted else None
        self._out += self._alarms.tend(slot, name, delay_ms)
