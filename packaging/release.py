"""Writes SHA256SUMS and SHA256SUMS.sig for the files of a release:

    python packaging/release.py FOLDER --version 0.2.0 --key RELEASE.key [--days 180]

RELEASE.key is made by `potminer keys restore` or by hand: 64 hexadecimal digits in a file of mode 0600. Keep it on a
computer that is never online. What its owners check with: `potminer update verify FOLDER/SHA256SUMS --key PUBLIC`.
"""

from __future__ import annotations

import argparse
import os
import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from potminer.base.errors import PotminerError
from potminer.world.keys import load_key
from potminer.world.release import write_release

DAY_MS = 86_400_000


def main() -> int:
    said = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    said.add_argument("folder", type=Path)
    said.add_argument("--version", required=True)
    said.add_argument("--key", type=Path, required=True)
    said.add_argument("--days", type=int, default=180)
    options = said.parse_args()
    # The same files at the same moment give the same bytes: https://reproducible-builds.org/specs/source-date-epoch
    now_ms = 1_000 * int(os.environ.get("SOURCE_DATE_EPOCH") or time.time())
    try:
        key = load_key(options.key)
        made = write_release(
            options.folder, version=options.version, released_ms=now_ms, expires_ms=now_ms + options.days * DAY_MS,
            key=key,
        )
    except (PotminerError, ValueError, OSError) as error:
        sys.stderr.write(f"error: {error}\n")
        return 1
    sys.stdout.write(f"{len(made.files)} files of {made.version}, signed by {key.public.hex()}\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
