"""Noise XX against published vectors, and what its primitives must refuse."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from potminer.base.errors import Malformed
from potminer.world.net.handshake import REKEY_EVERY, CipherState, Handshake, LinkKey, Unauthentic, decrypt

VECTORS = Path(__file__).resolve().parents[2].parent / "shared" / "vectors"


def load(name: str) -> Any:
    path = VECTORS / name
    if not path.exists():
        pytest.skip(f"{name} is not beside the project")
    return json.loads(path.read_text())


def ends(vector: dict[str, Any]) -> tuple[Handshake, Handshake]:
    def end(side: str) -> Handshake:
        return Handshake(
            initiator=side == "init",
            prologue=bytes.fromhex(vector[f"{side}_prologue"]),
            static=LinkKey(bytes.fromhex(vector[f"{side}_static"])),
            ephemeral=LinkKey(bytes.fromhex(vector[f"{side}_ephemeral"])),
        )

    return end("init"), end("resp")


def test_every_message_of_the_published_handshake() -> None:
    vectors = [v for v in load("noise-xx.json")["vectors"] if v["protocol_name"] == "Noise_XX_25519_ChaChaPoly_SHA256"]
    assert len(vectors) == 1
    vector = vectors[0]
    speaker, hearer = initiator, responder = ends(vector)
    for message in vector["messages"][:3]:
        written = speaker.write(bytes.fromhex(message["payload"]))
        assert written.hex() == message["ciphertext"]
        assert hearer.read(written).hex() == message["payload"]
        speaker, hearer = hearer, speaker
    assert initiator.transcript == responder.transcript == bytes.fromhex(vector["handshake_hash"])
    assert initiator.remote_static == LinkKey(bytes.fromhex(vector["resp_static"])).public
    talk = [initiator.split(), responder.split()]
    for turn, message in enumerate(vector["messages"][3:]):
        sender = talk[(turn + 1) % 2]
        sealed = sender[0].seal(bytes.fromhex(message["payload"]))
        assert sealed.hex() == message["ciphertext"]
        assert talk[turn % 2][1].open(sealed).hex() == message["payload"]


def test_x25519_of_wycheproof() -> None:
    refused = 0
    for group in load("wycheproof-x25519.json")["testGroups"]:
        for case in group["tests"]:
            key, public = LinkKey(bytes.fromhex(case["private"])), bytes.fromhex(case["public"])
            if any(bytes.fromhex(case["shared"])):
                assert key.agree(public).hex() == case["shared"], case["tcId"]
            else:
                refused += 1
                with pytest.raises(Malformed):
                    key.agree(public)
    assert refused > 10


def test_chacha20_poly1305_of_wycheproof() -> None:
    """Every valid case is opened, no invalid one is. Noise's nonces all have twelve bytes."""
    tried = 0
    for group in load("wycheproof-chacha20-poly1305.json")["testGroups"]:
        for case in group["tests"]:
            key, nonce = bytes.fromhex(case["key"]), bytes.fromhex(case["iv"])
            if len(nonce) != 12:
                continue
            tried += 1
            sealed, associated = bytes.fromhex(case["ct"] + case["tag"]), bytes.fromhex(case["aad"])
            if case["result"] == "valid":
                assert decrypt(key, nonce, sealed, associated).hex() == case["msg"]
            else:
                with pytest.raises(Unauthentic):
                    decrypt(key, nonce, sealed, associated)
    assert tried > 200


def test_both_ends_change_keys_at_the_same_message() -> None:
    sending, receiving = CipherState(bytes(32)), CipherState(bytes(32))
    for _ in range(REKEY_EVERY + 2):
        assert receiving.open(sending.seal(b"x")) == b"x"


def shake(initiator: Handshake, responder: Handshake) -> None:
    responder.read(initiator.write(b""))
    initiator.read(responder.write(b""))
    responder.read(initiator.write(b""))


def pair(first: bytes, second: bytes) -> tuple[Handshake, Handshake]:
    one = Handshake(initiator=True, prologue=first, static=LinkKey(b"1" * 32), ephemeral=LinkKey(b"2" * 32))
    two = Handshake(initiator=False, prologue=second, static=LinkKey(b"3" * 32), ephemeral=LinkKey(b"4" * 32))
    return one, two


def test_another_prologue_ends_the_handshake() -> None:
    shake(*pair(b"chain", b"chain"))
    with pytest.raises(Unauthentic):
        shake(*pair(b"chain", b"other"))


@pytest.mark.parametrize("message", [b"", b"short", bytes(32)])
def test_a_bad_first_message_is_refused(message: bytes) -> None:
    _, responder = pair(b"", b"")

    def answer() -> bytes:
        responder.read(message)
        return responder.write(b"")

    with pytest.raises(Malformed):
        answer()


def test_a_flipped_bit_anywhere_is_found() -> None:
    for at in range(0, 96, 5):
        initiator, responder = pair(b"", b"")
        responder.read(initiator.write(b""))
        message = bytearray(responder.write(b""))
        message[at] ^= 4
        with pytest.raises(Malformed):
            initiator.read(bytes(message))
