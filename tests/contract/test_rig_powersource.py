"""What the house says of its power: a file or an address, fresh or unknown, never an error."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer

from potminer.base.errors import ConfigError
from potminer.node.config import config_from
from potminer.node.hours import parse_hours, parse_tariff, price_at
from potminer.node.source import parse_source
from potminer.node.terms import check_prices, mining_h
from potminer.world.rig.powersource import BYTES, NOTHING, Point, PowerSource, SourceError, parse_points

HOUR_MS = 3_600_000
CSV = b"from,price,carbon_g_per_kwh,surplus_w\n3600,0.31,400,\n7200,-0.02,,1500\n"
JSON = json.dumps(
    {"points": [{"from": "1970-01-01T03:00:00+01:00", "price": 0.25, "surplus_w": -300.5}, {"from": "yesterday"}]}
).encode()


async def read(source: PowerSource) -> PowerSource:
    await source.read()
    return source


async def test_a_point_holds_until_the_next_and_for_an_hour_at_most(tmp_path: Path) -> None:
    file = tmp_path / "power.csv"
    file.write_bytes(CSV)
    source = await read(PowerSource(str(file)))
    assert source.now(HOUR_MS - 1) is NOTHING
    assert source.now(HOUR_MS) == Point(HOUR_MS, 310_000, 400, None)
    assert source.now(2 * HOUR_MS) == Point(2 * HOUR_MS, -20_000, None, 1_500_000)
    assert source.now(3 * HOUR_MS) is NOTHING, "stale is unknown"


def test_json_is_read_with_its_own_time_zone() -> None:
    assert parse_points(JSON) == (Point(2 * HOUR_MS, 250_000, None, -300_500),)


@pytest.mark.parametrize(
    "data",
    [b"", b"{}", b"[1, 2]", b"[" * 100_000, b'[{"from": 1e999999999}]', b'[{"from": true}]', b"\xff\xfe,",
     b"a,b\n1,2\n", b'{"points": "x"}', b'[{"from": "2026-01-01T00:00:00"}]', b"from\n" + b"9" * 50_000],
)  # fmt: skip
def test_what_cannot_be_read_is_said_in_words(data: bytes) -> None:
    with pytest.raises(SourceError):
        parse_points(data)


def test_absurd_numbers_are_unknown() -> None:
    (point,) = parse_points(b'[{"from": 1, "price": 1e30, "carbon_g_per_kwh": -4, "surplus_w": "NaN"}]')
    assert point == Point(1_000, None, None, None)


async def test_an_address_is_asked_without_redirects_and_within_bounds() -> None:
    answers = {
        "/good": lambda request: web.Response(body=CSV),
        "/moved": lambda request: web.Response(status=302, headers={"Location": "/good"}),
        "/long": lambda request: web.Response(body=b" " * (BYTES + 1)),
        "/none": lambda request: web.Response(status=404),
    }

    async def answer(request: web.Request) -> web.Response:
        return answers[request.path](request)

    app = web.Application()
    app.router.add_get("/{name}", answer)
    async with TestServer(app) as server:
        assert (await read(PowerSource(str(server.make_url("/good"))))).now(HOUR_MS).kwh == 310_000
        for path, said in (("/moved", "302"), ("/long", "longer"), ("/none", "404")):
            with pytest.raises(SourceError, match=said):
                await PowerSource(str(server.make_url(path))).read()
        gone = str(server.make_url("/good"))
    with pytest.raises(SourceError, match="does not answer"):
        await PowerSource(gone).read()


def test_hours_and_tariffs_as_people_write_them() -> None:
    day = 1_440
    assert parse_hours("mon 08:00-09:30") == ((480, 570),)
    assert parse_hours("sun 22:00-07:00") == ((6 * day + 1_320, 420),)
    assert parse_hours("sat-mon 00:00-24:00") == ((0, day), (5 * day, 6 * day), (6 * day, 7 * day))
    tariff = (parse_tariff("mon-fri 22:00-06:00 0.18"), parse_tariff("mon-sun 00:00-24:00 0.32"))
    assert [price_at(tariff, minute) for minute in (1_319, 1_320, day + 359, day + 360)] == [
        320_000, 180_000, 180_000, 320_000,
    ]


@pytest.mark.parametrize("said", ["mon", "mon 8-9", "mon 24:00-09:00", "mon 08:00-24:30", "mon-wed-fri 08:00-09:00"])
def test_hours_that_are_none_are_refused(said: str) -> None:
    with pytest.raises(ValueError, match=r"must look|no day has|two days"):
        parse_hours(said)


MINER = '[[miners]]\nkind = "trex"\nurl = "http://127.0.0.1:4067"\n'


@pytest.mark.parametrize(
    ("text", "missing"),
    [
        ("", "prices.pot"),
        ('[prices]\npot = "0.5"\n', "power.kwh_price"),
        (f'[prices]\npot = "0.5"\n[power]\nkwh_price = "0.3"\n{MINER}', "revenue_per_day of miner 1"),
    ],
)
def test_profit_without_prices_refuses_to_start(text: str, missing: str) -> None:
    with pytest.raises(ConfigError, match=missing):
        check_prices(config_from(parse_source("test", '[idle]\npolicy = "profit"\n' + text), {}, {}))


def test_a_miners_earnings_are_shared_by_its_cards() -> None:
    config = config_from(parse_source("test", MINER + 'revenue_per_day = "4.80"\n'), {}, {})
    assert mining_h(config, ("a", "b")) == {"a": 100_000, "b": 100_000}


@pytest.mark.parametrize("where", ["http://example.org/p", "https://me:secret@example.org/p", "ftp://x/y"])
def test_a_source_is_https_or_on_this_computer(where: str) -> None:
    with pytest.raises(ConfigError):
        config_from(parse_source("test", f'[power]\nsource = "{where}"\n'), {}, {})
