"""Net: authenticated links between nodes, and what travels over them.

Is: Noise handshakes, links with priority and credit, bans, and the exchange of blobs.
Knows: wire and base; a handler it reports to.
Never: decides whom to trust, answers a protocol question, or buffers what nobody bounded.
Start at: network.py for all links, link.py for one, handshake.py for the cryptography.
"""
