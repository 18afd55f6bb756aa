"""A copy of a world in the middle of its run, so that scenarios with the same beginning play it once.

What changes is copied, what is frozen is shared: the rooms' own state is listed here by class,
everything else (messages, keys, committees, parameters) never changes.
"""

from __future__ import annotations

from collections import deque
from functools import lru_cache
from typing import Any, TypeVar, cast

from potminer.core.pbft.ahead import Ahead
from potminer.core.pbft.alarms import Alarms
from potminer.core.pbft.checkpoint import Checkpoints
from potminer.core.pbft.complaint import Complaints
from potminer.core.pbft.gather import Gathering
from potminer.core.pbft.height import Table
from potminer.core.pbft.log import Log
from potminer.core.pbft.machine import Replica
from potminer.core.pbft.voice import Said, Voice
from potminer.sim.checkers import Agreement, Certificates, DoubleVotes, States, Validity, Witnesses, Written
from potminer.sim.disk import Disk
from potminer.sim.host import Host
from potminer.sim.ledger import Chain, TinyApplication

T = TypeVar("T")

CHANGING = (
    Agreement,
    Ahead,
    Alarms,
    Certificates,
    Chain,
    Checkpoints,
    Complaints,
    Gathering,
    Disk,
    DoubleVotes,
    Host,
    Log,
    Replica,
    Said,
    States,
    Table,
    TinyApplication,
    Validity,
    Voice,
    Witnesses,
    Written,
)
"""Classes whose instances change while a world runs; their subclasses too."""


def fork(world: T) -> T:
    """*world*, an instance that itself changes, and all that changes in it; two owners of one thing stay two."""
    made: dict[int, Any] = {}
    return cast(T, _instance(world, made))


def _copy(thing: Any, made: dict[int, Any]) -> Any:
    kind: Any = type(thing)
    if kind is dict:
        return {key: _copy(value, made) for key, value in thing.items()} if thing else {}
    if kind is list or kind is deque:
        return kind(_copy(item, made) for item in thing) if thing else kind()
    if kind is set:
        return set(thing)
    known = made.get(id(thing))
    if known is not None:
        return known
    return _instance(thing, made) if _changes(kind) else thing


def _instance(thing: Any, made: dict[int, Any]) -> Any:
    kind: Any = type(thing)
    twin = made[id(thing)] = object.__new__(kind)
    for name in _slots(kind):
        object.__setattr__(twin, name, _copy(getattr(thing, name), made))
    for name, value in getattr(thing, "__dict__", {}).items():
        twin.__dict__[name] = _copy(value, made)
    return twin


@lru_cache(maxsize=256)
def _changes(kind: type) -> bool:
    return issubclass(kind, CHANGING)


@lru_cache(maxsize=256)
def _slots(kind: type) -> tuple[str, ...]:
    """Names of all slots of *kind*; whatever has a ``__dict__`` is copied from there."""
    found: list[str] = []
    for base in kind.__mro__:
        names = base.__dict__.get("__slots__", ())
        found += (names,) if isinstance(names, str) else names
    return tuple(name for name in found if name not in ("__dict__", "__weakref__"))
