"""Which device computes, why, and the settings that make its numbers repeatable."""

from __future__ import annotations

from dataclasses import dataclass

import torch

from potminer.train.refusal import Reason, Refused


@dataclass(frozen=True, slots=True)
class Choice:
    """*device* as torch names it and the *reason* an operator reads."""

    device: str
    reason: str


def choose(wanted: str) -> Choice:
    """``auto`` takes a working CUDA card, then Apple's GPU, then the CPU; anything else is taken or Refused."""
    if wanted == "cpu":
        return Choice("cpu", "asked for")
    if wanted == "auto":
        return _best()
    fault = _fault(wanted)
    if fault:
        raise Refused(Reason.NO_DEVICE, f"{wanted}: {fault}")
    return Choice(wanted, f"asked for: {_describe(wanted)}")


def prepare(threads: int) -> None:
    """Float32 without shortcuts, kernels that repeat themselves, denormals as zero.

    Denormal numbers slow a CPU down by 1.75 once momentum or weights decay into them.
    """
    torch.set_num_threads(threads)
    torch.set_flush_denormal(True)
    torch.use_deterministic_algorithms(True)
    torch.backends.cuda.matmul.allow_tf32 = False
    torch.backends.cudnn.allow_tf32 = False
    torch.backends.cudnn.benchmark = False
    torch.backends.cudnn.deterministic = True


def _best() -> Choice:
    faults = []
    for device in ("cuda:0", "mps"):
        fault = _fault(device)
        if not fault:
            return Choice(device, f"found: {_describe(device)}")
        faults.append(f"{device}: {fault}")
    return Choice("cpu", "; ".join(faults))


def _fault(device: str) -> str:
    """Why *device* cannot be used; empty where a first multiplication on it went well."""
    if device.startswith("cuda") and not torch.cuda.is_available():
        return "no CUDA card that this torch can use"
    if device == "mps" and not torch.backends.mps.is_available():
        return "no Apple GPU"
    try:
        two = torch.ones(2, 2, device=device)
        return "" if (two @ two).sum().item() == 8 else "it multiplies wrongly"
    except (RuntimeError, AssertionError) as error:
        return str(error).partition("\n")[0][:200]


def _describe(device: str) -> str:
    return torch.cuda.get_device_name(device) if device.startswith("cuda") else "Apple GPU"
