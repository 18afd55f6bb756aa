"""Which node a command means: the global options, handed to every command."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from potminer.world.paths import Paths


@dataclass(frozen=True, slots=True)
class Place:
    """What the command line said; None: not said."""

    datadir: Path | None = None
    config: Path | None = None
    network: str | None = None
    profile: str | None = None

    def paths(self) -> Paths:
        from potminer.world.paths import locate

        return locate(os.environ, datadir=self.datadir, config=self.config, network=self.network, profile=self.profile)

    @property
    def asks_for_config(self) -> bool:
        """Whether somebody named the config file: then it must be there."""
        named = bool(os.environ.get("POTMINER_CONFIG") or os.environ.get("POTMINER_PROFILE"))
        return self.config is not None or self.profile is not None or named
