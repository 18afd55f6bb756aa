"""What faces ask beside the photograph, over real sockets: peers, earnings, the log, settings, the day."""

from __future__ import annotations

import csv
import io
import json
import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import aiohttp
import pytest

from potminer.base.errors import Exit
from potminer.cli.main import main
from potminer.node.config import config_from
from potminer.node.daybook import Daybook
from potminer.node.logbook import LogBook
from potminer.node.settings import settings_view
from potminer.node.source import parse_source
from potminer.view.history import INTERVAL_MS
from potminer.wire.answers import (
    LOG_LINES,
    LOG_TEXT,
    DayView,
    EarningsDetail,
    LogLevel,
    LogTail,
    NetworkView,
    SettingsView,
)
from potminer.wire.control import REPLY_BYTES, DeviceKind, DeviceState, DeviceView, to_json
from potminer.world.api.attach import Client
from potminer.world.api.serve import ApiServer
from potminer.world.paths import Paths, locate
from tests.snapshot import answers

NOW = answers.TAKEN


class Node:
    """The part of a Backend that answers; the log is a real one."""

    def __init__(self) -> None:
        self.book = LogBook(NOW - 5_000)
        self.log_to = logging.Logger("test", logging.DEBUG)
        self.log_to.addHandler(self.book)

    async def network(self) -> NetworkView:
        return answers.network()

    async def earnings(self, units: int) -> EarningsDetail:
        detail = answers.earnings(priced=True)
        return EarningsDetail(
            taken_ms=NOW, earnings=detail.earnings, days=detail.days, tasks=detail.tasks, units=detail.units[:units],
            devices=detail.devices,
            kwh_price_micro=detail.kwh_price_micro, kwh_currency=detail.kwh_currency,
        )  # fmt: skip

    async def log(self, *, after: int, last: int, level: LogLevel) -> LogTail:
        return self.book.tail(after=after, last=last, level=level)

    async def settings(self) -> SettingsView:
        return answers.settings()

    async def day(self) -> DayView:
        return answers.day()


@pytest.fixture
def paths(tmp_path: Path) -> Paths:
    return locate({}, datadir=tmp_path / "data", network="devnet")


@asynccontextmanager
async def serving(node: Node, paths: Paths) -> AsyncIterator[ApiServer]:
    server = await ApiServer.open(node, paths, clock=lambda: NOW)  # type: ignore[arg-type]
    try:
        yield server
    finally:
        await server.close()


async def test_a_face_can_ask_everything(paths: Paths) -> None:
    async with serving(Node(), paths) as server, Client(server.address) as node:
        assert await node.network() == answers.network()
        assert len((await node.earnings(units=3)).units) == 3
        assert (await node.earnings(units=3)).days == answers.earnings(priced=True).days
        assert await node.settings() == answers.settings()
        assert await node.day() == answers.day()
        assert (await node.log()).lines == ()


async def test_the_log_is_asked_for_in_parts(paths: Paths) -> None:
    told = Node()
    async with serving(told, paths) as server, Client(server.address) as node:
        for number in range(10):
            told.log_to.log((logging.INFO, logging.WARNING)[number % 2], "line %d", number)
        told.log_to.debug("small talk")
        assert [line.number for line in (await node.log(last=3)).lines] == [9, 10, 11]
        assert [line.text for line in (await node.log(after=8, level=LogLevel.INFO)).lines] == ["line 8", "line 9"]
        assert len((await node.log(level=LogLevel.WARNING)).lines) == 5
        assert (await node.log(after=11)).lines == ()


async def test_the_log_is_bounded_and_one_line_a_line(paths: Paths) -> None:
    told = Node()
    for _ in range(LOG_LINES + 10):
        told.log_to.error("\U0001f480\n\x1b[2J\u202e" * 400)
    async with serving(told, paths) as server, Client(server.address) as node:
        tail = await node.log(last=LOG_LINES)
    assert len(tail.lines) == LOG_LINES
    assert tail.lines[0].number == 11
    assert all(len(line.text) == LOG_TEXT and line.text.isprintable() for line in tail.lines)
    assert len(to_json(tail)) < REPLY_BYTES


@pytest.mark.parametrize(
    "path",
    [
        "/v1/earnings?units=201",
        "/v1/earnings?units=-1",
        "/v1/earnings?units=%D9%A1",
        "/v1/logs?last=1001",
        "/v1/logs?after=99999999999",
        "/v1/logs?level=loud",
    ],
)
async def test_bad_questions(paths: Paths, path: str) -> None:
    connector = aiohttp.UnixConnector(path=str(paths.socket))
    async with serving(Node(), paths), aiohttp.ClientSession("http://localhost", connector=connector) as web:
        async with web.get(path) as reply:
            assert reply.status == 400
            assert (await reply.json())["error"]["code"] == "bad-request"
        async with web.post(path.partition("?")[0]) as reply:
            assert reply.status == 405


