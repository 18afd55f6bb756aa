"""Wallet, bond and payout from the command line to the ledger: real files, a real ledger behind a real API."""

from __future__ import annotations

import asyncio
import json
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import pytest
from msgspec.structs import replace

from potminer.base.address import decode_address, encode_address
from potminer.base.bounded import GRAINS_PER_POT
from potminer.base.digest import Domain, digest
from potminer.base.errors import Exit
from potminer.cli.amount import Amount
from potminer.cli.main import main
from potminer.core.light.epochs import KEYS
from potminer.node.genesisfile import write_genesis
from potminer.wire.codec import encode
from potminer.wire.control import AccountView, Command, ReceiptStatus, ReceiptView, SetPayout, Snapshot, Until
from potminer.wire.proof import Believed, Shown
from potminer.wire.tx import RegisterTrainer, SignedTransaction, Transfer, transaction_digest
from potminer.world.keys import create_key, load_key
from potminer.world.words import seed_of, words_of
from tests.contract.chain_node import ChainNode, chain_nodes
from tests.unit.ledger_world import World, key

RICH = digest(Domain.DRAW, b"rich")
"""The seed of the rich account."""
PASSPHRASE = "correct horse battery"


@contextmanager
def descriptor(text: str) -> Iterator[str]:
    """A pipe that says *text*, as ``--passphrase-fd`` wants it."""
    ours, theirs = os.pipe()
    os.write(theirs, text.encode())
    os.close(theirs)
    try:
        yield str(ours)
    finally:
        os.close(ours)


def run(place: Path, *arguments: str, passphrase: str = PASSPHRASE, words: str = "") -> int:
    with descriptor(passphrase) as one, descriptor(words) as two:
        extra = [*(["--passphrase-fd", one] if passphrase else []), *(["--words-fd", two] if words else [])]
        return main(["--datadir", str(place), *arguments, *extra])


def answered(capsys: pytest.CaptureFixture[str]) -> dict[str, object]:
    found = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert isinstance(found, dict)
    return found


async def told(node: ChainNode, place: Path, *arguments: str, passphrase: str = "") -> int:
    """The command in a thread, and a block whenever it has submitted something; two, so that it is decided."""
    command = asyncio.create_task(asyncio.to_thread(run, place, *arguments, passphrase=passphrase))
    submitted = asyncio.create_task(node.submitted.get())
    await asyncio.wait((command, submitted), return_when=asyncio.FIRST_COMPLETED)
    if submitted.done():
        await node.step()
        await node.step()
    submitted.cancel()
    return await command


# ---- the file ----------------------------------------------------------------------------


