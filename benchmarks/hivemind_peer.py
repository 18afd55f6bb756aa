"""One of two peers that train McMahan's CNN with hivemind (rivals.py starts them, in hivemind's own environment).

Prints the samples a second that this peer computed, and those that the two were credited with in averaged steps.
"""

from __future__ import annotations

import argparse
import sys
import time
from pathlib import Path

import hivemind
import numpy as np
import torch
from torch import nn
from torch.nn.functional import cross_entropy

BATCH = 64


def cnn() -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(1, 32, 5, padding="same"), nn.ReLU(), nn.MaxPool2d(2),
        nn.Conv2d(32, 64, 5, padding="same"), nn.ReLU(), nn.MaxPool2d(2),
        nn.Flatten(), nn.Linear(64 * 49, 512), nn.ReLU(), nn.Linear(512, 10),
    )  # fmt: skip


def meet(place: Path, rank: int) -> hivemind.DHT:
    """Loopback alone: hivemind's defaults would call out to relays."""
    quiet = {"use_relay": False, "use_auto_relay": False, "use_ipfs": False, "start": True}
    where = place / "address"
    if rank == 0:
        dht = hivemind.DHT(host_maddrs=["/ip4/127.0.0.1/tcp/0"], **quiet)
        where.write_text("\n".join(str(each) for each in dht.get_visible_maddrs()))
        return dht
    while not where.exists() or not where.read_text():
        time.sleep(0.2)
    return hivemind.DHT(
        host_maddrs=["/ip4/127.0.0.1/tcp/0"], initial_peers=where.read_text().split(), **quiet
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--place", type=Path, required=True, help="with x.npy and y.npy")
    parser.add_argument("--rank", type=int, required=True)
    parser.add_argument("--seconds", type=float, default=40)
    parser.add_argument("--target", type=int, default=4_096, help="samples of an averaged step")
    options = parser.parse_args()
    torch.set_num_threads(1)
    torch.set_flush_denormal(True)
    torch.manual_seed(1)
    x, y = (torch.from_numpy(np.load(options.place / f"{name}.npy")) for name in "xy")
    model = cnn()
    optimiser = hivemind.Optimizer(
        dht=meet(options.place, options.rank), run_id="cnn", batch_size_per_step=BATCH,
        target_batch_size=options.target, params=list(model.parameters()),
        optimizer=lambda params: torch.optim.SGD(params, 0.02, momentum=0.9),
        matchmaking_time=1.5, averaging_timeout=20, verbose=False,
    )  # fmt: skip
    torch.manual_seed(options.rank)
    while optimiser.local_epoch < 1:  # until the first averaged step they look for one another
        _step(model, optimiser, x, y)
    began, done, first = time.perf_counter(), 0, optimiser.local_epoch
    while time.perf_counter() - began < options.seconds:
        _step(model, optimiser, x, y)
        done += BATCH
    took = time.perf_counter() - began
    sys.stdout.write(f"{done / took} {(optimiser.local_epoch - first) * options.target / took}\n")
    sys.stdout.flush()
    time.sleep(5)  # the other peer may still be averaging with us
    optimiser.shutdown()


def _step(model: nn.Module, optimiser: hivemind.Optimizer, x: torch.Tensor, y: torch.Tensor) -> None:
    chosen = torch.randint(len(y), (BATCH,))
    cross_entropy(model(x[chosen]), y[chosen]).backward()
    optimiser.step()
    optimiser.zero_grad()


if __name__ == "__main__":
    main()
