"""Miners: one adapter per mining program that a rig owner may run beside us.

Is: identify, read, pause, resume - over each program's own local API, normalised to H/s and PCI buses.
Knows: base and wire.facts.
Never: trusts a port before the shape of its reply, follows a redirect, ends a process, or lets a secret into an error.
Start at: interface.py, then registry.py, the one table of kinds; talk.py for how a miner is added.
"""
