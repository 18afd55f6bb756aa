"""Entry of the frozen program. A frozen executable starts its children as itself: freeze_support tells them apart."""

from __future__ import annotations

import multiprocessing
import sys

if __name__ == "__main__":
    multiprocessing.freeze_support()
    from potminer.cli.main import main

    sys.exit(main())
