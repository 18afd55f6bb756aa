"""Rig: the senses of a machine - host, GPUs, miners.

Is: samples in integers with None where nobody knows, and the adapters that pause and resume a miner when told.
Knows: base and wire.facts; psutil, NVML, sysfs, what tells of a person (idle/), and miners' own APIs.
Never: decides, trusts a reply before its shape is known, blocks the event loop, touches clocks or fans.
Start at: look.py for one sample of everything; miners/interface.py for what a miner can do.
"""
