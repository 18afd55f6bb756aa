"""PyTorch's DistributedDataParallel over gloo: the same model, data and batch in processes that trust each other.

Prints the samples per second of this process. The processes meet in a file; every step sums all gradients
through loopback, 4 bytes a parameter each way.
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
    parser.add_argument("--rank", type=int, required=True)
    parser.add_argument("--world", type=int, required=True)
    parser.add_argument("--meet", type=Path, required=True, help="a file that is not there yet")
    parser.add_argument("--steps", type=int, default=120)
    options = parser.parse_args()
    os.environ.setdefault("OMP_WAIT_POLICY", "passive")
    os.environ.setdefault("GLOO_SOCKET_IFNAME", "lo")
    import torch
    from safetensors.torch import load_file
    from torch import distributed
    from torch.nn.functional import cross_entropy
    from torch.nn.parallel import DistributedDataParallel

    from potminer.train.model import build

    torch.set_num_threads(1)
    torch.set_flush_denormal(True)
    torch.manual_seed(options.rank)
    distributed.init_process_group(
        "gloo", init_method=f"file://{options.meet}", rank=options.rank, world_size=options.world
    )
    task = load_task_file(options.task)
    data = load_file(task.train)
    model = DistributedDataParallel(build(task.model, "cpu"))
    optimiser = torch.optim.SGD(model.parameters(), 0.02, momentum=0.9)
    began = 0.0
    for step in range(options.steps + 5):
        if step == 5:
            began = time.perf_counter()
        chosen = torch.randint(len(data["y"]), (task.micro_batch,))
        loss = cross_entropy(model(data["x"][chosen]), data["y"][chosen])
        optimiser.zero_grad(set_to_none=True)
        loss.backward()
        optimiser.step()
    sys.stdout.write(f"{options.steps * task.micro_batch / (time.perf_counter() - began)}\n")
    distributed.destroy_process_group()


if __name__ == "__main__":
    main()
