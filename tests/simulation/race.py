"""The race: random histories of one height, told to the replica that ships and to the model of its spec.

A history is everything that could happen to one member of a committee whose other keys are in
anybody's hands: right and wrong proposals, votes, certificates, view changes, timers, restarts.
Both are told the same and must say the same, stand at the same place and run the same timers.
"""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path
from random import Random
from types import ModuleType

import click

from potminer.core.machine import CancelTimer, Execute, SetTimer, TimerFired
from potminer.core.pbft.application import Timers
from potminer.wire.block import Block, Certificate, block_digest
from potminer.wire.pbft import NewView, PreparedBlock, PrePrepare, ViewChange, Vote
from potminer.wire.seal import Purpose
from tests.unit.pbft_bench import KEYS, Bench, said

MODEL = Path(__file__).parents[2] / "docs/spec/model/pbft.py"
PURPOSES = {Purpose.PREPARE: "PREPARE", Purpose.COMMIT: "COMMIT"}
VIEWS = 3
"""Views that are spoken of: within the bounds of what is kept. In the third the timer grows as for an honest primary
that failed, where the committee is of four."""


def load_model() -> ModuleType:
    known = sys.modules.get("spec_model_pbft")
    if known is not None:
        return known
    spec = importlib.util.spec_from_file_location("spec_model_pbft", MODEL)
    assert spec is not None
    assert spec.loader is not None
    module = sys.modules["spec_model_pbft"] = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


model = load_model()


