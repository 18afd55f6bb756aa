"""Duty: what one device should do now - mine, wait, train or give way.

Is: a pure machine per device (a GPU, or the CPU of a rig without one) and the rules it decides by.
Knows: base, wire.facts and core.machine.
Never: touches a miner or a worker itself, starts work while a miner may own the device, forgets to give it back.
Start at: machine.py; state.py for the states and reasons, wishes.py for the idle rules.
"""
