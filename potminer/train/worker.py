"""The process that holds torch: jobs on stdin, reports on stdout, everything else on stderr.

``python -m potminer.train.worker --blobs DIR``. Ends when stdin closes. A job that cannot be done is
answered with Failed and the process lives on. It ends by itself, after saying so, where memory
runs over its limit or a device failed in a way that only a new process mends.

torch is imported when a first job needs it: aggregating and making a first model do not.
"""

from __future__ import annotations

import argparse
import os
import sys
import threading
import traceback
from collections.abc import Sequence
from io import RawIOBase
from pathlib import Path
from time import monotonic_ns
from typing import TYPE_CHECKING, BinaryIO, assert_never

import psutil

from potminer.base.errors import PotminerError
from potminer.train.bookwork import aggregate_slice, aggregate_updates, assemble, initialise
from potminer.train.cheat import cheat
from potminer.train.folder import Folder
from potminer.train.inbox import Inbox, start_thread
from potminer.train.pipe import Outbox
from potminer.train.refusal import Checkpoint, Reason, Refused
from potminer.wire.trainer import (
    AggregateJob,
    AssembleJob,
    AuditJob,
    Cancel,
    EvaluateJob,
    Failed,
    Heartbeat,
    InitialiseJob,
    Job,
    Progress,
    Ready,
    Report,
    SliceJob,
    TrainJob,
)

if TYPE_CHECKING:
    from potminer.train.bench import Bench

HEARTBEAT_S = 2.0
PROGRESS_NS = 500_000_000
TEXT = 2_000
MOST_THRIFT = 16
EXIT_BROKEN_PIPE, EXIT_MEMORY, EXIT_DEVICE = 2, 3, 4

FAULTS = (ArithmeticError, AttributeError, LookupError, MemoryError, OSError, RuntimeError, TypeError, ValueError)
"""What a job may raise, from torch's own errors to a full disk. An AssertionError is our bug and ends the process."""

LACK = ("out of memory", "can't allocate memory", "not enough memory")
"""How CUDA, MPS and the CPU say it in a RuntimeError."""


class Worker:
    """One job after the other, each answered by exactly one report that is not Progress."""

    def __init__(self, options: argparse.Namespace, *, stdin: BinaryIO, stdout: RawIOBase) -> None:
        self._options = options
        self._folder = Folder(options.blobs)
        self._cheat = cheat(options.cheat)
        self._outbox = Outbox(stdout)
        self._inbox = Inbox(stdin, self._outbox)
        self._bench: Bench | None = None
        self._thrift = 0
        self._current = 0
        self._exit: int | None = None

    def serve(self) -> int:
        """Work until stdin ends; the exit code."""
        self._outbox.send(Ready("none yet", "torch is loaded with the first job that needs it", os.getpid()))
        start_thread("inbox", self._inbox.follow)
        start_thread("pulse", self._pulse)
        while self._exit is None and (job := self._inbox.next()) is not None:
            self._current = job.job
            report = self._answer(job)
            self._current = 0
            self._inbox.finished(job.job)
            self._outbox.send(report)
        if self._exit is not None:
            return self._exit
        return EXIT_BROKEN_PIPE if self._inbox.broken else 0

    def _answer(self, job: Job) -> Report:
        try:
            return self._do(job, self._checkpoint(job.job))
        except Refused as refused:
            return Failed(job.job, refused.reason, refused.detail[:TEXT])
        except FAULTS as error:
            return self._failed(job.job, error)

    def _do(self, job: Job, checkpoint: Checkpoint) -> Report:
        self._inbox.stop_if_cancelled(job.job)
        match job:
            case TrainJob():
                return self._torch().train(job, checkpoint)
            case AuditJob():
                return self._torch().audit(job, checkpoint)
            case EvaluateJob():
                return self._torch().evaluate(job, checkpoint)
            case AggregateJob():
                return aggregate_updates(self._folder, job, checkpoint)
            case SliceJob():
                return aggregate_slice(self._folder, job, checkpoint)
            case AssembleJob():
                return assemble(self._folder, job)
            case InitialiseJob():
                return initialise(self._folder, job)
            case Cancel():
                raise AssertionError("the inbox keeps cancellations to itself")
            case _:
                assert_never(job)

    def _failed(self, job: int, error: BaseException) -> Failed:
        traceback.print_exception(error)
        text = f"{type(error).__name__}: {error}"[:TEXT]
        if isinstance(error, MemoryError) or any(words in str(error) for words in LACK):
            self._bench = None
            self._thrift = min(self._thrift + 1, MOST_THRIFT)
            return Failed(job, Reason.OUT_OF_MEMORY, text)
        if self._bench and self._bench.choice.device != "cpu" and isinstance(error, RuntimeError):
            self._exit = EXIT_DEVICE
        return Failed(job, Reason.FAULT, text)

    def _torch(self) -> Bench:
        if self._bench is None:
            from potminer.train.bench import Bench

            options = self._options
            self._bench = Bench(
                self._folder,
                device=options.device,
                bus=options.bus,
                threads=options.threads,
                max_bytes=options.max_bytes,
                cheat=self._cheat,
                thrift=self._thrift,
            )
            choice = self._bench.choice
            self._outbox.send(Ready(choice.device[:TEXT], choice.reason[:TEXT], os.getpid()))
        return self._bench

    def _checkpoint(self, job: int) -> Checkpoint:
        said = monotonic_ns()

        def checkpoint(done: int, total: int) -> None:
            nonlocal said
            self._inbox.stop_if_cancelled(job)
            if monotonic_ns() - said >= PROGRESS_NS:
                said = monotonic_ns()
                self._outbox.send(Progress(job, done, total))

        return checkpoint

    def _pulse(self) -> None:
        """Say that we live and how large we are; end the process where it is too large."""
        process, pause = psutil.Process(), threading.Event()
        while True:
            resident = process.memory_info().rss
            try:
                self._outbox.send(Heartbeat(resident))
                if resident > self._options.max_bytes:
                    text = f"{resident} bytes resident, {self._options.max_bytes} allowed"
                    self._outbox.send(Failed(self._current, Reason.OUT_OF_MEMORY, text))
                    os._exit(EXIT_MEMORY)
            except OSError:
                os._exit(EXIT_BROKEN_PIPE)  # nobody listens: the node is gone
            pause.wait(HEARTBEAT_S)


