"""Chance: a beacon fed by hash onions.

Certificates and block hashes can be ground by a leader; an onion cannot. A validator commits
to H^N(s) in the genesis and every block it proposes reveals the next layer inwards, so all a
leader can do is to withhold and lose its turn.
"""

from __future__ import annotations

from potminer.base.digest import Domain, digest

ONION_LAYERS = 1 << 18
"""Blocks one validator can propose: 12 days of its own blocks at four a second. Renewal is by registration."""

_STRIDE = 1 << 9


def peel(preimage: bytes) -> bytes:
    """The layer around *preimage*."""
    return digest(Domain.ONION, preimage)


def stir(beacon: bytes, preimage: bytes) -> bytes:
    """The beacon after a block that revealed *preimage*."""
    return digest(Domain.BEACON, beacon, preimage)


class Onion:
    """A validator's secret onion. Keeps every 512th layer, so a reveal costs about a thousand hashes."""

    __slots__ = ("_anchors", "_index", "outside")

    def __init__(self, secret: bytes, layers: int = ONION_LAYERS) -> None:
        self._anchors: list[bytes] = []
        layer = secret
        for index in range(layers):
            if index % _STRIDE == 0:
                self._anchors.append(layer)
            layer = peel(layer)
        self.outside = layer
        self._index = {anchor: index * _STRIDE for index, anchor in enumerate(self._anchors)}
        self._index[self.outside] = layers

    def inside(self, revealed: bytes) -> bytes | None:
        """The layer inside *revealed*: what to reveal next. None where the onion is used up or is not ours."""
        index, layer = -1, revealed
        for steps in range(_STRIDE):
            if layer in self._index:
                index = self._index[layer] - steps - 1
                break
            layer = peel(layer)
        if index < 0:
            return None
        value = self._anchors[index // _STRIDE]
        for _ in range(index % _STRIDE):
            value = peel(value)
        return value
