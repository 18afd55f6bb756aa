"""The local API over real sockets: who may speak, what is refused, and that nothing outside can hurt it."""

from __future__ import annotations

import asyncio
import gc
import json
import os
import random
import socket
import stat
import subprocess
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import aiohttp
import psutil
import pytest

from potminer.base import limits
from potminer.base.errors import AlreadyRunning, Exit, NotPermitted, PotminerError, Unreachable, UsageError
from potminer.cli.main import main
from potminer.wire.codec import encode
from potminer.wire.control import (
    Mode,
    Pause,
    ReceiptStatus,
    SetMode,
    SetPayout,
    Until,
)
from potminer.wire.proof import Headers
from potminer.wire.tx import Batch, SignedTransaction, Transaction, Transfer, sign_transaction, transaction_digest
from potminer.world.api.address import TcpAddress, UnixAddress
from potminer.world.api.attach import Client, NotFound
from potminer.world.api.guard import WAITING
from potminer.world.api.newest import Newest
from potminer.world.api.serve import ApiServer
from potminer.world.paths import Paths, locate
from tests.contract.api_rig import CERTIFIED, GENESIS, KEY, NOW, TASK, Rig, photograph


@pytest.fixture
def paths(tmp_path: Path) -> Paths:
    return locate({}, datadir=tmp_path / "data", network="devnet")


@pytest.fixture
def rig(tmp_path: Path) -> Rig:
    return Rig(tmp_path)


@asynccontextmanager
async def serving(rig: Rig, paths: Paths, *, tcp_port: int | None = None) -> AsyncIterator[ApiServer]:
    server = await ApiServer.open(rig, paths, clock=lambda: NOW, tcp_port=tcp_port)
    try:
        yield server
    finally:
        await server.close()


def session(paths: Paths) -> aiohttp.ClientSession:
    return aiohttp.ClientSession("http://localhost", connector=aiohttp.UnixConnector(path=str(paths.socket)))


async def fault(reply: aiohttp.ClientResponse) -> tuple[int, str]:
    body = await reply.json()
    assert set(body["error"]) == {"code", "what", "hint"}
    return reply.status, body["error"]["code"]


def signed() -> SignedTransaction:
    transfer = Transaction(bytes(32), KEY.public, 0, 1, 100, Transfer(bytes(32), 5))
    return sign_transaction(transfer, KEY)


async def settle(reached: Callable[[], bool]) -> None:
    """Let the loop run until *reached*; the server closes what a face has left in its own time."""
    async with asyncio.timeout(30):
        for _ in range(10_000_000):
            if reached():
                return
            await asyncio.sleep(0)


# ---- the whole conversation --------------------------------------------------------------


@pytest.mark.parametrize("tcp_port", [None, 0], ids=["unix", "tcp"])
async def test_a_face_can_ask_and_post_everything(rig: Rig, paths: Paths, tmp_path: Path, tcp_port: int | None) -> None:
    async with serving(rig, paths, tcp_port=tcp_port) as server, Client(server.addresses[-1]) as node:
        assert await node.snapshot() == photograph(7)
        await node.command(SetMode(Mode.MINE, 60_000))
        await node.command(Pause("01:00.0"))
        assert rig.commands == [SetMode(Mode.MINE, 60_000), Pause("01:00.0")]
        name = await node.submit(signed())
        assert rig.transactions[bytes.fromhex(name)] == signed()
        assert (await node.receipt(name)).status is ReceiptStatus.WAITING
        assert (await node.post(signed(), wait_ms=10_000, until=Until.DECIDED)).transaction == name
        assert await node.genesis() == GENESIS
        assert (await node.chain()).provable_last == 6
        assert await node.headers(7, 1) == Headers((CERTIFIED,))
        shown = await node.show([b"C", b"a" * 33], height=6)
        assert [proof.end for proof in shown.proofs] == [(b"C", b"value"), (b"a" * 33, b"value")]
        assert (await node.account(KEY.public)).balance == 9
        assert [task.name for task in await node.tasks()] == ["digits"]
        assert (await node.task(TASK)).task.task == TASK
        assert [unit.slot for unit in await node.units(last=2)] == [0, 1]
        assert len(await node.units(last=1, task=TASK)) == 1
        assert (await node.unit(TASK, round=3, slot=5)).slot == 5
        source, target = tmp_path / "up", tmp_path / "down"
        source.write_bytes(os.urandom(2_500_000))
        blob = await node.put_blob(source)
        await node.get_blob(blob, target)
        assert target.read_bytes() == source.read_bytes()