def main(arguments: Sequence[str] | None = None) -> int:
    options = _parser().parse_args(arguments)
    _set_environment(options)
    stdin, stdout = _private_pipes()
    try:
        return Worker(options, stdin=stdin, stdout=stdout).serve()
    except PotminerError as error:
        sys.stderr.write(f"{error}\n")
        return int(error.exit)
    except OSError:
        return EXIT_BROKEN_PIPE


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="potminer-worker", description=__doc__.partition("\n")[0])
    parser.add_argument("--blobs", type=Path, required=True, help="the blob folder shared with the node")
    parser.add_argument("--device", default="auto", help="auto, cpu, cuda:0, mps")
    parser.add_argument("--bus", default="", help="the PCI bus that the card must be at")
    parser.add_argument("--threads", type=int, default=1, choices=range(1, 257), metavar="N", help="CPU threads")
    parser.add_argument("--max-bytes", type=int, default=4 * 1024**3, help="resident memory at which to give up")
    parser.add_argument("--nice", type=int, default=0, choices=range(20), metavar="N", help="give way to others")
    parser.add_argument("--cheat", default=None, help="for devnets: garbage signflip labelflip stale guess lazy-K")
    return parser


def _set_environment(options: argparse.Namespace) -> None:
    """What torch reads when it is loaded: no spinning threads, repeatable cuBLAS."""
    os.environ.setdefault("OMP_WAIT_POLICY", "passive")
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
    if options.nice and hasattr(os, "nice"):
        os.nice(options.nice)
    elif options.nice:
        psutil.Process().nice(psutil.BELOW_NORMAL_PRIORITY_CLASS)


def _private_pipes() -> tuple[BinaryIO, RawIOBase]:
    """Our pipes under other numbers: whatever prints reaches stderr, whatever reads gets nothing."""
    reader, writer = os.fdopen(os.dup(0), "rb"), os.fdopen(os.dup(1), "wb", buffering=0)
    nothing = os.open(os.devnull, os.O_RDONLY)
    os.dup2(nothing, 0)
    os.close(nothing)
    os.dup2(2, 1)
    return reader, writer


if __name__ == "__main__":
    sys.exit(main())
