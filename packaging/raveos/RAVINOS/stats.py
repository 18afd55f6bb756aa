"""Prints what RaveOS shows: the node's own /raveos page, or an empty report where it does not answer."""

import json
import os
import sys
import urllib.request

EMPTY = {
    "mpu": [],
    "fans": [],
    "shares": {"accepted": 0, "invalid": 0, "rejected": 0},
    "errors": ["potminer does not answer"],
    "have_driver_error": False,
}


def report(port):
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/raveos", timeout=3) as reply:
            return json.loads(reply.read(1_048_576))
    except (OSError, ValueError):
        return EMPTY


if __name__ == "__main__":
    json.dump(report(int(os.environ.get("POTMINER_API_PORT", "4077"))), sys.stdout)
