"""One suite for every miner adapter: what all of them read, refuse, survive and do, each against its fake."""

from __future__ import annotations

import json
from collections.abc import Callable
from copy import deepcopy
from dataclasses import dataclass
from typing import Any

import pytest
from aiohttp import web
from fakes import replies
from fakes.miners import (
    PASSWORD,
    FakeBzminer,
    FakeCgminer,
    FakeEthman,
    FakeEthminer,
    FakeExcavator,
    FakeTrex,
    Page,
)
from fakes.xmrig import FakeXmrig

from potminer.wire.codec import decode, encode
from potminer.wire.facts import MinerSample
from potminer.world.rig.miners import (
    bzminer,
    cgminer,
    ethman,
    ethminer,
    excavator,
    gminer,
    lolminer,
    nbminer,
    rigel,
    srbminer,
    trex,
)
from potminer.world.rig.miners.interface import Failure, MinerAdapter, MinerConfigError, MinerError, look_at
from potminer.world.rig.miners.reading import Reading, listing
from potminer.world.rig.miners.registry import KINDS, open_miner

NOW_MS = (1_669_000_000 + 3_600) * 1_000


class XmrigPair:
    """The fake xmrig in the form of the others: two CUDA threads."""

    def __init__(self) -> None:
        self.server = FakeXmrig()
        self.server.features = ["api", "cuda"]
        self.server.rates = [replies.TOTAL, None, None]
        buses = zip(replies.BUSES, replies.RATES, strict=True)
        self.server.threads = [{"bus_id": bus, "hashrate": [rate, None, None]} for bus, rate in buses]
        self.server.changes = {"uptime": 3_600, "connection": {"uptime": 1, "ip": "x", "accepted": 6, "rejected": 1}}

    @property
    def heedless(self) -> bool:
        return self.server.heedless

    @heedless.setter
    def heedless(self, value: bool) -> None:
        self.server.heedless = value


@dataclass(frozen=True, slots=True)
class Case:
    """*rate* and *warmth* lead to the first GPU's; *unit* is what its rate is divided by in the reply."""

    kind: str
    make: Callable[[], Any]
    rate: tuple[str | int, ...] = ()
    warmth: tuple[str | int, ...] = ()


CASES = {
    "trex": Case("trex", FakeTrex, ("gpus", 0, "hashrate"), ("gpus", 0, "temperature")),
    "lolminer": Case(
        "lolminer", lambda: Page("/summary", replies.LOLMINER), ("Algorithms", 0, "Worker_Performance", 0),
        ("Workers", 0, "Core_Temp"),
    ),
    "lolminer-old": Case(
        "lolminer", lambda: Page("/summary", replies.LOLMINER_OLD), ("GPUs", 0, "Performance"),
    ),
    "gminer": Case(
        "gminer", lambda: Page("/stat", replies.GMINER), ("devices", 0, "speed"), ("devices", 0, "temperature")
    ),
    "nbminer": Case(
        "nbminer", lambda: Page("/api/v1/status", replies.NBMINER), ("miner", "devices", 0, "hashrate_raw"),
        ("miner", "devices", 0, "temperature"),
    ),
    "rigel": Case(
        "rigel", lambda: Page("/stat", replies.RIGEL), ("devices", 0, "hashrate", "kawpow"),
        ("devices", 0, "monitoring_info", "core_temperature"),
    ),
    "srbminer": Case(
        "srbminer", lambda: Page("/", replies.SRBMINER), ("algorithms", 0, "hashrate", "gpu", "gpu0"),
        ("gpu_devices", 0, "temperature"),
    ),
    "srbminer-old": Case(
        "srbminer", lambda: Page("/", replies.SRBMINER_OLD), ("gpu_hashrate", 0, "gpu0"),
        ("gpu_devices", 0, "temperature"),
    ),
    "bzminer": Case("bzminer", FakeBzminer, ("devices", 0, "hashrate", 0), ("devices", 0, "core_temp")),
    "ethman": Case("ethman", FakeEthman),
    "ethminer": Case("ethman", FakeEthminer, (), ("devices", 0, "hardware", "sensors", 0)),
    "cgminer": Case("cgminer", FakeCgminer, ("DEVS", 0, "KHS 30s"), ("DEVS", 0, "Temperature")),
    "excavator": Case(
        "excavator", FakeExcavator, ("worker.list", "workers", 0, "algorithms", 0, "speed"),
        ("devices.get", "devices", 0, "gpu_temp"),
    ),
    "xmrig": Case("xmrig", XmrigPair),
}  # fmt: skip
def _ethman(stat: Any) -> Reading:
    ethman.check(listing(stat, at_most=64))
    return ethman.parse(stat)


