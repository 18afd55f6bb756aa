"""potminer: idle mining rigs train models under Proof of Training.

Is: one installable client - trainer, auditor, validator, requester and their faces.
Knows: its floors, lowest first: base, wire, core | world | train | view, node, sim | dashboard, cli.
Never: import upwards, or let a float, a clock or a random source decide what replicas must agree on.
Start at: docs/ARCHITECTURE.md, then node/build.py.
"""

__version__ = "0.1.0"
