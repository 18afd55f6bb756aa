"""Is this machine fit for its role? Each check takes plain readings and gives findings; none repairs."""

from __future__ import annotations

import errno
import re
import shutil
import socket
import stat
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path

from potminer.wire.facts import GpuSample
from potminer.world.rig.finding import Finding, Level
from potminer.world.rig.idle.reading import Judgement, Presence
from potminer.world.rig.kernels import Fit, holds, verdict
from potminer.world.rig.program import Run
from potminer.world.rig.sight import Sight
from potminer.world.rig.torchbuild import TorchBuild
from potminer.world.rig.tree import entries, read_text

GIB = 2**30
GLIBC = (2, 28)
"""Wheels of torch are built for manylinux_2_28."""
MEMORY_LOW, MEMORY_LEAST = 4 * GIB, 2 * GIB
DISK_LOW, DISK_LEAST = 10 * GIB, 2 * GIB
SKEW_MS = 2_000
"""Proposers' times may lie this far from ours before rounds are missed."""
LATE_MS = 30_000
_MAKERS = {"0x10de": "NVIDIA", "0x1002": "AMD"}


def check_libc(name: str, version: str) -> Finding:
    """*name* and *version* as ``platform.libc_ver`` says them on Linux."""
    found = re.match(r"(\d{1,4})\.(\d{1,4})", version)
    if name != "glibc" or found is None:
        hint = "The wheels of torch need glibc; run potminer on a distribution that has it to train."
        return Finding("libc", Level.WARN, "no glibc was found", hint)
    if (int(found[1]), int(found[2])) < GLIBC:
        hint = "The wheels of torch need 2.28 or newer: upgrade the system to train on it."
        return Finding("libc", Level.FAULT, f"glibc {version}", hint)
    return Finding("libc", Level.OK, f"glibc {version}")


def check_driver(sight: Sight, driver: str | None, root: Path = Path("/")) -> list[Finding]:
    """Cards on the PCI bus that no driver shows, and what the drivers complain of."""
    found = []
    if driver is not None:
        found.append(Finding("driver", Level.OK, f"NVIDIA {driver}"))
    for maker, count in sorted(_on_the_bus(root).items()):
        prefix = "gfx" if maker == "AMD" else "sm_"
        shown = sum(1 for gpu in sight.gpus if gpu.architecture.startswith(prefix) or maker in gpu.name)
        if shown == 0 and (maker != "NVIDIA" or driver is None):
            text = f"{count} {maker} card{'s' if count > 1 else ''} on the PCI bus and no driver that shows them"
            found.append(Finding("driver", Level.FAULT, text, f"Install the driver of {maker}, or load its module."))
    if sight.reason and not sight.absent:
        hint = "A card that fell off the bus needs a restart; look at its riser and power."
        found.append(Finding("driver", Level.FAULT, sight.reason, hint))
    return found or [Finding("driver", Level.OK, sight.reason or "no GPU")]


def _on_the_bus(root: Path) -> dict[str, int]:
    """Display controllers by maker."""
    counts: dict[str, int] = {}
    for device in entries(root / "sys/bus/pci/devices"):
        maker = _MAKERS.get(read_text(device / "vendor") or "")
        if maker is not None and (read_text(device / "class") or "").startswith("0x03"):
            counts[maker] = counts.get(maker, 0) + 1
    return counts


def check_gpus(gpus: Sequence[GpuSample], build: TorchBuild | None) -> list[Finding]:
    """Whether torch has kernels for each card; a card that cannot train is no fault of a rig that can."""
    if not gpus:
        return [Finding("gpu", Level.OK, "none; the CPU trains")]
    return [_check_gpu(gpu, build) for gpu in gpus]


