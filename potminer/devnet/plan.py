"""What a devnet consists of, written to disk before anything starts."""

from __future__ import annotations

import json
import shutil
import socket
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

from potminer.base.address import encode_address
from potminer.base.digest import Domain, digest
from potminer.base.errors import NotPermitted, UsageError
from potminer.node.build import is_cheat, unix_ms
from potminer.node.genesisfile import write_genesis
from potminer.node.onions import onion_of
from potminer.node.template import config_text
from potminer.wire.genesis import Genesis, GenesisAccount, GenesisValidator, Parameters
from potminer.wire.seal import SigningKey
from potminer.world.keys import NODE_KEY, create_key
from potminer.world.paths import private_folder

MARK = "devnet.json"
REQUESTER_KEY = "requester.key"
VALIDATOR_FAULTS = ("silent", "equivocate", "slow-leader", "censor")
VALIDATOR_BOND = 10**13
MOST_BLOBS_GIB = 8
PARAMETERS = Parameters(escrow_rounds=2, unbonding_ms=60_000, epoch_blocks=20, validator_bond=10**12)
HOST = "127.0.0.1"
REQUESTER_GRAINS = 10**15


@dataclass(frozen=True, slots=True)
class Member:
    """One process of the devnet. *payout* is where a trainer's earnings go."""

    name: str
    role: str
    port: int
    datadir: Path
    key: bytes
    payout: bytes | None
    byzantine: str | None


@dataclass(frozen=True, slots=True)
class Plan:
    """*folder* also holds the requester's key as a file, for ``potminer task submit --key``."""

    folder: Path
    genesis: Path
    members: tuple[Member, ...]
    requester: SigningKey
    chain_network: str
    trainer_bond: int

    @property
    def validators(self) -> tuple[Member, ...]:
        return tuple(member for member in self.members if member.role == "validator")

    @property
    def trainers(self) -> tuple[Member, ...]:
        return tuple(member for member in self.members if member.role == "trainer")

    @property
    def honest_validators(self) -> tuple[Member, ...]:
        return tuple(member for member in self.validators if member.byzantine is None)


def parse_byzantine(said: tuple[str, ...]) -> list[str]:
    """KIND[:COUNT] as often as given, as a flat list; UsageError names what is wrong."""
    kinds: list[str] = []
    for each in said:
        kind, _, count = each.partition(":")
        if not is_cheat(kind):
            raise UsageError(
                f"no fault is called {kind}",
                "Trainers: garbage signflip labelflip stale copy lazy-K; validators: silent equivocate "
                "slow-leader censor; auditors: rubber-stamp guess accuse; "
                "evaluators: parrot flatter.",
            )
        if count and not (count.isdecimal() and 0 < int(count) <= 64):
            raise UsageError(f"{each}: the count is a number from 1 to 64")
        kinds += [kind] * int(count or 1)
    return kinds


