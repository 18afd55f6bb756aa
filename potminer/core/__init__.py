"""Core: the mind, without hands.

Is: pure machines and rules; an event goes in, effects come out.
Knows: base and wire. Its rooms are strangers to each other and share only machine.py.
Never: awaits, reads a clock, draws entropy, touches a socket or a file, or decides by a float.
Start at: machine.py for the one shape, then the room of your question.
"""