def test_a_wallet_is_made_once_backed_up_and_restored(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(tmp_path, "wallet", "new", "--json") == Exit.OK
    made = answered(capsys)
    assert run(tmp_path, "wallet", "new", "--json") == Exit.NOT_PERMITTED, "money is never overwritten"
    assert run(tmp_path, "wallet", "backup", "--json") == Exit.OK
    assert answered(capsys)["words"] == made["words"]
    again = ["wallet", "restore", "--json", "--wallet", str(tmp_path / "again.json")]
    assert run(tmp_path, *again, words=str(made["words"])) == Exit.OK
    assert answered(capsys)["address"] == made["address"]
    assert run(tmp_path, "wallet", "show", "--json", passphrase="") == Exit.OK
    assert answered(capsys)["address"] == made["address"]


def test_what_opens_no_wallet(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(tmp_path, "wallet", "backup", "--json") == Exit.CONFIG, "there is none"
    assert run(tmp_path, "wallet", "new", "--json", passphrase="short") == Exit.USAGE
    assert not (tmp_path / "keys").exists()
    assert run(tmp_path, "wallet", "new", "--json") == Exit.OK
    words = str(answered(capsys)["words"]).split()
    assert run(tmp_path, "wallet", "backup", "--json", passphrase="wrong horse battery") == Exit.NOT_PERMITTED
    assert run(tmp_path, "wallet", "backup") == Exit.USAGE, "words go to a terminal or, on purpose, into JSON"
    swapped = " ".join([words[1], words[0], *words[2:]])
    for said in (" ".join(words[:23]), " ".join([*words[:23], "potminer"]), swapped):
        aim = ["wallet", "restore", "--wallet", str(tmp_path / "other.json")]
        assert run(tmp_path, *aim, words=said) == (Exit.USAGE if seed_is_none(said) else Exit.OK)
    shown = capsys.readouterr()
    assert "Traceback" not in shown.err
    assert not any(word in shown.err.split() for word in words if len(word) > 7), "errors do not repeat the words"
    file = tmp_path / "keys/wallet.json"
    file.chmod(0o644)
    assert run(tmp_path, "wallet", "backup", "--json") == Exit.NOT_PERMITTED, "others can read it"


def seed_is_none(words: str) -> bool:
    """Of 256 swaps one has a checksum that holds."""
    from potminer.base.errors import UsageError

    try:
        seed_of(words)
    except UsageError:
        return True
    return False


def test_the_node_key_goes_onto_paper_and_comes_back(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    there, here = tmp_path / "there", tmp_path / "here"
    made = create_key(there / "keys/node.key")
    assert main(["--datadir", str(there), "keys", "backup", "--json"]) == Exit.OK
    words = str(answered(capsys)["words"])
    assert run(here, "keys", "restore", passphrase="", words=words) == Exit.OK
    assert load_key(here / "keys/node.key").public == made.public
    assert run(here, "keys", "restore", passphrase="", words=words) == Exit.NOT_PERMITTED
    assert main(["--datadir", str(here), "keys", "show"]) == Exit.OK
    assert encode_address(made.public) in capsys.readouterr().out


# ---- money -------------------------------------------------------------------------------


async def test_money_is_sent_and_the_receipt_awaited(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    mine, friend = tmp_path / "mine", encode_address(key("friend").public)
    words = words_of(RICH)
    assert await asyncio.to_thread(run, mine, "wallet", "restore", "--json", words=words) == Exit.OK
    async with chain_nodes(tmp_path) as (world, [(node, address)]):
        where = ["--socket", str(address), "--json", "--yes", "--wait", "20"]
        before = world.state.account(key("rich").public).balance
        sent = ["wallet", "send", friend, "1.5"]
        assert await told(node, mine, *sent, *where, passphrase=PASSPHRASE) == Exit.OK
        receipt = answered(capsys)
        assert (receipt["status"], receipt["height"]) == ("applied", 1)
        assert world.state.account(key("friend").public).balance == 1_500_000_000
        fee = world.genesis.parameters.minimum_fee
        assert world.state.account(key("rich").public).balance == before - 1_500_000_000 - fee
        too_much = ["wallet", "send", friend, f"{before}grains"]
        assert await told(node, mine, *too_much, *where, passphrase=PASSPHRASE) == Exit.FAILURE
        refused = answered(capsys)
        assert (refused["status"], bool(refused["reason"])) == ("refused", True)


class Boaster(ChainNode):
    """Says of everything that it was done; *shows* the true proof beside it, or none."""

    shows = True

    async def receipt(self, transaction: bytes, *, wait_ms: int, until: Until) -> ReceiptView | None:
        view = await super().receipt(transaction, wait_ms=wait_ms, until=until)
        if view is None:
            return None
        boast = replace(view, status=ReceiptStatus.APPLIED, reason="", height=view.height or 1)
        return boast if self.shows else replace(boast, proven=None, proof="")

    async def submit(self, transaction: SignedTransaction, *, wait_ms: int, until: Until) -> ReceiptView:
        await super().submit(transaction, wait_ms=wait_ms, until=until)
        view = await self.receipt(transaction_digest(transaction.transaction), wait_ms=0, until=until)
        assert view is not None
        return view


@pytest.mark.parametrize("shows", [True, False], ids=["another proof", "no proof"])
async def test_about_money_a_daemon_s_word_is_not_taken(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], shows: bool
) -> None:
    create_key(tmp_path / "mine/keys/node.key", seed=RICH)
    async with chain_nodes(tmp_path, Boaster) as (_, [(node, address)]):
        assert isinstance(node, Boaster)
        node.shows = shows
        code = await told(node, tmp_path / "mine", "bond", "2", "--socket", str(address), "--wait", "20")
        assert code == Exit.BAD_SIGNATURE
        assert "proves" in capsys.readouterr().err


async def test_a_daemon_of_another_chain_gets_no_signature(tmp_path: Path) -> None:
    mine = tmp_path / "mine"
    mine.mkdir()
    write_genesis(mine / "genesis.json", World(validators=7).genesis)
    assert await asyncio.to_thread(run, mine, "wallet", "new", "--json") == Exit.OK
    async with chain_nodes(tmp_path) as (_, [(node, address)]):
        sent = ["wallet", "send", encode_address(key("friend").public), "1", "--yes", "--socket", str(address)]
        assert await told(node, mine, *sent, passphrase=PASSPHRASE) == Exit.NOT_PERMITTED
        assert node.submitted.empty()


async def test_a_rig_bonds_and_unbonds_with_its_own_key(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    mine = tmp_path / "mine"
    rig = create_key(mine / "keys/node.key", seed=RICH)
    async with chain_nodes(tmp_path) as (world, [(node, address)]):
        where = ["--socket", str(address), "--json", "--wait", "20"]
        assert await told(node, mine, "bond", "2", *where) == Exit.FAILURE
        assert answered(capsys)["reason"] == "not-registered"
        assert node.ledger.submit(world.sign("rich", RegisterTrainer(rig.public))) is None
        await node.step()
        assert await told(node, mine, "bond", "2", *where) == Exit.OK
        assert await told(node, mine, "unbond", "25grains", *where) == Exit.OK
        assert answered(capsys)["status"] == "applied"


async def test_a_new_payout_address_reaches_config_and_daemon(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    mine, to = tmp_path / "mine", encode_address(key("friend").public)
    assert await asyncio.to_thread(run, mine, "payout", "set", "pot1qqqq", passphrase="") == Exit.CONFIG
    assert await asyncio.to_thread(run, mine, "payout", "set", to, passphrase="") == Exit.OK
    assert "no daemon runs" in capsys.readouterr().out
    async with chain_nodes(tmp_path) as (_, [(node, address)]):
        # This node refuses every such letter; that it says so shows that the letter came.
        assert await told(node, mine, "payout", "set", to, "--socket", str(address)) == Exit.USAGE
        assert "It starts with pot1." in capsys.readouterr().err


class Paid(ChainNode):
    """A node whose own key is rich's, and that registers the address it is told."""

    async def snapshot(self) -> Snapshot:
        return replace(await super().snapshot(), node=encode_address(key("rich").public))

    async def command(self, command: Command) -> None:
        assert isinstance(command, SetPayout)
        register = RegisterTrainer(decode_address(command.address))
        assert self._take([self.world.sign("rich", register)]) == [None]


async def test_a_payout_address_is_said_to_be_taken_when_the_committee_proves_it(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    mine, to = tmp_path / "mine", encode_address(key("friend").public)
    async with chain_nodes(tmp_path, Paid) as (_, [(node, address)]):
        assert await told(node, mine, "payout", "set", to, "--socket", str(address), "--wait", "30") == Exit.OK
        assert "proven by the committee at height" in capsys.readouterr().out
        assert await told(node, mine, "payout", "set", to, "--socket", str(address), "--wait", "0") == Exit.OK
        assert "not taken it yet" in capsys.readouterr().out


class Flatterer(Paid):
    """Says of everybody that it is rich; *forges* what it shows, too."""

    forges = False

    async def account(self, key: bytes) -> AccountView:
        return replace(await super().account(key), balance=10**15)

    async def show(self, keys: Sequence[bytes], height: int | None) -> Shown:
        shown = await super().show(keys, height)
        if not self.forges:
            return shown
        ends = [None if each.end is None else (each.end[0], each.end[1][::-1]) for each in shown.proofs]
        return replace(shown, proofs=tuple(map(lambda p, end: replace(p, end=end), shown.proofs, ends)))


async def test_a_balance_is_shown_as_it_is_proven_and_a_forged_one_not_at_all(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    mine, held = tmp_path / "mine", 7 * GRAINS_PER_POT
    assert await asyncio.to_thread(run, mine, "wallet", "new", "--json") == Exit.OK
    address = decode_address(str(answered(capsys)["address"]))
    async with chain_nodes(tmp_path, Flatterer) as (world, [(node, where)]):
        assert isinstance(node, Flatterer)
        show = ["wallet", "show", "--socket", str(where)]
        assert await asyncio.to_thread(run, mine, *show, passphrase="") == Exit.OK
        assert "the daemon's word, not proven" in capsys.readouterr().out
        assert node.ledger.submit(world.sign("rich", Transfer(address, held))) is None
        await node.step()
        await node.step()
        write_genesis(mine / "genesis.json", world.genesis)
        assert await asyncio.to_thread(run, mine, *show, "--json", passphrase="") == Exit.OK
        told = answered(capsys)
        assert isinstance(told["account"], dict)
        assert (told["account"]["balance"], told["proven_after"]) == (held, 1)
        (mine / "believed").write_bytes(encode(Believed(world.chain, 99, bytes(32), 99, world.shown(*KEYS, height=1))))
        assert await asyncio.to_thread(run, mine, *show, passphrase="") == Exit.OK
        assert "the daemon's word, not proven" in capsys.readouterr().out, "it is behind what we know"
        (mine / "believed").unlink()
        node.forges = True
        for command in (show, ["payout", "show", "--socket", str(where)]):
            assert await asyncio.to_thread(run, mine, *command, passphrase="") == Exit.BAD_SIGNATURE, command
            assert "balance" not in capsys.readouterr().out


async def test_where_earnings_go_is_shown_as_it_is_proven(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    mine, to = tmp_path / "mine", key("friend").public
    mine.mkdir()
    async with chain_nodes(tmp_path, Paid) as (world, [(node, where)]):
        assert node.ledger.submit(world.sign("rich", RegisterTrainer(to))) is None
        await node.step()
        await node.step()
        show = ["payout", "show", "--json", "--socket", str(where)]
        assert await asyncio.to_thread(run, mine, *show, passphrase="") == Exit.OK
        assert answered(capsys)["ledger"] == encode_address(to)
        write_genesis(mine / "genesis.json", World(validators=7).genesis)
        assert await asyncio.to_thread(run, mine, *show, passphrase="") == Exit.BAD_SIGNATURE
        assert "another chain" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("said", "grains"),
    [("1.5", 1_500_000_000), ("0.000000001", 1), ("25grains", 25), ("1 POT", GRAINS_PER_POT), ("2pot", 2 * 10**9)],
)
def test_an_amount_is_exact(said: str, grains: int) -> None:
    assert Amount()(said) == grains


@pytest.mark.parametrize("said", ["", "0", "-1", "1.0000000001", "1e9", "1.5grains", "١", "9999999999999999", "NaN"])
def test_what_is_no_amount(said: str) -> None:
    import click

    with pytest.raises(click.BadParameter):
        Amount()(said)
