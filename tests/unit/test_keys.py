"""The node key's file: private, whole, never overwritten, never read when others could."""

from __future__ import annotations

import os
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from potminer.base.errors import ConfigError, NotPermitted
from potminer.wire import seal
from potminer.world.keys import create_key, load_key, load_or_create_key

SEED = bytes(range(32))


def test_a_key_survives_its_file(tmp_path: Path) -> None:
    path = tmp_path / "keys" / "node.key"
    made = create_key(path)
    assert load_key(path).public == made.public
    assert seal.verify(made.public, b"said", load_key(path).sign(b"said"))


def test_the_file_is_private_and_alone(tmp_path: Path) -> None:
    path = tmp_path / "node.key"
    before = os.umask(0)
    try:
        create_key(path)
    finally:
        os.umask(before)
    assert path.stat().st_mode & 0o777 == 0o600
    assert [p.name for p in tmp_path.iterdir()] == ["node.key"]
    assert path.stat().st_nlink == 1


def test_a_given_seed_gives_its_key(tmp_path: Path) -> None:
    assert create_key(tmp_path / "a", seed=SEED).public == seal.SigningKey(SEED).public
    assert (tmp_path / "a").read_text() == SEED.hex() + "\n"
    with pytest.raises(AssertionError):
        create_key(tmp_path / "b", seed=b"short")


def test_two_keys_differ(tmp_path: Path) -> None:
    assert create_key(tmp_path / "a").public != create_key(tmp_path / "b").public


def test_a_key_is_never_overwritten(tmp_path: Path) -> None:
    path = tmp_path / "node.key"
    first = create_key(path)
    with pytest.raises(NotPermitted, match="already there"):
        create_key(path)
    assert load_key(path).public == first.public
    assert [p.name for p in tmp_path.iterdir()] == ["node.key"]


def test_a_damaged_file_is_left_alone_and_named(tmp_path: Path) -> None:
    path = tmp_path / "node.key"
    for content in (b"", b"00" * 31, b"00" * 33, b"zz" * 32, b"\xff" * 64, b"0 " * 32, b"00" * 10_000):
        path.write_bytes(content)
        path.chmod(0o600)
        with pytest.raises(ConfigError, match="no node key"):
            load_key(path)
        with pytest.raises(ConfigError):
            load_or_create_key(path)
        assert path.read_bytes() == content


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o660, 0o666, 0o777, 0o601])
def test_a_file_that_others_may_open_is_refused(tmp_path: Path, mode: int) -> None:
    path = tmp_path / "node.key"
    create_key(path)
    path.chmod(mode)
    with pytest.raises(NotPermitted, match="chmod 600") as caught:
        load_key(path)
    assert caught.value.exit == 7


def test_a_stricter_mode_is_fine(tmp_path: Path) -> None:
    path = tmp_path / "node.key"
    key = create_key(path)
    path.chmod(0o400)
    assert load_key(path).public == key.public


def test_links_pipes_and_folders_are_no_keys(tmp_path: Path) -> None:
    create_key(tmp_path / "real")
    (tmp_path / "link").symlink_to(tmp_path / "real")
    (tmp_path / "dangling").symlink_to(tmp_path / "nowhere")
    (tmp_path / "folder").mkdir(mode=0o700)
    os.mkfifo(tmp_path / "pipe", 0o600)
    for name in ("link", "dangling", "folder", "pipe"):
        with pytest.raises(NotPermitted):
            load_key(tmp_path / name)
        with pytest.raises(NotPermitted):
            load_or_create_key(tmp_path / name)
    assert not (tmp_path / "nowhere").exists()


def test_a_missing_key_says_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="no key at") as caught:
        load_key(tmp_path / "node.key")
    assert "potminer init" in caught.value.hint


def test_many_that_start_at_once_agree_on_one_key(tmp_path: Path) -> None:
    path = tmp_path / "node.key"
    with ThreadPoolExecutor(8) as pool:
        keys = list(pool.map(lambda _: load_or_create_key(path).public, range(8)))
    assert set(keys) == {load_key(path).public}
    assert [p.name for p in tmp_path.iterdir()] == ["node.key"]
