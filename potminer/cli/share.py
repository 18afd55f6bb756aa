"""The report that an owner may send to whoever helps: what the doctor found and what the node was doing, redacted.

It is written to a file that its owner reads first. Nothing here sends anything.
"""

from __future__ import annotations

import os
import platform
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

from potminer import __version__
from potminer.base.errors import ConfigError, NotPermitted, PotminerError
from potminer.cli.config import read_config
from potminer.cli.node import ask
from potminer.cli.place import Place
from potminer.cli.redact import Redaction

if TYPE_CHECKING:
    from potminer.node.config import Config
    from potminer.wire.control import Snapshot
    from potminer.world.api.attach import Client
    from potminer.world.rig.finding import Finding

REPORT_BYTES = 200_000
_LOG_BYTES = 60_000
_BUGS, _BUG_BYTES = 3, 20_000
_LINE = 2_000
_SHOWN_KINDS = ("one of ", "a whole number", "counts or ", "text or ", "auto, cpu, ")


def redaction(place: Place) -> Redaction:
    """What of *place* and of this computer nobody else needs to know."""
    from potminer.world.words import listed

    paths, home = place.paths(), os.path.expanduser("~")
    try:
        config = read_config(place)
        rig = config.rig.name
        seeds = [seed.host for seed in config.node.bootstrap if "." in seed.host and seed.host != "127.0.0.1"]
    except ConfigError:
        rig, seeds = "", []
    users = (os.environ.get(name, "") for name in ("USER", "USERNAME", "LOGNAME", "SUDO_USER"))
    names = {"host": platform.node(), "rig": rig}
    names |= {f"user{at or ''}": name for at, name in enumerate(dict.fromkeys((*users, Path(home).name)))}
    names |= {f"node{at or ''}": host for at, host in enumerate(dict.fromkeys(seeds))}
    return Redaction(
        folders={"datadir": str(paths.datadir), "config": str(paths.config), "runtime": str(paths.runtime),
                 "home": home},
        names=names, listed=listed(),
    )  # fmt: skip


def write_report(place: Place, findings: Sequence[Finding], target: Path | None) -> Path:
    """The report in a new file that only its owner may read: *target*, or one of today's name in this folder."""
    from potminer.view.text import clean

    now = datetime.now(UTC)
    path = target or Path.cwd() / f"potminer-report-{now:%Y%m%d-%H%M%S}.txt"
    # Cleaned first: a letter without width inside a key would hide the key from us and from no reader.
    lines = (clean(line, _LINE) for each in _lines(place, findings, now) for line in each.splitlines() or [""])
    text = redaction(place).of("\n".join(lines) + "\n").encode()
    if len(text) > REPORT_BYTES:
        text = text[:REPORT_BYTES].decode(errors="ignore").encode() + b"\n(cut here)\n"
    try:
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except OSError as error:
        raise NotPermitted(f"{path} cannot be written: {error.strerror}", "Name a new file with --to.") from error
    with os.fdopen(descriptor, "wb") as file:
        file.write(text)
    return path


def _lines(place: Place, findings: Sequence[Finding], now: datetime) -> Iterator[str]:
    yield f"potminer {__version__}, Python {platform.python_version()}, {platform.system()} {platform.release()}"
    yield f"made at {now:%Y-%m-%d %H:%M} UTC. Read it before you send it to anybody."
    yield from _titled("checks", (f"{f.level.value:<5} {f.name:<8} {f.text}  {f.hint}".rstrip() for f in findings))
    try:
        yield from _titled("settings that are not the default", _settings(read_config(place)))
    except ConfigError as error:
        yield from _titled("settings", [error.what])
    yield from _titled("the daemon", _daemon(place))
    yield from _titled("the end of the log", _tail(place.paths().logs / "potminer.log", _LOG_BYTES))
    for path in _bugs(place.paths().logs):
        yield from _titled(path.name, _tail(path, _BUG_BYTES))


def _titled(title: str, lines: Sequence[str] | Iterator[str]) -> Iterator[str]:
    yield ""
    yield f"== {title}"
    yield from lines


def _settings(config: Config) -> Iterator[str]:
    """Numbers and words of a list as they are; of what people write themselves only that it is there."""
    from potminer.node.config import LISTS, flatten, get_value, schema

    for entry in schema():
        if entry.key.partition(".")[0] in LISTS:
            continue
        value = get_value(config, entry.key)
        if value != entry.default:
            yield f"{entry.key} = {value if entry.kind.startswith(_SHOWN_KINDS) else '(set)'}"
    told = {"miners": ("kind", "api"), "devices": ("bus", "role", "watts")}
    for listed, shown in told.items():
        for key, value in flatten(listed, get_value(config, listed)):
            if key.rpartition(".")[2] in shown:
                yield f"{key} = {value}"


def _daemon(place: Place) -> Iterator[str]:
    async def question(node: Client) -> Snapshot:
        return await node.snapshot()

    try:
        seen = ask(place, question)
    except PotminerError as error:
        yield error.what
        return
    chain, control = seen.chain, seen.control
    yield f"{seen.agent}, {seen.network}, mode {control.mode.value}{', paused' if control.paused else ''}"
    yield (
        f"{chain.role}, {chain.standing.value}: block {chain.height}, target {chain.target_height}, "
        f"epoch {chain.epoch}, view {chain.view}, {chain.peers} peers, {chain.validators} validators, "
        f"{chain.mempool} waiting, commit {chain.commit_p50_ms}/{chain.commit_p99_ms} ms"
    )
    for device in seen.devices:
        yield f"{device.bus} {device.name}: {device.state.value}, {'; '.join(device.reasons)} ({device.torch})"
    for miner in seen.miners:
        yield f"miner {miner.name} {miner.version}: {miner.state}, {miner.control}"
    if seen.training is not None:
        work = seen.training
        mine = dict(work.my_units.rejected)
        yield f"round {work.round} of {work.rounds}, {work.phase}; mine: {work.my_units.accepted} accepted, {mine}"
    for alert in seen.alerts:
        yield f"{alert.level.value}: {alert.text}"


def _tail(path: Path, size: int) -> Iterator[str]:
    """The last *size* bytes: whole lines."""
    try:
        with path.open("rb") as file:
            left = max(0, file.seek(0, 2) - size)
            file.seek(left)
            lines = file.read(size).decode("utf-8", "replace").splitlines()
    except OSError as error:
        yield f"cannot be read: {error.strerror}"
        return
    yield from lines[1:] if left else lines


def _bugs(folder: Path) -> list[Path]:
    """The newest reports of our own faults."""
    try:
        return sorted(folder.glob("bug-*.txt"), reverse=True)[:_BUGS]
    except OSError:
        return []
