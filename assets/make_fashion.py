"""Make train.safetensors and validation.safetensors for assets/tasks/fashion.toml from Debian's Fashion-MNIST.

    apt-get install dataset-fashion-mnist
    python assets/make_fashion.py /usr/share/datasets/fashion-mnist assets/fashion

60,000 and 10,000 pictures of 28 x 28 grey pixels in ten classes (Zalando, MIT), scaled to mean 0 and deviation 1 over
the training split. The result is the same bytes on every machine.
"""

from __future__ import annotations

import gzip
import sys
from pathlib import Path

import numpy as np

from potminer.train import tensors

SIZES = {"train": 60_000, "t10k": 10_000}
MEAN, DEVIATION = 72.94035, 90.02118
"""Of a pixel (0 .. 255) over the training split."""


def main(source: str, folder: str) -> None:
    target = Path(folder)
    target.mkdir(parents=True, exist_ok=True)
    for split, name in (("train", "train"), ("t10k", "validation")):
        pixels = _read(Path(source) / f"{split}-images-idx3-ubyte.gz", 16, SIZES[split] * 784)
        labels = _read(Path(source) / f"{split}-labels-idx1-ubyte.gz", 8, SIZES[split])
        x = ((pixels.astype(np.float64) - MEAN) / DEVIATION).astype(np.float32).reshape(-1, 1, 28, 28)
        data = tensors.encode({"x": x, "y": labels.astype(np.int64)})
        (target / f"{name}.safetensors").write_bytes(data)
        sys.stdout.write(f"{target / name}.safetensors: {len(labels):,} pictures\n")


def _read(path: Path, header: int, count: int) -> np.ndarray[tuple[int, ...], np.dtype[np.uint8]]:
    """What an IDX file holds behind its header."""
    found = np.frombuffer(gzip.decompress(path.read_bytes()), np.uint8, offset=header)
    if len(found) != count:
        raise SystemExit(f"{path} is not what Debian's package carries")
    return found


if __name__ == "__main__":
    main(*sys.argv[1:])
