"""Devnet: a whole network of real processes on this computer.

Is: a plan of keys, genesis and configs; processes started, watched, killed and restarted; a task driven to its end.
Knows: the node's files and commands, and its local API, as any user does.
Never: reaches into a running node, or says of it what its own stored ledger does not show.
Start at: course.py.
"""
