"""Plain PyTorch on a task's model, data and batch: what efficiency.py compares the network with.

Prints samples per second and per second of CPU time, and nothing else. The data lie in memory,
the loop does nothing but train: SGD with momentum,
or, *adding*, gradients alone. This is the speed of light for the same threads.
"""

from __future__ import annotations

import argparse
import os
import sys
import time
from pathlib import Path

from potminer.node.taskfile import load_task_file


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("task", type=Path)
    parser.add_argument("--threads", type=int, required=True)
    parser.add_argument("--seconds", type=float, default=8.0)
    parser.add_argument("--adding", action="store_true", help="add gradients up and never step, as a unit does")
    options = parser.parse_args()
    os.environ.setdefault("OMP_WAIT_POLICY", "passive")
    import torch
    from safetensors.torch import load_file
    from torch.nn.functional import cross_entropy

    from potminer.train.model import build

    torch.set_num_threads(options.threads)
    torch.set_flush_denormal(True)
    torch.manual_seed(1)
    task = load_task_file(options.task)
    data = load_file(task.train)
    model = build(task.model, "cpu")
    optimiser = torch.optim.SGD(model.parameters(), 0.02, momentum=0.9)
    size, done, began, cpu = task.micro_batch, 0, 0.0, 0.0
    for step in range(10**9):
        if step == 5:
            began, cpu, done = time.perf_counter(), time.process_time(), 0
        chosen = torch.randint(len(data["y"]), (size,))
        loss = cross_entropy(model(data["x"][chosen]), data["y"][chosen])
        if not options.adding:
            optimiser.zero_grad(set_to_none=True)
        loss.backward()
        if not options.adding:
            optimiser.step()
        done += size
        if step > 5 and time.perf_counter() - began >= options.seconds:
            break
    sys.stdout.write(f"{done / (time.perf_counter() - began)} {done / (time.process_time() - cpu)}\n")


if __name__ == "__main__":
    main()
