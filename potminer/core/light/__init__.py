"""Light: what a client believes that executes nothing.

Is: headers followed under certificates across committees; transactions, outcomes and records by proof.
Knows: base, wire, core/committee.py and core/trie.py.
Never: believes a node's word, asks anybody itself, or keeps anything: what is trusted is a value.
Start at: trust.py; header.py for what makes a header believed; shown.py for what stands under it.
"""