async def test_commands_ask_the_daemon(paths: Paths, capsys: pytest.CaptureFixture[str]) -> None:
    import asyncio

    place = ["--datadir", str(paths.datadir), "--network", "devnet"]

    async def run(*arguments: str) -> tuple[int, str]:
        code = await asyncio.to_thread(main, [*place, *arguments])
        return code, capsys.readouterr().out

    told = Node()
    told.log_to.warning("a peer is slow")
    async with serving(told, paths):
        code, shown = await run("earnings")
        assert code == 0
        assert all(len(line) <= 80 for line in shown.splitlines())
        assert "2026-05-28" in shown
        assert "digits-cnn" in shown
        rows = list(csv.DictReader(io.StringIO((await run("earnings", "--csv"))[1])))
        assert len(rows) == 26
        assert rows[-1] == {
            "day": "2026-05-28", "earned_grains": "1200000000", "worth_micro": "300000", "energy_mwh": "900000",
            "cost_micro": "288000", "currency": "EUR",
        }  # fmt: skip
        assert {row["energy_mwh"] for row in rows if row["cost_micro"] == ""} == {""}
        lines = {}
        for by, heads, count in (("task", "task", 2), ("gpu", "gpu", 3), ("unit", "slot", 24)):
            lines[by] = list(csv.DictReader(io.StringIO((await run("earnings", "--csv", "--by", by))[1])))
            assert (len(lines[by]), heads in lines[by][0]) == (count, True), by
        assert lines["gpu"][1] == {
            "gpu": "0000:01:00.0", "accepted": "4811", "refused": "12", "earned_grains": "9140900000",
        }  # fmt: skip
        assert json.loads((await run("earnings", "--json"))[1])["schema"] == 1
        assert (await run("earnings", "--json", "--csv"))[0] == Exit.USAGE
        code, shown = await run("peers")
        assert (code, "198.51.100.7:9335" in shown) == (0, True)
        assert all(len(line) <= 80 for line in shown.splitlines())
        assert len(json.loads((await run("peers", "--json"))[1])["peers"]) == 9
        code, shown = await run("logs")
        assert (code, shown.endswith("WARNING a peer is slow\n")) == (0, True)
        assert json.loads((await run("logs", "--json"))[1])["level"] == "warning"
    assert (await run("peers"))[0] == Exit.UNREACHABLE
    assert (await run("logs"))[0] == Exit.UNREACHABLE
    paths.logs.mkdir(parents=True)
    (paths.logs / "potminer.log").write_text("one\ntwo \x1b[2J\n")
    assert await run("logs", "-n", "1") == (0, "two [2J\n")


# ---- what the answers are made of --------------------------------------------------------


def test_a_setting_names_its_source(tmp_path: Path) -> None:
    file = tmp_path / "potminer.toml"
    text = '[rig]\nname = "Rig 7"\n[power]\nkwh_price = 0.32\n\n[[miners]]\nkind = "xmrig"\nurl = "http://127.0.0.1:1"\n'
    file.write_text(text)
    environ = {"POTMINER_NODE_PORT": "9"}
    config = config_from(parse_source("x", text), environ, {})
    said = {each.key: (each.value, each.source) for each in settings_view(config, file, environ).settings}
    assert said["rig.name"] == ("Rig 7", "file:2")
    assert said["node.port"] == ("9", "POTMINER_NODE_PORT")
    assert said["node.role"] == ("trainer", "default")
    assert said["power.kwh_price"] == ("0.32", "file:4")
    assert said["miners[1].url"] == ("http://127.0.0.1:1", "file:8")


def device(state: DeviceState, power_mw: int | None) -> DeviceView:
    return DeviceView(bus="cpu", name="CPU", kind=DeviceKind.CPU, state=state, since_ms=0, power_mw=power_mw)


def test_energy_is_what_training_drew_and_survives_a_restart() -> None:
    book = Daybook(None)
    day = NOW - NOW % answers.DAY
    for at in range(0, 3_600_000 + 1, 10_000):
        book.look([device(DeviceState.TRAINING, 100_000), device(DeviceState.MINING, 200_000)], day + at)
    assert book.energy_mwh(day) == 100_000
    again = Daybook(book.saved())
    again.look([device(DeviceState.TRAINING, None)], day + 3_700_000)
    again.look([device(DeviceState.TRAINING, None)], day + 3_710_000)
    assert again.energy_mwh(day) == 100_000
    assert again.energy_mwh(day - answers.DAY) is None


def test_a_gap_in_the_looks_draws_nothing() -> None:
    book = Daybook(None)
    for at in (0, 3_600_000, 3_500_000):
        book.look([device(DeviceState.TRAINING, 100_000)], NOW + at)
    assert book.days == []
    assert [point.at_ms % INTERVAL_MS for point in book.points] == [0, 0]
