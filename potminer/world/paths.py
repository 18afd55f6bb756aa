"""Where everything lies on this computer. The only file that asks appdirs.

Precedence: what the command line said, then ``POTMINER_*``, then the platform's custom.
"""

from __future__ import annotations

import os
import stat
import sys
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path

import appdirs

from potminer.base.errors import NotPermitted, UsageError

APP = "potminer"
DEFAULT_NETWORK = "main"
_SOCKET_BYTES = 100
"""Linux allows 107 bytes of socket path, macOS 103."""


@dataclass(frozen=True, slots=True)
class Paths:
    """Every place one node uses. Nothing here exists until somebody makes it."""

    network: str
    datadir: Path
    config: Path
    runtime: Path
    """0700; holds the socket or the cookie."""

    @property
    def socket(self) -> Path:
        return self.runtime / "api.sock"

    @property
    def cookie(self) -> Path:
        return self.runtime / "cookie"

    @property
    def lock(self) -> Path:
        return self.datadir / "potminer.lock"

    @property
    def logs(self) -> Path:
        return self.datadir / "logs"

    @property
    def blobs(self) -> Path:
        return self.datadir / "blobs"

    @property
    def database(self) -> Path:
        return self.datadir / "potminer.sqlite"

    @property
    def keys(self) -> Path:
        return self.datadir / "keys"

    @property
    def genesis(self) -> Path:
        return self.datadir / "genesis.json"


def locate(
    environ: Mapping[str, str],
    *,
    datadir: Path | None = None,
    config: Path | None = None,
    network: str | None = None,
    profile: str | None = None,
) -> Paths:
    """Paths for the flags given (None: not said) and the environment *environ*. A profile is another config file of the
    same node: ``potminer.NAME.toml`` beside the usual one."""
    name = network or environ.get("POTMINER_NETWORK") or DEFAULT_NETWORK
    if not _is_name(name):
        raise UsageError(f"{name[:64]!r} is not the name of a network", "Use lower-case letters, digits, - and _.")
    said = datadir or _path(environ, "POTMINER_DATADIR")
    home = (said or Path(appdirs.user_data_dir(APP, appauthor=False)) / name).expanduser().absolute()
    file = _config(environ, home, config, profile)
    return Paths(name, home, file.expanduser().absolute(), _runtime(environ, home))


def private_folder(path: Path) -> Path:
    """*path* as a folder that only we may enter; made where it is missing."""
    try:
        path.mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError as error:
        what = f"{error.filename or path} cannot be made: {error.strerror or error}"
        raise NotPermitted(what, "Choose another --datadir, or mend the folder.") from error
    if sys.platform == "win32":
        return path
    found = path.lstat()
    if not stat.S_ISDIR(found.st_mode) or found.st_uid != os.getuid():
        raise NotPermitted(f"{path} is not a folder of yours", "Remove it, or set POTMINER_RUNTIME_DIR.")
    if stat.S_IMODE(found.st_mode) & 0o077:
        path.chmod(0o700)
    return path


def _config(environ: Mapping[str, str], home: Path, config: Path | None, profile: str | None) -> Path:
    """A flag wins over the environment; of one kind, a file and a profile contradict each other."""
    of_environ = _path(environ, "POTMINER_CONFIG"), environ.get("POTMINER_PROFILE")
    for file, name in ((config, profile), of_environ):
        if file is not None and name:
            raise UsageError("a config file and a profile were both named", "A profile is a config file: name one.")
        if file is not None:
            return file
        if name:
            if not _is_name(name):
                raise UsageError(f"{name[:64]!r} is not the name of a profile", "Use letters, digits, - and _.")
            return home / f"potminer.{name}.toml"
    return home / "potminer.toml"


def _is_name(name: str) -> bool:
    plain = name.replace("-", "").replace("_", "").replace(".", "")
    return len(name) <= 64 and plain.isalnum() and name[0] not in ".-_"


def _path(environ: Mapping[str, str], name: str) -> Path | None:
    value = environ.get(name)
    return Path(value) if value else None


def _runtime(environ: Mapping[str, str], home: Path) -> Path:
    """Inside the data folder, unless a socket's path would be too long for the system there."""
    said = _path(environ, "POTMINER_RUNTIME_DIR")
    if said is not None:
        return said.expanduser().absolute()
    inside = home / "run"
    if sys.platform == "win32" or len(os.fsencode(inside / "api.sock")) <= _SOCKET_BYTES:
        return inside
    mark = sha256(os.fsencode(home)).hexdigest()[:12]
    base = _path(environ, "XDG_RUNTIME_DIR")
    if base is not None and base.is_dir():
        return base / f"{APP}-{mark}"
    return Path(tempfile.gettempdir()) / f"{APP}-{os.getuid()}-{mark}"
