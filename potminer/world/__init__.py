"""World: hands and senses, one file per outside thing, no decisions.

Is: sockets, files, clocks, devices and child processes, each behind one small class.
Knows: wire and base.
Never: decides what the protocol decides, imports core, or lets bytes from outside in unbounded.
Start at: net/network.py for peers, store/ for what is kept, rig/ for the machine itself.
"""
