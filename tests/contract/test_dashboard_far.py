"""Rigs beyond this computer, and keys of the owner's own: what the dashboard command makes of them."""

from __future__ import annotations

import asyncio
import os
import ssl
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import aiohttp
import pytest
from aiohttp import web

from potminer.base.errors import ConfigError, Exit, NotPermitted, UsageError
from potminer.cli.dashboard import _keymap
from potminer.cli.place import Place
from potminer.dashboard.app import DashboardApp
from potminer.world.api.address import TcpAddress, WebAddress, address_from_flag, parse_address
from potminer.world.api.serve import ApiServer
from potminer.world.api.token import read_token
from potminer.world.paths import locate
from tests.contract.api_rig import NOW, Rig, photograph

TOKEN = "0123456789abcdef" * 4


@pytest.fixture
def token(tmp_path: Path) -> Path:
    path = tmp_path / "token"
    path.write_text(TOKEN + "\n")
    path.chmod(0o600)
    return path


@asynccontextmanager
async def proxied(folder: Path, token: Path) -> AsyncIterator[str]:
    """A node with a token of its owner's, and a reverse proxy with TLS before it; the proxy's URL."""
    paths = locate({}, datadir=folder / "data", network="devnet")
    server = await ApiServer.open(Rig(folder), paths, clock=lambda: NOW, tcp_port=0, token_file=str(token))
    (address,) = [each for each in server.addresses if isinstance(each, TcpAddress)]

    async def forward(request: web.Request) -> web.StreamResponse:
        """As nginx with `proxy_set_header Host localhost` does."""
        headers = {"Authorization": request.headers.get("Authorization", ""), "Host": "localhost"}
        target = address.base + request.path_qs.removeprefix("/rig-07")
        async with aiohttp.ClientSession() as session, session.request(request.method, target, headers=headers) as got:
            return web.Response(body=await got.read(), status=got.status, content_type="application/json")

    runner = web.AppRunner(web.Application(), handle_signals=False)
    runner.app.router.add_route("*", "/{tail:.*}", forward)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0, ssl_context=certificate(folder))
    await site.start()
    try:
        yield f"https://localhost:{runner.addresses[0][1]}/rig-07"
    finally:
        await runner.cleanup()
        await server.close()


def certificate(folder: Path) -> ssl.SSLContext:
    """Self-signed, as no client should believe."""
    command = ["openssl", "req", "-x509", "-nodes", "-days", "2"]
    key = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256"]
    files = ["-keyout", str(folder / "key.pem"), "-out", str(folder / "cert.pem"), "-subj", "/CN=localhost"]
    names = ["-addext", "subjectAltName=DNS:localhost"]
    subprocess.run([*command, *key, *files, *names], check=True, capture_output=True, timeout=30)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(folder / "cert.pem", folder / "key.pem")
    return context


async def test_a_far_rig_answers_behind_tls_to_its_token(tmp_path: Path, token: Path) -> None:
    wrong = tmp_path / "wrong"
    wrong.write_text("f" * 64)
    wrong.chmod(0o600)

    async def status(where: str, **environ: str) -> tuple[int, str]:
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "potminer.cli.main", "status", "--socket", where,
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, env={**os.environ, **environ},
        )  # fmt: skip
        said, _ = await process.communicate()
        return await process.wait(), said.decode()

    async with proxied(tmp_path, token) as url:
        trusted = {"SSL_CERT_FILE": str(tmp_path / "cert.pem")}
        code, said = await status(f"{url} token={token}", **trusted)
        assert (code, "rig-07" in said) == (Exit.OK, True), said
        assert (await status(f"{url} token={wrong}", **trusted))[0] == Exit.NOT_PERMITTED
        code, said = await status(f"{url} token={token}")
        assert (code, TOKEN in said) == (Exit.UNREACHABLE, False), "a certificate that nobody vouches for"


def test_a_far_rig_is_written_as_a_url_and_a_file(token: Path) -> None:
    found = address_from_flag(f"https://rig.example/rig-07/ token={token}")
    assert found == WebAddress("https://rig.example/rig-07", token)
    assert parse_address(str(found)) == found


@pytest.mark.parametrize(
    "said",
    [
        "http://rig.example:4077 cookie=/x", "http://10.0.0.7:4077 cookie=/x", "https://rig.example",
        "https://me:secret@rig.example token=/x", "https:// token=/x", "https://rig.example?x=1 token=/x",
    ],
)  # fmt: skip
def test_a_token_never_travels_in_the_clear_or_in_a_url(said: str) -> None:
    with pytest.raises(UsageError):
        address_from_flag(said)


@pytest.mark.parametrize("text", ["", "short", "x" * 300, "two words here and more", "é" * 20])
def test_a_token_file_must_hold_a_token(tmp_path: Path, text: str) -> None:
    path = tmp_path / "token"
    path.write_text(text)
    path.chmod(0o600)
    with pytest.raises(NotPermitted):
        read_token(path)


def test_a_token_that_others_can_read_is_none(token: Path) -> None:
    token.chmod(0o644)
    with pytest.raises(NotPermitted):
        read_token(token)


# ---- keys --------------------------------------------------------------------------------


def place(folder: Path, *keys: str) -> Place:
    said = ", ".join(f'"{key}"' for key in keys)
    (folder / "potminer.toml").write_text(f"[dashboard]\nkeymap = [{said}]\n")
    return Place(datadir=folder)


async def test_an_action_moves_to_the_owners_key(tmp_path: Path) -> None:
    keymap = _keymap(place(tmp_path, "pause=f5", "earnings=m"))
    assert keymap == {"pause": "f5", "earnings": "m"}

    from tests.snapshot.conftest import Scripted

    source = Scripted(photograph(7))
    app = DashboardApp(source, lambda: NOW, keymap=keymap)
    async with app.run_test() as pilot:
        await pilot.pause()
        await pilot.press("p")
        await pilot.pause()
        assert source.letters == []
        await pilot.press("f5")
        for _ in range(4):
            await pilot.pause()
        assert len(source.letters) == 1
        await pilot.press("m")
        await pilot.pause()
        assert app.screen.NAME == "Earnings"  # type: ignore[attr-defined]


@pytest.mark.parametrize("keys", [["explode=f5"], ["pause=a"], ["pause=f5", "auto=f5"], ["pause=1"]])
def test_a_key_does_one_thing_and_an_action_exists(tmp_path: Path, keys: list[str]) -> None:
    with pytest.raises(ConfigError, match=r"dashboard\.keymap"):
        _keymap(place(tmp_path, *keys))
