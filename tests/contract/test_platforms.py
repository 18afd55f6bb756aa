"""Rig platforms: their scripts under their own rules, against a real API, and what they are told."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from msgspec.structs import replace

from potminer.wire.control import SNAPSHOT_BYTES, DeviceState, Snapshot, from_json
from potminer.world.api import platforms
from potminer.world.api.address import TcpAddress
from potminer.world.api.serve import ApiServer
from potminer.world.paths import locate
from tests.contract.api_rig import NOW, Rig

ROOT = Path(__file__).parents[2]
HIVE = ROOT / "packaging/hiveos"
MMPOS = ROOT / "packaging/mmpos"
RAVE = ROOT / "packaging/raveos/RAVINOS"
PHOTOGRAPHS = ROOT / "tests/snapshot/photographs"


def photograph(name: str) -> Snapshot:
    found: Snapshot = from_json(Snapshot, (PHOTOGRAPHS / f"{name}.json").read_bytes(), max_bytes=SNAPSHOT_BYTES)
    return found


SEEN = photograph("training")


class Looking(Rig):
    """A Rig of which the photograph is *seen*."""

    def __init__(self, folder: Path, seen: Snapshot) -> None:
        super().__init__(folder)
        self.seen = seen

    async def snapshot(self) -> Snapshot:
        return self.seen


@asynccontextmanager
async def served(folder: Path, seen: Snapshot) -> AsyncIterator[int]:
    """A port where the API shows *seen*."""
    times = iter([NOW])
    server = await ApiServer.open(
        Looking(folder, seen), locate({}, datadir=folder / "data", network="devnet"),
        clock=lambda: next(times, NOW + 61_000), tcp_port=0,
    )  # fmt: skip
    try:
        yield next(each.port for each in server.addresses if isinstance(each, TcpAddress))
    finally:
        await server.close()


async def run(*command: str | Path, said: str = "", **environ: str) -> tuple[int, str]:
    """Exit code and standard output; fails where the program writes to standard error."""

    def wait() -> tuple[int, str]:
        done = subprocess.run(
            command, input=said, env={"PATH": os.environ["PATH"], **environ}, capture_output=True, text=True,
            timeout=60, check=False,
        )  # fmt: skip
        assert not done.stderr, done.stderr
        return done.returncode, done.stdout

    return await asyncio.to_thread(wait)


async def sourced(port: int) -> tuple[str, str]:
    """``khs`` and ``stats`` after the agent sourced h-stats.sh, under ``-eu`` as strict as bash can be."""
    script = f'source "{HIVE}/h-stats.sh"; printf "%s\\n%s\\n" "$khs" "$stats"; echo "${{potminer_reply-unset}}"'
    code, out = await run("bash", "-eu", "-o", "pipefail", "-c", script, POTMINER_STATS_PORT=str(port))
    assert code == 0
    khs, stats, gone = out.splitlines()
    assert gone == "unset", "the agent's shell is left clean"
    return khs, stats


async def test_hiveos_is_told_every_field_by_its_name(tmp_path: Path) -> None:
    async with served(tmp_path, SEEN) as port:
        khs, stats = await sourced(port)
    told = json.loads(stats)
    assert set(told) == {"hs", "hs_units", "temp", "fan", "uptime", "ver", "algo", "ar", "bus_numbers"}
    assert float(khs) * 1000 == sum(told["hs"]) > 0
    assert {len(told[name]) for name in ("hs", "temp", "fan", "bus_numbers")} == {len(SEEN.devices)}
    assert all(type(each) is int for name in ("hs", "temp", "fan", "ar") for each in told[name])
    assert (told["hs_units"], told["algo"], told["uptime"]) == ("hs", "pot", 61)
    assert "-" not in told["ver"], "HiveOS cuts names at the last dash"


async def test_hiveos_sees_zero_and_null_where_nothing_answers(tmp_path: Path) -> None:
    async with served(tmp_path, SEEN) as port:
        pass
    assert await sourced(port) == ("0", "null")


@pytest.mark.parametrize(
    "body", [b"", b"<html>", b'{"khs":1}', b'{"khs":$(touch x),"stats":{}}', b'{"khs":1,"stats":7}']
)
async def test_hiveos_sees_zero_and_null_where_somebody_else_answers(body: bytes) -> None:
    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\nConnection: close\r\n\r\n%s" % (len(body), body))
        await writer.drain()
        writer.close()

    server = await asyncio.start_server(answer, "127.0.0.1", 0)
    async with server:
        assert await sourced(server.sockets[0].getsockname()[1]) == ("0", "null")


def with_states(*states: DeviceState, **change: Any) -> Snapshot:
    device = SEEN.devices[0]
    return replace(SEEN, devices=tuple(replace(device, state=state, **change) for state in states))


def test_a_watchdog_reboots_for_faults_alone() -> None:
    """A rig that pauses, waits or begins is well; only a device at fault counts nothing."""
    for state in DeviceState:
        told = platforms.hive(with_states(state, samples_per_s_milli=None, hashrate_hs=None), uptime_s=1)
        assert (told.khs > 0) == (state is not DeviceState.FAULT), state
        assert (told.stats is None) == (state is DeviceState.FAULT)
    mixed = platforms.hive(with_states(DeviceState.FAULT, DeviceState.TRAINING), uptime_s=1)
    assert mixed.stats is not None
    assert mixed.stats.hs[0] == 0 < mixed.stats.hs[1]


@pytest.mark.parametrize(
    ("bus", "number"), [("0000:01:00.0", 1), ("00000000:0A:00.0", 10), ("ff:00.0", 255), ("cpu", None), ("x:1", None)]
)
def test_a_bus_is_a_decimal_number(bus: str, number: int | None) -> None:
    told = platforms.hive(with_states(DeviceState.TRAINING, bus=bus), uptime_s=1)
    assert told.stats is not None
    assert told.stats.bus_numbers == (number,)


async def test_mmpos_and_raveos_are_told_every_field_by_its_name(tmp_path: Path) -> None:
    async with served(tmp_path, SEEN) as port:
        code, out = await run(MMPOS / "mmp-stats.sh", "0", "/dev/null", POTMINER_API_PORT=str(port))
        rave_code, rave_out = await run(sys.executable, RAVE / "stats.py", POTMINER_API_PORT=str(port))
    assert code == rave_code == 0
    told, rave = json.loads(out), json.loads(rave_out)
    assert set(told) == {"busid", "hash", "units", "air", "miner_name", "miner_version", "shares"}
    assert set(told["shares"]) == {"accepted", "rejected", "invalid"}
    assert (told["units"], len(told["air"]), len(told["busid"])) == ("hs", 3, len(told["hash"]))
    assert all(isinstance(each, str) for each in told["air"])
    assert set(rave) == {"mpu", "fans", "shares", "errors", "have_driver_error"}
    for unit in rave["mpu"]:
        assert set(unit) == {"id", "pci_id", "hash_rate1", "hash_rate2", "temp", "shares"}
    assert len(rave["mpu"]) == len(rave["fans"]) == len(SEEN.devices)


async def test_mmpos_and_raveos_hear_nothing_without_a_crash(tmp_path: Path) -> None:
    async with served(tmp_path, SEEN) as port:
        pass
    code, out = await run(MMPOS / "mmp-stats.sh", "0", "/dev/null", POTMINER_API_PORT=str(port))
    assert (code, json.loads(out)["hash"]) == (0, [])
    code, out = await run(sys.executable, RAVE / "stats.py", POTMINER_API_PORT=str(port))
    assert (code, json.loads(out)["mpu"]) == (0, [])


# ---- starting ----------------------------------------------------------------------------


@pytest.fixture
def program(tmp_path: Path) -> Path:
    """Stands where potminer stands: says what it was given. As `run` it waits for its signal."""
    path = tmp_path / "potminer"
    path.write_text(
        f"#!{sys.executable}\n"
        "import json, os, signal, sys\n"
        "said = {k: v for k, v in os.environ.items() if k.startswith('POTMINER_')}\n"
        f"with open({str(tmp_path / 'said')!r}, 'a') as file: print(json.dumps([sys.argv[1:], said]), file=file)\n"
        "if sys.argv[1:] == ['run'] and 'POTMINER_TEST_WAITS' in os.environ:\n"
        "    signal.signal(signal.SIGTERM, lambda *_: sys.exit(7)); print('runs', flush=True); signal.pause()\n"
    )
    path.chmod(0o755)
    return path


def said(folder: Path) -> list[tuple[list[str], dict[str, str]]]:
    return [tuple(json.loads(line)) for line in (folder / "said").read_text().splitlines()]


async def test_a_flight_sheet_becomes_settings_and_is_never_run(tmp_path: Path, program: Path) -> None:
    env_file, hostile = tmp_path / "potminer.env", f"$(touch {tmp_path}/pwned)"
    sheet = {
        "CUSTOM_TEMPLATE": "pot1payout",
        "CUSTOM_URL": "a.example:9333, b.example:9333",
        "CUSTOM_USER_CONFIG": "power.kwh_price = 0.21\r\nrm -rf /\nidle.policy=always\nPATH=/evil\n"
        f"logs.level={hostile}\n",
        "WORKER_NAME": f"rig 07 {hostile}",
        "POTMINER_DATADIR": str(tmp_path / "data"),
        "POTMINER_ENV_FILE": str(env_file),
    }
    code, _ = await run("bash", "-eu", "-c", f'source "{HIVE}/h-config.sh"', **sheet)
    assert code == 0
    log = tmp_path / "log/potminer"
    start = {"POTMINER_ENV_FILE": str(env_file), "POTMINER_PROGRAM": str(program)}
    copy = tmp_path / "package"
    copy.mkdir()
    for name in ("h-run.sh", "h-manifest.conf"):
        text = (HIVE / name).read_text().replace("/var/log/miner/custom/potminer", str(log))
        (copy / name).write_text(text)
    code, _ = await run("bash", copy / "h-run.sh", **start)
    assert code == 0
    assert [arguments for arguments, _ in said(tmp_path)] == [["init", "--yes"], ["run"]]
    given = said(tmp_path)[1][1]
    assert given == {
        "POTMINER_DATADIR": str(tmp_path / "data"),
        "POTMINER_API_PORT": "4077",
        "POTMINER_PAYOUT_ADDRESS": "pot1payout",
        "POTMINER_NODE_BOOTSTRAP": "a.example:9333,b.example:9333",
        "POTMINER_POWER_KWH_PRICE": "0.21",
        "POTMINER_IDLE_POLICY": "always",
        "POTMINER_LOGS_LEVEL": hostile,
        "POTMINER_RIG_NAME": given["POTMINER_RIG_NAME"],
    }
    assert given["POTMINER_RIG_NAME"].startswith("rig 07 ")
    assert not (tmp_path / "pwned").exists()


async def test_mmpos_arguments_become_settings(tmp_path: Path, program: Path) -> None:
    arguments = [
        "--coin", "POT", "--pool", "a.example:9333", "--user", "pot1payout", "--password",
        "power.kwh_price=0.21,nonsense,idle.policy=off", "--api-port", "4099",
    ]  # fmt: skip
    code, _ = await run(MMPOS / "mmp-launch.sh", *arguments, POTMINER_PROGRAM=str(program))
    assert code == 0
    assert said(tmp_path)[1] == (
        ["run"],
        {
            "POTMINER_DATADIR": "/opt/mmp/potminer",
            "POTMINER_NODE_BOOTSTRAP": "a.example:9333",
            "POTMINER_PAYOUT_ADDRESS": "pot1payout",
            "POTMINER_API_PORT": "4099",
            "POTMINER_POWER_KWH_PRICE": "0.21",
            "POTMINER_IDLE_POLICY": "off",
        },
    )


async def test_mmpos_hands_its_signal_on_and_waits(tmp_path: Path, program: Path) -> None:
    environ = {"PATH": os.environ["PATH"], "POTMINER_PROGRAM": str(program), "POTMINER_TEST_WAITS": "1"}
    process = await asyncio.create_subprocess_exec(
        MMPOS / "mmp-launch.sh", "--coin", "POT", env=environ, stdout=asyncio.subprocess.PIPE
    )
    assert process.stdout is not None
    async with asyncio.timeout(30):
        assert await process.stdout.readline() == b"runs\n"
        process.send_signal(signal.SIGTERM)
        assert await process.wait() == 7, "the node's own exit code"


async def test_raveos_settings_become_settings(tmp_path: Path, program: Path) -> None:
    package = tmp_path / "RAVINOS"
    package.mkdir()
    (package / "start.py").write_text((RAVE / "start.py").read_text())
    (package / "potminer").symlink_to(program)
    settings = json.dumps({"pool": "a.example:9333", "wallet": "pot1payout", "worker": "rig-07", "api_port": 4099})
    code, _ = await run(sys.executable, package / "start.py", said=settings, POTMINER_DATADIR=str(tmp_path))
    assert code == 0
    assert said(tmp_path)[1][1] == {
        "POTMINER_NODE_BOOTSTRAP": "a.example:9333", "POTMINER_PAYOUT_ADDRESS": "pot1payout",
        "POTMINER_RIG_NAME": "rig-07", "POTMINER_API_PORT": "4099", "POTMINER_DATADIR": str(tmp_path),
    }  # fmt: skip


def test_versions_and_variables_are_the_programs_own() -> None:
    from potminer import __version__
    from potminer.node.config import load_config

    texts = [(HIVE / "h-manifest.conf").read_text(), (MMPOS / "mmp-external.conf").read_text()]
    assert all(f"_VERSION={__version__}\n" in text for text in texts)
    assert json.loads((RAVE / "manifest.json").read_text())["version"] == __version__
    load_config(None, {"POTMINER_API_PORT": "1", "POTMINER_NODE_BOOTSTRAP": "a:1,b:2", "POTMINER_RIG_NAME": "rig 07"})
