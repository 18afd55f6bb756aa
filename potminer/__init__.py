"""potminer: idle mining rigs train models under Proof of Training.

Is: one installable client - trainer, auditor, validator, requester and their faces.
Knows: its floors, lowest first: base, wire, core | world | train | view, node, sim | dashboard, cli.
Never: import upwards, or let a float, a clock or a random source decide what replicas must agree on.
Start at: docs/ARCHITECTURE.md, then node/build.py.
"""

__version__ = "0.1.0"

_OFFERED = {
    "Client": "potminer.world.api.attach",
    "Requester": "potminer.node.requester",
    "address_from_flag": "potminer.world.api.address",
    "load_key": "potminer.world.keys",
    "load_task_file": "potminer.node.taskfile",
    "read_genesis": "potminer.node.genesisfile",
}
"""What a requester's own Python needs (docs/python.md), imported when it is asked for."""


def __getattr__(name: str) -> object:
    if name not in _OFFERED:
        raise AttributeError(f"module 'potminer' has no attribute {name!r}")
    from importlib import import_module

    return getattr(import_module(_OFFERED[name]), name)
