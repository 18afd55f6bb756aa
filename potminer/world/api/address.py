"""Where a node's API listens, as written into its lock file."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from potminer.base.errors import Malformed, UsageError

LOOPBACK = "127.0.0.1"


@dataclass(frozen=True, slots=True)
class UnixAddress:
    path: Path

    def __str__(self) -> str:
        return f"unix:{self.path}"


@dataclass(frozen=True, slots=True)
class TcpAddress:
    """Loopback only. Whoever can read the cookie file may speak."""

    port: int
    cookie: Path

    def __str__(self) -> str:
        return f"http://{LOOPBACK}:{self.port} cookie={self.cookie}"


Address = UnixAddress | TcpAddress


def parse_address(text: str) -> Address:
    """The address that ``str`` wrote; Malformed otherwise."""
    if len(text) <= 4_096 and text.startswith("unix:/"):
        return UnixAddress(Path(text.removeprefix("unix:")))
    head, separator, cookie = text.partition(" cookie=")
    port = head.removeprefix(f"http://{LOOPBACK}:")
    if separator and port != head and port.isdecimal() and 0 < int(port[:6]) < 65_536 and len(text) <= 4_096:
        return TcpAddress(int(port), Path(cookie))
    raise Malformed("not the address of a node")


def address_from_flag(text: str) -> Address:
    """What a person may write after ``--socket``: a path, or an address as ``status`` shows it."""
    if text.startswith(("unix:", "http:")):
        try:
            return parse_address(text)
        except Malformed as error:
            raise UsageError(f"{text[:100]!r} is {error}", "Write the path of the node's api.sock.") from error
    return UnixAddress(Path(text).expanduser().absolute())
