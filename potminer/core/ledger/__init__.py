"""Ledger: who owns what, who did what, and what was decided about it.

Is: pure functions from a state and a block to the next state, its receipts and its events.
Knows: transactions and records; money, tasks, rounds, verdicts, rewards.
Never: reads a clock, draws entropy, uses a float, or changes anything but through apply_block.
Start at: apply.py, then advance.py for what a block does by itself.
"""
