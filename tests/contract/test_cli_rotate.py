"""``keys rotate`` and ``keys send``: nothing is left behind, against a real ledger behind a real API."""

from __future__ import annotations

import asyncio
import stat
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from potminer.base.address import encode_address
from potminer.base.errors import Exit, NotPermitted
from potminer.cli.clock import now_ms
from potminer.cli.main import main
from potminer.cli.rotate import NOTE, NOTE_MS, what_to_do
from potminer.node.belongings import Belongings
from potminer.wire import record as records
from potminer.wire.record import Account, Unbonding
from potminer.world.api.lockfile import Lock
from potminer.world.keys import create_key, load_key, load_seed, rotate_key
from potminer.world.paths import locate
from tests.contract.chain_node import chain_nodes
from tests.contract.test_cli_validator import Standby
from tests.contract.test_cli_wallet import RICH, answered, told
from tests.unit.ledger_world import SMALLEST_BOND, key


def home(folder: Path) -> Path:
    """The data folder of a node that has lived: its key, its marks, its database."""
    create_key(folder / "keys/node.key", seed=RICH)
    for name in ("keys/node.key.used", "keys/node.key.reached", "potminer.sqlite", "potminer.sqlite-wal"):
        (folder / name).write_text(f"old {name}")
    return folder


def names(folder: Path) -> set[str]:
    return {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}


OWN = encode_address(key("rich").public)
OLD = f"node-{OWN[4:16]}.key"


