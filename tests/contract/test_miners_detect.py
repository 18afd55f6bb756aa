"""Detection: what a command line tells, and that only a reply makes a miner of it. The CLI on top."""

from __future__ import annotations

import asyncio
import json
import os
from pathlib import Path
from typing import Any

import pytest
from fakes import replies
from fakes.miners import PASSWORD, FakeCgminer, FakeTrex, Page
from fakes.servers import FakeHttp

from potminer.cli.main import main
from potminer.node.rigform import MINER_KINDS
from potminer.world.rig.miners.detect import Process, detect, running
from potminer.world.rig.miners.registry import KINDS, read_token

ROOT = Path(__file__).parents[2]


def ports_of(program: str, *arguments: str) -> dict[str, int | None]:
    return {
        kind.name: line.port(arguments)
        for kind in KINDS.values()
        for line in kind.command_lines
        if line.is_of(program, arguments)
    }


@pytest.mark.parametrize(
    ("line", "found"),
    [
        ("/opt/t-rex -a ethash -o stratum+tcp://pool.example:4444 -u 0xWALLET", {"trex": 4067}),
        ("t-rex --api-bind-http 0.0.0.0:4058", {"trex": 4058}),
        ("t-rex --api-bind-http 0", {"trex": None}),
        ("C:\\miners\\T-Rex.exe --api-bind-http=127.0.0.1:4070", {"trex": 4070}),
        ("lolMiner --algo ETHASH", {"lolminer": None}),
        ("lolMiner --apiport 44444", {"lolminer": 44_444}),
        ("/hive/miners/gminer/miner --algo ethash --server pool.example --api 42010", {"gminer": 42_010}),
        ("/usr/bin/miner --help", {}),
        ("nbminer -a ethash --api 127.0.0.1:22333", {"nbminer": 22_333}),
        ("rigel --api-bind [::1]:5000", {"rigel": 5_000}),
        ("SRBMiner-MULTI --api-enable --api-port 21560", {"srbminer": 21_560}),
        ("SRBMiner-MULTI --api-enable", {"srbminer": 21_550}),
        ("SRBMiner-MULTI --algorithm x", {"srbminer": None}),
        ("bzminer -a kaspa", {"bzminer": 4_014}),
        ("PhoenixMiner -cdmport 3335", {"ethman": 3_335}),
        ("EthDcrMiner64.exe -mport -3333", {"ethman": 3_333}),
        ("ethminer -P stratum://0xWALLET@pool.example:4444", {"ethman": None}),
        ("ethminer --api-bind 127.0.0.1:-3334", {"ethman": 3_334}),
        ("teamredminer -a ethash", {"cgminer": None, "ethman": None}),
        ("teamredminer --api_listen", {"cgminer": 4_028, "ethman": None}),
        ("teamredminer --api_listen=127.0.0.1:65078", {"cgminer": 65_078, "ethman": None}),
        ("teamredminer --cm_api_listen --debug", {"cgminer": None, "ethman": 3_333}),
        ("cgminer --api-listen", {"cgminer": 4_028}),
        ("cgminer -o pool.example", {"cgminer": None}),
        ("excavator -p 3457", {"excavator": 3_457}),
        ("xmrig --http-port=60070", {"xmrig": 60_070}),
        ("xmrig -o pool.example:3333", {"xmrig": None}),
        ("xmrig --http-port 99999", {"xmrig": None}),
        ("python t-rex", {}),
        ("rigelmaster", {}),
    ],
)
def test_command_lines(line: str, found: dict[str, int | None]) -> None:
    program, *arguments = line.split(" ")
    assert ports_of(program, *arguments) == found


async def test_finds_by_command_line_and_by_port_and_believes_replies_alone() -> None:
    trex, other = FakeTrex(), FakeHttp(lambda path, _: {"hello": "world"})
    red, page = FakeCgminer(), Page("/stat", replies.GMINER)
    async with trex.server, red.server, page.server, other:
        ports = {name: int(fake.url.rpartition(":")[2]) for name, fake in
                 (("trex", trex.server), ("red", red.server), ("page", page.server), ("other", other))}  # fmt: skip
        secrets = ("-u", "0xWALLET", "-p", PASSWORD)
        processes = [
            Process(11, "/opt/t-rex", ("--api-bind-http", f"127.0.0.1:{ports['trex']}", *secrets)),
            Process(12, "lolMiner", ("--algo", "ETHASH")),
            Process(13, "nbminer", ("--api", f"127.0.0.1:{ports['other']}")),
            Process(14, "bash", ("-c", "t-rex")),
        ]
        found = await detect(processes=lambda: processes, ports=[*ports.values(), 1], look_s=1.0)
    assert PASSWORD not in repr(found)
    assert "0xWALLET" not in repr(found)
    told = [(f.kind, f.how, f.pid, f.version) for f in found]
    assert told == [
        ("trex", "command line", 11, "0.26.8"),
        ("lolminer", "command line", 12, None),
        ("nbminer", "command line", 13, None),
        ("cgminer", "port", None, "TeamRedMiner 0.10.21"),
        ("gminer", "port", None, "3.44"),
    ]
    assert found[1].problem == "its API is off"
    assert found[2].problem
    assert (found[3].writable, found[4].writable) == (True, False)
    written = [call for call in map(str, trex.server.calls + red.server.calls) if "control" in call or "able|" in call]
    assert not written


