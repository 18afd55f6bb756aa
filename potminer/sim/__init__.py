"""Room: the simulator, a virtual world around the real replica.

Is: an event heap, a network that loses, repeats and splits, hosts that crash between two effects, and witnesses.
Knows: core/pbft as it ships, core/misbehave, wire and base; chance comes from one seed.
Never: changes a rule of the replica, reads a real clock, or judges by what a replica believes of itself.
Start at: scenarios.py, checkers.py and world.py for chance; twins.py and arena.py for every way to split four rounds.
"""
