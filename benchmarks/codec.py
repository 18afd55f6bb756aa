"""Encoding and strict decoding: what it costs that every value has one encoding.

Strict decoding parses and then encodes again to compare; plain decoding is msgspec alone.
"""

from __future__ import annotations

from collections.abc import Callable

import msgspec
from chains import Chain, key
from record import Figures, finish, parser, side_by_side

from potminer.base import limits
from potminer.wire.codec import Wire, decode, encode
from potminer.wire.pbft import Vote
from potminer.wire.seal import Purpose


def measure_type(value: Wire, *, max_bytes: int, loops: int) -> Figures:
    kind, data = type(value), encode(value)
    plain = msgspec.msgpack.Decoder(kind)

    def repeated(work: Callable[[], object]) -> Callable[[], None]:
        def run() -> None:
            for _ in range(loops):
                work()

        return run

    took = side_by_side(
        {
            "encode": repeated(lambda: encode(value)),
            "plain": repeated(lambda: plain.decode(data)),
            "strict": repeated(lambda: decode(kind, data, max_bytes=max_bytes)),
        },
        units=loops,
        repeats=21,
    )
    return {
        "bytes": len(data),
        "encode_per_s": 1 / took["encode"],
        "plain_decode_per_s": 1 / took["plain"],
        "strict_decode_per_s": 1 / took["strict"],
        "strict_mb_per_s": len(data) / took["strict"] / 1e6,
        "strict_over_plain_time": took["strict"] / took["plain"],
    }


def main() -> None:
    options = parser(__doc__ or "").parse_args()
    world = Chain(1_000)
    transactions = world.transfers(1_000)
    vote = Vote(Purpose.PREPARE, 0, 1_000, 0, bytes(32), 3, key("voter").sign(b"benchmark"))
    figures = {
        "vote": measure_type(vote, max_bytes=limits.VOTE_BYTES, loops=20_000),
        "transaction": measure_type(transactions[0], max_bytes=limits.TRANSACTION_BYTES, loops=10_000),
        "block_1000": measure_type(world.block(transactions), max_bytes=limits.BLOCK_BYTES, loops=20),
    }
    finish("codec", figures, options)


if __name__ == "__main__":
    main()
