"""What is peculiar to one miner each: passwords, dual mining, units, formats, and how it is told to rest."""

from __future__ import annotations

from copy import deepcopy
from typing import Any

import pytest
from fakes import replies
from fakes.miners import PASSWORD, FakeBzminer, FakeCgminer, FakeEthman, FakeEthminer, FakeExcavator, FakeTrex, Page

from potminer.world.rig.miners import bzminer, cgminer, ethman, gminer, lolminer, nbminer, rigel, srbminer, trex
from potminer.world.rig.miners.interface import Failure, MinerAdapter, MinerError
from potminer.world.rig.miners.registry import open_miner


def adapter(kind: str, fake: Any, token: str = "", *, timeout_s: float = 3.0) -> MinerAdapter:
    return open_miner(kind, fake.server.url, token, clock=lambda: 77_000, timeout_s=timeout_s, look_again_s=0.0)


async def refusal(call: Any) -> MinerError:
    with pytest.raises(MinerError) as caught:
        await call()
    assert PASSWORD not in str(caught.value)
    return caught.value


# ---- T-Rex ---------------------------------------------------------------------------------


async def test_trex_without_a_key_is_read_only() -> None:
    fake = FakeTrex()
    fake.read_only = True
    async with fake.server:
        miner = adapter("trex", fake)
        assert (await miner.identify()).writable is None
        found = await refusal(miner.pause)
        assert not fake.reply["paused"]
    assert found.failure is Failure.READ_ONLY
    assert "--api-key" in str(found)


async def test_trex_logs_in_for_commands_and_again_when_its_session_ends() -> None:
    fake = FakeTrex()
    fake.password = PASSWORD
    async with fake.server:
        miner = adapter("trex", fake, PASSWORD)
        assert (await miner.identify()).writable is True
        await miner.pause()
        fake.sessions += 1  # it was restarted
        await miner.resume()
        assert not fake.reply["paused"]
        assert not any("control" in call and "sid=" not in call for call in fake.server.calls)
        assert not any(PASSWORD in str(headers) for headers in fake.server.headers)


async def test_trex_with_a_wrong_password() -> None:
    fake = FakeTrex()
    fake.password = fake_secret = PASSWORD + "!"
    fake.locked = True
    async with fake.server:
        wrong = adapter("trex", fake, PASSWORD)
        assert (await refusal(wrong.read)).failure is Failure.REFUSED
        assert (await refusal(adapter("trex", fake).read)).failure is Failure.REFUSED
        assert (await adapter("trex", fake, fake_secret).read()).alive
        fake.locked = False
        assert (await wrong.identify()).writable is False
        assert (await refusal(wrong.pause)).failure is Failure.REFUSED
    assert not fake.reply["paused"]


async def test_trex_is_told_in_small_letters_only() -> None:
    fake = FakeTrex()
    async with fake.server:
        await adapter("trex", fake).pause()
    assert [call for call in fake.server.calls if "control" in call] == ["GET /control?pause=true"]


def test_trex_mining_two_coins() -> None:
    reply = deepcopy(replies.TREX)
    second = [{"device_id": 0, "hashrate": 300}, {"device_id": 1, "hashrate": 200}]
    reply["dual_stat"] = {"hashrate": 500, "gpus": second}
    assert trex.parse(reply).hashrate_hs == replies.TOTAL, "rates of two algorithms are not added"
    reply["hashrate"] = 0
    reply["gpus"][0]["hashrate"] = 0
    assert trex.parse(reply).hashrate_hs == 500, "the second still earns"
    assert trex.parse(reply).gpus[0].hashrate_hs == 300
    reply["dual_stat"]["hashrate"] = 0
    assert trex.parse(reply).hashrate_hs == 0


# ---- lolMiner, GMiner, NBMiner, Rigel, SRBMiner ----------------------------------------------


async def test_lolminer_with_a_worker_of_digits() -> None:
    page = Page("/summary", b'{"Software":"lolMiner 1.88","Session":{"Uptime":5},"Workers":[],'
                            b'"Algorithms":[{"Algorithm":"Ethash","User":0x,"Worker": 0012}]}'.replace(b"0x", b"0077"))
    async with page.server:
        sample = await adapter("lolminer", page).read()
    assert (sample.version, sample.uptime_s, sample.hashrate_hs) == ("1.88", 5, None)


@pytest.mark.parametrize(
    ("software", "algorithm", "unit", "rate"),
    [
        ("lolMiner 1.42", "Ethash", None, 91_750_000),
        ("lolMiner 1.10a", "Etchash", None, 91_750_000),
        ("lolMiner 1.09", "Ethash", None, 91),
        ("lolMiner 1.42", "BeamHash III", None, 91),
        ("lolMiner 1.42", "Ethash", "kH/s", 91_750),
        ("lolMiner 1.42", "Cuckoo 29", "g/s", 91),
    ],
)
def test_units_of_the_old_lolminer(software: str, algorithm: str, unit: str | None, rate: int) -> None:
    reply = deepcopy(replies.LOLMINER_OLD)
    reply["Software"], reply["Mining"]["Algorithm"] = software, algorithm
    if unit is not None:
        reply["Session"]["Performance_Unit"] = unit
    assert lolminer.parse(reply).hashrate_hs == rate
    reply["Session"]["Performance_Unit"] = "furlongs"
    with pytest.raises(MinerError):
        lolminer.parse(reply)


