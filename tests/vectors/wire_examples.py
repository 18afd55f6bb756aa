"""One fixed example of everything that leaves the process, and the digests built from them.

``python tests/vectors/wire_examples.py`` rewrites golden.json beside this file. Do that only
for a kind that is new: bytes that change under an old number split the network.
"""

from __future__ import annotations

import json
from pathlib import Path

import msgspec

from potminer.base import blobs, merkle
from potminer.base.address import encode_address
from potminer.base.digest import Domain, digest
from potminer.wire import (
    blob,
    block,
    gossip,
    hello,
    leap,
    model,
    pbft,
    proof,
    registry,
    residue,
    seal,
    sync,
    task,
    trainer,
    tx,
)
from potminer.wire.codec import Wire, encode

GOLDEN = Path(__file__).with_name("golden.json")
KEY = seal.SigningKey(bytes(range(32)))


def hash_of(label: str) -> bytes:
    return digest(Domain.MESSAGE, label.encode())


CHAIN, TASK, BLOB = hash_of("chain"), hash_of("task"), hash_of("blob")
SIGNATURE = KEY.sign(b"example")

SPEC = task.TaskSpec(
    name="digits",
    model=model.Mlp(inputs=64, hidden=(64,), classes=10),
    data=task.DataSpec(
        train=hash_of("train"), validation=hash_of("valid"), train_samples=1437, validation_samples=360, shape=(1, 8, 8)
    ),
    objective="classification",
    mode="gradient",
    initial_model=hash_of("initial"),
    rounds=20,
    units_per_trainer=2,
    segments=8,
    batches_per_segment=1,
    micro_batch=32,
    outer_rate_nano=500_000_000,
    audit=task.AuditSpec(rate_ppm=1_000_000, tolerance_ppm=10),
    deadlines=task.Deadlines(
        commit_ms=60_000, reveal_ms=10_000, audit_ms=60_000, dispute_ms=60_000, aggregate_ms=60_000
    ),
    reward=task.Reward(budget=120 * 10**9, price_per_unit=10**9),
    min_trainers=2,
    max_trainers=3,
)
CNN = model.Cnn(channels=1, height=28, width=28, filters=(32, 64), kernel=5, hidden=512, classes=10)
LOCAL = msgspec.structs.replace(
    SPEC,
    mode="local",
    outer_rate_nano=700_000_000,
    outer_momentum_nano=900_000_000,
    compression="wan4",
    inner=task.InnerSpec(
        optimiser=task.AdamW(decay_nano=100_000_000, carry=True), rate_nano=1_000_000, warmup_steps=100,
        decay_steps=2_000, least_rate_nano=100_000, clip_nano=10**9,
    ),
)  # fmt: skip
"""The other way to train, with everything that can be said of it."""
MODELS: tuple[Wire, ...] = (
    CNN,
    model.Logistic(inputs=784, classes=10),
    model.ResNet(channels=3, height=32, width=32, filters=16, groups=8, blocks=3, classes=10),
    model.Gpt(vocabulary=65, context=64, layers=4, heads=4, width=128, dropout_percent=10),
    model.Layers(
        inputs=(1, 28, 28),
        layers=(
            model.Convolution(filters=32, kernel=3), model.Norm(groups=8), model.Relu(), model.Halve(),
            model.Convolution(filters=64, kernel=3, stride=2), model.Gelu(), model.Average(), model.Flatten(),
            model.Drop(percent=20), model.Dense(outputs=10),
        ),
    ),
)  # fmt: skip
UNIT = task.Unit(task=TASK, round=3, attempt=0, slot=1, trainer=KEY.public, seed=hash_of("seed"))

