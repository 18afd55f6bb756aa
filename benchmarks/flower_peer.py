"""Flower's server, or one of two clients, that train McMahan's CNN by federated averaging (rivals.py starts them, in
Flower's own environment).

The server prints the samples a second that its rounds were credited with, from the end of the first to that of the
last: what the clients computed, over all that a round takes.
"""

from __future__ import annotations

import argparse
import socket
import sys
import time
from pathlib import Path
from typing import Any

import flwr
import numpy as np
import torch
from flwr.server.strategy import FedAvg
from torch import nn
from torch.nn.functional import cross_entropy

BATCH = 64


def cnn() -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(1, 32, 5, padding="same"), nn.ReLU(), nn.MaxPool2d(2),
        nn.Conv2d(32, 64, 5, padding="same"), nn.ReLU(), nn.MaxPool2d(2),
        nn.Flatten(), nn.Linear(64 * 49, 512), nn.ReLU(), nn.Linear(512, 10),
    )  # fmt: skip


class Timed(FedAvg):
    """Notes when the rounds end and how many samples each had."""

    def __init__(self, **how: Any) -> None:
        super().__init__(**how)
        self.ended: list[tuple[float, int]] = []

    def aggregate_fit(self, server_round: int, results: Any, failures: Any) -> Any:
        found = super().aggregate_fit(server_round, results, failures)
        self.ended.append((time.perf_counter(), sum(result.num_examples for _, result in results)))
        return found


class Trainer(flwr.client.NumPyClient):  # type: ignore[misc]
    def __init__(self, x: torch.Tensor, y: torch.Tensor, steps: int) -> None:
        self._x, self._y, self._steps, self._model = x, y, steps, cnn()

    def get_parameters(self, config: object) -> list[np.ndarray]:
        return [each.detach().numpy() for each in self._model.parameters()]

    def fit(self, parameters: list[np.ndarray], config: object) -> tuple[list[np.ndarray], int, dict[str, float]]:
        with torch.no_grad():
            for mine, given in zip(self._model.parameters(), parameters, strict=True):
                mine.copy_(torch.from_numpy(given))
        optimiser = torch.optim.SGD(self._model.parameters(), 0.02, momentum=0.9)
        for _ in range(self._steps):
            chosen = torch.randint(len(self._y), (BATCH,))
            loss = cross_entropy(self._model(self._x[chosen]), self._y[chosen])
            optimiser.zero_grad(set_to_none=True)
            loss.backward()
            optimiser.step()
        return self.get_parameters(config), self._steps * BATCH, {}


def serve(address: str, rounds: int) -> None:
    torch.manual_seed(1)
    first = flwr.common.ndarrays_to_parameters([each.detach().numpy() for each in cnn().parameters()])
    strategy = Timed(fraction_evaluate=0.0, initial_parameters=first)
    flwr.server.start_server(
        server_address=address, config=flwr.server.ServerConfig(num_rounds=rounds), strategy=strategy
    )
    (began, _), *later = strategy.ended
    sys.stdout.write(f"{sum(count for _, count in later) / (later[-1][0] - began)}\n")


def wait_for(address: str) -> None:
    host, _, port = address.rpartition(":")
    for _ in range(600):
        try:
            socket.create_connection((host, int(port)), timeout=1).close()
            return
        except OSError:
            time.sleep(0.1)
    raise SystemExit("no server")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("address", help="of the server")
    parser.add_argument("--serve", action="store_true")
    parser.add_argument("--rounds", type=int, default=4)
    parser.add_argument("--place", type=Path, help="with x.npy and y.npy")
    parser.add_argument("--rank", type=int, default=0)
    parser.add_argument("--steps", type=int, default=100, help="of 64 samples, a round and client")
    options = parser.parse_args()
    torch.set_num_threads(1)
    torch.set_flush_denormal(True)
    if options.serve:
        serve(options.address, options.rounds)
        return
    torch.manual_seed(options.rank)
    x, y = (torch.from_numpy(np.load(options.place / f"{name}.npy")) for name in "xy")
    client = Trainer(x, y, options.steps).to_client()
    wait_for(options.address)  # Flower's own patience ends with the first refused connection
    flwr.client.start_client(server_address=options.address, client=client, max_wait_time=60)


if __name__ == "__main__":
    main()
