"""``update check`` and ``update verify``: signed manifests, files on disk, and all that may be wrong with them."""

from __future__ import annotations

import asyncio
import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from aiohttp import web

from potminer import __version__
from potminer.base.address import encode_address
from potminer.base.errors import Exit
from potminer.cli.clock import now_ms
from potminer.cli.main import main
from potminer.wire.seal import SigningKey
from potminer.world.keys import create_key
from potminer.world.release import FILES, MANIFEST, SIGNATURE, parse, write_release

ROOT = Path(__file__).parents[2]
KEY = SigningKey(bytes(range(32)))
DAY_MS = 86_400_000
NEWER, OLDER = "99.0.0", "0.0.9"


def release(folder: Path, version: str = NEWER, *, days: int = 30, key: SigningKey = KEY) -> Path:
    folder.mkdir(exist_ok=True)
    (folder / "potminer-linux.tar.zst").write_bytes(b"a program" * 999)
    (folder / "potminer_amd64.deb").write_bytes(b"another")
    now = now_ms()
    write_release(folder, version=version, released_ms=now - DAY_MS, expires_ms=now + days * DAY_MS, key=key)
    return folder / MANIFEST


def update(place: Path, *arguments: str, key: str | None = KEY.public.hex()) -> int:
    return main(["--datadir", str(place), "update", *arguments, *(["--key", key] if key else [])])


def said(capsys: pytest.CaptureFixture[str]) -> dict[str, object]:
    found = json.loads(capsys.readouterr().out)
    assert isinstance(found, dict)
    return found


