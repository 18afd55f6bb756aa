"""Store: what must survive the process, in one database.

Is: chain, ledger, receipts, journal, addresses and facts, by one writer thread; blobs beside it as files.
Knows: SQLAlchemy Core, SQLite's manners, base.
Never: decodes a block, decides anything, or reports a failure of the disk as a traceback.
Start at: store.py; tables.py for what is kept.
"""