BODIES: tuple[Wire, ...] = (
    tx.Transfer(to=KEY.public, amount=2**53),
    tx.Bond(amount=1),
    tx.Unbond(amount=2**32),
    tx.RegisterTrainer(payout=KEY.public),
    tx.SubmitTask(spec=SPEC),
    tx.CancelTask(task=TASK),
    tx.JoinTask(task=TASK),
    tx.LeaveTask(task=TASK),
    tx.CommitWork(task=TASK, round=3, attempt=0, slot=1, base=BLOB, commitment=hash_of("commitment")),
    tx.RevealWork(
        task=TASK, round=3, attempt=0, slot=1, salt=hash_of("salt"), loss_micro=2_302_585, snapshots=(BLOB, TASK),
        residues=hash_of("residues"), lengths=(47_001, 0),
    ),
    tx.AuditVerdict(
        task=TASK, round=3, attempt=0, slot=1, segment=2, finding=tx.Finding.MEASURED, error_ppm=44_000,
        sketch=bytes(range(64)),
    ),
    tx.AggregateResult(task=TASK, round=3, attempt=0, model=BLOB, malformed=(0, 300)),
    tx.RegisterValidator(onion=hash_of("onion"), amount=10**12),
    tx.UnbondValidator(amount=10**9),
    tx.Evidence(
        validator=KEY.public, epoch=700, height=70_000, view=1,
        first=tx.Spoken(purpose=seal.Purpose.PREPARE, digest=hash_of("one"), signature=SIGNATURE),
        second=tx.Spoken(purpose=seal.Purpose.PRE_PREPARE, digest=hash_of("other"), signature=SIGNATURE),
    ),
    tx.OpenResidue(
        task=TASK, round=3, attempt=0, slot=1, segment=2, leaf=31, residues=bytes(range(64)),
        siblings=(hash_of("left"), hash_of("right")),
    ),
    tx.EvaluateModel(task=TASK, closed=4, commitment=BLOB),
    tx.ScoreModel(task=TASK, closed=4, score_ppm=970_000, loss_micro=98_000, trial_micro=8_123_456, salt=BLOB),
    tx.SliceResult(task=TASK, round=2, attempt=0, slice=1, part=hash_of("part"), malformed=(0, 3), lengths=True),
    tx.ShowSnapshots(task=TASK, round=2, attempt=1, slot=300),
)

TRANSACTION = tx.Transaction(
    chain=CHAIN, sender=KEY.public, nonce=7, fee=1_000, expiry=500, body=tx.Transfer(to=hash_of("to"), amount=5)
)
SIGNED = tx.sign_transaction(TRANSACTION, KEY)
HEADER = block.Header(
    parent=hash_of("parent"),
    height=70_000,
    epoch=700,
    transactions_root=block.transactions_root((SIGNED,)),
    state_root=hash_of("state"),
    proposer=KEY.public,
    time_ms=1_767_225_600_000,
    preimage=hash_of("preimage"),
)
BLOCK = block.Block(header=HEADER, transactions=(SIGNED,))
CERTIFICATE = block.Certificate(
    purpose=seal.Purpose.COMMIT,
    epoch=700,
    height=70_000,
    view=1,
    digest=block.block_digest(HEADER),
    signatures=((0, SIGNATURE), (1, SIGNATURE), (3, SIGNATURE)),
)
CERTIFIED = proof.CertifiedHeader(header=HEADER, certificate=CERTIFICATE)
IN_STATE = proof.StateProof(siblings=(hash_of("near the root"), hash_of("far from it")), end=(b"R", b"record"))
IN_LIST = proof.ListProof(index=1, count=3, siblings=(hash_of("left"), hash_of("right")))
RECEIPT = block.Receipt(transaction=tx.transaction_digest(TRANSACTION), index=1, refusal="bad-nonce")
PREPREPARE = pbft.PrePrepare(view=1, header=HEADER, leaves=(SIGNED.leaf,), signature=SIGNATURE)
VIEW_CHANGE = pbft.ViewChange(epoch=700, height=70_001, view=2, prepared=None, signer=3, signature=SIGNATURE)
RECORD = gossip.AddressRecord(
    key=KEY.public, host="rig-7.example.org", port=9_333, time_ms=1_767_225_600_000, signature=SIGNATURE
)

