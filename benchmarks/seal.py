"""Signatures and the encrypted link: what every vote, transaction and frame pays."""

from __future__ import annotations

from chains import key, transfer
from record import Figures, finish, parser, per_second

from potminer.wire.frame import FRAGMENT_BYTES
from potminer.wire.seal import Purpose, statement, verify
from potminer.wire.tx import sign_transaction, signature_holds
from potminer.world.net.handshake import REKEY_EVERY, CipherState


def signatures() -> Figures:
    signer = key("signer")
    message = statement(Purpose.PREPARE, chain=bytes(32), signer=signer.public, digest=bytes(32))
    signature = signer.sign(message)
    signed = transfer(bytes(32), signer, bytes(32))
    return {
        "sign_per_s": per_second(lambda: signer.sign(message)),
        "verify_per_s": per_second(lambda: verify(signer.public, message, signature)),
        "sign_transaction_per_s": per_second(lambda: sign_transaction(signed.transaction, signer)),
        "verify_transaction_per_s": per_second(lambda: signature_holds(signed)),
    }


def frames(size: int) -> Figures:
    """Sealing alone, then sealing and opening: opening is the difference."""
    plaintext, batch = bytes(size), 64
    alone, sender, receiver = CipherState(bytes(32)), CipherState(bytes(32)), CipherState(bytes(32))

    def seal() -> None:
        for _ in range(batch):
            alone.seal(plaintext)

    def both() -> None:
        for _ in range(batch):
            receiver.open(sender.seal(plaintext))

    seal_s, both_s = 1 / per_second(seal, units=batch), 1 / per_second(both, units=batch)
    open_s = max(both_s - seal_s, 1e-9)
    return {
        "seal_mb_per_s": size / seal_s / 1e6,
        "open_mb_per_s": size / open_s / 1e6,
        "seal_us": seal_s * 1e6,
        "open_us": open_s * 1e6,
    }


def main() -> None:
    options = parser(__doc__ or "").parse_args()
    figures = {
        "signatures": signatures(),
        "frame_256": frames(256),
        f"frame_{FRAGMENT_BYTES}": frames(FRAGMENT_BYTES),
        "rekey_every": REKEY_EVERY,
    }
    finish("seal", figures, options)


if __name__ == "__main__":
    main()
