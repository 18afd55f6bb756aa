"""Node: the one room that knows both mind and hands.

Is: the files people write, the composition of machines and outside things, and effects performed.
Knows: core, world, train's words, view, wire and base.
Never: decides what a machine decides, grows a file that does everything, or holds a face.
Start at: config.py for what an operator may say, taskfile.py for what a requester may order.
"""
