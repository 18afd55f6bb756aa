"""Attacks on a node's own door, the API: by a program of the same computer, with and without the cookie."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from contextlib import suppress

from attacker import HOST, Scene, Target, attack

HOLD = 10_000
"""Connections kept open, of both addresses together, as far as the system's open files go."""
HEAD = "Host: localhost\r\n"

Streams = tuple[asyncio.StreamReader, asyncio.StreamWriter]


async def door(target: Target, *, tcp: bool) -> Streams:
    opening: Awaitable[Streams] = (
        asyncio.open_connection(HOST, target.api_port) if tcp else asyncio.open_unix_connection(target.socket)
    )
    return await opening


async def asking(scene: Scene, said: Callable[[], bytes], *, lanes: int = 4) -> None:
    """*said* again and again on new connections, by unix socket and TCP in turn; what came back is counted."""

    async def one(tcp: bool) -> None:
        while scene.goes_on:
            with suppress(OSError, TimeoutError, ValueError):
                reader, writer = await door(scene.target(), tcp=tcp)
                try:
                    async with asyncio.timeout(3):
                        writer.write(said())
                        await writer.drain()
                        line = await reader.readline()
                    scene.did[line[9:12].decode("ascii", "replace") or "hung up"] += 1
                finally:
                    writer.transport.abort()

    await asyncio.gather(*(one(tcp) for tcp in (True, False) for _ in range(lanes)))


def request(method: str, path: str, head: str = "", body: bytes = b"") -> bytes:
    size = f"Content-Length: {len(body)}\r\n" if body else ""
    return f"{method} {path} HTTP/1.1\r\n{HEAD}{head}{size}\r\n".encode() + body


@attack("api-bodies")
async def api_bodies(scene: Scene) -> None:
    """Bodies that are huge, deep, or of another length than they say."""
    deep = request("POST", "/v1/commands", "Content-Type: application/json\r\n", b"[" * 4_000)
    nested = request("POST", "/v1/commands", "", b'{"command":' * 300)
    huge = request("POST", "/v1/transactions", "", b"x" * 2_000_000)
    lying = f"POST /v1/transactions HTTP/1.1\r\n{HEAD}Content-Length: {2**62}\r\n\r\n".encode() + b"x" * 70_000
    chunked = f"POST /v1/transactions/batch HTTP/1.1\r\n{HEAD}Transfer-Encoding: chunked\r\n\r\n".encode()
    chunked += b"10000\r\n" + bytes(65_536) + b"\r\nffffffffffffffff\r\n"
    zipped = request("POST", "/v1/commands", "Content-Encoding: gzip\r\n", b"\x1f\x8b\x08" + bytes(200))
    await asking(scene, lambda: scene.chance.choice((deep, nested, huge, lying, chunked, zipped)))


@attack("api-words")
async def api_words(scene: Scene) -> None:
    """Unknown methods, paths that climb, head lines without end, half of a protocol."""
    said = (
        request("BREW", "/v1/chain"), request("DELETE", "/v1/commands"), request("TRACE", "/"),
        request("GET", "/v1/blobs/../../../etc/passwd"), request("GET", "/v1/blobs/..%2f..%2fetc%2fpasswd"),
        request("GET", "/v1/chain", "".join(f"X-{at}: {at}\r\n" for at in range(2_000))),
        request("GET", "/v1/chain", "X: " + "x" * 200_000 + "\r\n"), request("GET", "/" + "a" * 100_000),
        b"\x16\x03\x01" + bytes(500), b"GET /v1/chain HTTP/9.9\r\n\r\n", b"\r\n" * 5_000,
        request("GET", "/v1/proofs?keys=" + ",".join(["aa"] * 2_000)), request("GET", "/v1/headers?first=1&count=9999"),
        request("GET", "/v1/chain", "Host: evil.example\r\n"), request("GET", "/v1/chain", "Origin: https://evil\r\n"),
        request("GET", "/v1/stream", "Upgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\n"),
    )  # fmt: skip
    await asking(scene, lambda: scene.chance.choice(said))


@attack("api-slow")
async def api_slow(scene: Scene) -> None:
    """Heads and bodies of a byte a second, hundreds of them."""
    head = f"POST /v1/transactions HTTP/1.1\r\n{HEAD}Content-Length: 20000\r\n\r\n".encode()

    async def one(at: int) -> None:
        while scene.goes_on:
            with suppress(OSError):
                _, writer = await door(scene.targets[at % len(scene.targets)], tcp=bool(at % 4))
                scene.did["connections"] += 1
                writer.write(head if at % 2 else head[:20])
                while scene.goes_on and not writer.transport.is_closing():
                    writer.write(b"x")
                    await asyncio.sleep(1)
                writer.transport.abort()
            await asyncio.sleep(0.2)

    await asyncio.gather(*(one(at) for at in range(800)))


@attack("api-open")
async def api_open(scene: Scene) -> None:
    """Ten thousand connections kept open, most of them silent, some with half a head."""
    held: list[asyncio.StreamWriter] = []
    while scene.goes_on:
        if len(held) < HOLD:
            with suppress(OSError):
                _, writer = await door(scene.target(), tcp=len(held) % 3 > 0)
                held.append(writer)
                scene.did["connections"] += 1
                if len(held) % 5 == 0:
                    writer.write(b"GET /v1/chain HTTP/1.1\r\nX-")
        else:
            await asyncio.sleep(0.05)
    scene.did["held"] = sum(not writer.transport.is_closing() for writer in held)


@attack("api-streams")
async def api_streams(scene: Scene) -> None:
    """Every stream and every place for who waits is taken, and nobody reads."""
    stream = request(
        "GET", "/v1/stream",
        "Upgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\n"
        "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n",
    )
    wait = request("GET", f"/v1/transactions/{'ab' * 32}?wait_ms=10000")

    async def one(at: int) -> None:
        while scene.goes_on:
            with suppress(OSError, TimeoutError):
                reader, writer = await door(scene.targets[at % len(scene.targets)], tcp=False)
                writer.write(stream if at % 10 == 0 else wait)
                line = await reader.readline()
                scene.did[line[9:12].decode("ascii", "replace") or "hung up"] += 1
                if line[9:12] == b"101":
                    await asyncio.sleep(max(0.0, scene.ends - time.monotonic()))
                writer.transport.abort()
            await asyncio.sleep(0.05)

    await asyncio.gather(*(one(at) for at in range(600)))
