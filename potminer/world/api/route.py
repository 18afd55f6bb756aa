"""One address of the API as a value: what serves it also describes it, so the two cannot drift apart.

A handler is given what was asked, already read by the route's own parameters, and returns the
declared reply. ``openapi.py`` writes the description from the same values.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Any

from aiohttp import web

from potminer.base.address import decode_address
from potminer.wire.control import from_json
from potminer.world.api.body import read_body
from potminer.world.api.guard import Refused, json_response

Asked = Mapping[str, Any]
"""Path and query by name, read: a digest and a key are bytes, a number is an int; absent: None or the default.
A body of a declared kind stands under ``BODY``."""
Handler = Callable[[web.Request, Asked], Awaitable[object]]

BODY = "body"
BYTES = "application/octet-stream"
JSON = "application/json"
TEXT = "text/plain"


@dataclass(frozen=True, slots=True)
class Param:
    """One value in a path or a query. *read* takes the text; Refused or Malformed where it is none."""

    name: str
    about: str
    schema: Mapping[str, object]
    read: Callable[[str], object]
    default: object = None
    """Of a query that does not say it."""


def digest(name: str, about: str) -> Param:
    return Param(name, about, {"type": "string", "pattern": "^[0-9a-f]{64}$"}, _digest)


def address(name: str, about: str) -> Param:
    return Param(name, about, {"type": "string", "minLength": 1, "maxLength": 90}, decode_address)


def number(name: str, about: str, *, most: int, default: int | None = None) -> Param:
    schema: dict[str, object] = {"type": "integer", "minimum": 0, "maximum": most}
    if default is not None:
        schema["default"] = default

    def read(text: str) -> int:
        if not text.isascii() or not text.isdecimal() or len(text) > 10 or int(text) > most:
            raise Refused(400, f"{name} is a number up to {most}")
        return int(text)

    return Param(name, about, schema, read, default)


def word(name: str, about: str, *, words: tuple[str, ...], default: str) -> Param:
    def read(text: str) -> str:
        if text not in words:
            raise Refused(400, f"{name} is one of {', '.join(words)}")
        return text

    return Param(name, about, {"type": "string", "enum": list(words), "default": default}, read, default)


@dataclass(frozen=True, slots=True)
class Body:
    """What a request carries: a *kind* in JSON, or None for bytes of *media*."""

    about: str
    max_bytes: int
    kind: Any = None
    media: str = JSON


@dataclass(frozen=True, slots=True)
class Route:
    """*reply* is the type the handler returns; None where it answers with a response of its own, of *media*.
    *open* pages are read without the cookie: they hold no secret and change nothing."""

    method: str
    path: str
    handler: Handler
    about: str
    reply: Any = None
    media: str = JSON
    status: int = 200
    named: tuple[Param, ...] = ()
    """Parts of the path."""
    query: tuple[Param, ...] = ()
    body: Body | None = None
    refusals: tuple[int, ...] = ()
    """Beside those that every address has."""
    open: bool = False
    head: bool = False
    """HEAD is answered too."""

    def definition(self) -> web.AbstractRouteDef:
        if self.method == "GET":
            return web.get(self.path, self._serve, allow_head=self.head)
        return web.route(self.method, self.path, self._serve)

    async def _serve(self, request: web.Request) -> web.StreamResponse:
        asked = self._read(request)
        if self.body is not None and self.body.kind is not None:
            said = await read_body(request, self.body.max_bytes)
            asked[BODY] = from_json(self.body.kind, said, max_bytes=self.body.max_bytes)
        value = await self.handler(request, asked)
        if isinstance(value, web.StreamResponse):
            return value
        if self.reply is None or not isinstance(value, self.reply):
            raise AssertionError(f"{self.path} answers {type(value).__name__}, which is not what it describes")
        return json_response(value, self.status)

    def _read(self, request: web.Request) -> dict[str, object]:
        asked: dict[str, object] = {param.name: param.read(request.match_info[param.name]) for param in self.named}
        known = {param.name for param in self.query}
        for name in request.query:
            if name not in known:
                raise Refused(400, f"{self.path} has no parameter {name[:40]!r}", f"It has {', '.join(sorted(known))}.")
            if len(request.query.getall(name)) > 1:
                raise Refused(400, f"{name} is given twice")
        for param in self.query:
            text = request.query.get(param.name)
            asked[param.name] = param.default if text is None else param.read(text)
        return asked


def _digest(text: str) -> bytes:
    if len(text) != 64 or any(char not in "0123456789abcdef" for char in text):
        raise Refused(400, "an id is 64 lower-case hex digits")
    return bytes.fromhex(text)