def test_gminer_mining_two_coins_and_before_it_had_a_name() -> None:
    reply = deepcopy(replies.GMINER)
    reply["devices"][0] |= {"speed": 0, "speed2": 99}
    assert gminer.parse(reply).gpus[0].hashrate_hs == 99
    del reply["miner"]
    assert gminer.parse(reply).version == ""


def test_nbminer_reads_raw_rates_alone() -> None:
    reply = deepcopy(replies.NBMINER)
    reply["miner"]["devices"][0] = {"id": 0, "info": "GTX 1080 Ti", "hashrate": 1_499, "temperature": 65}
    first = nbminer.parse(reply).gpus[0]
    assert (first.bus, first.index, first.hashrate_hs, first.power_mw) == (None, 0, None, None)
    assert nbminer.parse(replies.NBMINER).gpus[1].memory_temperature_milli_c is None, "-1 is none"
    assert nbminer.parse(replies.NBMINER).started_at_s == 1_669_000_000


def test_rigel_null_power_and_two_algorithms() -> None:
    assert rigel.parse(replies.RIGEL).gpus[1].power_mw is None
    reply = deepcopy(replies.RIGEL)
    reply["algorithm"] = "zil+kawpow"
    reply["hashrate"]["zil"] = 0
    assert rigel.parse(reply).hashrate_hs == replies.TOTAL
    assert rigel.parse(reply).gpus[0].hashrate_hs == replies.RATES[0]


def test_srbminer_of_both_ages() -> None:
    new, old = srbminer.parse(replies.SRBMINER), srbminer.parse(replies.SRBMINER_OLD)
    assert (new.hashrate_hs, new.gpus) == (old.hashrate_hs, old.gpus)
    assert (new.algorithm, old.algorithm) == ("autolykos2", "ethash")


# ---- BzMiner -------------------------------------------------------------------------------


def test_bzminer_at_rest_is_not_paused_unless_we_said_so() -> None:
    reply = deepcopy(replies.BZMINER)
    for device in reply["devices"]:
        device |= {"status": [1], "hashrate": [0]}
    assert bzminer.parse(reply).paused is None, "it may be building a DAG"
    assert bzminer.parse(reply, stopped=True).paused is True
    reply["devices"][1]["status"] = [1, 3]
    assert bzminer.parse(reply, stopped=True).paused is False


async def test_bzminer_password() -> None:
    fake = FakeBzminer()
    fake.password = PASSWORD
    async with fake.server:
        found = await refusal(adapter("bzminer", fake).read)
        assert (await adapter("bzminer", fake, PASSWORD).pause()).paused is True
    assert found.failure is Failure.REFUSED
    assert "http_password" in str(found)


# ---- ethman --------------------------------------------------------------------------------


async def test_ethman_of_the_first_kind() -> None:
    """getstat2 is unknown: no buses, so GPUs have numbers alone. Minutes become seconds."""
    fake = FakeEthman()
    fake.known.remove("miner_getstat2")
    async with fake.server:
        sample = await adapter("ethman", fake).read()
    assert [(gpu.bus, gpu.index) for gpu in sample.gpus] == [(None, 0), (None, 1)]
    assert (sample.hashrate_hs, sample.uptime_s, sample.version) == (replies.TOTAL, 3_600, "PM 6.2c - ETH")


def test_ethman_off_spaces_and_lost_gpus() -> None:
    stat = list(replies.PHOENIX)
    stat[3], stat[6] = "off;30250", "0;0; 511;50"
    reading = ethman.parse(stat)
    assert [gpu.paused for gpu in reading.gpus] == [True, False]
    assert reading.paused is False
    assert [gpu.hashrate_hs for gpu in reading.gpus] == [0, 30_250_000]
    assert [gpu.temperature_milli_c for gpu in reading.gpus] == [None, None]
    stat[3], stat[2] = "nan;-5", "nan;x;"
    broken = ethman.parse(stat)
    assert [gpu.hashrate_hs for gpu in broken.gpus] == [None, None]
    assert (broken.hashrate_hs, broken.accepted, broken.rejected) == (None, None, None)


async def test_ethman_gives_back_only_what_it_took() -> None:
    fake = FakeEthman()
    fake.reply[3], fake.reply[2] = "off;30250", "30250;7;1"
    async with fake.server:
        miner = adapter("ethman", fake)
        await miner.pause()
        await miner.resume()
    told = [call["params"] for call in fake.server.calls if call["method"] == "control_gpu"]
    assert told == [["1", "0"], ["1", "1"]], "the owner's own off stays off"


async def test_ethman_of_two_coins_is_not_paused() -> None:
    fake = FakeEthman()
    fake.reply[4], fake.reply[5] = "500;1;0", "250;250"
    async with fake.server:
        miner = adapter("ethman", fake)
        assert (await miner.read()).hashrate_hs == replies.TOTAL
        assert (await refusal(miner.pause)).failure is Failure.READ_ONLY
    assert all(call["method"] != "control_gpu" for call in fake.server.calls)


