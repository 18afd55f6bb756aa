"""Who may speak to the API, and how every fault is answered.

A browser page must never reach a node: requests that carry an Origin are refused, and the Host
must name this computer, or a page could point its own domain here (DNS rebinding). On TCP
the bearer of the cookie speaks; on a unix socket the file's permissions are the check.
"""

from __future__ import annotations

import hmac
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass

from aiohttp import web

from potminer.base.errors import Exit, Malformed, PotminerError
from potminer.wire.control import Fault, Refusal, to_json
from potminer.world.api.door import Door

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]

HOSTS = frozenset({"localhost", "127.0.0.1", "[::1]"})
IN_FLIGHT = 64
WAITING = 256
"""Requests that wait for the chain. While it stands still they do for seconds: they must not keep others from asking
why."""
_STATUS = {
    Exit.USAGE: 400,
    Exit.CONFIG: 400,
    Exit.BAD_SIGNATURE: 400,
    Exit.NOT_PERMITTED: 403,
    Exit.UNREACHABLE: 503,
}
NAMES = {
    400: "bad-request",
    403: "not-permitted",
    404: "not-found",
    405: "method-not-allowed",
    408: "too-slow",
    409: "refused",
    413: "too-large",
    429: "busy",
    503: "unavailable",
}


class Refused(PotminerError):
    """A request that is not done, with the HTTP *status* that says so."""

    def __init__(self, status: int, what: str, hint: str = "") -> None:
        super().__init__(what, hint)
        self.status = status


def json_response(value: object, status: int = 200) -> web.Response:
    return web.Response(body=to_json(value), status=status, content_type="application/json")


def refusal(status: int, what: str, hint: str = "") -> web.Response:
    """A typed refusal. The connection ends where the request may not have been read whole."""
    fault = Fault(code=NAMES.get(status, "refused"), what=what[:4_000], hint=hint[:4_000])
    response = json_response(Refusal(error=fault), status)
    if status in (408, 413, 429):
        response.force_close()
    return response


@dataclass(slots=True)
class _Room:
    """How many requests of a kind may be under way."""

    places: int
    what: str
    taken: int = 0


class Guard:
    """The one middleware. *tokens* open TCP: the cookie, and the owner's own where there is one; *open_pages*
    are read without; *door* keeps the place of who is answered."""

    def __init__(self, tokens: Sequence[str], open_pages: frozenset[str], door: Door) -> None:
        self._door = door
        self._words = [f"Bearer {token}".encode() for token in tokens]
        self._open_pages = open_pages
        self._prompt = _Room(IN_FLIGHT, "requests are under way")
        self._patient = _Room(WAITING, "requests wait for the chain")

    @web.middleware
    async def handle(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        refused = self._refuse(request)
        if refused is not None:
            return refused
        room = self._prompt if request.query.get("wait_ms", "0") == "0" else self._patient
        if room.taken >= room.places:
            return refusal(429, f"{room.places} {room.what} already", "Try again in a moment.")
        room.taken += 1
        try:
            with self._door.answering(request.transport):
                return await self._answer(request, handler)
        finally:
            room.taken -= 1

    def _refuse(self, request: web.Request) -> web.Response | None:
        if "Origin" in request.headers:
            return refusal(403, "web pages may not speak to a node")
        host = request.headers.get("Host", "")
        name, separator, port = host.rpartition(":")
        if (name if separator and port.isdecimal() else host).lower() not in HOSTS:
            return refusal(403, "this API answers only to localhost", "Connect to 127.0.0.1 or the unix socket.")
        if _is_tcp(request) and request.path not in self._open_pages and not self._knows_cookie(request):
            return refusal(403, "the cookie is missing or wrong", "Send the cookie file's content as a bearer token.")
        return None

    def _knows_cookie(self, request: web.Request) -> bool:
        said = request.headers.get("Authorization", "").encode("utf-8", "surrogateescape")
        # All of them, always: how long it takes tells nothing.
        return any([hmac.compare_digest(said, word) for word in self._words])

    async def _answer(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        try:
            return await handler(request)
        except web.HTTPException as error:
            return error if error.status < 400 else refusal(error.status, error.reason.lower())
        except Refused as error:
            return refusal(error.status, error.what, error.hint)
        except Malformed as error:
            return refusal(400, str(error))
        except PotminerError as error:
            return refusal(_STATUS.get(error.exit, 409), error.what, error.hint)


def _is_tcp(request: web.Request) -> bool:
    """True where in doubt: a unix socket's own name is a path."""
    transport = request.transport
    return transport is None or not isinstance(transport.get_extra_info("sockname"), str)
