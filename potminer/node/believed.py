"""What a light client has proven once, kept in a file: the next run starts there.

The file is ours, like the genesis: whoever can write it decides what we believe.
"""

from __future__ import annotations

import os
import secrets
from dataclasses import replace
from pathlib import Path

from potminer.base.errors import ConfigError, Malformed, NotPermitted
from potminer.core.light.epochs import from_anchor
from potminer.core.light.flaw import Flaw
from potminer.core.light.trust import Trust, from_genesis
from potminer.wire.block import block_digest
from potminer.wire.codec import decode, encode
from potminer.wire.genesis import Genesis, chain_id
from potminer.wire.proof import PROOF_BYTES, Believed, Shown

NAME = "believed"
"""Of the file, in the data folder."""
_HINT = "Remove it: the next run starts from the genesis again."


def recall(path: Path, genesis: Genesis) -> tuple[Trust, Shown | None]:
    """What *path* says, or trust in the genesis where there is no such file, or one of another chain; and the step to
    keep on keeping. ConfigError where the file is damaged."""
    start = from_genesis(genesis), None
    try:
        data = path.read_bytes()
    except FileNotFoundError:
        return start
    except OSError as error:
        raise NotPermitted(f"{path} cannot be read: {error.strerror or error}", "Check the folder.") from error
    try:
        kept = decode(Believed, data, max_bytes=PROOF_BYTES)
    except Malformed as error:
        raise ConfigError(f"{path} is damaged: {error}", _HINT) from error
    if kept.chain != chain_id(genesis):
        return start
    trust = from_anchor(genesis, block_digest(kept.step.certified.header), kept.step)
    if isinstance(trust, Flaw) or not trust.height <= kept.height <= (trust.newest_epoch + 1) * trust.epoch_blocks:
        raise ConfigError(f"{path} is damaged: it does not show the committees of its block", _HINT)
    return replace(trust, height=kept.height, digest=kept.digest, time_ms=kept.time_ms), kept.step


def remember(path: Path, trust: Trust, step: Shown | None) -> None:
    """Keep *trust*, of which *step* shows the newest committees; nothing before the first step, for the genesis says
    as much. Whole or not at all."""
    if step is None:
        return
    draft = path.with_name(f".{path.name}.{secrets.token_hex(6)}")
    try:
        with open(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
            file.write(encode(Believed(trust.chain, trust.height, trust.digest, trust.time_ms, step)))
            file.flush()
            os.fsync(file.fileno())
        draft.replace(path)
    except OSError as error:
        draft.unlink(missing_ok=True)
        raise NotPermitted(f"{path} cannot be written: {error.strerror or error}", "Check the folder.") from error
