"""Limits: bounds that are code, the same for everybody, each with its reason."""

from __future__ import annotations

FRAME_BYTES = 65_535
"""One Noise message: the protocol's own limit."""

VOTE_BYTES = 512
"""A signed vote is about 215 bytes."""

BLOCK_BYTES = 4_194_304
BLOCK_TRANSACTIONS = 10_000
"""More than any genesis may allow: what a replica holds, executes between two votes, and sends to who lacks it."""
BLOCK_MESSAGE_BYTES = BLOCK_BYTES + 65_536
"""A block, or all its transactions, and what names it."""
BLOCKS_BYTES = 3_145_728
"""Certified blocks in one answer; a block alone may be larger."""
PROPOSAL_BYTES = 344_064
"""A header and the leaves of a full block."""
PLACES_BYTES = 32_768
"""Places of all transactions of a full block, and what names it."""

VIEW_CHANGE_BYTES = 16_384
"""A certificate of 31 signatures is about 3 KiB; a view-change carries two."""
NEW_VIEW_BYTES = PROPOSAL_BYTES + 32 * VIEW_CHANGE_BYTES
"""A quorum of view-changes and the proposal."""

COMMITTEE = 31
"""Every replica verifies a quorum of votes per decision; 31 is what one core carries comfortably."""

CANDIDATES = 256
"""Registered validators that may be elected; with more, the smallest bond gives way to a larger one."""

UNBONDINGS = 1_024
"""Parts of validators' bonds on their way out, four a validator: each of them once held a smallest bond."""

TRANSACTION_BYTES = 32_768
"""SubmitTask carries a whole task specification; everything else is below 2 KiB."""

BATCH_TRANSACTIONS = 256
NARROW_TRANSACTIONS = 512
"""A block of so many leaves nobody out: whoever leads on slow lines may propose no more."""
BATCH_BYTES = 1_048_576
"""What one request may hand in together: as much as one sender may have waiting, and some 30 largest transactions."""

TASK_BYTES = 16_384
SEGMENTS = 64
TRAINERS_PER_TASK = 1_024
UNITS_PER_ROUND = 4_096
SEGMENTS_PER_ROUND = 16_384
"""Of all units together. Where all trainers are new every one is audited, and a round's record, which a light client
is shown and a chunk of a snapshot holds whole, names each audit."""
AUDITORS_PER_SEGMENT = 3
"""Of one segment of a unit that calibrates."""
AUDITS_PER_ROUND = SEGMENTS_PER_ROUND + (AUDITORS_PER_SEGMENT - 1) * UNITS_PER_ROUND
TASKS_OPEN = 256
HIDDEN_UNITS = 256
"""Of one trainer, with segments that judges could not look at: its record stays below a value of the state."""
SHOWING = 64
"""Trainers whose hidden snapshots the committee looks at at one time."""
DEVICE_CLASSES = 16
"""Device classes that a task gets to know: a new one is calibrated before its errors prove anything."""

MEMPOOL_TRANSACTIONS = 20_000
MEMPOOL_BYTES = 33_554_432
"""Eight full blocks. Twenty thousand of the largest transactions would be 640 MiB, with their fees alone before it."""
MEMPOOL_PER_SENDER = 256
MEMPOOL_GAPS = 4
"""Of the pool, one part in so many may wait for a nonce that is not here: it pays nothing, and may wait for ever."""

BLOB_BYTES = 8 * 1024**3
PIECE_MESSAGE_BYTES = 1_048_576 + 4_096

SNAPSHOT_CHUNKS = 16_384
"""Two neighbours together are more than a chunk: a state of a gigabyte or more, and a manifest of half a megabyte."""

PEERS = 64
ADDRESSES_PER_EXCHANGE = 32

if FRAME_BYTES > 2**16 - 1 or BLOCK_TRANSACTIONS * 34 >= PROPOSAL_BYTES or BLOCK_TRANSACTIONS * 3 >= PLACES_BYTES:
    raise AssertionError("limits contradict each other")