async def test_refusals_reach_the_face_as_typed_errors(rig: Rig, paths: Paths, tmp_path: Path) -> None:
    async with serving(rig, paths) as server, Client(server.address) as node:
        with pytest.raises(UsageError, match="not an address") as refused:
            await node.command(SetPayout("bitcoin"))
        assert refused.value.hint == "It starts with pot1."
        for question in (
            node.receipt("ab" * 32),
            node.task("ab" * 32),
            node.unit("ab" * 32, round=1, slot=1),
            node.get_blob("ab" * 32, tmp_path / "nothing"),
        ):
            with pytest.raises(NotFound):
                await question
        assert not (tmp_path / "nothing").exists()
        for keys in ([], [b"k" * 129], [b"k"] * 65):
            with pytest.raises(UsageError):
                await node.show(keys)
        with pytest.raises(UsageError, match="too high"):
            await node.show([b"C"], height=7)


async def test_a_stream_gives_the_newest_and_ends_with_the_daemon(rig: Rig, paths: Paths) -> None:
    async with serving(rig, paths) as server:
        async with Client(server.address) as node:
            stream = node.watch()
            assert (await anext(stream)).chain.height == 7
            rig.photographs.put_nowait(photograph(8))
            assert (await anext(stream)).chain.height == 8
            assert rig.watchers == 1
            await server.close()
            with pytest.raises(Unreachable):
                await anext(stream)
        assert rig.watchers == 0


async def test_a_face_that_goes_away_is_forgotten(rig: Rig, paths: Paths) -> None:
    async with serving(rig, paths) as server:
        for _ in range(40):
            async with Client(server.address) as node:
                stream = node.watch()
                await anext(stream)
                await stream.aclose()
        await settle(lambda: not rig.watchers)


async def test_newest_wins_and_nothing_queues() -> None:
    place: Newest[int] = Newest()
    for value in range(5):
        place.put(value)
    assert await place.take() == 4
    waiting = asyncio.create_task(place.take())
    await asyncio.sleep(0)
    assert not waiting.done()
    place.put(9)
    assert await waiting == 9


# ---- who may speak -----------------------------------------------------------------------


async def test_socket_cookie_and_folder_are_ours_alone(rig: Rig, paths: Paths) -> None:
    async with serving(rig, paths, tcp_port=0):
        assert stat.S_IMODE(paths.runtime.stat().st_mode) == 0o700
        assert stat.S_IMODE(paths.socket.stat().st_mode) == 0o600
        assert stat.S_IMODE(paths.cookie.stat().st_mode) == 0o600
    assert not paths.socket.exists()
    assert not paths.cookie.exists()


BIRTH = """
import os, stat, sys
from pathlib import Path
from potminer.world.api.serve import _unix_socket
path, seen = Path(sys.argv[1]), []
os.umask(0)
def look(event, arguments):
    if event == "os.chmod" and path.exists():
        seen.append(stat.S_IMODE(path.stat().st_mode))
sys.addaudithook(look)
with _unix_socket(path):
    print(*map(oct, seen), oct(stat.S_IMODE(path.stat().st_mode)))
"""


def test_no_moment_shows_the_socket_open_to_others(tmp_path: Path) -> None:
    """A face that came between birth and chmod was told that somebody had tampered with it."""
    run = subprocess.run([sys.executable, "-c", BIRTH, str(tmp_path / "s")], capture_output=True, text=True, check=True)
    *born, at_last = run.stdout.split()
    assert at_last == "0o600"
    assert born
    if sys.platform.startswith("linux"):
        assert set(born) == {"0o600"}


