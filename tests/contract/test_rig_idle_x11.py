"""The X11 protocol by hand: a fake server in every mood, and a real one where it is installed."""

from __future__ import annotations

import os
import shutil
import struct
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from fakes.xserver import COOKIE, SAVER, XWAYLAND, FakeX

from potminer.world.rig.idle.reading import Reading
from potminer.world.rig.idle.x11 import X11, display_number, sockets
from potminer.world.rig.idle.xauthority import find_cookies


@contextmanager
def opened(root: Path, display: int = 5, *authorities: Path) -> Iterator[tuple[X11, list[Reading]]]:
    """A reader and what it read."""
    reader = X11(root=root)
    try:
        yield reader, [reader.read(display, place="here", authorities=authorities)]
    finally:
        reader.close()


def test_a_cookie_opens_and_the_conversation_goes_on(tmp_path: Path) -> None:
    with FakeX(tmp_path) as server:
        key = server.authority(tmp_path / "key")
        with opened(tmp_path, 5, tmp_path / "none", key) as (reader, read):
            assert read == [Reading("here", "X11", 240_000, "X11 display :5", None)]
            server.idle_ms = 12
            assert reader.read(5, place="here", authorities=[]).idle_ms == 12
    assert server.greetings == 1


def test_a_server_that_went_and_came_is_asked_anew(tmp_path: Path) -> None:
    with FakeX(tmp_path) as server:
        key = server.authority(tmp_path / "key")
        with opened(tmp_path, 5, key) as (reader, _):
            server.hang_up()
            assert reader.read(5, place="here", authorities=[key]).idle_ms is None
            assert reader.read(5, place="here", authorities=[key]).idle_ms == 240_000


def test_a_wrong_cookie_is_followed_by_the_right_one(tmp_path: Path) -> None:
    with FakeX(tmp_path) as server:
        wrong = server.authority(tmp_path / "wrong", cookie=bytes(16))
        other = server.authority(tmp_path / "other", display=b"6")
        right = server.authority(tmp_path / "right", display=b"")
        with opened(tmp_path, 5, wrong, other, right) as (_, (reading,)):
            assert reading.idle_ms == 240_000
        assert server.greetings == 2
        with opened(tmp_path, 5, wrong) as (_, (reading,)):
            assert reading.idle_ms is None
            assert reading.detail == "display :5 does not let us in (Invalid MIT-MAGIC-COOKIE-1 key)"


@pytest.mark.parametrize(
    ("extensions", "words"),
    [({}, "has no screen saver"), ({b"MIT-SCREEN-SAVER": SAVER, b"XWAYLAND": XWAYLAND}, "is Xwayland")],
)
def test_a_server_that_cannot_know_is_unknown(tmp_path: Path, extensions: dict[bytes, int], words: str) -> None:
    with FakeX(tmp_path) as server:
        server.open_to_all, server.extensions = True, extensions
        with opened(tmp_path) as (_, (reading,)):
            assert reading.idle_ms is None
            assert words in reading.detail


@pytest.mark.parametrize(
    "said",
    [
        b"\x00\x03" + bytes(30),
        b"\x01\x00\x00\x00\xff\xff\xff\xff" + bytes(24),
        b"\x01\x00\x00\x00\x00\x00\x10\x00" + bytes(24),
        b"\x22" + bytes(31),
        b"\x23\x00\x00\x00\xff\xff\xff\x7f" + bytes(24),
        b"\x01\x00",
    ],
    ids=["error", "huge", "long", "event", "huge event", "torn"],
)
def test_a_server_that_talks_nonsense_is_unknown(tmp_path: Path, said: bytes) -> None:
    with FakeX(tmp_path) as server:
        server.open_to_all, server.instead = True, said
        with opened(tmp_path) as (reader, (reading,)):
            assert reading.idle_ms is None
            assert reading.detail
            server.instead = None
            assert reader.read(5, place="here", authorities=[]).idle_ms == 240_000


def test_a_server_that_hangs_is_waited_for_briefly(tmp_path: Path) -> None:
    with FakeX(tmp_path) as server:
        server.open_to_all, server.silent = True, True
        with opened(tmp_path) as (_, (reading,)):
            assert (reading.idle_ms, reading.detail) == (None, "the display server does not answer")


def test_events_nobody_asked_for_are_passed_over(tmp_path: Path) -> None:
    with FakeX(tmp_path) as server:
        server.open_to_all, server.events = True, 200
        with opened(tmp_path) as (_, (reading,)):
            assert reading.idle_ms == 240_000


@pytest.mark.parametrize("full", [None, False, True])
def test_a_window_that_fills_the_screen(tmp_path: Path, full: bool | None) -> None:
    with FakeX(tmp_path) as server:
        server.open_to_all, server.full_screen = True, full
        with opened(tmp_path) as (_, (reading,)):
            assert reading.full_screen is full


def test_no_socket_is_no_display(tmp_path: Path) -> None:
    with opened(tmp_path) as (_, (reading,)):
        assert (reading.idle_ms, reading.detail) == (None, "display :5 cannot be reached")


def test_a_socket_that_nobody_holds_is_no_display(tmp_path: Path) -> None:
    server = FakeX(tmp_path)
    with opened(tmp_path) as (_, (reading,)):
        assert reading.idle_ms is None
    assert sockets(tmp_path) == {5: server.path}


@pytest.mark.parametrize(
    ("text", "number"),
    [(":0", 0), (":10.1", 10), ("unix:2", 2), ("localhost:10.0", None), ("", None), (":", None), (":-1", None)],
)
def test_displays_that_are_here(text: str, number: int | None) -> None:
    assert display_number(text) == number


@pytest.mark.parametrize("size", [0, 1, 3, 10, 40, 200])
def test_a_torn_authority_is_read_as_far_as_it_goes(tmp_path: Path, size: int) -> None:
    whole = b"\x01\x00" + b"".join(
        struct.pack(">H", len(part)) + part for part in (b"here", b"5", b"MIT-MAGIC-COOKIE-1", COOKIE)
    )
    path = tmp_path / "key"
    path.write_bytes((whole * 3)[:size])
    assert find_cookies([path, tmp_path / "none"], 5) == ([COOKIE] if size >= len(whole) else [])


# ---- a real server -----------------------------------------------------------------------

REAL = [path] if (path := shutil.which("Xvfb")) else []


@contextmanager
def xvfb(program: str, key: Path) -> Iterator[int]:
    """The display of a server that opens with *key* alone; it chooses its own number."""
    reading, writing = os.pipe()
    process = subprocess.Popen(
        [program, "-displayfd", str(writing), "-screen", "0", "320x200x24", "-auth", str(key), "-nolisten", "tcp"],
        pass_fds=(writing,),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    os.close(writing)
    try:
        with os.fdopen(reading) as said:
            yield int(said.readline())
    finally:
        process.terminate()
        process.wait(20)


@pytest.mark.parametrize("program", REAL)
def test_a_real_server_counts_on_while_it_is_asked(tmp_path: Path, program: str) -> None:
    key = FakeX(tmp_path).authority(tmp_path / "key", display=b"")
    with xvfb(program, key) as display, opened(Path("/"), display, key) as (reader, (first,)):
        assert first.idle_ms is not None, first.detail
        again = reader.read(display, place="here", authorities=[key])
        while again.idle_ms == first.idle_ms:
            again = reader.read(display, place="here", authorities=[key])
        assert again.idle_ms is not None
        assert again.idle_ms > first.idle_ms
        assert again.full_screen is None
        with opened(Path("/"), display) as (_, (refused,)):
            assert refused.idle_ms is None
            assert "does not let us in" in refused.detail