class Race:
    """One history. ``run`` returns what differed, or None."""

    def __init__(self, seed: int, *, steps: int = 60) -> None:
        self.chance = Random(f"race/{seed}")
        self.steps = steps
        size = self.chance.choice((4, 4, 4, 5, 7))
        self.bench = Bench(size=size, me=self.chance.randrange(size), timers=Timers(checkpoint_blocks=1_000))
        self.running: dict[str, str] = {}
        self.patience_ms = 0
        """For how long the view timer was set when it was last set."""
        self.told: list[str] = []
        primaries = [self.bench.primary(view) for view in range(VIEWS)]
        made = [self.bench.block(seat, salt=salt) for seat in {*primaries} for salt in (1, 2)]
        self.blocks: dict[bytes, Block] = {block_digest(block.header): block for block in made}
        self.model = model.Replica(me=self.bench.me, size=size, turn=self.bench.primary(0), build=self._build)
        self._note(self.bench.start())

    # ---- names ---------------------------------------------------------------------------

    def _build(self) -> object:
        block = self.bench.block(self.bench.me)
        self.blocks[block_digest(block.header)] = block
        return self._abstract(block)

    def _abstract(self, block: Block) -> object:
        proposer = self.bench.committee.index_of(block.header.proposer)
        return model.Block(block_digest(block.header).hex(), proposer)

    def _spoken(self, effects: list[object]) -> list[tuple[object, ...]]:
        """What the replica said, in the model's words."""
        found: list[tuple[object, ...]] = []
        for message in said(PrePrepare | NewView | Vote | ViewChange, effects):  # type: ignore[type-var, arg-type]
            match message:
                case PrePrepare():
                    found.append(("PRE-PREPARE", message.view, block_digest(message.header).hex()))
                case NewView():
                    found.append(("NEW-VIEW", message.view, block_digest(message.proposal.header).hex()))
                case Vote():
                    found.append((PURPOSES[Purpose(message.purpose)], message.view, message.digest.hex()))
                case ViewChange():
                    proof = message.prepared
                    shown = None if proof is None else (proof.view, proof.digest.hex())
                    found.append(("VIEW-CHANGE", message.view, shown))
        found += [("EXECUTE", block_digest(e.block.header).hex()) for e in effects if isinstance(e, Execute)]
        return found

    def _note(self, effects: list[object]) -> None:
        for effect in effects:
            if isinstance(effect, SetTimer):
                slot = effect.name.split("/")[1]
                self.running[slot] = effect.name
                self.patience_ms = effect.delay_ms if slot == "view" else self.patience_ms
            elif isinstance(effect, CancelTimer):
                self.running.pop(effect.name.split("/")[1], None)

    # ---- the race ------------------------------------------------------------------------

    def run(self) -> str | None:
        for _ in range(self.steps):
            event, ours, theirs = self._step()
            self.told.append(event)
            self._note(ours)
            spoken = self._spoken(ours)
            found = self._difference(spoken, theirs)
            if found is not None:
                return f"after {len(self.told)} steps, {event}: {found}"
            if self.model.stage == model.DECIDED:
                return None
        return None

    def _difference(self, spoken: list[tuple[object, ...]], theirs: list[tuple[object, ...]]) -> str | None:
        replica, ideal = self.bench.replica, self.model
        table, held = replica._at, replica._voice.said.prepared
        prepared = None if held is None else (held.certificate.view, held.certificate.digest.hex())
        proposal = None if table.proposal is None else block_digest(table.proposal.header).hex()
        pairs = {
            "says": (spoken, theirs),
            "view": (replica.view, ideal.view),
            "stage": (replica.stage.value, ideal.stage),
            "proposal": (proposal, None if ideal.proposal is None else ideal.proposal.name),
            "prepared": (prepared, None if ideal.prepared is None else (ideal.prepared.view, ideal.prepared.block)),
            "asks for": ({name.hex() for name in table.wanted}, ideal.missing),
        }
        if ideal.stage != model.DECIDED:
            pairs["timers"] = (self.running.keys() & {"view", "empty"}, ideal.timers())
            if "view" in self.running:
                pairs["patience"] = (self.patience_ms, ideal.patience_ms())
        else:
            del pairs["asks for"]
        differing = [f"{what}: {ours} here, {its} in the model" for what, (ours, its) in pairs.items() if ours != its]
        return "; ".join(differing) or None

    def _step(self) -> tuple[str, list[object], list[tuple[object, ...]]]:
        kinds = (self._proposal, self._vote, self._change, self._new_view, self._timer, self._restart, self._body)
        return self.chance.choices(kinds, (3, 10, 6, 3, 3, 1, 2))[0]()

    def _view(self) -> int:
        return min(VIEWS - 1, max(0, self.bench.replica.view + self.chance.choice((-1, 0, 0, 0, 0, 1))))

    def _some_block(self) -> Block:
        """Mostly the one that is spoken of already."""
        proposal = self.bench.replica._at.proposal
        if proposal is not None and self.chance.randrange(4):
            return self.blocks[block_digest(proposal.header)]
        return self.chance.choice(list(self.blocks.values()))

    def _other(self) -> int:
        return self.chance.choice([seat for seat in range(self.bench.size) if seat != self.bench.me])

    # ---- what happens --------------------------------------------------------------------

    def _proposal(self) -> tuple[str, list[object], list[tuple[object, ...]]]:
        leader, view = self.bench.primary(0), self.chance.choice((0, 0, 0, 1))
        block = self.chance.choice(list(self.blocks.values()))
        signed = self.chance.randrange(6) > 0 and leader != self.bench.me
        message = self.bench.propose(block, view=view, by=None if signed else self._stranger(self.bench.primary(view)))
        ours = self.bench.hear(self._other(), message)
        return "a proposal", ours, self.model.hear_proposal(view, self._abstract(block), signed=signed)

    def _stranger(self, than: int) -> int:
        """A member whose key is not the one that should sign."""
        following = (than + 1) % self.bench.size
        return following if following != self.bench.me else (than + 2) % self.bench.size

    def _vote(self) -> tuple[str, list[object], list[tuple[object, ...]]]:
        purpose = self.chance.choice((Purpose.PREPARE, Purpose.PREPARE, Purpose.COMMIT))
        view, block, signer = self._view(), self._some_block(), self._other()
        signed = self.chance.randrange(10) > 0
        forged = self._stranger(signer)
        vote = self.bench.vote(purpose, signer, block, view=view, key_of=None if signed else forged)
        ours = self.bench.hear(self._other(), vote)
        name = block_digest(block.header).hex()
        return "a vote", ours, self.model.hear_vote(PURPOSES[purpose], view, name, signer, signed=signed)

    def _proof(self, below: int) -> tuple[Certificate | None, object | None]:
        """A prepared certificate that others could hold, sometimes one that proves nothing."""
        if below < 1 or self.chance.randrange(2):
            return None, None
        view = self.chance.randrange(below + (self.chance.randrange(8) == 0))
        seats = list(range(self.bench.size))
        self.chance.shuffle(seats)
        enough = self.bench.size * 2 // 3 + 1 - (self.chance.randrange(8) == 0)
        signers = set(seats[:enough])
        if self.chance.randrange(8):
            signers.add(self.bench.primary(view))
        block = self._some_block()
        proof = self.bench.certificate(Purpose.PREPARE, block, view=view, signers=tuple(sorted(signers)))
        return proof, model.Proof(view, block_digest(block.header).hex(), frozenset(signers))

    def _one_change(self, signer: int, view: int) -> tuple[ViewChange, object]:
        proof, abstract = self._proof(view)
        return self.bench.change(signer, view, prepared=proof), model.Change(signer, view, abstract)

    def _change(self) -> tuple[str, list[object], list[tuple[object, ...]]]:
        signer, view = self._other(), min(VIEWS - 1, self._view() + self.chance.choice((0, 0, 1)))
        change, abstract = self._one_change(signer, view)
        ours = self.bench.hear(self._other(), change)
        return "a view change", ours, self.model.hear_change(abstract)

    def _new_view(self) -> tuple[str, list[object], list[tuple[object, ...]]]:
        view = max(1, self._view())
        seats = [seat for seat in range(self.bench.size) if seat != self.bench.me]
        self.chance.shuffle(seats)
        enough = self.bench.size * 2 // 3 + 1 - (self.chance.randrange(6) == 0)
        pairs = [self._one_change(seat, view) for seat in sorted(seats[:enough])]
        changes, abstract = [pair[0] for pair in pairs], [pair[1] for pair in pairs]
        choice = model.choose(abstract)
        leader = self.bench.primary(view)
        fresh = [b for b in self.blocks.values() if b.header.proposer == KEYS[leader].public]
        right = self.chance.choice(fresh or [self._some_block()])
        if choice is not None:
            right = self.blocks[bytes.fromhex(choice.block)]
        block = right if self.chance.randrange(5) else self._some_block()
        signed = self.chance.randrange(8) > 0 and leader != self.bench.me
        proposal = self.bench.propose(block, view=view, by=None if signed else self._stranger(leader))
        message = NewView(height=1, view=view, view_changes=tuple(changes), proposal=proposal)
        ours = self.bench.hear(self._other(), message)
        return "a new view", ours, self.model.hear_new_view(view, abstract, self._abstract(block), signed=signed)

    def _timer(self) -> tuple[str, list[object], list[tuple[object, ...]]]:
        running = sorted(self.running.keys() & {"view", "empty"})
        if not running or (running == ["view"] and self.bench.replica.view >= VIEWS - 1):
            return self._vote()
        slot = self.chance.choice(running)
        name = self.running.pop(slot)
        ours = self.bench.do(TimerFired(name))
        return f"the {slot} timer", ours, self.model.ring(slot)

    def _restart(self) -> tuple[str, list[object], list[tuple[object, ...]]]:
        self.running.clear()
        ours = self.bench.start()
        return "a restart", ours, self.model.restart()

    def _body(self) -> tuple[str, list[object], list[tuple[object, ...]]]:
        block = self.chance.choice(list(self.blocks.values()))
        ours = self.bench.hear(self._other(), PreparedBlock(block=block))
        return "a body", ours, self.model.hear_body(self._abstract(block))


@click.command()
@click.argument("histories", type=click.IntRange(1), default=1_000)
def main(histories: int) -> None:
    """Race so many histories; the first that differs ends it."""
    for seed in range(histories):
        found = Race(seed).run()
        if found is not None:
            raise click.ClickException(f"history {seed}: {found}")
    click.echo(f"{histories} histories, no difference")


if __name__ == "__main__":
    main()