def _excavator(replied: Any) -> Reading:
    excavator.check(replied["info"])
    return excavator.parse(*replied.values())


_STATUS = replies.TEAMREDMINER_STATUS
_RED = {name.lower(): {"STATUS": _STATUS, name: part} for name, part in replies.TEAMREDMINER.items()}
PARSERS: dict[str, tuple[Callable[[Any], Reading], Any]] = {
    "trex": (trex.parse, replies.TREX),
    "lolminer": (lolminer.parse, replies.LOLMINER),
    "lolminer-old": (lolminer.parse, replies.LOLMINER_OLD),
    "gminer": (gminer.parse, replies.GMINER),
    "nbminer": (nbminer.parse, replies.NBMINER),
    "rigel": (rigel.parse, replies.RIGEL),
    "srbminer": (srbminer.parse, replies.SRBMINER),
    "srbminer-old": (srbminer.parse, replies.SRBMINER_OLD),
    "bzminer": (bzminer.parse, replies.BZMINER),
    "ethman": (_ethman, replies.PHOENIX),
    "ethminer": (lambda reply: ethminer.parse({"result": reply}), replies.ETHMINER),
    "cgminer": (cgminer.parse, _RED),
    "excavator": (_excavator, replies.EXCAVATOR),
}
EVERY = pytest.mark.parametrize("case", CASES.values(), ids=CASES)
CONTROLLED = [name for name, case in CASES.items() if KINDS[case.kind].control.pauses]


def adapter(kind: str, url: str, token: str = "", *, timeout_s: float = 3.0) -> MinerAdapter:
    return open_miner(kind, url, token, clock=lambda: NOW_MS, timeout_s=timeout_s, look_again_s=0.0)


def of(case: Case, fake: Any, token: str = "", *, timeout_s: float = 3.0) -> MinerAdapter:
    return adapter(case.kind, fake.server.url, token, timeout_s=timeout_s)


def put(fake: Any, path: tuple[str | int, ...], value: Any) -> None:
    part = fake.reply
    for step in path[:-1]:
        part = part[step]
    part[path[-1]] = value


async def failure_of(case: Case, fake: Any, *, timeout_s: float = 3.0) -> Failure:
    with pytest.raises(MinerError) as caught:
        await of(case, fake, PASSWORD, timeout_s=timeout_s).read()
    assert PASSWORD not in str(caught.value)
    return caught.value.failure


def test_every_kind_of_the_table_is_here() -> None:
    assert {case.kind for case in CASES.values()} == set(KINDS)


# ---- reading -----------------------------------------------------------------------------


@EVERY
async def test_reads_the_same_rig_in_every_language(case: Case) -> None:
    fake = case.make()
    async with fake.server:
        identity = await of(case, fake).identify()
        sample = await of(case, fake).read()
    assert (identity.kind, sample.kind, sample.alive) == (case.kind, case.kind, True)
    assert identity.version == sample.version != ""
    assert sample.hashrate_hs == replies.TOTAL
    assert (sample.accepted, sample.rejected, sample.uptime_s) == (6, 1, 3_600)
    assert tuple(gpu.bus for gpu in sample.gpus) == replies.BUSES
    assert tuple(gpu.hashrate_hs for gpu in sample.gpus) == replies.RATES
    assert sample.paused in (False, None)
    assert sample.taken_at_ms == NOW_MS
    assert decode(MinerSample, encode(sample), max_bytes=8_192) == sample


@pytest.mark.parametrize("name", [name for name, case in CASES.items() if case.warmth or name == "ethman"])
async def test_reads_health(name: str) -> None:
    fake = CASES[name].make()
    async with fake.server:
        first = (await of(CASES[name], fake).read()).gpus[0]
    assert first.temperature_milli_c == 61_000
    assert first.power_mw in (120_000, 120_500, None)
    assert first.fan_ppm in (660_000, None)


@pytest.mark.parametrize("value", [0, -1, 511, None, "61", True, 1e300])
@pytest.mark.parametrize("name", [name for name, case in CASES.items() if case.warmth])
async def test_the_temperature_of_a_lost_gpu_is_unknown(name: str, value: Any) -> None:
    fake = CASES[name].make()
    put(fake, CASES[name].warmth, value)
    async with fake.server:
        sample = await of(CASES[name], fake).read()
    assert sample.gpus[0].temperature_milli_c is None
    assert sample.gpus[1].temperature_milli_c == 55_000


