"""Connections that are only held open: bounded by address and in all, and the operator still gets in."""

from __future__ import annotations

import asyncio
import json
import logging
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import aiohttp
import pytest

from potminer.wire.control import Until
from potminer.wire.tx import SignedTransaction, Transaction, Transfer, sign_transaction
from potminer.world.api.address import TcpAddress
from potminer.world.api.attach import Client
from potminer.world.api.body import BODY_S, LEAST_BYTES_S, patience
from potminer.world.api.door import OPEN_FILES, Door, connections_allowed
from potminer.world.api.serve import ApiServer
from potminer.world.paths import Paths, locate
from tests.contract.api_rig import KEY, NOW, Rig
from tests.contract.test_api import settle

PLACES, IN_ALL, CROWD = 8, 12, 40
Streams = list[tuple[asyncio.StreamReader, asyncio.StreamWriter]]


@pytest.fixture
def paths(tmp_path: Path) -> Paths:
    return locate({}, datadir=tmp_path / "data", network="devnet")


@asynccontextmanager
async def serving(rig: Rig, paths: Paths, door: Door) -> AsyncIterator[ApiServer]:
    server = await ApiServer.open(rig, paths, clock=lambda: NOW, tcp_port=0, door=door)
    try:
        yield server
    finally:
        await server.close()


@asynccontextmanager
async def crowd(server: ApiServer, paths: Paths, *, said: bytes, tcp: bool) -> AsyncIterator[Streams]:
    """CROWD connections that say *said* and nothing more."""
    address = server.addresses[-1]
    assert isinstance(address, TcpAddress)
    streams: Streams = []
    try:
        for _ in range(CROWD):
            if tcp:
                streams.append(await asyncio.open_connection("127.0.0.1", address.port))
            else:
                streams.append(await asyncio.open_unix_connection(str(paths.socket)))
            streams[-1][1].write(said)
        yield streams
    finally:
        for _, writer in streams:
            writer.transport.abort()


HALF_A_HEAD = b"GET /v1/chain HTTP/1.1\r\nHost: localhost\r\nX: "


@pytest.mark.parametrize("said", [b"", HALF_A_HEAD])
@pytest.mark.parametrize("tcp", [True, False])
async def test_connections_that_are_held_open_are_bounded_and_keep_nobody_out(
    tmp_path: Path, paths: Paths, said: bytes, tcp: bool
) -> None:
    door = Door(places=PLACES, in_all=IN_ALL)
    async with serving(Rig(tmp_path), paths, door) as server, crowd(server, paths, said=said, tcp=tcp) as held:
        for address in server.addresses:
            async with Client(address) as operator:
                assert (await operator.chain()).provable_last == 6
        assert door.connections <= PLACES + 1, "one address has so many places, and the operator came by both"
        assert await rest(held[0][0]) == b"", "the longest idle gave way"



async def rest(reader: asyncio.StreamReader, size: int = -1) -> bytes:
    """What the other end says before it hangs up, or the first *size* bytes."""
    async with asyncio.timeout(30):
        return await (reader.read() if size < 0 else reader.readexactly(size))


def signed(nonce: int) -> SignedTransaction:
    return sign_transaction(Transaction(bytes(32), KEY.public, nonce, 1, 100, Transfer(bytes(32), 5)), KEY)


async def test_who_is_answered_keeps_its_place_and_a_newcomer_is_told(tmp_path: Path, paths: Paths) -> None:
    rig, door = Rig(tmp_path), Door(places=PLACES, in_all=IN_ALL)
    name = (await rig.submit(signed(0), wait_ms=0, until=Until.INCLUDED)).transaction
    wait = f"GET /v1/transactions/{name}?wait_ms=10000 HTTP/1.1\r\nHost: localhost\r\n\r\n".encode()
    async with serving(rig, paths, door) as server:
        waiting: Streams = []
        for at in range(PLACES):
            waiting.append(await asyncio.open_unix_connection(str(paths.socket)))
            waiting[-1][1].write(wait)
            await settle(lambda waiters=at + 1: rig.waiting == waiters)
        reader, writer = await asyncio.open_unix_connection(str(paths.socket))
        head, _, body = (await rest(reader)).partition(b"\r\n\r\n")
        writer.close()
        assert head.startswith(b"HTTP/1.1 429 ")
        assert json.loads(body)["error"]["code"] == "busy"
        rig.certified.set()
        for stream, _ in waiting:
            assert (await rest(stream, 12)).startswith(b"HTTP/1.1 200")
        async with Client(server.address) as operator:
            await operator.chain()
        for _, each in waiting:
            each.transport.abort()


