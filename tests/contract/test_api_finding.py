"""Finding a daemon: the lock, the address in it, and where a node's things lie."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from potminer.base.errors import AlreadyRunning, Exit, Unreachable, UsageError
from potminer.world.api.address import TcpAddress, UnixAddress, address_from_flag, parse_address
from potminer.world.api.attach import find
from potminer.world.api.lockfile import Lock, read_note
from potminer.world.paths import Paths, locate


@pytest.fixture
def paths(tmp_path: Path) -> Paths:
    return locate({}, datadir=tmp_path / "data", network="devnet")


def test_one_daemon_per_data_folder(paths: Paths) -> None:
    lock = Lock.acquire(paths.lock)
    address = UnixAddress(paths.socket)
    lock.publish(address)
    with pytest.raises(AlreadyRunning, match=f"process {os.getpid()}, unix:") as refused:
        Lock.acquire(paths.lock)
    assert refused.value.exit is Exit.RUNNING
    assert find(paths) == address
    lock.release()
    assert read_note(paths.lock) is None
    with pytest.raises(Unreachable):
        find(paths)
    Lock.acquire(paths.lock).release()


def test_a_damaged_lock_file_is_an_error_and_no_crash(paths: Paths) -> None:
    paths.lock.parent.mkdir(parents=True)
    paths.lock.write_bytes(b'{"pid":1,"address":"ftp://x"}')
    with pytest.raises(Unreachable, match="damaged"):
        find(paths)
    paths.lock.write_bytes(b"\xff\xfe{")
    with pytest.raises(Unreachable):
        find(paths)


def test_addresses_survive_the_lock_file(tmp_path: Path) -> None:
    for address in (UnixAddress(tmp_path / "api.sock"), TcpAddress(4077, tmp_path / "cookie")):
        assert parse_address(str(address)) == address
        assert address_from_flag(str(address)) == address
    with pytest.raises(UsageError):
        address_from_flag("http://example.com:80 cookie=/x")


def test_a_long_data_folder_gets_a_short_socket(tmp_path: Path) -> None:
    deep = tmp_path / ("d" * 90)
    found = locate({"XDG_RUNTIME_DIR": str(tmp_path)}, datadir=deep, network="devnet")
    assert found.runtime.parent == tmp_path
    assert found.runtime != locate({"XDG_RUNTIME_DIR": str(tmp_path)}, datadir=deep / "x", network="devnet").runtime


def test_flags_win_over_the_environment_and_that_over_custom(tmp_path: Path) -> None:
    environ = {"POTMINER_DATADIR": str(tmp_path / "env"), "POTMINER_NETWORK": "test"}
    assert locate(environ).datadir == tmp_path / "env"
    assert locate(environ).network == "test"
    found = locate(environ, datadir=tmp_path / "flag", network="devnet")
    assert (found.datadir, found.network) == (tmp_path / "flag", "devnet")
    assert locate({}).datadir.name == "main"
    with pytest.raises(UsageError):
        locate({}, network="../evil")
