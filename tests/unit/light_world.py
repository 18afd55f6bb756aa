"""A chain with certificates, and everything that a light client can be shown of it."""

from __future__ import annotations

from dataclasses import replace

from potminer.core.ledger.apply import Applied, Verifier, apply_block
from potminer.core.ledger.refusal import Refusal
from potminer.core.ledger.state import State
from potminer.core.light.trust import Trust, from_genesis
from potminer.node.past import Past
from potminer.node.prover import list_block
from potminer.wire.block import Block, Certificate, block_digest
from potminer.wire.codec import decode
from potminer.wire.proof import BlockOutcomes, CertifiedHeader, Shown, TransactionProof
from potminer.wire.seal import Purpose, SigningKey, statement
from potminer.wire.tx import Body, SignedTransaction, signature_holds
from tests.unit.ledger_world import World, key


def certified(
    block: Block, signers: list[tuple[int, SigningKey]], *, chain: bytes, purpose: Purpose = Purpose.COMMIT
) -> CertifiedHeader:
    header, digest = block.header, block_digest(block.header)
    signatures = tuple(
        (
            index,
            signer.sign(
                statement(
                    purpose, chain=chain, signer=signer.public, digest=digest, epoch=header.epoch,
                    height=header.height,
                )
            ),
        )
        for index, signer in signers
    )  # fmt: skip
    return CertifiedHeader(header, Certificate(purpose, header.epoch, header.height, 0, digest, signatures))


class Certified(World):
    """*headers* and *states* by height; what Past keeps of every block."""

    def __init__(self, *, validators: int = 4, epoch_blocks: int = 100) -> None:
        super().__init__(validators=validators, epoch_blocks=epoch_blocks, calibrated=False)
        self.head = self.chain
        self.seats: tuple[int, ...] = tuple(range(2 * validators // 3 + 1))
        """Who signs the certificates."""
        self.past = Past(self.state)
        self.headers: list[CertifiedHeader] = []
        self.states: list[State] = [self.state]
        self.outcomes: dict[int, BlockOutcomes] = {}
        self.rows: dict[tuple[str, int], bytes] = {}
        """What must be stored, by kind and number."""

    @property
    def trust(self) -> Trust:
        return from_genesis(self.genesis)

    @property
    def now(self) -> int:
        return self.state.head.time_ms

    def keys(self, *indices: int) -> list[tuple[int, SigningKey]]:
        return [(index, key(self.validators[index])) for index in indices]

    def sign_block(self, block: Block) -> CertifiedHeader:
        return certified(block, self.keys(*self.seats), chain=self.chain)

    def add(self, *bodies: tuple[str, Body]) -> Block:
        """One block with these transactions, certified."""
        return self.add_signed(*(self.sign(name, body) for name, body in bodies))

    def add_signed(self, *transactions: SignedTransaction) -> Block:
        return self.take(self.block(*transactions))

    def step(self, *bodies: tuple[str, Body], after_ms: int = 1_000) -> list[Refusal | None]:
        block = self.take(self.block(*(self.sign(name, body) for name, body in bodies), after_ms=after_ms))
        outcomes = self.outcomes.get(block.header.height)
        return [] if outcomes is None else [None if each is None else Refusal(each) for each in outcomes.refusals]

    def as_calibrated(self, applied: Applied) -> Applied:
        """*applied* with its tasks after their calibration, if this world's are to be."""
        if not self.calibrated:
            return applied
        before, self.state = self.state, applied.state
        self._calibrate()
        calibrated, self.state = self.state, before
        return replace(applied, state=calibrated)

    def take(self, block: Block, *, verifier: Verifier = signature_holds) -> Block:
        applied = apply_block(self.state, block, verifier=verifier)
        assert isinstance(applied, Applied), applied
        applied = self.as_calibrated(applied)
        header = self.sign_block(block)
        for kind, number, value in self.past.follow(applied, header):
            self.rows[kind, number] = value
            if kind == "outcomes":
                self.outcomes[number] = decode(BlockOutcomes, value, max_bytes=1 << 20)
        self.state, self.head = applied.state, block_digest(block.header)
        self.blocks.append(block)
        self.events += applied.events
        self.headers.append(header)
        self.states.append(self.state)
        return block

    def proof(self, height: int, index: int, *, after: int | None = None) -> TransactionProof:
        """Of transaction *index* of block *height*; with *after*, the outcome under that header."""
        header = self.headers[height - 1]
        listed = list_block(self.blocks[height - 1], header.certificate, self.outcomes[height])
        return listed.prove(index, None if after is None else self.headers[after - 1])

    def shown(self, *keys: bytes, height: int) -> Shown:
        """Of *keys* after block *height*."""
        return Shown(self.headers[height], tuple(self.states[height].prove(each) for each in keys))
