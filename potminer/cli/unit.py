"""The text of a systemd unit for the daemon: hardened as far as a program may be that needs its GPUs.

NVIDIA's devices must exist before it starts (nvidia-persistenced, or one nvidia-smi at boot): without new
privileges nobody makes them later. Left out on purpose: PrivateDevices (it hides /dev/nvidia*, /dev/dri and
/dev/kfd), MemoryDenyWriteExecute (CUDA and PyTorch compile kernels at run time), ProtectProc and ProcSubset
(miners and their APIs are found in /proc).
"""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from potminer.base.errors import Exit

STOP_S = 15
"""The daemon leaves within ten seconds; systemd is to be the more patient one."""
_NO_USE = (Exit.USAGE, Exit.CONFIG, Exit.RUNNING, Exit.NOT_PERMITTED)
"""Ends that the next start would only repeat."""

_ANYBODY = """\
NoNewPrivileges=yes
RestrictSUIDSGID=yes
RestrictRealtime=yes
RestrictNamespaces=yes
LockPersonality=yes
SystemCallArchitectures=native
SystemCallFilter=@system-service
SystemCallErrorNumber=EPERM
RestrictAddressFamilies=AF_UNIX AF_INET AF_INET6 AF_NETLINK
UMask=0077
"""
_SYSTEM = """\
CapabilityBoundingSet=
AmbientCapabilities=
ProtectSystem=strict
ProtectKernelTunables=yes
ProtectKernelModules=yes
ProtectKernelLogs=yes
ProtectControlGroups=yes
ProtectClock=yes
ProtectHostname=yes
PrivateTmp=yes
KeyringMode=private
"""
"""These need mount namespaces, which a person's own systemd may not always make."""


@dataclass(frozen=True, slots=True)
class Unit:
    """*user* None: a unit of one person's own systemd, without rights to give away. *groups* open the GPUs."""

    program: Sequence[str]
    datadir: Path
    config: Path
    network: str
    user: str | None = None
    groups: tuple[str, ...] = ()

    def text(self) -> str:
        command = shlex.join([*self.program, "--datadir", str(self.datadir), "--config", str(self.config)])
        lines = [
            "# Written by `potminer service install`.",
            "[Unit]",
            f"Description=potminer daemon ({self.network})",
            "After=network-online.target" if self.user else "After=network.target",
            *(["Wants=network-online.target"] if self.user else []),
            "StartLimitIntervalSec=600",
            "StartLimitBurst=10",
            "",
            "[Service]",
            "Type=exec",
            f"ExecStart={_escaped(command)} --network {self.network} run --headless",
            *self._who(),
            "Restart=on-failure",
            "RestartSec=5",
            f"RestartForceExitStatus={Exit.RESTART.value}",
            f"RestartPreventExitStatus={' '.join(str(code.value) for code in _NO_USE)}",
            f"TimeoutStopSec={STOP_S}",
            "KillMode=mixed",
            "Nice=5",
            "LimitNOFILE=65536",
            "OOMPolicy=continue",
            "",
            *_ANYBODY.splitlines(),
            *self._closed(),
            "",
            "[Install]",
            f"WantedBy={'multi-user.target' if self.user else 'default.target'}",
        ]
        return "\n".join(lines) + "\n"

    def _closed(self) -> list[str]:
        if self.user is None:
            return []
        at_home = any(str(path).startswith(("/home/", "/root/")) for path in (*self.program, self.datadir, self.config))
        home = "read-only" if at_home else "yes"
        return [*_SYSTEM.splitlines(), f"ProtectHome={home}", f"ReadWritePaths={_escaped(str(self.datadir))}"]

    def _who(self) -> list[str]:
        if self.user is None:
            return []
        groups = [f"SupplementaryGroups={' '.join(self.groups)}"] if self.groups else []
        return [f"User={self.user}", f"Group={self.user}", *groups]


def _escaped(text: str) -> str:
    """Percent and dollar mean something to systemd."""
    return text.replace("%", "%%").replace("$", "$$")