MESSAGES: tuple[Wire, ...] = (
    hello.Hello(agent="potminer/0.1.0", listen_port=9_333, height=70_000),
    pbft.Brief(
        view=1, view_changes=(VIEW_CHANGE,), header=HEADER, names=hash_of("names")[:12], signature=SIGNATURE
    ),
    pbft.VotesWanted(height=70_001, view=2, opening=True, prepares=0b1001, commits=2**31 - 1, changes=0),
    PREPREPARE,
    pbft.Vote(
        purpose=seal.Purpose.PREPARE,
        epoch=700,
        height=70_000,
        view=1,
        digest=hash_of("block"),
        signer=2,
        signature=SIGNATURE,
    ),
    pbft.ViewChange(epoch=700, height=70_001, view=2, prepared=CERTIFICATE, signer=3, signature=SIGNATURE),
    pbft.NewView(height=70_001, view=2, view_changes=(VIEW_CHANGE,), proposal=PREPREPARE),
    pbft.Status(height=70_001, view=2, time_ms=1_700_000_000_000),
    pbft.PreparedBlockWanted(height=70_001, digest=hash_of("block")),
    pbft.PreparedBlock(block=BLOCK),
    pbft.TransactionsWanted(height=70_001, digest=hash_of("block"), places=(0, 3, 999)),
    pbft.Transactions(digest=hash_of("block"), transactions=(SIGNED,)),
    pbft.Relay(transactions=(SIGNED,)),
    sync.Head(height=70_000, digest=hash_of("block")),
    sync.BlocksWanted(first=69_000, count=64),
    sync.Blocks(blocks=(block.CertifiedBlock(block=BLOCK, certificate=CERTIFICATE),)),
    leap.SnapshotWanted(epoch=600),
    leap.SnapshotOffer(steps=(proof.Shown(certified=CERTIFIED, proofs=(IN_STATE, IN_STATE)),), certified=CERTIFIED),
    leap.ManifestWanted(height=70_000),
    leap.Manifest(height=70_000, depths=b"\x01\x01", digests=hash_of("left") + hash_of("right")),
    leap.ChunkWanted(height=70_000, index=1),
    leap.Chunk(height=70_000, index=1, items=((b"C", b"record"),)),
    leap.Pruned(first=60_000),
    sync.NextWanted(height=70_001),
    sync.Busy(asked=sync.Asked.BLOCKS, retry_ms=170),
    gossip.Push(items=(gossip.Item(topic=gossip.Topic.TRANSACTION, body=encode(SIGNED)),)),
    gossip.Have(topic=gossip.Topic.TRANSACTION, items=(hash_of("item"),)),
    gossip.Want(topic=gossip.Topic.TRANSACTION, items=(hash_of("item"), hash_of("other"))),
    gossip.Graft(topic=gossip.Topic.TRANSACTION),
    gossip.Prune(topic=gossip.Topic.TRANSACTION, backoff_ms=60_000),
    gossip.AddressesWanted(),
    gossip.Addresses(records=(RECORD,)),
    blob.BlobWanted(blob=BLOB),
    blob.BlobHeld(blob=BLOB, size=4_194_304),
    blob.BlobMissing(blob=BLOB),
    blob.PieceWanted(blob=BLOB, index=3),
    blob.Piece(blob=BLOB, index=3, data=b"weights", siblings=(hash_of("left"), hash_of("right"))),
    gossip.Carry(items=(gossip.Item(topic=gossip.Topic.TRANSACTION, body=encode(SIGNED)),)),
    gossip.Carried(
        origin=KEY.public, items=(gossip.Item(topic=gossip.Topic.TRANSACTION, body=encode(SIGNED)),)
    ),
    gossip.Got(lot=hash_of("lot")),
)

PIPE: tuple[Wire, ...] = (
    trainer.TrainJob(job=1, spec=SPEC, unit=UNIT, base=BLOB),
    trainer.AuditJob(job=2, spec=SPEC, unit=UNIT, base=BLOB, segment=1, before=None, after=hash_of("after"), leaf=31),
    trainer.AggregateJob(job=3, spec=SPEC, base=BLOB, units=(UNIT,), updates=(hash_of("update"),), said=(47_001,)),
    trainer.SliceJob(
        job=6, spec=SPEC, base=BLOB, units=(UNIT,), updates=(hash_of("update"),), excerpts=(hash_of("excerpt"),),
        index=1, of=3, lengths=(hash_of("lengths"), BLOB, TASK), said=(47_001,),
    ),
    trainer.AssembleJob(job=7, spec=SPEC, parts=(hash_of("part"), hash_of("other part"))),
    trainer.EvaluateJob(job=4, spec=SPEC, model=BLOB, seed=BLOB),
    trainer.InitialiseJob(job=5, model=CNN, seed=42),
    trainer.Cancel(job=1),
    trainer.Ready(device="cpu", reason="no GPU of compute capability 6.1 or newer", pid=4_711),
    trainer.Heartbeat(resident_bytes=500_000_000),
    trainer.Progress(job=1, done=3, total=8),
    trainer.Trained(
        job=1, snapshots=(BLOB, TASK), loss_micro=2_302_585, samples=256, compute_us=120_000, residues=b"\x0f\xf0",
        lengths=(47_001,),
    ),
    trainer.Audited(job=2, finding=tx.Finding.MALFORMED, error_ppm=0, samples=0, compute_us=90, sketch=b""),
    trainer.Aggregated(job=3, model=None, malformed=(0,), compute_us=1_500),
    trainer.Sliced(job=6, part=hash_of("part"), malformed=(0,), compute_us=700),
    trainer.Evaluated(job=4, accuracy_ppm=970_000, loss_micro=98_000, trial_micro=8_123_456, samples=360),
    trainer.Initialised(job=5, model=BLOB),
    trainer.Failed(job=1, reason="cancelled", detail="the owner is back"),
)

