"""Gossip: small items reach everybody, and peers learn of peers.

Is: a mesh per topic with lazy repair, validation before forwarding, bans that expire, an address book.
Knows: base, wire, and the shared shape in core/machine.py.
Never: judges an item itself, forwards one that nobody has judged, or believes an unsigned address of a stranger.
Start at: machine.py for the events it takes, events.py for the words, mesh.py for who hears what.
"""
