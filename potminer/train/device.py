"""Which device computes, why, and the settings that make its numbers repeatable."""

from __future__ import annotations

import platform
import re
from dataclasses import dataclass

import torch

from potminer.train.refusal import Reason, Refused

UNLIMITED = 2**63


@dataclass(frozen=True, slots=True)
class Choice:
    """*device* as torch names it and the *reason* an operator reads."""

    device: str
    reason: str


def choose(wanted: str, *, bus: str = "") -> Choice:
    """``auto`` takes a working CUDA card, then Apple's GPU, then the CPU; anything else is taken or Refused.

    *bus* is the PCI address that the card must have, where this torch tells. An AMD card under ROCm is a CUDA card.
    """
    if wanted == "cpu":
        return Choice("cpu", "asked for")
    if wanted == "auto":
        return _best()
    fault = _fault(wanted) or _elsewhere(wanted, bus)
    if fault:
        raise Refused(Reason.NO_DEVICE, f"{wanted}: {fault}")
    return Choice(wanted, f"asked for: {_describe(wanted)}")


def device_class(device: str) -> str:
    """What decides how *device* rounds: ``cpu-x86-64-avx512``, ``cuda-8.6``, ``rocm-gfx1030``, ``mps``."""
    if device.startswith("cuda") and torch.version.hip:
        name = "rocm-" + torch.cuda.get_device_properties(device).gcnArchName.partition(":")[0]
    elif device.startswith("cuda"):
        name = "cuda-{}.{}".format(*torch.cuda.get_device_capability(device))
    elif device == "cpu":
        name = f"cpu-{platform.machine()}-{torch.backends.cpu.get_cpu_capability()}"
    else:
        name = device
    return re.sub(r"[^a-z0-9.]+", "-", name.lower())[:32]


def prepare(threads: int) -> None:
    """Float32 without shortcuts, kernels that repeat themselves, denormals as zero.

    Denormal numbers slow a CPU down by 1.75 once momentum or weights decay into them. Memory that a kernel is about to
    write is not filled with NaN before, as torch otherwise does with deterministic algorithms: that costs two per cent.
    """
    torch.set_num_threads(threads)
    torch.set_flush_denormal(True)
    torch.use_deterministic_algorithms(True)
    torch.utils.deterministic.fill_uninitialized_memory = False  # type: ignore[attr-defined]
    torch.backends.cuda.matmul.allow_tf32 = False
    torch.backends.cudnn.allow_tf32 = False
    torch.backends.cudnn.benchmark = False
    torch.backends.cudnn.deterministic = True


def free_bytes(device: str) -> int:
    """Memory that a job may take on *device*: what is free there and what this process holds already. On others
    than CUDA cards the worker's own limit decides."""
    if not device.startswith("cuda"):
        return UNLIMITED
    free, _ = torch.cuda.mem_get_info(device)
    return int(free + torch.cuda.memory_reserved(device))


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
        _need_kernels(device)
        two = torch.ones(2, 2, device=device)
        return "" if (two @ two).sum().item() == 8 else "it multiplies wrongly"
    except (RuntimeError, AssertionError) as error:
        return str(error).partition("\n")[0][:200]


def _need_kernels(device: str) -> None:
    """A build without code for the card says so in a warning and fails at the first launch; say it in words."""
    if not device.startswith("cuda") or torch.version.hip:
        return
    major, minor = torch.cuda.get_device_capability(device)
    built = [name.rpartition("_")[2].rstrip("af") for name in torch.cuda.get_arch_list()]
    own = [int(arch) for arch in built if arch.isdecimal() and int(arch) // 10 == major and int(arch) % 10 <= minor]
    ahead = [name for name in torch.cuda.get_arch_list() if name.startswith("compute_")]
    if built and not own and not ahead:
        raise RuntimeError(f"torch {torch.__version__} has no kernels for sm_{major}{minor}")


def _elsewhere(device: str, bus: str) -> str:
    """Why *device* is not the card at *bus*; empty where it is, or where this torch does not tell."""
    if not bus or not device.startswith("cuda"):
        return ""
    card = torch.cuda.get_device_properties(device)
    parts = [getattr(card, name, None) for name in ("pci_domain_id", "pci_bus_id", "pci_device_id")]
    if any(part is None for part in parts):
        return ""
    domain, number, slot = parts
    found = f"{domain:04x}:{number:02x}:{slot:02x}"
    return "" if bus.startswith(found) else f"it is the card at {found}, not at {bus}"


def _describe(device: str) -> str:
    return torch.cuda.get_device_name(device) if device.startswith("cuda") else "Apple GPU"
