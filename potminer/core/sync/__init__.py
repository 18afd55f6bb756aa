"""Sync: the certified blocks that this node missed, in order.

Is: claims of peers' heads, range requests with timeouts, proof of every block, one execution at a time.
Knows: base, wire, core/committee.py and the shared shape in core/machine.py.
Never: believes a height, executes a block that its certificate does not prove, or reads a disk itself.
Start at: machine.py; proof.py for what makes a block believed.
"""
