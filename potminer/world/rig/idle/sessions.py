"""Sessions and seats, from the small files that logind keeps (sd-login(3) reads the same ones)."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from potminer.world.rig.tree import entries, read_pairs

SESSIONS = 64
GRAPHICAL = frozenset({"x11", "wayland", "mir"})
_ID = re.compile(r"[0-9A-Za-z_]{1,32}")


@dataclass(frozen=True, slots=True)
class Session:
    """*display* is an X display such as ``:0``, *tty* a terminal such as ``pts/3``; empty where none."""

    id: str
    user: int | None
    type: str
    remote: bool
    display: str = ""
    tty: str = ""

    @property
    def is_graphical(self) -> bool:
        return self.type in GRAPHICAL

    @property
    def place(self) -> str:
        return f"session {self.id} ({self.type})"


@dataclass(frozen=True, slots=True)
class Sessions:
    """*people* work here; *greeters* are login screens, which belong to nobody. *seat*: whether a seat
    can show graphics, None where no logind runs."""

    people: tuple[Session, ...]
    greeters: tuple[Session, ...]
    seat: bool | None

    @property
    def graphical(self) -> tuple[Session, ...]:
        return tuple(session for session in self.people if session.is_graphical)


def read_sessions(root: Path) -> Sessions:
    """The open sessions under *root*; those that are closing are left out."""
    people, greeters = [], []
    paths = [path for path in entries(root / "run/systemd/sessions") if _ID.fullmatch(path.name)]
    for path in paths[:SESSIONS]:
        said = read_pairs(path)
        if said.get("STATE") == "closing":
            continue
        if said.get("CLASS") == "greeter":
            greeters.append(_session(path.name, said))
        elif said.get("CLASS", "").startswith("user"):
            people.append(_session(path.name, said))
    seats = root / "run/systemd/seats"
    seat = any(read_pairs(path).get("CAN_GRAPHICAL") == "1" for path in entries(seats)) if seats.is_dir() else None
    return Sessions(tuple(people), tuple(greeters), seat)


def _session(name: str, said: Mapping[str, str]) -> Session:
    user = said.get("UID") or said.get("USER", "")
    return Session(
        id=name,
        user=int(user) if user.isascii() and user.isdecimal() and len(user) < 12 else None,
        type=said.get("TYPE", "")[:16],
        remote=said.get("REMOTE") == "1",
        display=said.get("DISPLAY", "")[:16],
        tty=said.get("TTY", "")[:32],
    )
