"""Room: PBFT, the agreement on one block per height.

Is: a pure replica: votes, certificates, view changes, checkpoints, and the memory of what it signed.
Knows: base, wire, core/machine.py, core/committee.py; the ledger only through application.py's questions.
Never: waits, sends, stores or reads a clock; signs anywhere but in voice.py; counts power but through the committee.
Start at: machine.py (the rules in the order in which a block lives), then viewchange.py.
"""
