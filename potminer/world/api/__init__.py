"""Local API: the door between a node and its faces.

Is: HTTP and a websocket on a unix socket (or loopback TCP with a cookie), its client, the lock, the metrics.
Knows: base, wire and aiohttp; the node only as a Backend protocol.
Never: decides anything, answers a web page, or listens beyond this computer.
Start at: backend.py for what a node must offer, serve.py for the door, attach.py for the other side.
"""
