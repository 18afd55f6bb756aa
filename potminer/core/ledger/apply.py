"""apply_block: the one way from a state to the next. Pure, integers only.

A block is refused whole where a transaction in it should never have been proposed: bad
signature, wrong chain, wrong nonce, a fee that cannot be paid, expired. A transaction that is
well formed but not allowed stays in the block and gets a receipt with its reason.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from msgspec.structs import replace

from potminer.core.committee import committee_of
from potminer.core.ledger import beacon
from potminer.core.ledger.advance import advance
from potminer.core.ledger.epoch import count_turns, end_epoch
from potminer.core.ledger.event import Event
from potminer.core.ledger.refusal import Refusal
from potminer.core.ledger.state import Draft, State
from potminer.core.ledger.transact import minimum_fee, perform
from potminer.wire import record as records
from potminer.wire.block import Block, Receipt, receipts_root
from potminer.wire.record import Account, ReceiptsRecord, Validator
from potminer.wire.tx import SignedTransaction, Transaction, signature_holds

RULES: Final = 9
"""Version of the ledger's rules: of two versions, one block may lead to two states. A chain is continued only
under the rules it was made by."""

Verifier = Callable[[SignedTransaction], bool]


@dataclass(frozen=True, slots=True)
class Applied:
    """*changes* are the encoded records that differ from the parent state, None for removed ones."""

    state: State
    receipts: tuple[Receipt, ...]
    events: tuple[Event, ...]
    changes: tuple[tuple[bytes, bytes | None], ...]


@dataclass(frozen=True, slots=True)
class InvalidBlock:
    reason: str


def apply_block(state: State, block: Block, *, verifier: Verifier = signature_holds) -> Applied | InvalidBlock:
    """The state after *block* on top of *state*, or why no such state exists.

    *verifier* checks a transaction's signature; a caller that has checked it before may
    remember so, but never answers for one it has not checked.
    """
    header, head = block.header, state.head
    if header.height != head.height + 1 or header.time_ms <= head.time_ms:
        return InvalidBlock("height or time does not follow the parent")
    if header.state_root != state.root:
        return InvalidBlock("built on another state")
    if header.transactions_root != block.root:
        return InvalidBlock("its transactions are not those of its header")
    draft = Draft(state)
    committee = committee_of(draft.committee)
    if header.epoch != committee.epoch:
        return InvalidBlock("another epoch")
    if header.proposer not in (committee.members[seat] for seat in committee.turns):
        return InvalidBlock("its proposer has no turn in this epoch's committee")
    if not _reveal(draft, header.proposer, header.preimage):
        return InvalidBlock("the preimage is not the next layer of the proposer's onion")
    stirred = beacon.stir(head.beacon, header.preimage)
    draft.put(records.CHAIN, replace(head, height=header.height, time_ms=header.time_ms, beacon=stirred))
    count_turns(draft, proposer=header.proposer)
    events: list[Event] = []
    receipts: list[Receipt] = []
    for index, signed in enumerate(block.transactions):
        flaw = improper(draft, signed.transaction, height=header.height)
        if flaw is None and not verifier(signed):
            flaw = Refusal.BAD_SIGNATURE
        if flaw is not None:
            return InvalidBlock(f"transaction {index}: {flaw}")
        refusal = _transact(draft, signed.transaction, header.proposer, events)
        receipts.append(Receipt(signed.digest, index, refusal))
    if receipts:
        draft.put(records.RECEIPTS, ReceiptsRecord(header.height, receipts_root(tuple(receipts))))
    advance(draft, proposer=header.proposer, events=events)
    end_epoch(draft, events)
    changes = tuple(draft.changes())
    return Applied(draft.finish(changes), tuple(receipts), tuple(events), changes)


def improper(view: State | Draft, transaction: Transaction, *, height: int) -> Refusal | None:
    """Why *transaction* must not stand in a block at *height* at all. The nonce is judged last:
    BAD_NONCE says that nothing else is wrong."""
    account = view.account(transaction.sender)
    if transaction.chain != view.chain:
        return Refusal.WRONG_CHAIN
    if transaction.expiry < height:
        return Refusal.EXPIRED
    # Nothing costs more than the parameter says, so whoever pays that need not be looked up.
    if transaction.fee < view.parameters.minimum_fee and transaction.fee < minimum_fee(_draft(view), transaction):
        return Refusal.FEE_TOO_LOW
    if account.balance < transaction.fee:
        return Refusal.BALANCE_TOO_LOW
    return Refusal.BAD_NONCE if transaction.nonce != account.nonce else None


def _draft(view: State | Draft) -> Draft:
    return view if isinstance(view, Draft) else Draft(view)


def _reveal(draft: Draft, proposer: bytes, preimage: bytes) -> bool:
    key = records.validator_key(proposer)
    validator = draft.get(Validator, key)
    epoch = draft.committee.epoch
    if validator is None or beacon.peel(preimage) != validator.onion_in(epoch):
        return False
    waiting = validator.next_onion is not None and epoch < validator.next_epoch
    draft.put(key, replace(validator, onion=preimage, next_onion=validator.next_onion if waiting else None))
    return True


def _transact(draft: Draft, transaction: Transaction, proposer: bytes, events: list[Event]) -> Refusal | None:
    """Take the fee, count the nonce, perform the body. Fee and nonce stand even where the body is refused."""
    account = draft.account(transaction.sender)
    paid = Account(account.balance - transaction.fee, account.nonce + 1)
    draft.put(records.account_key(transaction.sender), paid)
    draft.credit(proposer, transaction.fee)
    return perform(draft, transaction, events)