def _check_gpu(gpu: GpuSample, build: TorchBuild | None) -> Finding:
    name = f"{gpu.bus} {gpu.name}".strip()
    fits = verdict(gpu.architecture)
    what = f"{name} ({gpu.architecture or 'architecture unknown'})"
    if fits.fit is Fit.NONE:
        return Finding("gpu", Level.WARN, f"{what}: no torch has kernels for it", fits.hint)
    runs = None if build is None or build.version is None else holds(build.architectures, gpu.architecture)
    if runs is None:
        level = Level.OK if fits.fit is Fit.CURRENT else Level.WARN
        return Finding("gpu", level, f"{what}: needs {fits.build}", fits.hint)
    if runs:
        return Finding("gpu", Level.OK, f"{what}: the installed torch has its kernels")
    hint = fits.hint or "Install the build of torch for this card; potminer version shows the one that is installed."
    text = f"{what}: the installed torch has no kernels for it, it needs {fits.build}"
    return Finding("gpu", Level.FAULT, text, hint)


def check_torch(build: TorchBuild | None, *, trains: bool) -> Finding:
    if build is None:
        hint = "Try it by hand: python -m potminer.train.arches"
        return Finding("torch", Level.WARN, "it does not say what it was built for", hint)
    if build.version is None:
        hint = "pip install 'potminer[train]'. Validators need it in disputes, observers never."
        return Finding("torch", Level.FAULT if trains else Level.WARN, f"not installed ({build.fault})", hint)
    built = f", for {' '.join(build.architectures)}" if build.architectures else ""
    return Finding("torch", Level.OK, f"torch {build.version}, {build.platform}{built}")


def check_memory(total: int | None, available: int | None, *, worker_bytes: int) -> Finding:
    if total is None or available is None:
        return Finding("memory", Level.WARN, "the host's memory cannot be read")
    text = f"{_gib(available)} of {_gib(total)} GiB free"
    if available < MEMORY_LEAST:
        hint = f"A worker uses up to {_gib(worker_bytes)} GiB (worker.max_ram_mb): end other programs or add swap."
        return Finding("memory", Level.WARN, text, hint)
    if total < MEMORY_LOW:
        return Finding("memory", Level.WARN, text, "Workers start one by one here; a second card may have to wait.")
    return Finding("memory", Level.OK, text)


def check_disk(folder: Path) -> Finding:
    """Of the file system that *folder* lies on, or will lie on."""
    place = next((p for p in (folder, *folder.parents) if p.exists()), folder)
    try:
        free = shutil.disk_usage(place).free
    except OSError as error:
        return Finding("disk", Level.FAULT, f"{place} cannot be read: {error.strerror}", "Check the disk.")
    text = f"{_gib(free)} GiB free at {place}"
    if free < DISK_LEAST:
        return Finding("disk", Level.FAULT, text, "The chain and the models need 2 GiB: make room, or move --datadir.")
    if free < DISK_LOW:
        return Finding("disk", Level.WARN, text, "Models of larger tasks may not fit: 10 GiB are comfortable.")
    return Finding("disk", Level.OK, text)


def check_folder(datadir: Path) -> list[Finding]:
    """Nobody else may read keys; we must be able to write."""
    hint = "potminer init makes it."
    if not datadir.exists():
        return [Finding("datadir", Level.WARN, f"{datadir} is not there yet", hint)]
    try:
        found = _exposed(datadir)
        probe = datadir / ".doctor"
        with probe.open("wb"):
            pass
        probe.unlink()
    except OSError as error:
        words = error.strerror or type(error).__name__
        hint = "Give it to the user that runs potminer, or choose another --datadir."
        return [Finding("datadir", Level.FAULT, f"{datadir} cannot be written: {words}", hint)]
    return found or [Finding("datadir", Level.OK, f"{datadir} is ours alone")]


