"""``potminer service``: the daemon under systemd, for the whole system or for one person."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import click

from potminer.base.errors import NotPermitted, PotminerError, UsageError
from potminer.cli.output import print_json, say
from potminer.cli.place import Place
from potminer.cli.unit import Unit

NAME = "potminer.service"
SYSTEM_FOLDER = Path("/etc/systemd/system")
SYSTEM_DATADIR = Path("/var/lib/potminer")
_GPU_GROUPS = ("video", "render")
_ASK_S = 60

_SYSTEM = click.option("--system/--user", "system", default=None, help="For the whole system (root) or for you.")
_DRY = click.option("--dry-run", is_flag=True, help="Only show what would be written and run.")


@click.group()
def service() -> None:
    """Let systemd keep the daemon running. As root for the whole system, otherwise for you."""


@service.command()
@_SYSTEM
@click.option("--run-as", default="potminer", show_default=True, help="Whom a system service runs as.")
@_DRY
@click.pass_obj
def install(place: Place, *, system: bool | None, run_as: str, dry_run: bool) -> None:
    """Write the unit, enable it and start it. Nothing that is installed already is doubled."""
    desk = _desk(system, dry_run=dry_run)
    said = place.datadir is not None or "POTMINER_DATADIR" in os.environ
    paths = (place if said or not desk.system else replace(place, datadir=SYSTEM_DATADIR)).paths()
    unit = Unit(
        program=_program(), datadir=paths.datadir, config=paths.config, network=paths.network,
        user=run_as if desk.system else None, groups=_groups() if desk.system else (),
    )  # fmt: skip
    if not desk.system and not dry_run and not paths.config.exists():
        say(f"! there is no {paths.config} yet: `potminer init` makes it")
    if desk.system:
        _make_user(desk, run_as, paths.datadir)
    desk.write(desk.folder / NAME, unit.text())
    desk.ask("daemon-reload")
    desk.ask("enable", "--now", NAME)
    if not desk.system:
        say("To run without you being logged in: loginctl enable-linger")
    if not dry_run:
        say(f"installed: {desk.folder / NAME}; `potminer service status`, journalctl and `potminer logs` tell more")


@service.command()
@_SYSTEM
@_DRY
def remove(*, system: bool | None, dry_run: bool) -> None:
    """Stop the service and take the unit away. Keys, chain and settings stay."""
    desk = _desk(system, dry_run=dry_run)
    path = desk.folder / NAME
    if not path.exists():
        raise PotminerError(f"there is no {path}", "Nothing is installed there; try --user or --system.")
    desk.ask("disable", "--now", NAME)
    desk.delete(path)
    desk.ask("daemon-reload")
    if not dry_run:
        say("removed; keys, chain and settings are where they were")


@service.command()
@_SYSTEM
@click.option("--json", "as_json", is_flag=True, help="As JSON.")
def status(*, system: bool | None, as_json: bool) -> None:
    """Whether it is installed, enabled and running, as systemd says."""
    desk = _desk(system, dry_run=False, look=True)
    path = desk.folder / NAME
    words = {name: desk.word(f"is-{name}") for name in ("enabled", "active")}
    if as_json:
        print_json({"unit": str(path), "installed": path.exists(), **words})
        return
    say(f"unit     {path}" + ("" if path.exists() else "  (not installed)"))
    for name, word in words.items():
        say(f"{name:<8} {word}")


# ---- systemd -----------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _Desk:
    """Where units lie, and how systemd is asked. In a dry run everything is only said."""

    system: bool
    folder: Path
    dry_run: bool

    def write(self, path: Path, text: str) -> None:
        if self.dry_run:
            say(f"# {path}")
            for line in text.splitlines():
                say(line)
            return
        from potminer.node.rewrite import replace_file

        replace_file(path, text)

    def delete(self, path: Path) -> None:
        if self.dry_run:
            say(f"rm {path}")
            return
        try:
            path.unlink(missing_ok=True)
        except OSError as error:
            raise NotPermitted(f"{path} cannot be removed: {error.strerror}", "Run it as root.") from error

    def ask(self, *words: str) -> None:
        self.run(["systemctl", *self._scope(), *words])

    def run(self, command: Sequence[str]) -> None:
        if self.dry_run:
            say(" ".join(command))
            return
        done = _call(command)
        if done.returncode:
            what = (done.stderr or done.stdout).strip().splitlines()
            said = what[-1] if what else "failed"
            raise PotminerError(f"{' '.join(command)}: {said}", "systemd's journal says more.")

    def word(self, verb: str) -> str:
        """One word of systemctl, whatever its exit code: "inactive" is an answer."""
        done = _call(["systemctl", *self._scope(), verb, NAME])
        said = (done.stdout or done.stderr).strip().splitlines()
        return said[0][:60] if said else "unknown"

    def _scope(self) -> list[str]:
        return [] if self.system else ["--user"]


def _call(command: Sequence[str]) -> subprocess.CompletedProcess[str]:
    try:
        return subprocess.run(command, capture_output=True, text=True, timeout=_ASK_S, check=False)
    except (OSError, subprocess.TimeoutExpired) as error:
        raise PotminerError(f"{command[0]} cannot be asked: {error}", "Is systemd running here?") from error


def _desk(system: bool | None, *, dry_run: bool, look: bool = False) -> _Desk:
    if not sys.platform.startswith("linux"):
        raise UsageError("services are for systemd, on Linux", "Start `potminer run --headless` by other means.")
    if not dry_run and shutil.which("systemctl") is None:
        raise PotminerError("there is no systemctl here", "--dry-run shows the unit.")
    root = os.geteuid() == 0
    chosen = root if system is None else system
    if chosen and not (root or dry_run or look):
        raise NotPermitted("a service of the whole system is installed by root", "Use sudo, or --user.")
    home = Path(os.environ.get("XDG_CONFIG_HOME") or Path.home() / ".config")
    return _Desk(chosen, SYSTEM_FOLDER if chosen else home / "systemd/user", dry_run)


def _program() -> list[str]:
    """This very installation, by full paths."""
    if getattr(sys, "frozen", False):
        return [sys.executable]
    script = Path(sys.executable).with_name("potminer")
    return [str(script)] if script.exists() else [sys.executable, "-m", "potminer.cli.main"]


def _groups() -> tuple[str, ...]:
    """Groups that may open GPUs, as far as this system has them: an unknown one would fail the unit."""
    import grp

    known = {group.gr_name for group in grp.getgrall()}
    return tuple(name for name in _GPU_GROUPS if name in known)


def _make_user(desk: _Desk, name: str, datadir: Path) -> None:
    """The service's own user, and its folder. A folder of somebody else's is not taken."""
    import pwd

    try:
        owner = pwd.getpwnam(name).pw_uid
    except KeyError:
        owner = None
        nologin = "/usr/sbin/nologin"
        desk.run(["useradd", "--system", "--home-dir", str(datadir), "--shell", nologin, "--user-group", name])
    if not datadir.exists():
        desk.run(["install", "-d", "-m", "0700", "-o", name, "-g", name, str(datadir)])
    elif datadir.stat().st_uid != owner:
        raise NotPermitted(
            f"{datadir} belongs to another user than {name}", f"Use --run-as, or chown -R {name}: {datadir} yourself."
        )