async def test_a_face_refuses_a_socket_or_cookie_open_to_others(rig: Rig, paths: Paths) -> None:
    async with serving(rig, paths, tcp_port=0) as server:
        paths.socket.chmod(0o666)
        paths.cookie.chmod(0o644)
        for address in server.addresses:
            with pytest.raises(NotPermitted, match="open to other users"):
                async with Client(address):
                    raise AssertionError("it was spoken to")


async def test_tcp_wants_the_cookie_and_only_loopback_listens(rig: Rig, paths: Paths) -> None:
    async with serving(rig, paths, tcp_port=0) as server, aiohttp.ClientSession() as web:
        address = server.addresses[-1]
        assert isinstance(address, TcpAddress)
        base = f"http://127.0.0.1:{address.port}"
        for headers in ({}, {"Authorization": "Bearer " + "0" * 64}, {"Authorization": "Bearer "}):
            async with web.get(base + "/v1/snapshot", headers=headers) as reply:
                assert await fault(reply) == (403, "not-permitted")
            async with web.get(base + "/healthz", headers=headers) as reply:
                assert reply.status == 200
        paths.cookie.write_text("f" * 64)
        async with Client(address) as node:
            with pytest.raises(NotPermitted):
                await node.snapshot()
            with pytest.raises(NotPermitted):
                await anext(node.watch())


@pytest.mark.parametrize("host", ["evil.example", "127.0.0.1.evil.example", "evil.example:80", "", "10.0.0.1"])
async def test_another_host_is_refused(rig: Rig, paths: Paths, host: str) -> None:
    async with serving(rig, paths), session(paths) as web, web.get("/v1/snapshot", headers={"Host": host}) as reply:
        assert await fault(reply) == (403, "not-permitted")


@pytest.mark.parametrize("origin", ["https://evil.example", "http://localhost", "null"])
async def test_a_web_page_is_refused(rig: Rig, paths: Paths, origin: str) -> None:
    async with serving(rig, paths), session(paths) as web:
        async with web.post("/v1/commands", data=b'{"command":"pause"}', headers={"Origin": origin}) as reply:
            assert await fault(reply) == (403, "not-permitted")
            assert "Access-Control-Allow-Origin" not in reply.headers
        with pytest.raises(aiohttp.WSServerHandshakeError):
            await web.ws_connect("/v1/stream", headers={"Origin": origin})
        assert not rig.commands


# ---- what is refused ---------------------------------------------------------------------


@pytest.mark.parametrize(
    ("method", "path", "body", "status"),
    [
        ("POST", "/v1/commands", b"", 400),
        ("POST", "/v1/commands", b"{", 400),
        ("POST", "/v1/commands", b'{"command":"explode"}', 400),
        ("POST", "/v1/commands", b'{"command":"pause","devise":"x"}', 400),
        ("POST", "/v1/commands", b'{"command":"mode","mode":"auto","for_ms":-1}', 400),
        ("POST", "/v1/commands", b"[" * 4_000, 400),
        ("POST", "/v1/commands", b'{"command":"pause"}' + b" " * 5_000, 413),
        ("POST", "/v1/transactions", b"\x00", 400),
        ("POST", "/v1/transactions", b"x" * (limits.TRANSACTION_BYTES + 1), 413),
        ("POST", "/v1/transactions/batch", encode(Batch((b"\x00",))), 400),
        ("POST", "/v1/transactions/batch", encode(Batch((encode(signed()),) * (limits.BATCH_TRANSACTIONS + 1))), 400),
        ("POST", "/v1/transactions/batch", b"x" * (limits.BATCH_BYTES + 1), 413),
        ("GET", "/v1/transactions/zz", None, 400),
        ("GET", "/v1/accounts/pot1qqqq", None, 400),
        ("GET", "/v1/tasks/" + "AB" * 32, None, 400),
        ("GET", "/v1/why?last=1000", None, 400),
        ("GET", "/v1/why?last=%D9%A1", None, 400),
        ("GET", "/v1/why?round=1&slot=1", None, 400),
        ("GET", "/v1/blobs/..%2f..%2fetc%2fpasswd", None, 400),
        ("GET", "/v1/blobs/../../etc/passwd", None, 404),
        ("GET", "/v1/stream", None, 400),
        ("GET", "/nothing", None, 404),
        ("DELETE", "/v1/commands", None, 405),
    ],
)
async def test_bad_requests(
    rig: Rig, paths: Paths, method: str, path: str, body: bytes | None, status: int
) -> None:
    async with serving(rig, paths), session(paths) as web, web.request(method, path, data=body) as reply:
        assert (await fault(reply))[0] == status
        assert not rig.commands
        assert not rig.transactions


