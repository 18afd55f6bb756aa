"""Jobs waiting for the worker: read by a thread, so that a cancellation is seen while a job runs."""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable
from typing import BinaryIO

from potminer.base.errors import Malformed
from potminer.train.pipe import Broken, Outbox, decode_job, read_frame
from potminer.train.refusal import Reason, Refused
from potminer.wire.trainer import Cancel, Failed, Job

WAITING = 64
"""Jobs that may wait; more are answered ``busy``."""


class Inbox:
    """Follows *stream* to its end. ``next`` gives jobs in order and None after the last."""

    def __init__(self, stream: BinaryIO, outbox: Outbox) -> None:
        self._stream = stream
        self._outbox = outbox
        self._waiting: queue.Queue[Job | None] = queue.Queue(WAITING + 1)
        self._lock = threading.Lock()
        self._pending: set[int] = set()
        self._cancelled: set[int] = set()
        self._closed = threading.Event()
        self.broken = False

    def follow(self) -> None:
        """Read until the stream ends or cannot be followed; runs in a thread of its own."""
        try:
            while (frame := read_frame(self._stream)) is not None:
                self._take(frame)
        except (Broken, OSError):
            self.broken = True
        finally:
            self._closed.set()
            self._waiting.put(None)

    def next(self) -> Job | None:
        job = self._waiting.get()
        return None if self._closed.is_set() else job

    def finished(self, job: int) -> None:
        with self._lock:
            self._pending.discard(job)
            self._cancelled.discard(job)

    def stop_if_cancelled(self, job: int) -> None:
        """Refused where *job* was cancelled or nobody waits for it any more."""
        with self._lock:
            given_up = job in self._cancelled
        if given_up or self._closed.is_set():
            raise Refused(Reason.CANCELLED, "given up by the node")

    def _take(self, frame: bytes) -> None:
        try:
            job = decode_job(frame)
        except Malformed as error:
            self._outbox.send(Failed(0, Reason.FAULT, f"not a job: {error}"[:2_000]))
            return
        with self._lock:
            if isinstance(job, Cancel):
                if job.job in self._pending:
                    self._cancelled.add(job.job)
                return
            full = len(self._pending) >= WAITING or job.job in self._pending
            if not full:
                self._pending.add(job.job)
        if full:
            self._outbox.send(Failed(job.job, Reason.BUSY, f"{WAITING} jobs wait, or this one already does"))
        else:
            self._waiting.put(job)


def start_thread(name: str, work: Callable[[], None]) -> threading.Thread:
    thread = threading.Thread(target=work, name=name, daemon=True)
    thread.start()
    return thread