def _exposed(datadir: Path) -> list[Finding]:
    """What others may open: the folder itself is a warning, a key is a fault."""
    if sys.platform == "win32":
        return []
    found = []
    if stat.S_IMODE(datadir.stat().st_mode) & 0o077:
        found.append(Finding("datadir", Level.WARN, f"{datadir} is open to other users", f"chmod 700 {datadir}"))
    for key in entries(datadir / "keys"):
        if key.is_file() and stat.S_IMODE(key.stat().st_mode) & 0o077:
            found.append(Finding("datadir", Level.FAULT, f"{key} is open to other users", f"chmod 600 {key}"))
    return found


def check_port(host: str, port: int, *, running: bool) -> Finding:
    """The port for peers: free for a daemon that does not run yet, answering where one does."""
    name = f"port {port}"
    if port == 0:
        hint = "Set node.port to be reached by others; trainers do without."
        return Finding("port", Level.OK, "this node only dials out", hint)
    if running:
        try:
            socket.create_connection(("127.0.0.1" if host in ("0.0.0.0", "::", "") else host, port), 2.0).close()
        except OSError:
            return Finding("port", Level.FAULT, f"the daemon runs and {name} does not answer", "Its log says why.")
        return Finding("port", Level.OK, f"{name} answers here; whether peers reach it depends on your router")
    try:
        with socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET, socket.SOCK_STREAM) as link:
            if sys.platform != "win32":
                link.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            link.bind((host, port))
    except OSError as error:
        if error.errno == errno.EADDRINUSE:
            hint = "Another program, or a potminer with another --datadir, has it: change node.port."
            return Finding("port", Level.FAULT, f"{name} is taken", hint)
        hint = "Check node.host and node.port; ports below 1024 need rights."
        return Finding("port", Level.FAULT, f"{name} of {host} cannot be opened: {error.strerror}", hint)
    return Finding("port", Level.OK, f"{name} is free")


def check_idle(judgement: Judgement, *, seat: bool | None, gpus: Iterable[GpuSample]) -> Finding:
    """What the idle sources say now, and whether anything hangs on it."""
    shows = any(gpu.drives_display is not False for gpu in gpus)
    text = f"{judgement.presence.value}: {judgement.because}"
    if seat is False or not shows:
        why = "no screen" if seat is False else "no card with a display"
        return Finding("idle", Level.OK, f"{why}: input does not matter ({text})")
    if judgement.presence is Presence.UNKNOWN:
        hint = (
            "Cards with a display do not train while nobody can tell. X11 and GNOME tell by themselves; sway and "
            "others do with `swayidle idlehint 180`; a service must run as the user of the screen."
        )
        return Finding("idle", Level.WARN, text, hint)
    return Finding("idle", Level.OK, text)


def check_clock(*, synchronised: bool | None, ahead_ms: int | None, commit_ms: int | None) -> Finding:
    """*ahead_ms*: how far the newest block lies in our future. *commit_ms*: how old blocks usually are
    when they are executed here. Both None without a daemon."""
    hint = "Let the system keep its clock: timedatectl set-ntp true, or chrony."
    if ahead_ms is not None and ahead_ms > SKEW_MS:
        return Finding("clock", Level.FAULT, f"this clock is at least {ahead_ms / 1_000:.1f} s behind its peers", hint)
    if commit_ms is not None and commit_ms > LATE_MS:
        text = f"blocks arrive {commit_ms // 1_000} s old: this clock is ahead of its peers, or the network is slow"
        return Finding("clock", Level.WARN, text, hint)
    if synchronised is False:
        return Finding("clock", Level.WARN, "the system does not synchronise its clock", hint)
    peers = "agrees with the chain" if ahead_ms is not None else "no daemon runs to compare it with peers"
    return Finding("clock", Level.OK, f"{'synchronised; ' if synchronised else ''}{peers}")


def clock_synchronised(run: Run) -> bool | None:
    """As systemd knows it; None elsewhere."""
    answer = run(["timedatectl", "show", "--property=NTPSynchronized", "--value"])
    return {b"yes": True, b"no": False}.get((answer or b"").strip())


def _gib(size: int) -> str:
    return f"{size / GIB:.1f}"