@pytest.mark.parametrize("make", [FakeEthman, FakeEthminer])
async def test_ethman_passwords(make: Any) -> None:
    fake = make()
    fake.password = PASSWORD
    async with fake.server:
        assert (await adapter("ethman", fake, PASSWORD).pause()).paused is True
        assert (await adapter("ethman", fake, PASSWORD).resume()).paused is False
        fake.password = PASSWORD + "!"
        assert (await refusal(adapter("ethman", fake, PASSWORD).read)).failure is Failure.REFUSED


async def test_ethminer_on_a_negative_port_is_read_only() -> None:
    fake = FakeEthminer()
    fake.read_only = True
    async with fake.server:
        miner = adapter("ethman", fake)
        assert (await miner.read()).gpus[0].name.startswith("RTX 3070")
        assert (await refusal(miner.pause)).failure is Failure.READ_ONLY


async def test_a_reply_without_an_end_is_an_answer_when_it_is_whole() -> None:
    """Some builds send no line feed and keep the connection open."""
    fake = FakeEthman()
    fake.server.end = b""
    async with fake.server:
        assert (await adapter("ethman", fake).read()).hashrate_hs == replies.TOTAL


# ---- cgminer -------------------------------------------------------------------------------


@pytest.mark.parametrize("nested", [False, True])
async def test_cgminer_parts_in_lists_or_not(nested: bool) -> None:
    fake = FakeCgminer()
    fake.nested = nested
    async with fake.server:
        sample = await adapter("cgminer", fake).read()
    assert (sample.version, sample.hashrate_hs) == ("TeamRedMiner 0.10.21", replies.TOTAL)


@pytest.mark.parametrize(
    ("rates", "rate"),
    [
        ({"HS 5s": 5.9}, 5),
        ({"KHS 30s": 5.5}, 5_500),
        ({"MHS 5s": 2, "MHS av": 1}, 2_000_000),
        ({"GHS av": 1.5}, 1_500_000_000),
        ({"THS 1m": 1}, 10**12),
        ({"PHS 5s": 1}, 10**15),
        ({"PHS 5s": 2}, replies.TOTAL),
        ({"MHS 5s": "13.5"}, replies.TOTAL),
        ({"MHS 5s": None, "MHS av": 3}, 3_000_000),
        ({"XHS 5s": 3, "MHS": 4}, replies.TOTAL),
    ],
    ids=str,
)
def test_cgminer_units_and_windows(rates: dict[str, Any], rate: int) -> None:
    """Without one that is known the GPUs' sum is the rate."""
    summary = {"Elapsed": 1, "Accepted": 2, "Rejected": 0, **rates}
    part = {"STATUS": [{"Description": "sgminer 5.6"}], "SUMMARY": [summary]}
    reply = {"summary": [part], "devs": [{"DEVS": replies.TEAMREDMINER["DEVS"]}]}
    assert cgminer.parse(reply).hashrate_hs == rate


async def test_cgminer_without_privilege_is_read_only() -> None:
    fake = FakeCgminer()
    async with fake.server:
        assert (await adapter("cgminer", fake).identify()).writable is True
        fake.privileged = False
        miner = adapter("cgminer", fake)
        assert (await miner.identify()).writable is False
        found = await refusal(miner.pause)
    assert found.failure is Failure.READ_ONLY
    assert "--api-allow" in str(found)


async def test_cgminer_gives_back_only_what_it_took() -> None:
    fake = FakeCgminer()
    fake.reply["DEVS"][0]["Enabled"] = "N"
    async with fake.server:
        miner = adapter("cgminer", fake)
        await miner.pause()
        await miner.resume()
    told = [call for call in fake.server.calls if call["command"].startswith("gpu")]
    assert [call["parameter"] for call in told] == ["1", "1"]


# ---- Excavator -----------------------------------------------------------------------------


async def test_excavator_without_workers_rests() -> None:
    fake = FakeExcavator()
    fake.reply["worker.list"]["workers"] = []
    async with fake.server:
        sample = await adapter("excavator", fake).read()
    assert (sample.hashrate_hs, sample.paused, sample.gpus[0].hashrate_hs) == (0, None, 0)
    fake.reply["worker.list"] = {}
    async with fake.server:
        assert (await adapter("excavator", fake).read()).hashrate_hs is None


async def test_trex_releases_one_card_and_goes_on_with_the_other() -> None:
    fake = FakeTrex()
    async with fake.server:
        miner = adapter("trex", fake)
        buses = [gpu.bus for gpu in (await miner.read()).gpus]
        sample = await miner.pause(buses[1])
        assert [gpu.paused for gpu in sample.gpus] == [False, True]
        assert not sample.paused
        assert sample.hashrate_hs
        assert [gpu.paused for gpu in (await miner.resume(buses[1])).gpus] == [False, False]
        with pytest.raises(MinerError, match="which of its GPUs"):
            await miner.pause("0000:7f:00.0")
