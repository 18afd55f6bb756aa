"""Wire: every type that leaves the process.

Is: canonical bytes, the table of message kinds, signatures, and one file of types per conversation.
Knows: base.
Never: decides anything, opens a socket, or lets two byte strings mean the same value.
Start at: registry.py for all message kinds, codec.py for how they become bytes.
"""
