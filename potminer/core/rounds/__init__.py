"""Rounds: one Proof-of-Training round seen from one node.

Is: what this node owes the round in progress - units, audits, judgements, aggregates - and what it submits.
Knows: the ledger's records as they are after a block, and the reports of its own GPU child.
Never: trusts anything but the ledger for where a round stands, or computes a float itself.
Start at: machine.py.
"""
