"""Entry of the frozen program. It starts its workers as itself, told apart by their first argument."""

from __future__ import annotations

import multiprocessing
import sys

if __name__ == "__main__":
    multiprocessing.freeze_support()
    if sys.argv[1:2] and sys.argv[1].startswith("__"):
        # Imported only then: `potminer --help` has nothing to wait for.
        from potminer.world.child import WORKER_ARGUMENT
        from potminer.world.rig.torchbuild import ARCHES_ARGUMENT

        if sys.argv[1] == WORKER_ARGUMENT:
            from potminer.train.worker import main as work

            sys.exit(work(sys.argv[2:]))
        if sys.argv[1] == ARCHES_ARGUMENT:
            from potminer.train.arches import main as tell

            sys.exit(tell())
    from potminer.cli.main import main

    sys.exit(main())
