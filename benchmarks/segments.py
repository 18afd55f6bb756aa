"""CPU time of a segment of mode local beside plain PyTorch in the same process, and what of it is not arithmetic.

McMahan's CNN, batches of 64, SGD with momentum, one thread. Steps of both alternate, so that neighbours on the machine
are everybody's: read the ratios. *steps* are 10 of a segment with its beginning and its end in memory; the parts are
what every segment costs once, whatever its length. A ratio at so many steps a segment is reckoned from the two.
"""

from __future__ import annotations

import itertools
import statistics
import tempfile
from collections.abc import Callable
from pathlib import Path
from time import process_time

import torch
from record import Figures, finish, parser
from residues import UNIT
from safetensors.torch import load
from schooling import CNN, fashion, go_on, momentum, task
from torch.nn.functional import cross_entropy

from potminer.base.blobs import blob_id
from potminer.train.data import training_split
from potminer.train.device import prepare
from potminer.train.folder import Folder
from potminer.train.model import build
from potminer.train.residue import probes, residues
from potminer.train.snap import encode_snapshot, snap
from potminer.train.step import Engine, Work, run_segment
from potminer.train.weights import initial_weights

STEPS, LOOKS = 10, 9
LENGTHS = (1, 5, 10, 23, 46)


def plain(path: Path) -> Callable[[], None]:
    """A step of plain PyTorch, data in memory."""
    data, model = load(path.read_bytes()), build(CNN, "cpu")
    optimiser = torch.optim.SGD(model.parameters(), 0.02, momentum=0.9)

    def step() -> None:
        chosen = torch.randint(len(data["y"]), (64,))
        loss = cross_entropy(model(data["x"][chosen]), data["y"][chosen])
        optimiser.zero_grad(set_to_none=True)
        loss.backward()
        optimiser.step()

    return step


def took(job: Callable[[], object]) -> float:
    """Milliseconds of CPU."""
    began = process_time()
    job()
    return 1_000 * (process_time() - began)


def measure(root: Path) -> Figures:
    prepare(1)
    folder = Folder(root)
    data = fashion(folder)
    spec = task(folder, CNN, data, seed=1, segments=3, batches_per_segment=STEPS, inner=momentum(0.02))
    engine = Engine(spec.model, "cpu", spec.objective)
    engine.load(initial_weights(spec.model, seed=1))
    work, step = Work(engine, training_split(folder, spec), spec, UNIT), plain(folder.path(data.train))
    state, theirs, ours = work.opening(), [], []
    for look in range(LOOKS + 1):
        torch.use_deterministic_algorithms(False)
        alone = took(lambda: [step() for _ in range(STEPS)]) / STEPS
        prepare(1)
        beside = took(lambda: run_segment(work, 1, state, go_on)) / STEPS
        if look:
            theirs.append(alone)
            ours.append(beside)
    reached, _ = run_segment(work, 1, state, go_on)
    made = snap(reached, spec=spec, unit=UNIT, segment=1)
    data_of = encode_snapshot(made, unit=UNIT, segment=1)
    fresh = itertools.count()
    parts: dict[str, Callable[[], object]] = {
        "snapping both vectors": lambda: snap(reached, spec=spec, unit=UNIT, segment=1),
        "going on from the snapped values": made.values,
        "encoding": lambda: encode_snapshot(made, unit=UNIT, segment=1),
        "hashing and writing": lambda: folder.write(data_of + bytes([next(fresh)])),
        "of it hashing": lambda: blob_id(data_of),
        "residues": lambda: residues(made.update, reached[0], state[0], probes(spec.model, UNIT, 1)),
    }
    each = {name: statistics.median(took(job) for _ in range(LOOKS)) for name, job in parts.items()}
    once = sum(each.values()) - each["of it hashing"]
    light, heavy = statistics.median(theirs), statistics.median(ours)
    return {
        "plain step, ms": light,
        "our step, ms": heavy,
        "a segment's end, ms": {**each, "together": once},
        "ratio to plain of steps alone": light / heavy,
        "ratio to plain by steps a segment": {str(n): light * n / (heavy * n + once) for n in LENGTHS},
    }


def main() -> None:
    options = parser(__doc__ or "").parse_args()
    with tempfile.TemporaryDirectory(prefix="potminer-segments-") as place:
        figures = measure(Path(place))
    finish("segments", figures, options, note="CPU time; McMahan's CNN, momentum, batches of 64, one thread")


if __name__ == "__main__":
    main()
