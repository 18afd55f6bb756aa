"""Room: the simulator, a virtual world around the real replica and the real node engine.

Is: runs as data, a network, disks and clocks that fail, hosts and citizens that crash, liars, checkers, shrinking.
Knows: core as it ships, node/engine.py and what stands around it, wire and base; chance comes from one seed.
Never: changes a rule of what it runs, reads a real clock, or judges by what a replica believes of itself.
Start at: plan.py, world.py and checkers.py for bare replicas; town.py for the engine; twins.py for scripted rounds.
"""
