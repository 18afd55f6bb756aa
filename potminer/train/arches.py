"""What the installed torch was built for, as one line of JSON: ``python -m potminer.train.arches``.

A process of its own, because asking takes an import of torch. No card is touched: its list of
architectures is in the build.
"""

from __future__ import annotations

import json
import sys


def describe() -> dict[str, object]:
    """Version, maker's platform and architectures; *fault* where torch is not here or does not load."""
    try:
        import torch
    except (ImportError, OSError, RuntimeError) as error:
        return {"version": None, "fault": f"{type(error).__name__}: {error}"[:200]}
    flags = getattr(torch._C, "_cuda_getArchFlags", None)
    return {
        "version": torch.__version__,
        "cuda": torch.version.cuda,
        "hip": torch.version.hip,
        # get_arch_list says nothing on a machine without a card; the build knows it all the same
        "architectures": torch.cuda.get_arch_list() or ((flags() or "").split() if flags is not None else []),
        "fault": "",
    }


def main() -> int:
    sys.stdout.write(json.dumps(describe()) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
