"""The xmrig adapter against a fake that speaks as xmrig does, and against everything that is not xmrig."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import pytest
from aiohttp import web
from fakes.xmrig import FakeXmrig

from potminer.wire.codec import decode, encode
from potminer.wire.facts import MinerGpu, MinerSample
from potminer.world.rig.miners.interface import Failure, MinerConfigError, MinerError, look_at
from potminer.world.rig.miners.xmrig import XmrigAdapter

TOKEN = "s3cret-token"


def adapter(fake: FakeXmrig, token: str = "", *, timeout_s: float = 3.0) -> XmrigAdapter:
    return XmrigAdapter(fake.url, token, clock=lambda: 77, timeout_s=timeout_s, look_again_s=0.0)


async def failure_of(fake: FakeXmrig, token: str = "", *, timeout_s: float = 3.0) -> Failure:
    with pytest.raises(MinerError) as caught:
        await adapter(fake, token, timeout_s=timeout_s).read()
    assert TOKEN not in str(caught.value)
    return caught.value.failure


async def test_reads_a_summary() -> None:
    async with FakeXmrig() as fake:
        sample = await adapter(fake).read()
        assert (sample.kind, sample.version, sample.alive, sample.paused) == ("xmrig", "6.26.0", True, False)
        assert (sample.hashrate_hs, sample.uptime_s, sample.accepted, sample.rejected) == (1234, 3600, 20, 1)
        assert (sample.gpus, sample.taken_at_ms) == ((), 77)
        assert decode(MinerSample, encode(sample), max_bytes=4_096) == sample


@pytest.mark.parametrize(
    ("windows", "rate"),
    [
        ([None, None, None], None),
        ([None, 900.9, None], 900),
        ([0, 0, 0], 0),
        ([0.0, 500.0, None], 0),
        ([-5, None, None], None),
        (["1200", None, None], None),
        ([True, None, None], None),
        ([1e300, None, None], None),
        ([], None),
        ([{}, [], 7], 7),
    ],
)
async def test_rates_are_numbers_or_unknown(windows: list[Any], rate: int | None) -> None:
    async with FakeXmrig() as fake:
        fake.rates = windows
        assert (await adapter(fake).read()).hashrate_hs == rate


@pytest.mark.parametrize(
    ("windows", "paused", "connected", "rate"),
    [
        ([None, 800.0, 900.0], False, False, 0),
        ([None, None, None], True, True, 0),
        ([100.0, 800.0, 900.0], False, False, 100),
        ([None, 800.0, 900.0], False, True, 800),
        ([None, None, None], False, True, None),
    ],
    ids=["no-pool", "paused", "pool-just-lost", "slow-threads", "starting"],
)
async def test_null_is_zero_only_where_it_cannot_be_hashing(
    windows: list[Any], paused: bool, connected: bool, rate: int | None
) -> None:
    async with FakeXmrig() as fake:
        fake.rates, fake.paused, fake.connected = windows, paused, connected
        assert (await adapter(fake).read()).hashrate_hs == rate


async def test_rates_of_gpus_by_bus() -> None:
    async with FakeXmrig() as fake:
        fake.features = ["api", "cuda"]
        fake.threads = [
            {"bus_id": "01:00.0", "hashrate": [10.5, None, None]},
            {"bus_id": "01:00.0", "hashrate": [10, None, None]},
            {"bus_id": "0000:03:00.0", "hashrate": [None, None, None]},
            {"bus_id": "elsewhere", "hashrate": [1]},
            {"bus_id": 5},
        ]
        assert (await adapter(fake).read()).gpus == (MinerGpu("0000:01:00.0", 20), MinerGpu("0000:03:00.0", None))


async def test_pauses_and_resumes_and_reads_again() -> None:
    async with FakeXmrig() as fake:
        fake.token = TOKEN
        miner = adapter(fake, TOKEN)
        assert (await miner.pause()).paused is True
        assert fake.paused
        assert fake.calls == ["GET /2/summary", "POST /json_rpc", "GET /2/summary"]
        assert (await miner.resume()).paused is False
        assert not fake.paused


async def test_a_miner_that_says_ok_and_goes_on_is_found_out() -> None:
    async with FakeXmrig() as fake:
        fake.heedless = True
        with pytest.raises(MinerError) as caught:
            await adapter(fake).pause()
        assert caught.value.failure is Failure.REFUSED


async def test_restricted_is_read_only_and_never_written_to() -> None:
    async with FakeXmrig() as fake:
        fake.restricted = True
        miner = adapter(fake)
        assert not (await miner.identify()).writable
        with pytest.raises(MinerError) as caught:
            await miner.pause()
        assert caught.value.failure is Failure.READ_ONLY
        assert "POST /json_rpc" not in fake.calls


async def test_tokens() -> None:
    async with FakeXmrig() as fake:
        fake.token = TOKEN + "!"
        assert await failure_of(fake) is Failure.REFUSED
        assert await failure_of(fake, TOKEN) is Failure.REFUSED
        fake.token = ""
        assert await failure_of(fake, TOKEN) is Failure.REFUSED, "xmrig without a token refuses any"
        fake.token = TOKEN + "!"
        assert (await adapter(fake, TOKEN + "!").read()).alive
        assert TOKEN not in repr(adapter(fake, TOKEN)) + adapter(fake, TOKEN).name


@pytest.mark.parametrize(
    ("status", "failure"),
    [
        (301, Failure.REFUSED),
        (302, Failure.REFUSED),
        (403, Failure.REFUSED),
        (404, Failure.NOT_THIS_MINER),
        (405, Failure.REFUSED),
        (415, Failure.REFUSED),
        (500, Failure.REFUSED),
    ],
)
async def test_statuses(status: int, failure: Failure) -> None:
    async with FakeXmrig() as fake:
        fake.raw = web.Response(status=status, headers={"Location": "/api.json"})
        assert await failure_of(fake) is failure
        assert fake.calls == ["GET /2/summary"], "a redirect is not followed"


@pytest.mark.parametrize(
    ("body", "failure"),
    [
        (b"", Failure.MALFORMED),
        (b"<html><body>router</body></html>", Failure.MALFORMED),
        (b'{"kind":"miner","version":"6","hashrate":{"total":[NaN]},"connection":{}}', Failure.MALFORMED),
        (b"[" * 100_000, Failure.MALFORMED),
        (b" " * (10 << 20), Failure.MALFORMED),
        (b"\xff\xfe{}", Failure.MALFORMED),
        (b"[]", Failure.NOT_THIS_MINER),
        (b"null", Failure.NOT_THIS_MINER),
        (b'{"error":null,"success":1,"name":"t-rex","hashrate":5,"paused":false}', Failure.NOT_THIS_MINER),
    ],
    ids=["empty", "html", "nan", "deep", "10MiB", "not-utf8", "list", "null", "t-rex"],
)
async def test_bodies_that_are_not_xmrig(body: bytes, failure: Failure) -> None:
    async with FakeXmrig() as fake:
        fake.raw = body
        assert await failure_of(fake) is failure


@pytest.mark.parametrize("key", ["kind", "version", "hashrate", "connection"])
async def test_the_shape_is_checked_before_anything_is_believed(key: str) -> None:
    async with FakeXmrig() as fake:
        for wrong in (..., "proxy", 7, [], None):
            if key == "version" and wrong == "proxy":
                continue
            fake.changes = {key: wrong}
            assert await failure_of(fake) is Failure.NOT_THIS_MINER
            with pytest.raises(MinerError):
                await adapter(fake).pause()
        assert "POST /json_rpc" not in fake.calls


async def test_odd_values_are_unknown_and_text_is_harmless() -> None:
    async with FakeXmrig() as fake:
        fake.changes = {"paused": "no", "uptime": -1, "version": "6\x1b[31m" + "x" * 500}
        sample = await adapter(fake).read()
        assert (sample.paused, sample.uptime_s) == (None, None)
        assert "\x1b" not in sample.version
        assert len(sample.version) <= 64
        assert (await look_at(adapter(fake), now_ms=lambda: 1)).alive


async def test_a_slow_drip_ends_at_the_timeout() -> None:
    async with FakeXmrig() as fake:
        fake.drip_s = 0.02
        assert await failure_of(fake, timeout_s=0.2) is Failure.TIMEOUT
        with pytest.raises(MinerError):
            await look_at(adapter(fake, timeout_s=0.2), now_ms=lambda: 1)


async def test_a_miner_that_is_gone_is_a_sample_too() -> None:
    async with FakeXmrig() as fake:
        miner = adapter(fake)
    sample = await look_at(miner, now_ms=lambda: 9)
    assert (sample.alive, sample.paused, sample.hashrate_hs, sample.taken_at_ms) == (False, None, None, 9)


async def test_a_port_that_speaks_no_http() -> None:
    async def greet(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"SSH-2.0-OpenSSH_9.2\r\n")
        await writer.drain()
        writer.close()

    server = await asyncio.start_server(greet, "127.0.0.1", 0)
    async with server:
        port = server.sockets[0].getsockname()[1]
        with pytest.raises(MinerError) as caught:
            await XmrigAdapter(f"http://127.0.0.1:{port}", TOKEN, clock=lambda: 0).read()
    assert caught.value.failure in (Failure.MALFORMED, Failure.REFUSED)


@pytest.mark.parametrize(
    "url",
    [
        "http://192.0.2.1:4000",
        "http://miner.example:4000",
        "https://127.0.0.1:4000",
        "http://user:s3cret-token@127.0.0.1:4000",
        "http://127.0.0.1:4000/?access-token=s3cret-token",
        "127.0.0.1:4000",
        "http://",
        "http://[::1",
        "file:///etc/passwd",
    ],
)
def test_addresses_that_are_refused(url: str) -> None:
    with pytest.raises(MinerConfigError) as caught:
        XmrigAdapter(url, clock=lambda: 0)
    assert TOKEN not in str(caught.value)


def test_a_remote_miner_needs_permission() -> None:
    remote = XmrigAdapter("http://192.0.2.1:4000", clock=lambda: 0, allow_remote=True)
    assert remote.name == "xmrig@192.0.2.1:4000"
    assert XmrigAdapter("http://localhost:4000", clock=lambda: 0).name == "xmrig@127.0.0.1:4000"


async def test_the_fake_itself_speaks_as_documented() -> None:
    async with FakeXmrig() as fake:
        assert json.loads(json.dumps(fake.summary()))["kind"] == "miner"