@pytest.mark.parametrize("value", [None, -5, "61.50 M", True, [], {}, 1e300])
@pytest.mark.parametrize("name", [name for name, case in CASES.items() if case.rate])
async def test_a_rate_that_is_no_number_is_unknown_and_never_zero(name: str, value: Any) -> None:
    fake = CASES[name].make()
    put(fake, CASES[name].rate, value)
    async with fake.server:
        sample = await of(CASES[name], fake).read()
    assert sample.gpus[0].hashrate_hs is None
    assert sample.gpus[1].hashrate_hs == replies.RATES[1]
    assert sample.hashrate_hs in (replies.TOTAL, None), "the miner's own sum, or none"


def _replaced(value: Any, junk: Any) -> list[Any]:
    """Copies of *value*, each with one of its entries, at any depth, replaced by *junk*."""
    found: list[Any] = []
    keys = value if isinstance(value, dict) else range(len(value)) if isinstance(value, list) else ()
    for key in keys:
        for inner in [junk, *_replaced(value[key], junk)]:
            copy = deepcopy(value)
            copy[key] = inner
            found.append(copy)
    return found


@pytest.mark.parametrize("junk", [None, -1, "\x1b[31mtext" * 50, [], {}, [{}], {"a": [1]}, True], ids=repr)
@pytest.mark.parametrize("name", [name for name in CASES if name != "xmrig"])
def test_any_one_wrong_value_gives_a_sample_or_a_typed_refusal(name: str, junk: Any) -> None:
    """Straight into the parser where there is one: all of these would be thousands of connections."""
    parse, reply = PARSERS[name]
    for changed in _replaced(reply, junk):
        try:
            reading = parse(changed)
        except MinerError:
            continue  # a typed refusal
        sample = MinerSample(
            "x", "x", reading.version, True, reading.paused, reading.hashrate_hs, reading.uptime_s, reading.accepted,
            reading.rejected, False, reading.gpus, 0, reading.algorithm,
        )  # fmt: skip
        assert decode(MinerSample, encode(sample), max_bytes=16_384) == sample, "what is read is within its bounds"
        assert "\x1b" not in repr(encode(sample))


# ---- what is not the miner -----------------------------------------------------------------


@pytest.mark.parametrize("there", CASES)
@pytest.mark.parametrize("asked", sorted(KINDS))
async def test_a_wrong_miner_on_the_port_is_never_believed(asked: str, there: str) -> None:
    if asked == CASES[there].kind:
        return
    fake = CASES[there].make()
    async with fake.server:
        port = fake.server.url.rpartition(":")[2]
        miner = adapter(asked, f"{KINDS[asked].scheme}://127.0.0.1:{port}", timeout_s=0.5)
        for call in (miner.identify, miner.read, miner.pause):
            with pytest.raises(MinerError) as caught:
                await call()
            assert caught.value.failure is not Failure.UNREACHABLE
        told = [c for c in map(str, fake.server.calls) if "control" in c or "command=st" in c or "disable" in c]
    assert not told, "nothing is written to a stranger"


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"<html><body>router</body></html>\n",
        b" " * (10 << 20),
        b"[" * (10 << 20),
        b'{"a":' * 100_000 + b"\n",
        b"\xff\xfe{}\n",
        b'{"hashrate": NaN}\n',
        b"[]\n",
        b"{}\n",
        b"null\n",
        b'{"result": [1,2,3]}\n',
        b"SSH-2.0-OpenSSH_9.2\r\n",
    ],
    ids=["empty", "html", "10MiB", "10MiB-deep", "deep", "no-utf8", "nan", "list", "object", "null", "rpc", "ssh"],
)
@EVERY
async def test_bodies_of_no_miner(case: Case, body: bytes) -> None:
    fake = case.make()
    fake.server.raw = body
    async with fake.server:
        found = await failure_of(case, fake, timeout_s=2.0)
    assert found in (Failure.MALFORMED, Failure.NOT_THIS_MINER, Failure.REFUSED)


@EVERY
async def test_a_slow_drip_ends_at_the_deadline(case: Case) -> None:
    fake = case.make()
    fake.server.drip_s = 0.02
    async with fake.server:
        assert await failure_of(case, fake, timeout_s=0.2) is Failure.TIMEOUT


