"""Chance: a beacon fed by hash onions.

Certificates and block hashes can be ground by a leader; an onion cannot. A validator commits
to H^N(s) in the genesis and every block it proposes reveals the next layer inwards, so all a
leader can do is to withhold and lose its turn.
"""

from __future__ import annotations

from collections.abc import Iterator

from potminer.base.digest import Domain, digest, digest_again

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
    """A validator's secret onion. Keeps every 512th layer, and the layers between the two it peels at the moment: a
    reveal costs a look-up, and 512 hashes once in 512 reveals."""

    __slots__ = ("_anchors", "_index", "_near", "kept", "outside")

    def __init__(self, secret: bytes, layers: int = ONION_LAYERS, *, kept: tuple[bytes, ...] = ()) -> None:
        """*kept*: what the same onion kept before; without it a quarter of a million layers are hashed."""
        if kept and len(kept) != kept_layers(layers):
            raise AssertionError("these are not the layers of an onion of this size")
        self.kept = kept or tuple(_kept(secret, layers))
        """Every 512th layer from the inside, and the outermost: as secret as what it was made from."""
        *self._anchors, self.outside = self.kept
        self._index = {anchor: index * _STRIDE for index, anchor in enumerate(self._anchors)}
        self._index[self.outside] = layers
        self._near: dict[bytes, tuple[int, bytes]] = {}
        """Of the layers between two that are kept: how many lie inside each, and the next of them."""

    def left_near(self, revealed: bytes) -> int | None:
        """How many layers lie inside *revealed*, where that is known without a search."""
        return self._near[revealed][0] if revealed in self._near else self._index.get(revealed)

    def left(self, revealed: bytes) -> int | None:
        """How many layers lie inside *revealed*; None where it is no layer of ours."""
        known = self.left_near(revealed)
        if known is not None:
            return known
        layer = revealed
        for steps in range(_STRIDE):
            if layer in self._index:
                return self._index[layer] - steps
            layer = peel(layer)
        return None

    def inside(self, revealed: bytes) -> bytes | None:
        """The layer inside *revealed*: what to reveal next. None where the onion is used up or is not ours."""
        left = self.left(revealed)
        if not left:
            return None
        if revealed not in self._near:
            self._unroll((left - 1) // _STRIDE)
        return self._near[revealed][1]

    def _unroll(self, place: int) -> None:
        """Remembers the layers above kept layer number *place*, up to the next one that is kept, or the outside."""
        inner, near = self._anchors[place], dict[bytes, tuple[int, bytes]]()
        last = min((place + 1) * _STRIDE, self._index[self.outside])
        for index in range(place * _STRIDE + 1, last + 1):
            layer = peel(inner)
            near[layer] = (index, inner)
            inner = layer
        self._near = near


def kept_layers(layers: int = ONION_LAYERS) -> int:
    """How many an onion of *layers* keeps."""
    return -(-layers // _STRIDE) + 1


def _kept(secret: bytes, layers: int) -> Iterator[bytes]:
    yield secret
    layer = secret
    for index in range(0, layers, _STRIDE):
        layer = digest_again(Domain.ONION, layer, min(_STRIDE, layers - index))
        yield layer


class Onions:
    """The onions of one validator: the one in use, and those registered to follow it."""

    __slots__ = ("_held",)

    def __init__(self, *onions: Onion) -> None:
        self._held = list(onions)

    def add(self, onion: Onion) -> None:
        """Holds *onion* too, and the two that were added before it."""
        if all(onion.outside != held.outside for held in self._held):
            self._held = [*self._held[-2:], onion]

    def holds(self, revealed: bytes) -> bool:
        return self.left(revealed) is not None

    def left(self, revealed: bytes) -> int | None:
        """How many more blocks we can propose after *revealed*; None where it is no layer of ours."""
        near = (onion.left_near(revealed) for onion in self._held)
        found = next((left for left in near if left is not None), None)
        if found is not None:
            return found
        return next((left for onion in self._held if (left := onion.left(revealed)) is not None), None)

    def inside(self, revealed: bytes) -> bytes | None:
        """The layer inside *revealed*. Whoever is peeled already is asked first: a search through another is dear."""
        held = sorted(self._held, key=lambda onion: onion.left_near(revealed) is None)
        return next((layer for onion in held if (layer := onion.inside(revealed)) is not None), None)
