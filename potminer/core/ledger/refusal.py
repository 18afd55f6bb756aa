"""Why a transaction is refused. A refusal is a value: in a receipt, or at the mempool's door."""

from __future__ import annotations

from enum import StrEnum


class Refusal(StrEnum):
    BAD_SIGNATURE = "bad-signature"
    WRONG_CHAIN = "wrong-chain"
    EXPIRED = "expired"
    BAD_NONCE = "bad-nonce"
    FEE_TOO_LOW = "fee-too-low"
    BALANCE_TOO_LOW = "balance-too-low"
    BOND_TOO_LOW = "bond-too-low"
    TOO_MANY = "too-many"
    NOT_REGISTERED = "not-registered"
    UNKNOWN_TASK = "unknown-task"
    TASK_NOT_OPEN = "task-not-open"
    BAD_TASK = "bad-task"
    NOT_REQUESTER = "not-requester"
    ALREADY_MEMBER = "already-member"
    NOT_MEMBER = "not-member"
    EXPELLED = "expelled"
    WRONG_ROUND = "wrong-round"
    WRONG_PHASE = "wrong-phase"
    LATE = "late"
    NOT_ASSIGNED = "not-assigned"
    ALREADY_DONE = "already-done"
    COMMITMENT_MISMATCH = "commitment-mismatch"
    WRONG_SNAPSHOTS = "wrong-snapshots"
    WRONG_SKETCH = "wrong-sketch"
    NOT_ASKED = "not-asked"
    WRONG_RESIDUES = "wrong-residues"
    NOT_AUDITOR = "not-auditor"
    NOT_VALIDATOR = "not-validator"
    BAD_EVIDENCE = "bad-evidence"
    SLASHED = "slashed"
    POOL_FULL = "pool-full"
