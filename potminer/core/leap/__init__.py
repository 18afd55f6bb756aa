"""Leap: over blocks that nobody need execute any more, onto a proven snapshot of the state.

Is: who offers what, a header proven first, then a manifest and chunks, each proven by itself, from several peers.
Knows: base, wire, core/chunks.py and the shared shape in core/machine.py. Headers are judged by whom node/ brings.
Never: believes a height, takes a chunk that the state root does not prove, or holds more than one snapshot.
Start at: machine.py; docs/spec/sync.md.
"""
