"""The command line of a running miner: which program it is, and where its API listens.

Command lines hold wallets and passwords. Nothing of one leaves this file but a port.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import PureWindowsPath

_PORT = re.compile(r"(?:.*:)?-?(\d{1,5})")
"""``4067``, ``127.0.0.1:4067``, ``[::1]:4067``; a minus makes ethminer's API read-only."""


@dataclass(frozen=True, slots=True)
class CommandLine:
    """*executables* is a pattern of the program's name, in small letters, without ``.exe``.

    The value of the first of *flags* that is there ends in the port; *bare* is meant by a flag
    without one. Without any flag the API listens on *default*, or not at all. All *needs* must
    be there: for programs whose name says little, and for APIs that a flag switches on.
    """

    executables: str
    flags: tuple[str, ...]
    default: int | None = None
    bare: int | None = None
    needs: tuple[str, ...] = ()

    def is_of(self, program: str, arguments: Sequence[str]) -> bool:
        """Whether *program*, a name or a path, is this one. *needs* count where the name says little."""
        name = PureWindowsPath(program.lower()).name.removesuffix(".exe")
        if re.fullmatch(self.executables, name) is None:
            return False
        return self.executables != "miner" or self._has_needs(arguments)

    def port(self, arguments: Sequence[str]) -> int | None:
        """The port of its API; None where it has none."""
        for at, argument in enumerate(arguments):
            flag, equals, value = argument.partition("=")
            if flag not in self.flags:
                continue
            if not equals:
                value = arguments[at + 1] if at + 1 < len(arguments) else ""
            found = _PORT.fullmatch(value)
            port = int(found[1]) if found is not None else self.bare
            return port if port is not None and 0 < port < 65_536 else None
        return self.default if self._has_needs(arguments) else None

    def _has_needs(self, arguments: Sequence[str]) -> bool:
        present = {argument.partition("=")[0] for argument in arguments}
        return all(need in present for need in self.needs)
