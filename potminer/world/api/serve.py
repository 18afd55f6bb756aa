"""The door itself: sockets, permissions, the cookie; opened and closed as one."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import secrets
import socket
import sys
from collections.abc import Callable
from pathlib import Path

from aiohttp import http_exceptions, web

from potminer.base.errors import AlreadyRunning, PotminerError
from potminer.world.api.address import LOOPBACK, Address, TcpAddress, UnixAddress
from potminer.world.api.backend import Backend
from potminer.world.api.door import Door, connections_allowed
from potminer.world.api.guard import Guard
from potminer.world.api.routes import Routes
from potminer.world.api.token import token_from
from potminer.world.paths import Paths, private_folder

_SHUTDOWN_S = 2.0
_BACKLOG = 64
_LINGER_S = 2.0
"""How long the rest of a body is read that was refused, so that whoever sends it sees the refusal."""
_THEIRS = (web.RequestPayloadError, http_exceptions.HttpProcessingError, ConnectionError)


class ApiServer:
    """A running API. Made by ``open``; *address* goes into the lock file."""

    def __init__(
        self, runner: web.AppRunner, routes: Routes, addresses: tuple[Address, ...], doors: list[asyncio.Server]
    ) -> None:
        self._runner = runner
        self._routes = routes
        self._doors = doors
        self.addresses = addresses

    @property
    def address(self) -> Address:
        return self.addresses[0]

    @classmethod
    async def open(
        cls, backend: Backend, paths: Paths, *, clock: Callable[[], int], tcp_port: int | None = None,
        token_file: str = "", door: Door | None = None,
    ) -> ApiServer:
        """Listen on the unix socket of *paths*, and on loopback TCP where *tcp_port* is given (0: any)
        or the system has no unix sockets. *clock* gives Unix milliseconds. *token_file* holds a secret that opens
        TCP beside the cookie and outlives a restart: for a reverse proxy."""
        private_folder(paths.runtime)
        has_unix = sys.platform != "win32"
        if not has_unix and tcp_port is None:
            tcp_port = 0
        tokens = [] if tcp_port is None else [_write_cookie(paths.cookie)]
        if token_file:
            tokens.append(token_from(token_file))
        routes = Routes(backend, clock)
        table = routes.table()
        open_pages = frozenset(route.path for route in table if route.open)
        door = Door(in_all=connections_allowed()) if door is None else door
        app = web.Application(middlewares=[Guard(tokens, open_pages, door).handle])
        app.add_routes([route.definition() for route in table])
        # Who waits for a proof may go away; nobody should be waited for then.
        # Nobody here compresses: a small body that unfolds to a large one is refused as the rubbish it is.
        runner = web.AppRunner(
            app, access_log=None, handle_signals=False, handler_cancellation=True, shutdown_timeout=_SHUTDOWN_S,
            auto_decompress=False, lingering_time=_LINGER_S, logger=_own_faults(),
        )  # fmt: skip
        await runner.setup()
        addresses: list[Address] = []
        doors: list[asyncio.Server] = []
        try:
            if has_unix:
                doors.append(await _listen(runner, door, _unix_socket(paths.socket), local=True))
                addresses.append(UnixAddress(paths.socket))
            if tcp_port is not None:
                listening = _tcp_socket(tcp_port)
                # Where there is no unix socket, the operator comes by TCP.
                doors.append(await _listen(runner, door, listening, local=not has_unix))
                addresses.append(TcpAddress(listening.getsockname()[1], paths.cookie))
        except BaseException:
            for each in doors:
                each.close()
            await runner.cleanup()
            raise
        return cls(runner, routes, tuple(addresses), doors)

    async def close(self) -> None:
        for each in self._doors:
            each.close()
        await self._routes.close_streams()
        await self._runner.cleanup()
        for address in self.addresses:
            if isinstance(address, UnixAddress | TcpAddress):
                with contextlib.suppress(FileNotFoundError):
                    (address.path if isinstance(address, UnixAddress) else address.cookie).unlink()


def _own_faults() -> logging.Logger:
    """Where the server says what went wrong: faults of ours. Whoever sends rubbish is answered, and not written down
    with a traceback each time."""
    logger = logging.getLogger("potminer.api")
    if _is_ours not in logger.filters:
        logger.addFilter(_is_ours)
    return logger


def _is_ours(record: logging.LogRecord) -> bool:
    return record.exc_info is None or not isinstance(record.exc_info[1], _THEIRS)


async def _listen(runner: web.AppRunner, door: Door, listening: socket.socket, *, local: bool) -> asyncio.Server:
    server = runner.server
    if server is None:
        raise AssertionError("a runner that was set up has a server")
    factory = door.before(server, local=local)
    return await asyncio.get_running_loop().create_server(factory, sock=listening, backlog=_BACKLOG)


def _unix_socket(path: Path) -> socket.socket:
    """Bound at *path*, 0600 before anybody can connect. A socket nobody answers on is a dead daemon's."""
    if path.is_socket():
        if _answers(path):
            raise AlreadyRunning(f"another daemon listens on {path}", "Give another --datadir or POTMINER_RUNTIME_DIR.")
        path.unlink()
    listening = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        with contextlib.suppress(OSError):  # Linux makes the file as the socket is; others do not know this
            os.fchmod(listening.fileno(), 0o600)
        listening.bind(os.fspath(path))
        path.chmod(0o600)
    except OSError as error:
        listening.close()
        hint = "Set POTMINER_RUNTIME_DIR to a folder on a local disk."
        raise PotminerError(f"cannot listen on {path}: {error.strerror or error}", hint) from error
    listening.setblocking(False)
    return listening


def _answers(path: Path) -> bool:
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        probe.settimeout(1.0)
        try:
            probe.connect(os.fspath(path))
        except OSError:
            return False
        return True


def _tcp_socket(port: int) -> socket.socket:
    listening = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    try:
        if sys.platform != "win32":
            listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listening.bind((LOOPBACK, port))
    except OSError as error:
        listening.close()
        what = f"cannot listen on {LOOPBACK}:{port}: {error.strerror or error}"
        raise PotminerError(what, "Choose another port; 0 takes any that is free.") from error
    listening.setblocking(False)
    return listening


def _write_cookie(path: Path) -> str:
    """A new secret at every start, in a file that only we can read."""
    token = secrets.token_hex(32)
    with contextlib.suppress(FileNotFoundError):
        path.unlink()
    handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(handle, "w") as file:
        file.write(token)
    return token
