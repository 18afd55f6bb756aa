"""First words on a link, inside the Noise handshake and right after it."""

from __future__ import annotations

from typing import Annotated

from msgspec import Meta

from potminer.base.bounded import U16, Height, PublicKey, Signature
from potminer.wire.codec import Wire

PROTOCOL_VERSION = 2
"""Of what is said on links. Goes up with every change that an older end would not understand. 2: frames are deflated,
and the first message of a greeting says the version."""


class Identity(Wire, frozen=True):
    """Handshake payload: the node key vouches for the link's static X25519 key."""

    key: PublicKey
    signature: Signature


class Hello(Wire, frozen=True):
    """*listen_port* is 0 where the node only dials out."""

    agent: Annotated[str, Meta(max_length=64, pattern=r"^[ -~]*\Z")]
    listen_port: U16
    height: Height