@pytest.mark.parametrize("status", [301, 302, 307, 401, 403, 404, 500])
@pytest.mark.parametrize("name", [name for name, case in CASES.items() if KINDS[case.kind].scheme == "http"])
async def test_redirects_and_refusals_of_http(name: str, status: int) -> None:
    fake = CASES[name].make()
    fake.server.raw = web.Response(status=status, headers={"Location": "/elsewhere"})
    async with fake.server:
        found = await failure_of(CASES[name], fake)
        assert not any("elsewhere" in call for call in fake.server.calls), "a redirect is not followed"
    assert found in (Failure.REFUSED, Failure.NOT_THIS_MINER)


@EVERY
async def test_a_miner_that_is_gone_is_a_sample_too(case: Case) -> None:
    fake = case.make()
    async with fake.server:
        miner = of(case, fake)
    sample = await look_at(miner, now_ms=lambda: 9)
    assert (sample.alive, sample.paused, sample.hashrate_hs, sample.gpus) == (False, None, None, ())
    assert await failure_of(case, fake) is Failure.UNREACHABLE


# ---- control -------------------------------------------------------------------------------


@pytest.mark.parametrize("name", CONTROLLED)
async def test_pauses_and_resumes_and_reads_it_back(name: str) -> None:
    fake = CASES[name].make()
    async with fake.server:
        miner = of(CASES[name], fake)
        assert miner.capabilities.pauses
        paused = await miner.pause()
        assert (paused.paused, paused.hashrate_hs) == (True, paused.hashrate_hs if name == "xmrig" else 0)
        assert (await miner.read()).paused is True
        resumed = await miner.resume()
        assert resumed.paused is False
        assert resumed.hashrate_hs == replies.TOTAL
        assert (await miner.resume()).paused is False, "resuming what runs does no harm"


@pytest.mark.parametrize("name", CONTROLLED)
async def test_a_miner_that_accepts_and_goes_on_is_found_out(name: str) -> None:
    fake = CASES[name].make()
    fake.heedless = True
    async with fake.server:
        with pytest.raises(MinerError) as caught:
            await of(CASES[name], fake).pause()
    assert caught.value.failure is Failure.REFUSED


@pytest.mark.parametrize("name", sorted(set(CASES) - set(CONTROLLED)))
async def test_a_miner_that_cannot_pause_says_so_and_is_left_alone(name: str) -> None:
    fake = CASES[name].make()
    async with fake.server:
        miner = of(CASES[name], fake)
        assert not miner.capabilities.pauses
        assert (await miner.identify()).writable is False
        fake.server.calls.clear()
        for call in (miner.pause, miner.resume):
            with pytest.raises(MinerError) as caught:
                await call()
            assert caught.value.failure is Failure.READ_ONLY
        assert not fake.server.calls


# ---- addresses and secrets -----------------------------------------------------------------


@pytest.mark.parametrize("kind", sorted(KINDS))
def test_only_this_machine_and_only_its_own_scheme(kind: str) -> None:
    scheme = KINDS[kind].scheme
    other = "tcp" if scheme == "http" else "http"
    for url in (
        f"{scheme}://192.0.2.1:4000",
        f"{scheme}://miner.example:4000",
        f"{scheme}://user:{PASSWORD}@127.0.0.1:4000",
        f"{scheme}://127.0.0.1:4000/?password={PASSWORD}",
        f"{other}://127.0.0.1:4000",
        f"{scheme}://127.0.0.1:0",
        f"{scheme}://[::1",
        "file:///etc/passwd",
    ):
        with pytest.raises(MinerConfigError) as caught:
            adapter(kind, url)
        assert PASSWORD not in str(caught.value)
    assert adapter(kind, f"{scheme}://localhost:4000").name == f"{kind}@127.0.0.1:4000"


@EVERY
async def test_secrets_stay_out_of_names_errors_and_samples(case: Case) -> None:
    fake = case.make()
    async with fake.server:
        miner = of(case, fake)
        shown = repr(miner) + miner.name + str(await miner.identify()) + str(await miner.read())
    for secret in ("0xWALLET", "hunter2", PASSWORD, "pool.example"):
        assert secret not in shown


def test_the_replies_are_json() -> None:
    for _, reply in PARSERS.values():
        assert json.loads(json.dumps(reply)) == reply
