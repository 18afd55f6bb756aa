"""The node key's file: private, whole, never overwritten, never read when others could."""

from __future__ import annotations

import os
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from potminer.base.address import encode_address
from potminer.base.errors import ConfigError, NotPermitted, UsageError
from potminer.wire import seal
from potminer.world.keys import (
    Effort,
    WalletFile,
    create_key,
    create_wallet,
    load_key,
    load_or_create_key,
    open_wallet,
    read_wallet,
    seal_wallet,
)
from potminer.world.words import seed_of, words_of

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


# ---- the wallet --------------------------------------------------------------------------

CHEAP = Effort(1, 8_192)
"""Enough to test the form; the real effort is tested once, from the command line."""


def test_a_wallet_opens_with_its_passphrase_however_it_is_spelt(tmp_path: Path) -> None:
    path = tmp_path / "keys" / "wallet.json"
    create_wallet(path, seal_wallet(SEED, "caf\u00e9 au lait", effort=CHEAP))
    closed = read_wallet(path)
    assert closed.address == encode_address(seal.SigningKey(SEED).public)
    assert open_wallet(closed, "cafe\u0301 au lait") == SEED
    assert SEED.hex() not in path.read_text()
    assert path.stat().st_mode & 0o777 == 0o600
    with pytest.raises(NotPermitted):
        create_wallet(path, b"")


def test_two_wallets_of_one_key_share_nothing_but_the_address() -> None:
    one, two = (msgspec.json.decode(seal_wallet(SEED, "the same words", effort=CHEAP)) for _ in range(2))
    assert one["address"] == two["address"]
    assert one["salt"] != two["salt"]
    assert one["sealed"] != two["sealed"]


@pytest.mark.parametrize("part", ["salt", "sealed", "address", "passes"])
def test_a_changed_wallet_does_not_open(part: str) -> None:
    said = msgspec.json.decode(seal_wallet(SEED, "passphrase", effort=CHEAP), type=WalletFile)
    other = msgspec.json.decode(seal_wallet(bytes(32), "passphrase", effort=Effort(2, 8_192)), type=WalletFile)
    with pytest.raises(NotPermitted):
        open_wallet(msgspec.structs.replace(said, **{part: getattr(other, part)}), "passphrase")


@pytest.mark.parametrize(
    "change", [{"memory": 2**31}, {"passes": 1_000}, {"salt": "AAAA"}, {"sealed": ""}, {"format": "other"}, {"x": 1}]
)
def test_a_wallet_that_is_none_or_a_trap_is_refused_before_any_work(tmp_path: Path, change: dict[str, object]) -> None:
    said = msgspec.json.decode(seal_wallet(SEED, "passphrase", effort=CHEAP)) | change
    create_wallet(tmp_path / "w", msgspec.json.encode(said))
    with pytest.raises(ConfigError):
        read_wallet(tmp_path / "w")
    create_wallet(tmp_path / "large", b" " * 5_000)
    with pytest.raises(ConfigError):
        read_wallet(tmp_path / "large")


# ---- words -------------------------------------------------------------------------------


def test_words_are_those_of_bip_39() -> None:
    assert words_of(bytes(32)) == "abandon " * 23 + "art"
    assert words_of(b"\xff" * 32) == "zoo " * 23 + "vote"


@settings(max_examples=50)
@given(st.binary(min_size=32, max_size=32))
def test_every_seed_comes_back_from_its_words(seed: bytes) -> None:
    assert seed_of(f"  {words_of(seed).upper()}\n") == seed


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ("", "there are 0 words"),
        ("abandon " * 24, "checksum"),
        ("abandon " * 22 + "abandno art", "word 23 is not in the list"),
        ("x" * 100_000, "there are 1 words"),
    ],
)
def test_words_that_are_none_are_refused_in_words(words: str, said: str) -> None:
    with pytest.raises(UsageError, match=said):
        seed_of(words)
