"""What an operator may say, and the one place that says what it means when nobody does.

Precedence: flags, then ``POTMINER_SECTION_KEY``, then the file, then the default. These are
preferences: mine alone, never what replicas must agree on.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable, Mapping
from dataclasses import MISSING, dataclass, field, fields
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from potminer import __version__
from potminer.base.address import decode_address, encode_address
from potminer.base.errors import Malformed
from potminer.node.form import Fault, Filling, Reader, Said, choice, integer, many, parsed, setting, text
from potminer.node.rigform import (
    SOURCE,
    DeviceSettings,
    IdleSettings,
    MinerSettings,
    PowerSettings,
    PriceSettings,
    WorkerSettings,
)
from potminer.node.source import Place, Source, read_source

PREFIX = "POTMINER_"
MINERS = 32
DEVICES = 64
RIGS = 64
BOOTSTRAP = 64
_HOST = r"[0-9A-Za-z.:_-]{1,255}"


@dataclass(frozen=True, slots=True)
class Seed:
    """A node to begin with. *key* is its 32-byte node key, None where any is welcome."""

    host: str
    port: int
    key: bytes | None = None


# ---- readers -----------------------------------------------------------------------------


def parse_seed(said: str) -> Seed:
    """``host:port`` or ``key@host:port``; an IPv6 host stands in brackets. ValueError says what is wrong."""
    before, at, rest = said.rpartition("@")
    match = re.fullmatch(rf"(?:\[([0-9A-Fa-f:.]+)\]|({_HOST.replace(':', '')})):(\d{{1,5}})", rest)
    if match is None or not 0 < int(match[3]) < 65_536:
        raise ValueError("must be host:port or key@host:port")
    return Seed(match[1] or match[2], int(match[3]), parse_key(before) if at else None)


def parse_key(said: str) -> bytes:
    """A public key as an address (pot1...) or as 64 hexadecimal digits."""
    if re.fullmatch(r"[0-9a-fA-F]{64}", said):
        return bytes.fromhex(said)
    return _parse_address(said)


def _parse_address(said: str) -> bytes:
    try:
        return decode_address(said)
    except Malformed as error:
        raise ValueError(f"is not an address: {error}") from error


def _parse_release_key(said: str) -> bytes | None:
    return parse_key(said) if said else None


def _parse_payout(said: str) -> bytes | None:
    return _parse_address(said) if said else None


_SEED = parsed(text(400, what="host:port or key@host:port"), parse_seed)
_PAYOUT = parsed(text(90, what="an address (pot1...)"), _parse_payout)
_PATH = text(4_000, what="a path")
_RIG = text(4_000, what="the path of an api.sock, or https://HOST/PATH token=FILE")
_KEY = text(60, pattern=r"[a-z]{1,20}=[a-z0-9_+]{1,30}", what="an action and its key, such as pause=f5")
_HOST_TEXT = text(255, pattern=_HOST, what="a host name or an IP address")


def _parse_store_url(said: str) -> str:
    """A password in a config file is shown by every face that shows settings."""
    if not said:
        return said
    try:
        parts = urlsplit(said)
        password = parts.password
    except ValueError as error:
        raise ValueError(f"is no URL: {error}") from error
    if not parts.scheme or "://" not in said:
        raise ValueError("must look like postgresql+psycopg://HOST/NAME")
    if password or "password=" in parts.query.lower():
        raise ValueError("must not hold a password: use ~/.pgpass or PGPASSFILE")
    return said


# ---- the form ----------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class RigSettings:
    name: str = setting(
        text(64, pattern=r"[0-9A-Za-z][0-9A-Za-z ._-]*", what="a name of at most 64 letters, digits, . _ -"),
        "what this rig is called on dashboards",
        default="rig",
    )
    platform: str = setting(
        choice("auto", "none", "hiveos", "mmpos", "raveos"),
        "mining system whose watchdog restarts a rig that stops hashing; auto looks for its files",
        default="auto",
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class NodeSettings:
    role: str = setting(
        choice("trainer", "validator", "observer"), "what this node does for the network", default="trainer"
    )
    host: str = setting(_HOST_TEXT, "address that peers reach us at", default="0.0.0.0")
    port: int = setting(integer(0, 65_535), "TCP port for peers; 0 only dials out", default=9_333)
    bootstrap: tuple[Seed, ...] = setting(
        many(_SEED, most=BOOTSTRAP), "nodes to begin with: host:port or key@host:port", default=()
    )
    silent_s: int = setting(
        integer(0, 3_600),
        "seconds of the chain that a validator says nothing after its disk was lost, so that it never contradicts what "
        "it signed before; 0 only where the network stands still and this key signs nowhere else",
        default=60,
    )
    keep_blocks: int = setting(
        integer(-1, 1_000_000_000),
        "blocks below the head that are kept, beside those since the last but one checkpoint; 0 keeps all, so that "
        "others can judge and prove the whole past here; -1 keeps 2,000 on a trainer, and there forgets their "
        "receipts with them, and all anywhere else",
        default=-1,
    )
    agent: str = setting(
        text(64, pattern=r"[ -~]*", what="at most 64 ASCII characters"),
        "what we call ourselves to peers",
        default=f"potminer/{__version__}",
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class PayoutSettings:
    address: bytes | None = setting(
        _PAYOUT, "where earnings go (pot1...); empty keeps them on the node key", default=None
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class StoreSettings:
    url: str = setting(
        parsed(text(400, what="the URL of a database"), _parse_store_url),
        "database of chain and earnings, as postgresql+psycopg://HOST/NAME; empty for SQLite in the data folder",
        default="",
    )
    blobs_gib: int = setting(
        integer(0, 65_536),
        "GiB of models, updates and data sets that are kept, the least recently used let go first; 0 keeps 8 on a "
        "trainer and 64 anywhere else",
        default=0,
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class ApiSettings:
    port: int = setting(integer(0, 65_535), "loopback TCP port of the local API; 0 for none", default=0)
    token_file: str = setting(
        _PATH, "file with a bearer token beside the cookie, for a reverse proxy with TLS; empty for none", default=""
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class LogSettings:
    level: str = setting(choice("debug", "info", "warning", "error"), "least important line to write", default="info")
    format: str = setting(choice("text", "json"), "how a line is written", default="text")
    max_mb: int = setting(integer(1, 1_024), "MiB of one log file", default=10)
    keep: int = setting(integer(1, 100), "older log files that are kept", default=5)


@dataclass(frozen=True, slots=True, kw_only=True)
class DashboardSettings:
    rigs: tuple[str, ...] = setting(
        many(_RIG, most=RIGS), "API sockets of your other rigs, on screen Rigs; reach them with ssh -L", default=()
    )
    keymap: tuple[str, ...] = setting(
        many(_KEY, most=32), "keys of your own, as pause=f5 or leave=ctrl+q; a wrong action brings the list", default=()
    )
    theme: str = setting(choice("dark", "light", "contrast"), "colours of the dashboard", default="dark")


@dataclass(frozen=True, slots=True, kw_only=True)
class UpdateSettings:
    """Looked at by `potminer update` alone, when somebody says it: the daemon asks nobody."""

    manifest: str = setting(
        SOURCE, "SHA256SUMS of the newest release, as a path or https://...; empty: none, and there is no default",
        default="",
    )
    key: bytes | None = setting(
        parsed(text(90, what="a public key (pot1... or 64 hexadecimal digits)"), _parse_release_key),
        "public key that signs releases; empty: none, and there is no default", default=None,
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Config:
    """Everything an operator may say."""

    rig: RigSettings = field(default_factory=RigSettings)
    node: NodeSettings = field(default_factory=NodeSettings)
    payout: PayoutSettings = field(default_factory=PayoutSettings)
    idle: IdleSettings = field(default_factory=IdleSettings)
    devices: tuple[DeviceSettings, ...] = ()
    miners: tuple[MinerSettings, ...] = ()
    worker: WorkerSettings = field(default_factory=WorkerSettings)
    power: PowerSettings = field(default_factory=PowerSettings)
    prices: PriceSettings = field(default_factory=PriceSettings)
    store: StoreSettings = field(default_factory=StoreSettings)
    api: ApiSettings = field(default_factory=ApiSettings)
    logs: LogSettings = field(default_factory=LogSettings)
    dashboard: DashboardSettings = field(default_factory=DashboardSettings)
    update: UpdateSettings = field(default_factory=UpdateSettings)


SECTIONS: dict[str, type[Any]] = {
    "rig": RigSettings,
    "node": NodeSettings,
    "payout": PayoutSettings,
    "idle": IdleSettings,
    "worker": WorkerSettings,
    "power": PowerSettings,
    "prices": PriceSettings,
    "store": StoreSettings,
    "api": ApiSettings,
    "logs": LogSettings,
    "dashboard": DashboardSettings,
    "update": UpdateSettings,
}
LISTS: dict[str, tuple[type[Any], int]] = {"devices": (DeviceSettings, DEVICES), "miners": (MinerSettings, MINERS)}
"""Sections that stand in the file once for every entry, and how many there may be."""
HINT = "potminer config schema lists every key; potminer config check reads the file again."


# ---- reading -----------------------------------------------------------------------------


def load_config(path: Path | None, environ: Mapping[str, str], flags: Mapping[str, object] | None = None) -> Config:
    """The config of this node; ConfigError with every mistake at once.

    *path* None means no file. *flags* hold dotted keys (``node.port``), None where unsaid.
    """
    source = read_source(path) if path is not None else Source("the environment", {}, {})
    return config_from(source, environ, flags or {})


def config_from(source: Source, environ: Mapping[str, str], flags: Mapping[str, object]) -> Config:
    said, faults = _from_environment(environ)
    said |= _from_flags(flags)
    filling = Filling(source, said)
    filling.faults += faults
    filling.sections([*SECTIONS, *LISTS])
    values: dict[str, Any] = {name: filling.fill(form, (name,)) for name, form in SECTIONS.items()}
    lists = {name: _fill_list(filling, name, *LISTS[name]) for name in LISTS}
    filling.finish(HINT)
    sections: dict[str, Any] = {name: form(**values[name]) for name, form in SECTIONS.items()}
    sections |= {name: tuple(LISTS[name][0](**each) for each in lists[name]) for name in LISTS}
    return Config(**sections)


def _fill_list(filling: Filling, name: str, form: type[Any], most: int) -> list[dict[str, Any]]:
    found = filling.source.table.get(name, [])
    if not isinstance(found, list) or not all(isinstance(each, dict) for each in found):
        filling.blame((name,), f"write [[{name}]] once for every {name.removesuffix('s')}")
        return []
    if len(found) > most:
        filling.blame((name, most), f"more than {most} {name}")
        return []
    filled = [filling.fill(form, (name, index)) for index in range(len(found))]
    if form is MinerSettings:
        for index, miner in enumerate(filled):
            _check_miner(filling, index, miner)
    return filled


def _check_miner(filling: Filling, index: int, miner: dict[str, Any]) -> None:
    """What a miner lacks depends on its kind."""
    table = filling.table(("miners", index))
    owned = miner.get("kind") == "process"
    if owned and not miner.get("command") and "command" not in table:
        filling.blame(("miners", index, "command"), "is missing: the program that potminer starts, and its arguments")
    if (not owned or miner.get("api", "none") != "none") and "url" not in table:
        filling.blame(("miners", index, "url"), "is missing: its API on this computer, as http://127.0.0.1:4067")
    if not owned and "command" in table:
        filling.blame(("miners", index, "command"), "is for miners of kind process")


def _keys() -> dict[str, tuple[Place, Reader]]:
    return {
        f"{section}.{f.name}": ((section, f.name), f.metadata["read"])
        for section, form in SECTIONS.items()
        for f in fields(form)
    }


def _from_environment(environ: Mapping[str, str]) -> tuple[dict[Place, Said], list[Fault]]:
    """Values of our variables. A name that begins like a section but is no key of it is a mistake."""
    known = {PREFIX + key.replace(".", "_").upper(): pair for key, pair in _keys().items()}
    sections = tuple(f"{PREFIX}{section.upper()}_" for section in SECTIONS)
    said: dict[Place, Said] = {}
    faults: list[Fault] = []
    for name in sorted(n for n in environ if n.startswith(sections)):
        if name in known:
            place, read = known[name]
            said[place] = Said(read.spell(environ[name]), name)
        else:
            near = difflib.get_close_matches(name, known, n=1)
            faults.append(Fault(0, name, "no such key" + (f"; did you mean {near[0]}?" if near else "")))
    return said, faults


def _from_flags(flags: Mapping[str, object]) -> dict[Place, Said]:
    known = _keys()
    said: dict[Place, Said] = {}
    for key, value in flags.items():
        if value is None:
            continue
        place, read = known[key]
        said[place] = Said(read.spell(value) if isinstance(value, str) else value, "command line")
    return said


# ---- showing -----------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Entry:
    """One key as ``potminer config schema`` shows it. *default* is None where it must be given."""

    key: str
    kind: str
    about: str
    default: object

    @property
    def variable(self) -> str:
        """The environment variable that sets it; lists can only be written in the file."""
        if self.key.partition(".")[0] in LISTS:
            return "only in the file"
        return PREFIX + self.key.replace(".", "_").upper()


def schema() -> list[Entry]:
    forms: Iterable[tuple[str, type[Any]]] = [*SECTIONS.items(), *((name, form) for name, (form, _) in LISTS.items())]
    return [
        Entry(
            f"{section}.{f.name}",
            f.metadata["read"].kind,
            f.metadata["about"],
            None if f.default is MISSING else plain(f.default),
        )
        for section, form in forms
        for f in fields(form)
    ]


def get_value(config: Config, key: str) -> object:
    """The value under a dotted *key*, plain enough for JSON; KeyError where there is none."""
    section, _, name = key.partition(".")
    part = getattr(config, section, None) if section in (*SECTIONS, *LISTS) else None
    if part is None or (name and not name.isidentifier()) or (name and name not in _names(part)):
        raise KeyError(key)
    return plain(getattr(part, name)) if name else plain(part)


def _names(part: object) -> list[str]:
    return [] if isinstance(part, tuple) else [f.name for f in fields(part)]  # type: ignore[arg-type]


def plain(value: object) -> object:
    """A setting as a person would write it."""
    match value:
        case bytes():
            return encode_address(value)
        case None:
            return ""
        case Seed():
            host = f"[{value.host}]" if ":" in value.host else value.host
            return f"{encode_address(value.key)}@{host}:{value.port}" if value.key else f"{host}:{value.port}"
        case tuple():
            return [plain(each) for each in value]
        case str() | int():
            return value
    return {f.name: plain(getattr(value, f.name)) for f in fields(value)}  # type: ignore[arg-type]


def flatten(key: str, value: object) -> list[tuple[str, object]]:
    """Dotted keys and plain values under *value*, in the file's order."""
    match value:
        case dict():
            return [pair for name, each in value.items() for pair in flatten(f"{key}.{name}".lstrip("."), each)]
        case list() if any(isinstance(each, dict) for each in value):
            return [pair for at, each in enumerate(value, 1) for pair in flatten(f"{key}[{at}]", each)]
    return [(key, value)]


def reader_of(key: str) -> Reader | None:
    """How the value of a dotted *key* is read; None where there is no such key, or it is one of a list."""
    found = _keys().get(key)
    return None if found is None else found[1]


def near_keys(key: str) -> list[str]:
    """Known keys that look like *key*."""
    return difflib.get_close_matches(key, [entry.key for entry in schema()], n=3)
