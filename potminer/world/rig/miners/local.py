"""HTTP to a miner on this machine: small, short, without redirects, JSON only."""

from __future__ import annotations

import asyncio
import ipaddress
import math
from typing import Any

import aiohttp
import msgspec
from yarl import URL

from potminer.base.bounded import MILLION
from potminer.wire.facts import Label
from potminer.world.rig.miners.interface import Failure, MinerConfigError, MinerError

REPLY_BYTES = 1_048_576
TIMEOUT_S = 3.0
_LABEL_CHARACTERS = 64
_RATE_MAX = 10**9 * MILLION
"""1 PH/s on one rig is beyond belief."""


def local_url(text: str, *, allow_remote: bool) -> URL:
    """A checked base address. Only this machine, unless the owner allows another."""
    try:
        url = URL(text)
        host, port = url.host, url.port
    except ValueError:
        raise MinerConfigError("a miner's address cannot be read", "write it as http://127.0.0.1:PORT") from None
    if url.scheme != "http" or host is None or not port:
        raise MinerConfigError("a miner's address is http with a host and a port", "as in http://127.0.0.1:60070")
    if url.user is not None or url.password is not None or url.query_string or url.fragment:
        raise MinerConfigError("a miner's address holds no user, password or query", "put the token in token_file")
    if host == "localhost":
        host = "127.0.0.1"  # a name may be made to point elsewhere
    if not allow_remote and not _is_loopback(host):
        raise MinerConfigError(
            f"the miner at {host} is not on this machine", "set allow_remote = true if you trust the way to it"
        )
    return URL.build(scheme="http", host=host, port=port)


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


class LocalHttp:
    """Requests to one miner. *token* goes into the Authorization header and nowhere else."""

    def __init__(self, base: URL, *, token: str, timeout_s: float = TIMEOUT_S) -> None:
        self._base = base
        self._headers = {"Accept-Encoding": "identity"}
        if token:
            self._headers["Authorization"] = f"Bearer {token}"
        self._timeout_s = timeout_s

    async def get(self, path: str) -> Any:
        """The decoded JSON reply to GET *path*."""
        return await self._request("GET", path, None)

    async def post(self, path: str, body: object) -> Any:
        return await self._request("POST", path, msgspec.json.encode(body))

    async def _request(self, method: str, path: str, body: bytes | None) -> Any:
        headers = dict(self._headers)
        if body is not None:
            headers["Content-Type"] = "application/json"
        try:
            async with asyncio.timeout(self._timeout_s):
                return _decode(await self._exchange(method, path, body, headers))
        except TimeoutError:
            raise MinerError(Failure.TIMEOUT, f"no whole answer within {self._timeout_s:g} s") from None
        except aiohttp.ClientConnectorError:
            raise MinerError(Failure.UNREACHABLE, "nothing listens there") from None
        except (aiohttp.ServerDisconnectedError, ConnectionError):
            raise MinerError(Failure.REFUSED, "the connection was closed without an answer") from None
        except (aiohttp.ClientError, ValueError):
            raise MinerError(Failure.MALFORMED, "the answer is not HTTP as a miner speaks it") from None

    async def _exchange(self, method: str, path: str, body: bytes | None, headers: dict[str, str]) -> bytes:
        async with (
            aiohttp.ClientSession(
                auto_decompress=False, cookie_jar=aiohttp.DummyCookieJar(), trust_env=False
            ) as session,
            session.request(
                method, self._base.with_path(path), data=body, headers=headers, allow_redirects=False
            ) as reply,
        ):
            _check_status(reply.status, writing=method != "GET")
            data = bytearray()
            async for chunk in reply.content.iter_chunked(65_536):
                data += chunk
                if len(data) > REPLY_BYTES:
                    raise MinerError(Failure.MALFORMED, f"the answer is longer than {REPLY_BYTES} bytes")
            return bytes(data)


def _check_status(status: int, *, writing: bool) -> None:
    if status == 200:
        return
    if status == 401:
        raise MinerError(Failure.REFUSED, "its API wants an access token (401)")
    if status == 403 and writing:
        raise MinerError(Failure.READ_ONLY, "its API is restricted, or the access token is wrong (403)")
    if status == 403:
        raise MinerError(Failure.REFUSED, "the access token is wrong (403)")
    if status == 404:
        raise MinerError(Failure.NOT_THIS_MINER, "it does not know this address (404)")
    if 300 <= status < 400:
        raise MinerError(Failure.REFUSED, f"it points elsewhere ({status}); redirects are not followed")
    raise MinerError(Failure.REFUSED, f"it answered with status {status}")


def _decode(data: bytes) -> Any:
    try:
        return msgspec.json.decode(data)
    except (msgspec.DecodeError, RecursionError):
        raise MinerError(Failure.MALFORMED, "the answer is not JSON") from None


# ---- values out of somebody else's JSON: None for whatever is not what it should be ----------


def mapping(value: Any) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}


def listing(value: Any, *, at_most: int) -> list[Any]:
    return value[:at_most] if isinstance(value, list) else []


def label(value: Any) -> Label:
    """Printable text of bounded length; empty where it is no text."""
    if not isinstance(value, str):
        return ""
    return "".join(c for c in value[:_LABEL_CHARACTERS] if c.isprintable())


def count(value: Any) -> int | None:
    """A non-negative number as an integer. Text, truth values, NaN and negatives are unknown."""
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        return None
    return int(value) if 0 <= value <= _RATE_MAX else None


def flag(value: Any) -> bool | None:
    return value if isinstance(value, bool) else None