async def test_a_miner_of_the_config_is_looked_for_at_its_own_port() -> None:
    page = Page("/stat", replies.GMINER)
    async with page.server:
        port = int(page.server.url.rpartition(":")[2])
        assert [f.kind for f in await detect(processes=list, ports=[], also=[port, port])] == ["gminer"]


async def test_processes_that_cannot_be_listed_leave_the_ports() -> None:
    def refuse() -> list[Process]:
        raise OSError("no")

    page = Page("/stat", replies.GMINER)
    async with page.server:
        found = await detect(processes=refuse, ports=[int(page.server.url.rpartition(":")[2])])
    assert [f.kind for f in found] == ["gminer"]


def test_this_process_is_listed() -> None:
    assert os.getpid() in {process.pid for process in running()}


# ---- the table -----------------------------------------------------------------------------


def test_the_config_knows_the_kinds_of_the_table() -> None:
    assert set(MINER_KINDS) == set(KINDS)


def test_the_document_has_the_table() -> None:
    text = (ROOT / "docs/spec/miners.md").read_text(encoding="utf-8")
    rows = {line.split("|")[1].strip(" `"): line for line in text.splitlines() if line.startswith("| `")}
    assert set(rows) == set(KINDS)
    for kind in KINDS.values():
        row = rows[kind.name]
        assert kind.control.value in row
        assert all(str(port) in row for port in kind.ports)


def test_a_token_is_read_from_its_file(tmp_path: Path) -> None:
    file = tmp_path / "token"
    file.write_text(f"{PASSWORD}\n")
    assert read_token(str(file)) == PASSWORD
    assert read_token("") == ""


# ---- the commands --------------------------------------------------------------------------


def run(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, str, str]:
    code = main(arguments)
    shown = capsys.readouterr()
    return code, shown.out, shown.err


def test_list(capsys: pytest.CaptureFixture[str]) -> None:
    code, out, _ = run(capsys, "miners", "list")
    assert code == 0
    assert all(len(line) <= 80 for line in out.splitlines())
    code, out, _ = run(capsys, "miners", "list", "--json")
    assert {kind["kind"] for kind in json.loads(out)["kinds"]} == set(KINDS)


async def test_test_one_miner(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    fake = FakeTrex()
    fake.password, fake.locked = PASSWORD, True
    secret = tmp_path / "secret"
    secret.write_text(PASSWORD)

    async def ask(*extra: str) -> tuple[int, str, str]:
        arguments = ("miners", "test", "trex", fake.server.url, *extra)
        return await asyncio.to_thread(run, capsys, *arguments)

    async with fake.server:
        code, out, _ = await ask("--token-file", str(secret))
        assert (code, PASSWORD in out) == (0, False)
        assert "0.26.8, runs, 91.8 MH/s" in out
        assert "0000:0b:00.0  30.3 MH/s  55 °C" in out
        code, out, _ = await ask("--token-file", str(secret), "--json")
        miner: dict[str, Any] = json.loads(out)["miners"][0]
        assert (miner["sample"]["hashrate_hs"], miner["sample"]["gpus"][1]["bus"]) == (replies.TOTAL, replies.BUSES[1])
        code, out, _ = await ask()
        assert (code, "refused" in out) == (1, True)
        assert not any("control" in call for call in fake.server.calls)


@pytest.mark.parametrize(
    ("arguments", "code"),
    [
        (("trex", "http://192.0.2.1:4067"), 3),
        (("trex", "tcp://127.0.0.1:4067"), 3),
        (("abacus",), 3),
        (("trex", "http://127.0.0.1:1"), 1),
        (("trex", "http://127.0.0.1:1", "--token-file", "/nowhere"), 3),
    ],
)
def test_test_says_what_is_wrong(capsys: pytest.CaptureFixture[str], arguments: tuple[str, ...], code: int) -> None:
    assert run(capsys, "miners", "test", *arguments)[0] == code


def test_test_without_a_miner_is_a_mistake(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    assert run(capsys, "--datadir", str(tmp_path), "miners", "test")[0] == 2


def test_test_asks_the_miners_of_the_config(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    config = tmp_path / "config.toml"
    config.write_text('[[miners]]\nkind = "ethman"\nurl = "tcp://127.0.0.1:1"\n')
    code, out, _ = run(capsys, "--config", str(config), "miners", "test", "--json")
    assert (code, json.loads(out)["miners"][0]["kind"]) == (1, "ethman")
