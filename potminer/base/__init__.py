"""Base: words without behaviour.

Is: bounded types, units, digests, Merkle trees, seeded draws, limits and the errors an operator sees.
Knows: the standard library and msgspec's type annotations; nothing of potminer.
Never: a clock, a random source, a socket, a thread, a float that decides.
Start at: bounded.py for the vocabulary, digest.py for how everything is named.
"""