async def test_who_waits_for_the_chain_keeps_nobody_from_asking(rig: Rig, paths: Paths) -> None:
    name = await rig.submit(signed(), wait_ms=0, until=Until.INCLUDED)
    url = f"/v1/transactions/{name.transaction}?wait_ms=10000"
    connector = aiohttp.UnixConnector(path=str(paths.socket), limit=0)
    async with serving(rig, paths), aiohttp.ClientSession("http://localhost", connector=connector) as web:
        waiters: list[asyncio.Task[int]] = []

        def all_wait() -> bool:
            return rig.waiting == len(waiters)

        while len(waiters) < WAITING:  # no more at once than a listening socket keeps
            waiters += [asyncio.create_task(status_of(web, url)) for _ in range(32)]
            await settle(all_wait)
        assert await status_of(web, url) == 429, "those who wait have a bound of their own"
        assert await status_of(web, "/v1/chain") == 200
        rig.certified.set()
        assert set(await asyncio.gather(*waiters)) == {200}
        assert await status_of(web, url) == 200


async def status_of(web: aiohttp.ClientSession, url: str) -> int:
    async with web.get(url) as reply:
        return reply.status


async def test_a_transaction_must_be_canonical(rig: Rig, paths: Paths) -> None:
    body = encode(signed())
    async with serving(rig, paths), session(paths) as web:
        async with web.post("/v1/transactions", data=body + b"\x00") as reply:
            assert reply.status == 400
        async with web.post("/v1/transactions", data=body) as reply:
            assert reply.status == 202
            assert (await reply.json())["transaction"] == transaction_digest(signed().transaction).hex()


async def test_a_chunked_body_is_bounded_too(rig: Rig, paths: Paths) -> None:
    async def endless() -> AsyncIterator[bytes]:
        for _ in range(64):
            yield b" " * 1_024

    async with serving(rig, paths), session(paths) as web, web.post("/v1/commands", data=endless()) as reply:
        assert await fault(reply) == (413, "too-large")


async def test_ten_thousand_random_requests_do_no_harm(rig: Rig, paths: Paths) -> None:
    """No 5xx, no growth: as many open files, tasks and watchers after as before."""
    chance = random.Random(20_261_122)
    async with serving(rig, paths) as server, Client(server.address) as node:
        await node.snapshot()
        gc.collect()
        before = open_files(), len(asyncio.all_tasks())
        for _ in range(100):
            replies = await asyncio.gather(*(throw(paths, random_request(chance)) for _ in range(100)))
            bad = [reply for reply in replies if reply.startswith((b"HTTP/1.1 5", b"HTTP/1.0 5"))]
            assert not bad
        assert await node.snapshot() == photograph(7)
        await settle(lambda: open_files() <= before[0] and len(asyncio.all_tasks()) <= before[1])
        assert rig.watchers == 0


def open_files() -> int:
    return psutil.Process().num_fds()


def random_request(chance: random.Random) -> bytes:
    tails = ("snapshot", "commands", "transactions", "why?last=3", "tasks", "blobs", "stream")
    body = chance.choice([b"", b'{"command":"yield-now"}', encode(signed()), chance.randbytes(chance.randrange(300))])
    length = chance.choice([len(body), len(body), len(body) + 7, 10**12, -1])
    head = (
        f"{chance.choice(['GET', 'POST', 'PUT', 'HEAD', 'OPTIONS', 'BREW'])} /v1/{chance.choice(tails)} HTTP/1.1\r\n"
        f"Host: {chance.choice(['localhost', 'localhost', 'evil'])}\r\nContent-Length: {length}\r\n\r\n"
    )
    raw = bytearray(head.encode() + body)
    match chance.randrange(4):
        case 0:
            del raw[chance.randrange(len(raw)) :]
        case 1:
            for _ in range(chance.randrange(1, 6)):
                raw[chance.randrange(len(raw))] = chance.randrange(256)
        case 2:
            raw = bytearray(chance.randbytes(chance.randrange(1, 400)))
    return bytes(raw)