def make_plan(
    folder: Path, *, validators: int, trainers: int, seed: int, byzantine: list[str], trainer_bond: int = 0,
    parameters: Parameters = PARAMETERS,
) -> Plan:
    """Write every key, config and the genesis of a devnet into *folder*. Faulty members are the last of their role.

    The genesis has *parameters* and gives each trainer's own key *trainer_bond* grains, and the fee to bond them.
    """
    faulty_validators = [kind for kind in byzantine if kind in VALIDATOR_FAULTS]
    faulty_trainers = [kind for kind in byzantine if kind not in VALIDATOR_FAULTS]
    if len(faulty_validators) >= validators or (faulty_trainers and len(faulty_trainers) >= trainers):
        raise UsageError("more faulty members than members", "At least one validator and one trainer must be honest.")
    _prepare(folder)
    root = digest(Domain.DRAW, b"devnet", seed.to_bytes(8, "big"))
    ports = _free_ports(validators + trainers)
    kinds: list[str | None] = [None] * (validators - len(faulty_validators)) + list(faulty_validators)
    kinds += [None] * (trainers - len(faulty_trainers)) + list(faulty_trainers)
    members = []
    for index, (port, kind) in enumerate(zip(ports, kinds, strict=True)):
        role, number = ("validator", index) if index < validators else ("trainer", index - validators)
        members.append(_member(folder, root, role, number, port, kind))
    requester = create_key(folder / REQUESTER_KEY, seed=digest(Domain.DRAW, root, b"requester"))
    keys = {m.name: SigningKey(_seed_of(root, m.name)) for m in members if m.role == "validator"}
    genesis = Genesis(
        f"devnet-{seed}",
        unix_ms(),
        parameters,
        tuple(GenesisValidator(key.public, 1, onion_of(key).outside, VALIDATOR_BOND) for key in keys.values()),
        (GenesisAccount(requester.public, REQUESTER_GRAINS), *_grown(members, trainer_bond)),
        root,
    )
    path = folder / "genesis.json"
    write_genesis(path, genesis)
    seeds = [f"{encode_address(m.key)}@{HOST}:{m.port}" for m in members if m.role == "validator"]
    gib = blobs_gib(shutil.disk_usage(folder).free, members=len(members))
    for member in members:
        _write_member(member, root, path, [seed for seed in seeds if not seed.endswith(f":{member.port}")], gib)
    return Plan(folder, path, tuple(members), requester, genesis.network, trainer_bond)


def blobs_gib(free_bytes: int, *, members: int) -> int:
    """What each may keep: all are on one disk, and together they fill half of what is *free* there at most, unless
    that is less than a GiB each. Long tasks make more than a disk has: every round leaves a model and its updates."""
    return max(1, min(MOST_BLOBS_GIB, free_bytes // (2 * members) >> 30))


def _grown(members: list[Member], bond: int) -> tuple[GenesisAccount, ...]:
    funds = bond + PARAMETERS.minimum_fee if bond else 0
    return tuple(GenesisAccount(member.key, funds) for member in members if member.role == "trainer" and funds)


def _prepare(folder: Path) -> None:
    """An empty folder of ours. What another program put there is never touched."""
    if folder.exists() and any(folder.iterdir()) and not (folder / MARK).is_file():
        raise NotPermitted(f"{folder} is not empty and not a devnet", "Give another --dir, or remove it yourself.")
    if folder.exists():
        shutil.rmtree(folder)
    private_folder(folder)
    (folder / MARK).write_text(json.dumps({"schema": 1, "made_ms": unix_ms()}) + "\n")


def _seed_of(root: bytes, name: str) -> bytes:
    return digest(Domain.DRAW, root, name.encode())


def _member(folder: Path, root: bytes, role: str, number: int, port: int, kind: str | None) -> Member:
    name = f"{role}-{number}"
    payout = SigningKey(_seed_of(root, f"{name}-wallet")).public if role == "trainer" else None
    return Member(name, role, port, folder / name, SigningKey(_seed_of(root, name)).public, payout, kind)


def _write_member(member: Member, root: bytes, genesis: Path, seeds: list[str], gib: int) -> None:
    private_folder(member.datadir)
    create_key(private_folder(member.datadir / "keys") / NODE_KEY, seed=_seed_of(root, member.name))
    (member.datadir / "genesis.json").write_bytes(genesis.read_bytes())
    values: dict[str, object] = {
        "rig.name": member.name,
        "node.role": member.role,
        "node.host": HOST,
        "node.port": member.port,
        "node.bootstrap": seeds,
        "idle.policy": "always",
        "worker.device": "cpu",
        "worker.threads": 1,
        "worker.nice": 0,
        "store.blobs_gib": gib,
    }
    if member.payout is not None:
        values["payout.address"] = encode_address(member.payout)
    (member.datadir / "potminer.toml").write_text(config_text(values))


def _free_ports(count: int) -> list[int]:
    """Ports free a moment ago, all different: every socket is held until the last is found."""
    with ExitStack() as stack:
        found = []
        for _ in range(count):
            held = stack.enter_context(socket.socket(socket.AF_INET, socket.SOCK_STREAM))
            held.bind((HOST, 0))
            found.append(int(held.getsockname()[1]))
        return found