async def test_money_that_would_be_left_behind_is_named_and_moved(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    mine, other = home(tmp_path / "mine"), key("bob").public
    async with chain_nodes(tmp_path, Standby, epoch_blocks=8) as (_, [(node, address)]):
        assert isinstance(node, Standby)
        where = ["--socket", str(address), "--json"]
        await node.step()
        await node.step()
        assert await told(node, mine, "validator", "register", f"{SMALLEST_BOND}grains", *where) == Exit.OK
        capsys.readouterr()
        before = names(mine)
        assert await told(node, mine, "keys", "rotate", *where) == Exit.NOT_PERMITTED
        said = capsys.readouterr().err
        assert "potminer keys send --all ADDRESS" in said
        assert "bond as a validator: potminer validator unbond --all" in said
        assert names(mine) == before
        assert load_seed(mine / "keys/node.key") == RICH

        assert await told(node, mine, "keys", "send", "--all", encode_address(other), *where) == Exit.OK
        assert node.ledger.state.need(Account, records.account_key(key("rich").public)).balance == 0
        assert await told(node, mine, "keys", "send", "--all", encode_address(other), *where) == Exit.USAGE
        capsys.readouterr()
        assert await told(node, mine, "keys", "rotate", *where) == Exit.NOT_PERMITTED
        said = capsys.readouterr().err
        assert "keys send" not in said
        assert "unbond" in said


async def test_a_key_with_nothing_on_it_is_replaced_once_its_daemon_stopped(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    mine = home(tmp_path / "mine")
    async with chain_nodes(tmp_path, Standby, epoch_blocks=8) as (_, [(node, address)]):
        where = ["--socket", str(address)]
        await node.step()
        await node.step()
        assert await told(node, mine, "keys", "send", "--all", encode_address(key("bob").public), *where) == Exit.OK
        capsys.readouterr()
        lock = Lock.acquire(locate({}, datadir=mine).lock)
        try:
            assert await told(node, mine, "keys", "rotate", "--json", *where) == Exit.OK
            assert answered(capsys)["state"] == "stop-the-daemon"
            assert load_seed(mine / "keys/node.key") == RICH
        finally:
            lock.release()
    again = ["--datadir", str(mine), "keys", "rotate", "--json"]
    assert await asyncio.to_thread(main, again) == Exit.OK
    said = answered(capsys)
    fresh = load_key(mine / "keys/node.key")
    assert (said["state"], said["was"], said["node"]) == ("rotated", OWN, encode_address(fresh.public))
    assert fresh.public != key("rich").public
    assert load_seed(mine / "keys" / OLD) == RICH
    if sys.platform != "win32":
        assert stat.S_IMODE((mine / "keys/node.key").stat().st_mode) == 0o600
    left = f"potminer-{OWN[4:16]}.sqlite"
    assert names(mine) == {
        "keys/node.key", f"keys/{OLD}", f"keys/{OLD}.used", f"keys/{OLD}.reached", left, f"{left}-wal", "potminer.lock"
    }  # fmt: skip
    assert await asyncio.to_thread(main, again) == Exit.UNREACHABLE, "proven of the old key alone"


@pytest.mark.parametrize(
    ("who", "age_ms"), [(OWN, NOTE_MS + 60_000), (OWN, -60_000), (encode_address(key("bob").public), 0), ("", None)]
)
def test_without_a_proof_of_now_nothing_is_replaced(who: str, age_ms: int | None, tmp_path: Path) -> None:
    mine = home(tmp_path / "mine")
    note = f'{{"key": "{who}", "height": 7, "at_ms": {now_ms() - age_ms}}}' if age_ms is not None else "{"
    (mine / "keys" / NOTE).write_text(note)
    assert main(["--datadir", str(mine), "keys", "rotate", "--yes"]) == Exit.UNREACHABLE
    assert load_seed(mine / "keys/node.key") == RICH
    assert main(["--datadir", str(mine), "keys", "rotate", "--yes", "--leave"]) == Exit.OK
    assert load_seed(mine / "keys" / OLD) == RICH


def test_everything_that_hangs_on_a_key_has_a_line_and_blocks_alone() -> None:
    nothing = Belongings(
        height=7, balance=0, bond=0, unbonding=0, stake=0, leaving=(), held=0, sealed=False, sits=False,
        candidate=False, orders=(), works=(),
    )  # fmt: skip
    assert nothing.nothing
    assert what_to_do(nothing) == []
    leaving = Unbonding(key("rich").public, 5, 1_780_000_000_000, 9)
    things: dict[str, object] = {
        "balance": 1, "bond": 2_000_000_001, "unbonding": 1, "stake": 1, "leaving": (leaving,), "held": 1,
        "sits": True, "candidate": True, "orders": ("digits",), "works": ("digits",), "pending": 1,
    }  # fmt: skip
    for name, value in things.items():
        seen = replace(nothing, **{name: value})  # type: ignore[arg-type]
        assert not seen.nothing, name
        assert len(what_to_do(seen)) == 1, name
    assert what_to_do(replace(nothing, bond=2_000_000_001)) == [
        "2.00 POT bond as a trainer: potminer unbond 2000000001grains"
    ]
    assert replace(nothing, held=9, sealed=True).nothing, "it never returns, to no key"


def test_an_interrupted_rotation_goes_on_and_overwrites_nothing(tmp_path: Path) -> None:
    """Stopped before the new key took the place; then again with another key's file in the way."""
    path, kept = tmp_path / "node.key", tmp_path / "old.key"
    create_key(path, seed=RICH)
    kept.hardlink_to(path)
    waiting = create_key(tmp_path / "node.key.next")
    assert rotate_key(path, kept).public == waiting.public
    assert (load_key(path).public, load_seed(kept)) == (waiting.public, RICH)
    with pytest.raises(NotPermitted, match="already there"):
        rotate_key(path, kept)
    assert (load_key(path).public, load_seed(kept)) == (waiting.public, RICH)


async def test_sending_needs_an_amount_or_all(tmp_path: Path) -> None:
    mine = home(tmp_path / "mine")
    to = encode_address(key("bob").public)
    for arguments in ([to], [to, "1", "--all"], ["nobody", "1"]):
        assert await asyncio.to_thread(main, ["--datadir", str(mine), "keys", "send", *arguments]) == Exit.USAGE
