"""Where a node's API listens, as written into its lock file."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

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

    @property
    def base(self) -> str:
        return f"http://{LOOPBACK}:{self.port}"

    def __str__(self) -> str:
        return f"{self.base} cookie={self.cookie}"


@dataclass(frozen=True, slots=True)
class WebAddress:
    """A node behind a reverse proxy that speaks TLS: *url* is https. *token*: the file with its ``api.token_file``."""

    url: str
    token: Path

    def __str__(self) -> str:
        return f"{self.url} token={self.token}"


Address = UnixAddress | TcpAddress | WebAddress


def parse_address(text: str) -> Address:
    """The address that ``str`` wrote; Malformed otherwise."""
    if len(text) <= 4_096 and text.startswith("unix:/"):
        return UnixAddress(Path(text.removeprefix("unix:")))
    if len(text) <= 4_096 and text.startswith("https://"):
        return _web(text)
    # A token that outlives restarts is as good a cookie: ssh may bring the port of a far rig here.
    head, separator, cookie = text.partition(" token=" if " token=" in text else " cookie=")
    port = head.removeprefix(f"http://{LOOPBACK}:")
    if separator and port != head and port.isdecimal() and 0 < int(port[:6]) < 65_536 and len(text) <= 4_096:
        return TcpAddress(int(port), Path(cookie))
    raise Malformed("not the address of a node")


def _web(text: str) -> WebAddress:
    url, separator, token = text.partition(" token=")
    parts = urlsplit(url)
    if not separator or not token or not parts.hostname or parts.username or parts.query or parts.fragment:
        raise Malformed("not https://HOST/PATH token=FILE")
    return WebAddress(url.rstrip("/"), Path(token).expanduser())


def address_from_flag(text: str) -> Address:
    """What a person may write after ``--socket``: a path, or an address as ``status`` shows it."""
    if text.startswith(("unix:", "http:", "https:")):
        try:
            return parse_address(text)
        except (Malformed, ValueError) as error:
            if text.startswith("http:") and f"//{LOOPBACK}:" not in text:
                hint = "Beyond this computer only https://HOST/PATH token=FILE: a token never travels in the clear."
                raise UsageError(f"{text[:100]!r} is not on this computer", hint) from error
            hint = "Write the path of its api.sock, http://127.0.0.1:PORT cookie=FILE or https://HOST/PATH token=FILE."
            raise UsageError(f"{text[:100]!r} is {error}", hint) from error
    return UnixAddress(Path(text).expanduser().absolute())
