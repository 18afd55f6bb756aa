"""To a miner on this machine: its checked address, and HTTP that is small, short, without redirects, JSON only."""

from __future__ import annotations

import asyncio
import ipaddress
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from typing import Any

import aiohttp
import msgspec
from yarl import URL

from potminer.world.rig.miners.interface import Failure, MinerConfigError, MinerError

REPLY_BYTES = 1_048_576
TIMEOUT_S = 3.0


def local_url(text: str, *, allow_remote: bool, scheme: str = "http") -> URL:
    """A checked base address: *scheme*, host, port. Only this machine, unless the owner allows another."""
    try:
        url = URL(text)
        host, port = url.host, url.port
    except ValueError:
        raise MinerConfigError("a miner's address cannot be read", f"write it as {scheme}://127.0.0.1:PORT") from None
    if url.scheme != scheme or host is None or not port:
        raise MinerConfigError(
            f"this miner's address is {scheme} with a host and a port", f"as in {scheme}://127.0.0.1:60070"
        )
    if url.user is not None or url.password is not None or url.query_string or url.fragment:
        raise MinerConfigError("a miner's address holds no user, password or query", "put the token in token_file")
    if host == "localhost":
        host = "127.0.0.1"  # a name may be made to point elsewhere
    if not allow_remote and not _is_loopback(host):
        raise MinerConfigError(
            f"the miner at {host} is not on this machine",
            "Run potminer on the miner's computer: miners are spoken to over loopback alone.",
        )
    return URL.build(scheme=scheme, host=host, port=port)


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


@asynccontextmanager
async def deadline(timeout_s: float) -> AsyncIterator[None]:
    """Everything inside together; MinerError where it takes longer."""
    try:
        async with asyncio.timeout(timeout_s):
            yield
    except TimeoutError:
        raise MinerError(Failure.TIMEOUT, f"no whole answer within {timeout_s:g} s") from None


class LocalHttp:
    """Requests to one miner. *token* goes into the Authorization header and nowhere else."""

    def __init__(self, base: URL, *, token: str, timeout_s: float = TIMEOUT_S) -> None:
        self._base = base
        self._headers = {"Accept-Encoding": "identity"}
        if token:
            self._headers["Authorization"] = f"Bearer {token}"
        self._timeout_s = timeout_s

    async def get(
        self, path: str, query: Mapping[str, str] | None = None, *, mend: Callable[[bytes], bytes] | None = None
    ) -> Any:
        """The decoded JSON reply to GET *path*. *mend* repairs a reply that is known to be broken JSON."""
        return await self._request("GET", self._base.with_path(path).with_query(query or {}), None, mend)

    async def post(self, path: str, body: object) -> Any:
        return await self._request("POST", self._base.with_path(path), msgspec.json.encode(body), None)

    async def _request(
        self, method: str, url: URL, body: bytes | None, mend: Callable[[bytes], bytes] | None
    ) -> Any:
        headers = dict(self._headers)
        if body is not None:
            headers["Content-Type"] = "application/json"
        try:
            async with deadline(self._timeout_s):
                return decode_json(await self._exchange(method, url, body, headers), mend)
        except aiohttp.ClientConnectorError:
            raise MinerError(Failure.UNREACHABLE, "nothing listens there") from None
        except (aiohttp.ServerDisconnectedError, ConnectionError):
            raise MinerError(Failure.REFUSED, "the connection was closed without an answer") from None
        except (aiohttp.ClientError, ValueError):
            raise MinerError(Failure.MALFORMED, "the answer is not HTTP as a miner speaks it") from None

    async def _exchange(self, method: str, url: URL, body: bytes | None, headers: dict[str, str]) -> bytes:
        async with (
            aiohttp.ClientSession(
                auto_decompress=False, cookie_jar=aiohttp.DummyCookieJar(), trust_env=False
            ) as session,
            session.request(method, url, data=body, headers=headers, allow_redirects=False) as reply,
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


def decode_json(data: bytes, mend: Callable[[bytes], bytes] | None = None) -> Any:
    try:
        return msgspec.json.decode(data)
    except (msgspec.DecodeError, RecursionError):
        if mend is not None:
            return decode_json(mend(data))
        raise MinerError(Failure.MALFORMED, "the answer is not JSON") from None