@pytest.mark.parametrize(
    ("version", "days", "state", "code"),
    [(NEWER, 30, "newer", 0), (__version__, 30, "same", 0), (OLDER, 30, "older", 0), (NEWER, -1, "expired", 1)],
)
def test_a_manifest_says_whether_there_is_a_newer_release(
    version: str, days: int, state: str, code: int, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    manifest = release(tmp_path / "r", version, days=days)
    assert update(tmp_path, "check", "--manifest", str(manifest), "--json") == code
    answer = said(capsys)
    assert (answer["schema"], answer["state"], answer["version"], answer["ours"]) == (1, state, version, __version__)
    assert update(tmp_path, "check", "--manifest", str(manifest)) == code
    assert version in capsys.readouterr().out


def test_where_and_which_key_may_stand_in_the_config(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    manifest = release(tmp_path / "r")
    (tmp_path / "potminer.toml").write_text(
        f'[update]\nmanifest = "{manifest}"\nkey = "{encode_address(KEY.public)}"\n'
    )
    assert update(tmp_path, "check", "--json", key=None) == Exit.OK
    assert said(capsys)["state"] == "newer"


def test_nobody_is_asked_by_default(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert update(tmp_path, "check") == Exit.USAGE
    assert "no address comes with it" in capsys.readouterr().err
    assert update(tmp_path, "check", "--manifest", str(release(tmp_path / "r")), key=None) == Exit.USAGE
    assert "None comes with the program" in capsys.readouterr().err


def test_files_are_those_of_the_release(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    manifest = release(tmp_path / "r")
    (tmp_path / "r" / "potminer_amd64.deb").unlink()
    assert update(tmp_path, "verify", str(manifest), "--json") == Exit.OK
    answer = said(capsys)
    assert (answer["verified"], answer["elsewhere"]) == ([str(tmp_path / "r" / "potminer-linux.tar.zst")], 1)
    assert update(tmp_path, "verify", str(manifest), str(tmp_path / "r" / "potminer-linux.tar.zst")) == Exit.OK
    if sys.platform.startswith("linux"):
        subprocess.run(["sha256sum", "-c", "--ignore-missing", MANIFEST], cwd=tmp_path / "r", check=True)


@pytest.mark.parametrize("wrong", ["file", "longer", "manifest", "signature", "no-signature", "key", "stranger"])
def test_what_is_not_as_it_was_released_is_refused(wrong: str, tmp_path: Path) -> None:
    manifest = release(tmp_path / "r")
    package, signature, arguments = tmp_path / "r" / "potminer_amd64.deb", tmp_path / "r" / SIGNATURE, []
    match wrong:
        case "file":
            package.write_bytes(b"anothes")
        case "longer":
            package.write_bytes(b"another\0")
        case "manifest":
            manifest.write_bytes(manifest.read_bytes().replace(b"99.0.0", b"99.0.1"))
        case "signature":
            signature.write_text("0" * 128 + "\n")
        case "no-signature":
            signature.write_text("")
        case "key":
            release(tmp_path / "r", key=SigningKey(bytes(32)))
        case _:
            stranger = tmp_path / "r" / "stranger.exe"
            stranger.write_bytes(b"x")
            arguments = [str(stranger)]
    assert update(tmp_path, "verify", str(manifest), *arguments) == Exit.BAD_SIGNATURE


HEAD = "# potminer 1.2.3\n# released 2026-11-23T12:00:00Z\n# expires 2027-11-23T12:00:00Z\n"
LINE = f"{'ab' * 32}  file.deb\n"


@pytest.mark.parametrize(
    "text",
    [
        "", HEAD[1:], HEAD.replace("1.2.3", "1.2"), HEAD.replace("1.2.3", "1.2.3rc1"), HEAD.replace("-11-", "-13-"),
        HEAD + LINE[2:], HEAD + LINE.replace("file", "../file"), HEAD + LINE.replace("file", "/etc/file"),
        HEAD + LINE.replace("file", ".file"), HEAD + LINE.replace("  ", " *"), HEAD + LINE + LINE, HEAD + LINE[:-1],
        HEAD + LINE + "\n", HEAD + "".join(LINE.replace("file", f"f{n}") for n in range(FILES + 1)),
    ],
)  # fmt: skip
def test_a_manifest_that_is_none_is_refused_though_it_is_signed(text: str, tmp_path: Path) -> None:
    assert parse(HEAD + LINE).files == {"file.deb": bytes.fromhex("ab" * 32)}
    with pytest.raises(ValueError, match=r"begin|line|time|month"):
        parse(text)
    (tmp_path / MANIFEST).write_text(text)
    (tmp_path / SIGNATURE).write_text(KEY.sign(text.encode()).hex())
    assert update(tmp_path, "check", "--manifest", str(tmp_path / MANIFEST)) == Exit.BAD_SIGNATURE


async def test_an_address_is_asked_once_and_bounded(tmp_path: Path) -> None:
    release(tmp_path / "r")
    asked: list[str] = []

    async def answer(request: web.Request) -> web.StreamResponse:
        name = request.path.lstrip("/")
        asked.append(name)
        if name.startswith("huge"):
            return web.Response(body=b"x" * 300_000)
        if name.startswith("away"):
            raise web.HTTPFound("/" + MANIFEST)
        path = tmp_path / "r" / name
        return web.Response(body=path.read_bytes()) if path.is_file() else web.Response(status=404)

    server = web.Application()
    server.router.add_get("/{name}", answer)
    runner = web.AppRunner(server)
    await runner.setup()
    try:
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        port = runner.addresses[0][1]

        async def code(name: str) -> int:
            where = f"http://127.0.0.1:{port}/{name}"
            return await asyncio.to_thread(update, tmp_path, "check", "--manifest", where)

        assert await code(MANIFEST) == Exit.OK
        assert asked == [MANIFEST, SIGNATURE]
        assert await code("nowhere") == Exit.UNREACHABLE
        assert await code("away") == Exit.UNREACHABLE, "a redirect is not followed"
        assert await code("huge") == Exit.BAD_SIGNATURE
    finally:
        await runner.cleanup()
    assert await code(MANIFEST) == Exit.UNREACHABLE
    assert update(tmp_path, "check", "--manifest", "http://example.org/SHA256SUMS") == Exit.USAGE
    assert update(tmp_path, "check", "--manifest", "file:///etc/passwd") == Exit.USAGE


def test_a_release_is_signed_by_the_tool_that_is_for_it(tmp_path: Path) -> None:
    folder = tmp_path / "r"
    folder.mkdir()
    (folder / "potminer.whl").write_bytes(b"wheel")
    public = create_key(tmp_path / "release.key").public.hex()
    tool = [sys.executable, str(ROOT / "packaging/release.py"), str(folder), "--version", "1.0.0", "--key",
            str(tmp_path / "release.key")]  # fmt: skip
    environ = {**os.environ, "SOURCE_DATE_EPOCH": str(now_ms() // 1_000)}
    done = subprocess.run(tool, capture_output=True, text=True, timeout=60, check=True, env=environ)
    assert re.fullmatch(rf"1 files of 1\.0\.0, signed by {public}\n", done.stdout)
    first = (folder / MANIFEST).read_bytes(), (folder / SIGNATURE).read_bytes()
    subprocess.run(tool, capture_output=True, timeout=60, check=True, env=environ)
    assert ((folder / MANIFEST).read_bytes(), (folder / SIGNATURE).read_bytes()) == first
    assert update(tmp_path, "verify", str(folder / MANIFEST), key=public) == Exit.OK
