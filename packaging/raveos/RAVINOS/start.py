"""Started by RaveOS with the rig's settings as JSON on standard input: pool, wallet, worker, api_port.

Runs potminer in its place, so that signals reach it.
"""

import json
import os
import shutil
import sys

VARIABLES = {
    "pool": "POTMINER_NODE_BOOTSTRAP",
    "wallet": "POTMINER_PAYOUT_ADDRESS",
    "worker": "POTMINER_RIG_NAME",
    "api_port": "POTMINER_API_PORT",
}


def environment(settings):
    said = {name: str(settings[key]) for key, name in VARIABLES.items() if settings.get(key)}
    said.setdefault("POTMINER_API_PORT", "4077")
    return said


def program():
    beside = os.path.join(os.path.dirname(os.path.abspath(__file__)), "potminer")
    return beside if os.access(beside, os.X_OK) and not os.path.isdir(beside) else shutil.which("potminer")


if __name__ == "__main__":
    found = program()
    if found is None:
        sys.exit("potminer is not installed beside start.py")
    os.environ.update(environment(json.loads(sys.stdin.read(65_536) or "{}")))
    os.environ.setdefault("POTMINER_DATADIR", "/root/potminer")
    if os.spawnv(os.P_WAIT, found, [found, "init", "--yes"]) != 0:
        sys.exit(1)
    os.execv(found, [found, "run"])
