"""The genesis as a file: JSON that people can read, checked as a whole before anything is built on it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import msgspec

from potminer.base.address import decode_address, encode_address
from potminer.base.errors import ConfigError, Malformed
from potminer.wire.codec import decode, encode
from potminer.wire.genesis import (
    GENESIS_BYTES,
    Genesis,
    GenesisAccount,
    GenesisValidator,
    Parameters,
    genesis_supply,
)

HINT = "Get the genesis file of your network again; every node must hold the same bytes of meaning."
FIRST = "Put the genesis file of your network there; `potminer devnet` makes one on this computer for a look."


def write_genesis(path: Path, genesis: Genesis) -> None:
    text = json.dumps(
        {
            "network": genesis.network,
            "time_ms": genesis.time_ms,
            "seed": genesis.seed.hex(),
            "parameters": {name: getattr(genesis.parameters, name) for name in Parameters.__struct_fields__},
            "validators": [
                {"key": encode_address(v.key), "power": v.power, "onion": v.onion.hex(), "bond": v.bond}
                for v in genesis.validators
            ],
            "accounts": [{"key": encode_address(a.key), "balance": a.balance} for a in genesis.accounts],
        },
        indent=2,
    )
    path.write_text(text + "\n")


def read_genesis(path: Path) -> Genesis:
    """The genesis in *path*; ConfigError says what is wrong with it."""
    try:
        if path.stat().st_size > GENESIS_BYTES:
            raise ConfigError(f"{path} is larger than any genesis", HINT)
        raw = json.loads(path.read_text())
    except FileNotFoundError as error:
        raise ConfigError(f"there is no genesis at {path}", FIRST) from error
    except (OSError, ValueError, RecursionError) as error:
        raise ConfigError(f"{path} cannot be read: {error}", HINT) from error
    try:
        genesis = _genesis(raw)
        # Through the codec once: its bounds are the ones that count.
        genesis = decode(Genesis, encode(genesis), max_bytes=GENESIS_BYTES)
    except (Malformed, KeyError, TypeError, ValueError, OverflowError, AttributeError) as error:
        raise ConfigError(f"{path} is no genesis: {_reason(error)}", HINT) from error
    faults = _contradictions(genesis)
    if faults:
        raise ConfigError(f"{path} contradicts itself: " + "; ".join(faults), HINT)
    return genesis


def _reason(error: Exception) -> str:
    return f"{error.args[0]!r} is missing" if isinstance(error, KeyError) else str(error)


def _genesis(raw: dict[str, Any]) -> Genesis:
    parameters = msgspec.convert([raw["parameters"][name] for name in Parameters.__struct_fields__], Parameters)
    return Genesis(
        raw["network"],
        raw["time_ms"],
        parameters,
        tuple(
            GenesisValidator(decode_address(v["key"]), v["power"], bytes.fromhex(v["onion"]), v["bond"])
            for v in raw["validators"]
        ),
        tuple(GenesisAccount(decode_address(a["key"]), a["balance"]) for a in raw["accounts"]),
        bytes.fromhex(raw["seed"]),
    )


def _contradictions(genesis: Genesis) -> list[str]:
    shares = genesis.parameters
    faults = []
    if shares.trainer_share_ppm + shares.auditor_share_ppm + shares.validator_share_ppm != 1_000_000:
        faults.append("the reward shares do not sum to 1000000 ppm")
    if len({v.key for v in genesis.validators}) != len(genesis.validators):
        faults.append("a validator stands in it twice")
    if len({a.key for a in genesis.accounts}) != len(genesis.accounts):
        faults.append("an account stands in it twice")
    if genesis_supply(genesis) > 2**62:
        faults.append("more grains than the ledger can count")
    return faults