OTHERS: tuple[Wire, ...] = (
    hello.Identity(key=KEY.public, signature=SIGNATURE), SIGNED, LOCAL, task.Momentum(carry=True), *MODELS, RECEIPT,
    proof.TransactionProof(
        signed=SIGNED, place=IN_LIST, included=CERTIFIED,
        outcome=proof.OutcomeProof(refusal="bad-nonce", place=IN_LIST, record=IN_STATE, after=CERTIFIED),
    ),
    proof.Headers(headers=(CERTIFIED,)),
    proof.Shown(certified=CERTIFIED, proofs=(IN_STATE, proof.StateProof(siblings=(), end=None))),
    proof.Epochs(steps=(proof.Shown(certified=CERTIFIED, proofs=(IN_STATE,)),)),
    proof.Deposition(
        chain=CHAIN, blocks=((70_000, hash_of("block")),), certificates=(CERTIFICATE,),
        statements=(b"\x0c" + encode(VIEW_CHANGE),), steps=(proof.Shown(certified=CERTIFIED, proofs=(IN_STATE,)),),
    ),
    proof.Believed(
        chain=CHAIN, height=70_000, digest=hash_of("block"), time_ms=1_700_000_000_000,
        step=proof.Shown(certified=CERTIFIED, proofs=(IN_STATE,)),
    ),
    proof.PastProof(height=70_000, proof=IN_STATE),
    proof.BlockOutcomes(record=IN_STATE, refusals=(None, "bad-nonce")),
)  # fmt: skip


def digests() -> dict[str, bytes]:
    """Names, roots and statements that every node must compute alike."""
    reveal = next(b for b in BODIES if isinstance(b, tx.RevealWork))
    return {
        "address of key": encode_address(KEY.public).encode(),
        "address_digest": gossip.address_digest(RECORD),
        "blob_id of b'potminer'": blobs.blob_id(b"potminer"),
        "blob_id of nothing": blobs.blob_id(b""),
        "block_digest": block.block_digest(HEADER),
        "commitment": tx.commitment(reveal, trainer=KEY.public),
        "item_digest": gossip.item_digest(gossip.Item(topic=gossip.Topic.TRANSACTION, body=b"x")),
        "merkle root of nothing": merkle.root(Domain.TRANSACTIONS, []),
        "merkle root of a b c": merkle.root(Domain.TRANSACTIONS, [b"a", b"b", b"c"]),
        "public key of seed 00..1f": KEY.public,
        "signature": SIGNATURE,
        "receipts_root": block.receipts_root((RECEIPT,)),
        "residue_root of two segments": residue.residue_root(bytes(range(256)) * 16),
        "snapshot_tag 1": task.snapshot_tag(UNIT, 1),
        "statement": seal.statement(
            seal.Purpose.COMMIT,
            chain=CHAIN,
            signer=KEY.public,
            digest=block.block_digest(HEADER),
            epoch=700,
            height=70_000,
            view=1,
        ),
        "task_digest": task.task_digest(SPEC, requester=KEY.public, nonce=7),
        "transaction_digest": tx.transaction_digest(TRANSACTION),
        "transactions_root": block.transactions_root((SIGNED,)),
        "unit_digest": task.unit_digest(UNIT),
        "view_change_digest of none": pbft.view_change_digest(prepared=None),
        "view_change_digest": pbft.view_change_digest(prepared=CERTIFICATE),
    }


def sections() -> dict[str, dict[str, str]]:
    """Everything golden.json holds: section, name, hex."""
    numbers = {type(m).__name__: registry.row_of(m).number for m in MESSAGES}
    return {
        "messages": {f"{numbers[type(m).__name__]} {type(m).__name__}": encode(m).hex() for m in MESSAGES},
        "transactions": {type(b).__name__: encode(b).hex() for b in BODIES},
        "pipe": {type(p).__name__: encode(p).hex() for p in PIPE},
        "others": {type(o).__name__: encode(o).hex() for o in OTHERS},
        "digests": {name: value.hex() for name, value in digests().items()},
    }


if __name__ == "__main__":
    GOLDEN.write_text(json.dumps(sections(), indent=1) + "\n", encoding="utf-8")