async def throw(paths: Paths, raw: bytes) -> bytes:
    """Send *raw*, say that nothing more will come, and read the first line of the answer."""
    reader, writer = await asyncio.open_unix_connection(str(paths.socket))
    try:
        writer.write(raw)
        writer.write_eof()
        async with asyncio.timeout(20):
            return await reader.read(64)
    except OSError:  # the server may hang up while we still speak
        return b""
    finally:
        writer.close()


# ---- starting and finding ----------------------------------------------------------------


async def test_a_dead_daemons_socket_is_taken_over_and_a_living_ones_is_not(rig: Rig, paths: Paths) -> None:
    paths.runtime.mkdir(parents=True)
    with socket.socket(socket.AF_UNIX) as dead:
        dead.bind(str(paths.socket))
    async with serving(rig, paths):
        with pytest.raises(AlreadyRunning):
            await ApiServer.open(rig, paths, clock=lambda: NOW)
        async with Client(UnixAddress(paths.socket)) as node:
            await node.snapshot()


async def test_a_taken_port_is_an_error_that_helps(rig: Rig, paths: Paths, tmp_path: Path) -> None:
    async with serving(rig, paths, tcp_port=0) as server:
        address = server.addresses[-1]
        assert isinstance(address, TcpAddress)
        other = locate({}, datadir=tmp_path / "other", network="devnet")
        with pytest.raises(PotminerError, match="cannot listen"):
            await ApiServer.open(rig, other, clock=lambda: NOW, tcp_port=address.port)


# ---- supervisors -------------------------------------------------------------------------


async def test_metrics_are_conventional_and_hold_no_unknowns(rig: Rig, paths: Paths) -> None:
    async with serving(rig, paths), session(paths) as web:
        async with web.get("/metrics") as reply:
            lines = (await reply.text()).splitlines()
        samples = dict(line.rsplit(" ", 1) for line in lines if not line.startswith("#"))
        assert samples["potminer_chain_height"] == "7.0"
        assert samples["potminer_earnings_pot_total"] == "5.0"
        assert "potminer_chain_commit_median_seconds" not in samples
        assert all(line.startswith("potminer_") for line in samples)
        async with web.get("/status") as reply:
            assert (await reply.json())["height"] == 7


# ---- the commands, against a real server -------------------------------------------------


async def test_commands_speak_to_the_daemon(rig: Rig, paths: Paths, capsys: pytest.CaptureFixture[str]) -> None:
    place = ["--datadir", str(paths.datadir), "--network", "devnet"]

    async def run(*arguments: str) -> tuple[int, str]:
        code = await asyncio.to_thread(main, [*place, *arguments])
        return code, capsys.readouterr().out

    async with serving(rig, paths):
        code, shown = await run("status")
        assert code == 0
        assert "rig-07 · devnet · validator" in shown
        assert "worth unpriced" in shown
        assert all(len(line) <= 80 for line in shown.splitlines())
        code, shown = await run("status", "--json")
        assert (code, json.loads(shown)["chain"]["height"], json.loads(shown)["schema"]) == (0, 7, 1)
        code, shown = await run("why", "digits/4/1")
        assert code == 0
        assert "measured 44,000 ppm off, allowed 10 ppm" in shown
        assert (await run("why", "1f2e/4/1"))[0] == 0
        assert len(json.loads((await run("why", "--last", "2", "--json"))[1])["units"]) == 2
        assert (await run("why", "digits"))[0] == Exit.USAGE
        assert (await run("why", "digits/5/1"))[0] == Exit.FAILURE
        assert (await run("pause", "--for", "30m"))[0] == 0
        assert (await run("mode", "train"))[0] == 0
        assert rig.commands == [Pause(None, 1_800_000), SetMode(Mode.TRAIN)]
    code, _ = await run("status")
    assert code == Exit.UNREACHABLE