async def test_tcp_never_takes_the_last_places_of_the_unix_socket(tmp_path: Path, paths: Paths) -> None:
    """In all there are fewer places than both addresses have together: the unix socket's guests stay."""
    door = Door(places=PLACES, in_all=PLACES)
    async with serving(Rig(tmp_path), paths, door) as server:
        connector = aiohttp.UnixConnector(path=str(paths.socket), limit=0)
        async with aiohttp.ClientSession("http://localhost", connector=connector) as face:
            async with face.get("/v1/chain") as reply:
                assert reply.status == 200
            (guest,) = door._guests
            async with crowd(server, paths, said=b"", tcp=True) as held:
                assert await rest(held[0][0]) == b""
                assert guest in door._guests
                assert not guest.is_closing()


RUBBISH = (
    b"POST /v1/commands HTTP/1.1\r\nHost: localhost\r\nContent-Encoding: gzip\r\nContent-Length: 203\r\n\r\n"
    b"\x1f\x8b\x08" + bytes(200),
    b"POST /v1/commands HTTP/1.1\r\nHost: evil\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\nzz\r\n",
    b"POST /v1/transactions HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\nfffffffffffffffffff\r\n",
    b"GET /v1/chain HTTP/1.1\r\nHost: localhost\r\n" + b"".join(b"X-%d: 1\r\n" % at for at in range(2_000)) + b"\r\n",
    b"GET /" + b"a" * 100_000 + b" HTTP/1.1\r\n\r\n",
    b"\x16\x03\x01" + bytes(500),
    b"GET /v1/chain HTTP/9.9\r\n\r\n",
)


class Written(logging.Handler):
    """What a server would have written down."""

    def __init__(self) -> None:
        super().__init__()
        self.lines: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.lines.append(f"{record.getMessage()} {record.exc_info}")


async def test_rubbish_is_answered_and_not_written_down(tmp_path: Path, paths: Paths) -> None:
    """A traceback for each line of rubbish would fill the disk of a node that nobody watches."""
    written = Written()
    for name in ("potminer.api", "aiohttp.server"):
        logging.getLogger(name).addHandler(written)
    try:
        async with serving(Rig(tmp_path), paths, Door()) as server:
            for said in RUBBISH:
                reader, writer = await asyncio.open_unix_connection(str(paths.socket))
                writer.write(said)
                head = await rest(reader, 10)
                assert (head[:7], head[8:]) == (b"HTTP/1.", b" 4"), said[:60]
                writer.write_eof()
                writer.transport.abort()
            async with Client(server.address) as operator:
                await operator.chain()
    finally:
        for name in ("potminer.api", "aiohttp.server"):
            logging.getLogger(name).removeHandler(written)
    assert not written.lines


async def test_a_fault_of_our_own_is_written_down(tmp_path: Path, paths: Paths) -> None:
    written, rig = Written(), Rig(tmp_path)
    logging.getLogger("potminer.api").addHandler(written)

    async def broken() -> None:
        raise AssertionError("a bug")

    rig.snapshot = broken  # type: ignore[assignment,method-assign]
    try:
        async with serving(rig, paths, Door()):
            reader, writer = await asyncio.open_unix_connection(str(paths.socket))
            writer.write(b"GET /v1/snapshot HTTP/1.1\r\nHost: localhost\r\n\r\n")
            assert (await rest(reader, 12)).startswith(b"HTTP/1.1 500")
            writer.transport.abort()
    finally:
        logging.getLogger("potminer.api").removeHandler(written)
    assert len(written.lines) == 1
    assert "a bug" in written.lines[0]


def test_a_body_of_a_byte_a_second_is_not_waited_for_and_a_large_one_is() -> None:
    assert patience(0, 0) == BODY_S
    assert patience(10, 10) < BODY_S - 9, "each byte brings next to nothing"
    assert patience(BODY_S + 1, 30) == 0
    assert patience(3_600, 3_600 * LEAST_BYTES_S) == BODY_S, "who sends enough may send for hours"
    assert patience(10, 2**30) == BODY_S, "however much came at once, silence is no longer borne"


def test_no_more_connections_than_the_system_has_files_for() -> None:
    allowed = connections_allowed()
    assert 16 <= allowed <= OPEN_FILES
    if sys.platform != "win32":
        import resource

        soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
        assert soft == resource.RLIM_INFINITY or allowed <= max(16, soft // 2)
