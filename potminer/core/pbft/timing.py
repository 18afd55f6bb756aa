"""When a replica does something of its own accord: what is due, and which timers run."""

from __future__ import annotations

from potminer.core.pbft import viewchange
from potminer.core.pbft.alarms import Alarms
from potminer.core.pbft.height import Stage
from potminer.core.pbft.repair import Repair


class Timing(Repair):
    """The part of a replica (``machine.py``) that waits, on the same state."""

    _alarms: Alarms
    _tended: tuple[object, ...] | None
    """What the running timers are for; None where one has fired since."""

    def _look_for_work(self, now: int) -> None:
        """Once a block is due at this height it stays due: the view timer never starts over for it."""
        if not self._at.due and self._application.wants_block(self._clock.read(now)):
            self._at.due, self._at.due_ms = True, now
            self._at.batched = self._at.batched or self._application.waits(self._clock.read(now))

    def _may_propose(self) -> bool:
        return self._at.is_primary and self._at.view == 0 and self._voice.said.accepted is None

    def _tend_timers(self) -> None:
        """Starts, replaces and stops the timers of the height, so that exactly those that should run do."""
        p, at, stage = self._parameters, self._at, self._at.stage
        waiting = self._member and stage is Stage.WAITING
        view = self._member and at.must_move
        batch = waiting and at.due and not at.batched and self._may_propose()
        empty = waiting and not at.due and at.view == 0
        gather = self._member and stage is Stage.GATHERING
        votes = view or (self._member and stage is Stage.CHANGING)
        tended = (at.height, at.view, stage is Stage.CHANGING, view, batch, empty, gather, gather and at.asked, votes)
        if tended == self._tended:
            return  # most of what is heard changes nothing here
        self._tended = tended
        self._tend("view", self._patience_ms if view else 0, view)
        self._tend("batch", p.batch_ms, batch)
        self._tend("empty", p.empty_block_ms, empty)
        self._tend("gather", p.gather_ms if at.asked else p.gossip_ms, gather)
        self._tend("votes", p.status_ms if at.votes_asked else p.votes_ms, votes)  # nobody answers sooner twice

    @property
    def _patience_ms(self) -> int:
        view = self._at.view
        if view == 0:
            return self._parameters.view_base_ms
        return viewchange.timeout_ms(self._parameters, view, committee=self._committee, height=self.height)

    def _tend(self, slot: str, delay_ms: int, wanted: bool) -> None:
        if not wanted and not self._alarms.running(slot):
            return
        changing = "/changing" if self._at.stage is Stage.CHANGING else ""
        name = f"pbft/{slot}/{self.height}/{self._at.view}{changing}" if wanted else None
        self._out += self._alarms.tend(slot, name, delay_ms)
