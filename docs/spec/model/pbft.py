"""An executable reading of ../pbft.md: one replica, one height, blocks without transactions.

Written from the text, for people to read beside it; it shares nothing with potminer/ and imports
nothing of it. A signature is the fact that somebody signed. What is left out: heights before and
after this one, gathering (an empty block is whole), status, checkpoints, complaints.
``tests/simulation/test_spec_model.py`` races it against the replica that ships, on random
histories, and compares both after every step.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import NamedTuple

PREPARE, COMMIT = "PREPARE", "COMMIT"
WAITING, PREPARING, COMMITTING, CHANGING, DECIDED = "waiting", "preparing", "committing", "changing", "executing"


class Block(NamedTuple):
    """*name* is its digest. *taken*: the ledger of whoever has our head takes it."""

    name: str
    proposer: int
    taken: bool = True


class Proof(NamedTuple):
    """A prepared certificate: who signed for *block* in *view*. *genuine*: all of them really did."""

    view: int
    block: str
    signers: frozenset[int]
    genuine: bool = True


class Change(NamedTuple):
    """A VIEW-CHANGE: *signer* has left all views below *view*."""

    signer: int
    view: int
    proof: Proof | None
    genuine: bool = True


Said = tuple[object, ...]
"""What the replica says: ("PRE-PREPARE", view, block), ("NEW-VIEW", view, block), ("PREPARE" or "COMMIT", view,
block), ("VIEW-CHANGE", view, (view and block of its certificate) or None), or ("EXECUTE", block)."""


@dataclass
class Replica:
    me: int
    size: int
    turn: int
    """The seat of the primary of view 0; the turn passes with every view."""
    build: Callable[[], Block]
    """A fresh block of our own, as the ledger would build it now."""

    view: int = 0
    stage: str = WAITING
    due: bool = False
    proposal: Block | None = None
    """What was accepted in this view."""
    spoke: dict[tuple[str, int], Block] = field(default_factory=dict)
    """§5: for one purpose and view there is one statement. Durable."""
    asked: int = 0
    """The view of our last VIEW-CHANGE. Durable."""
    prepared: Proof | None = None
    """The prepared certificate of the highest view that we have. Durable."""
    votes: dict[tuple[str, int], dict[int, str]] = field(default_factory=dict)
    changes: dict[int, Change] = field(default_factory=dict)
    bodies: dict[str, Block] = field(default_factory=dict)
    missing: set[str] = field(default_factory=set)
    out: list[Said] = field(default_factory=list)

    # ---- §1: words -----------------------------------------------------------------------

    def primary(self, view: int) -> int:
        return (self.turn + view) % self.size

    def is_quorum(self, members: set[int] | frozenset[int]) -> bool:
        return 3 * len(members) > 2 * self.size

    def is_weak_quorum(self, members: set[int]) -> bool:
        return 3 * len(members) > self.size

    # ---- events --------------------------------------------------------------------------

    def hear_proposal(self, view: int, block: Block, *, signed: bool) -> list[Said]:
        """§2: a PRE-PREPARE alone only in view 0. §4.3."""
        awaited = view == self.view == 0 and self.stage == WAITING and self.me != self.primary(0)
        if awaited and self._proposal_sound(view, block, signed=signed, fresh=True):
            self._prepare(block)
        return self._settle()

    def hear_vote(self, purpose: str, view: int, block: str, signer: int, *, signed: bool) -> list[Said]:
        """§2, §10: the primary has no PREPARE; a signer's first vote of a purpose and view counts."""
        if signed and not (purpose == PREPARE and signer == self.primary(view)):
            self.votes.setdefault((purpose, view), {}).setdefault(signer, block)
        return self._settle()

    def hear_change(self, change: Change) -> list[Said]:
        """§6.3: only each signer's highest is kept."""
        held = self.changes.get(change.signer)
        if self._change_sound(change) and (held is None or held.view < change.view):
            self.changes[change.signer] = change
        return self._settle()

    def hear_new_view(self, view: int, changes: list[Change], block: Block, *, signed: bool) -> list[Said]:
        """§6.6."""
        taken_already = view == self.view and self.proposal is not None
        if view >= max(1, self.view) and not taken_already and self.me != self.primary(view):
            signers = [change.signer for change in changes]
            choice = choose(changes)
            if (
                signers == sorted(set(signers))
                and self.is_quorum(set(signers))
                and all(change.view == view and self._change_sound(change) for change in changes)
                and (choice is None or choice.block == block.name)
                and self._proposal_sound(view, block, signed=signed, fresh=choice is None)
            ):
                self._enter(view, WAITING)
                self._prepare(block)
        return self._settle()

    def hear_body(self, block: Block) -> list[Said]:
        if block.name in self.missing:
            self.missing.discard(block.name)
            self.bodies[block.name] = block
        return self._settle()

    def ring(self, timer: str) -> list[Said]:
        if timer == "view":
            self._ask_for(self.view + 1)  # §6.2
        elif timer == "empty":
            self.due = True  # §4.1
            if self.me == self.primary(0) and self.stage == WAITING and ("PRE-PREPARE", 0) not in self.spoke:
                self._lead(self.build(), "PRE-PREPARE")  # §4.2: no waiting for more where the block is an empty one
        return self._settle()

    def restart(self) -> list[Said]:
        """§5: what was signed is known, and said again in the same bytes; all else is lost."""
        self.view = max([self.asked, *(view for _, view in self.spoke)])
        self.votes, self.changes, self.missing, self.due = {}, {}, set(), False
        own = [self.spoke.get((what, self.view)) for what in ("NEW-VIEW", "PRE-PREPARE", PREPARE)]
        self.proposal = next((block for block in own if block is not None), None)
        self.bodies = {} if self.proposal is None else {self.proposal.name: self.proposal}
        if self.prepared is not None:
            self.bodies[self.prepared.block] = self.spoke[COMMIT, self.prepared.view]
        if self.asked == self.view > 0:
            self.changes[self.me] = Change(self.me, self.view, self.prepared_below(self.view))
            self._say("VIEW-CHANGE", self.view)
        for what in ("NEW-VIEW", "PRE-PREPARE", PREPARE, COMMIT):
            if (what, self.view) in self.spoke:
                self._say(what, self.view)
            if what in (PREPARE, COMMIT) and (what, self.view) in self.spoke:
                self.votes[what, self.view] = {self.me: self.spoke[what, self.view].name}
        committed = self.spoke.get((COMMIT, self.view))
        if committed is not None:
            self.stage = COMMITTING
        elif self.proposal is not None:
            self.stage = PREPARING
        else:
            self.stage = CHANGING if self.asked == self.view > 0 else WAITING
        return self._settle()

    # ---- §4: the normal case -------------------------------------------------------------

    def _proposal_sound(self, view: int, block: Block, *, signed: bool, fresh: bool) -> bool:
        """§4.3: its primary signed it; a fresh block names its own primary as proposer."""
        return signed and (not fresh or block.proposer == self.primary(view))

    def _prepare(self, block: Block) -> None:
        """§4.3, end: the ledger takes it, and nothing else was signed in this view."""
        self.bodies[block.name] = block
        before = self.spoke.get((PREPARE, self.view)) or self.spoke.get(("NEW-VIEW", self.view))
        if block.taken and before in (None, block):
            self.spoke[PREPARE, self.view] = block
            self._say(PREPARE, self.view)
            self.votes.setdefault((PREPARE, self.view), {}).setdefault(self.me, block.name)
            self.proposal, self.stage = block, PREPARING

    def _commit(self) -> bool:
        """§4.4: COMMIT on a prepared certificate for our proposal; the primary's proposal is its PREPARE."""
        if self.stage != PREPARING or self.proposal is None:
            return False
        voters = self.voters(PREPARE, self.view, self.proposal.name) | {self.primary(self.view)}
        have = self.prepared is not None and self.prepared.view == self.view
        if not have and not self.is_quorum(voters):
            return False
        self.prepared = Proof(self.view, self.proposal.name, frozenset(voters))
        self.spoke[COMMIT, self.view] = self.proposal
        self._say(COMMIT, self.view)
        self.votes.setdefault((COMMIT, self.view), {}).setdefault(self.me, self.proposal.name)
        self.stage = COMMITTING
        return True

    def _execute(self) -> bool:
        """§4.5, §6.7: a certificate of whatever view ends the height."""
        cast = {(at, name) for (what, at), votes in self.votes.items() if what == COMMIT for name in votes.values()}
        for view, name in sorted(cast):
            if self.is_quorum(self.voters(COMMIT, view, name)):
                if name not in self.bodies:
                    self._miss(name)
                    return False
                self.out.append(("EXECUTE", name))
                self.stage = DECIDED
                return True
        return False

    def voters(self, purpose: str, view: int, block: str) -> set[int]:
        return {signer for signer, name in self.votes.get((purpose, view), {}).items() if name == block}

    # ---- §6: view changes ----------------------------------------------------------------

    def _change_sound(self, change: Change) -> bool:
        """§6.3: view above 0, signed, and its certificate holds, is of a lower view, and has its primary's word."""
        proof = change.proof
        return change.genuine and change.view > 0 and (
            proof is None
            or (
                proof.genuine
                and proof.view < change.view
                and self.is_quorum(proof.signers)
                and self.primary(proof.view) in proof.signers
            )
        )

    def _ask_for(self, view: int) -> None:
        self._enter(view, CHANGING)
        self.asked = view
        self.changes[self.me] = Change(self.me, view, self.prepared)
        self._say("VIEW-CHANGE", view)

    def _join(self) -> bool:
        """§6.2: a weak quorum asks for views above our own: join the smallest of them."""
        higher = {signer: change.view for signer, change in self.changes.items() if change.view > self.view}
        if not self.is_weak_quorum(set(higher)):
            return False
        self._ask_for(min(higher.values()))
        return True

    def _open_view(self) -> bool:
        """§6.5: a quorum for exactly our view; without the claims whose body we lack, if it still is one."""
        if self.stage != CHANGING or self.me != self.primary(self.view):
            return False
        lacking: set[str] = set()
        for quorum in self._quorums():
            choice = choose(quorum)
            block = self.build() if choice is None else self.bodies.get(choice.block)
            if block is not None:
                self._lead(block, "NEW-VIEW")
                return True
            if choice is not None:
                lacking.add(choice.block)
        for name in sorted(lacking):
            self._miss(name)
        return False

    def _quorums(self) -> Iterator[list[Change]]:
        left = [change for change in self.changes.values() if change.view == self.view]
        while self.is_quorum({change.signer for change in left}):
            yield left
            choice = choose(left)
            if choice is None:
                return
            left = [change for change in left if change.proof is None or change.proof.view < choice.view]

    def _lead(self, block: Block, how: str) -> None:
        self.spoke[how, self.view] = block
        self._say(how, self.view)
        self.bodies[block.name] = block
        self.proposal, self.stage = block, PREPARING

    def _enter(self, view: int, stage: str) -> None:
        """Every lower view is left for good."""
        self.view, self.stage, self.proposal = view, stage, None
        self.missing.clear()

    # ---- timers, §4.1, §6.1 --------------------------------------------------------------

    def timers(self) -> set[str]:
        """Those that should run."""
        running = set()
        if self.stage == CHANGING:
            if self.is_quorum({signer for signer, change in self.changes.items() if change.view >= self.view}):
                running.add("view")
        elif self.stage in (PREPARING, COMMITTING) or (self.stage == WAITING and (self.due or self.view > 0)):
            running.add("view")
        if self.stage == WAITING and self.view == 0 and not self.due:
            running.add("empty")
        return running

    def patience_ms(self) -> int:
        """§6.1: how long this view may take."""
        wait = 2_000
        for before in range(self.view):
            led = {self.primary(view) for view in range(before + 1)}
            wait = min(30_000, wait * 3 // 2 if self.is_weak_quorum(led) else wait + 250)
        return wait

    # ---- how rules follow each other -----------------------------------------------------

    def _settle(self) -> list[Said]:
        """Every rule, until none has anything to do. What is said comes in the order in which it is signed."""
        while self.stage != DECIDED and (self._join() or self._open_view() or self._commit() or self._execute()):
            pass
        said, self.out = self.out, []
        return said

    def _say(self, what: str, view: int) -> None:
        if what == "VIEW-CHANGE":
            proof = self.prepared_below(view)
            self.out.append((what, view, None if proof is None else (proof.view, proof.block)))
        else:
            self.out.append((what, view, self.spoke[what, view].name))

    def prepared_below(self, view: int) -> Proof | None:
        """What a VIEW-CHANGE to *view* shows: what was prepared when it was signed."""
        return self.prepared if self.prepared is not None and self.prepared.view < view else self._before(view)

    def _before(self, view: int) -> Proof | None:
        lower = [at for what, at in self.spoke if what == COMMIT and at < view]
        return None if not lower else Proof(max(lower), self.spoke[COMMIT, max(lower)].name, frozenset())

    def _miss(self, name: str) -> None:
        if len(self.missing) < self.size:
            self.missing.add(name)


def choose(changes: list[Change]) -> Proof | None:
    """§6.4: the prepared certificate of the highest view; None: the block is fresh."""
    proofs = [change.proof for change in changes if change.proof is not None]
    return max(proofs, key=lambda proof: (proof.view, proof.block), default=None)
