"""The one table of miners: kind, programs, address, control class, command lines, and how each is spoken to.

A new miner is a file with its Talk and a row here; everything else reads the table.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from yarl import URL

from potminer.world.rig.miners import (
    bzminer,
    cgminer,
    ethman,
    excavator,
    gminer,
    lolminer,
    nbminer,
    rigel,
    srbminer,
    trex,
    xmrig,
)
from potminer.world.rig.miners.commandline import CommandLine
from potminer.world.rig.miners.interface import Control, MinerAdapter, MinerConfigError
from potminer.world.rig.miners.local import TIMEOUT_S, LocalHttp, local_url
from potminer.world.rig.miners.talk import Adapter, ReadOnlyHttp, Talk
from potminer.world.rig.miners.tcp import LocalTcp

_TOKEN_CHARACTERS = 4_096


@dataclass(frozen=True, slots=True)
class Kind:
    """One row. *ports* are where its API is met, the program's own default first.

    *talk* gets a checked address, the owner's token (often empty) and a deadline; None for
    xmrig, which has an adapter of its own.
    """

    name: str
    programs: str
    scheme: str
    ports: tuple[int, ...]
    control: Control
    talk: Callable[[URL, str, float], Talk] | None
    command_lines: tuple[CommandLine, ...]


def _http(talk: Callable[[LocalHttp, str], Talk]) -> Callable[[URL, str, float], Talk]:
    """Miners with a password of their own: it goes where they want it, never into a header."""
    return lambda url, token, timeout_s: talk(LocalHttp(url, token="", timeout_s=timeout_s), token)


def _tcp(talk: Callable[[LocalTcp, str], Talk]) -> Callable[[URL, str, float], Talk]:
    return lambda url, token, timeout_s: talk(LocalTcp(url, timeout_s=timeout_s), token)


_TABLE = (
    Kind(
        "bzminer", "BzMiner", "http", (4014,), Control.HTTP_PAUSE, _http(bzminer.Bzminer),
        (CommandLine("bzminer", ("--http_port",), default=4014),),
    ),
    Kind(
        "cgminer", "cgminer, sgminer, bfgminer, TeamRedMiner", "tcp", (4028, 65078, 4029), Control.GPU_TOGGLE,
        _tcp(lambda tcp, _: cgminer.Cgminer(tcp)),
        (
            CommandLine("teamredminer", ("--api_listen", "--api-listen"), bare=4028),
            CommandLine("cgminer|sgminer|bfgminer", ("--api-port",), default=4028, needs=("--api-listen",)),
        ),
    ),
    Kind(
        "ethman", "PhoenixMiner, Claymore, ethminer, kawpowminer", "tcp", (3333, 3335, 3334, 3336, 3337),
        Control.GPU_TOGGLE, _tcp(ethman.Ethman),
        (
            CommandLine("phoenixminer", ("-cdmport", "-mport"), default=3333),
            CommandLine("ethdcrminer64|ethminer64|nsgpucnminer", ("-mport",), default=3333),
            CommandLine("ethminer|kawpowminer|firominer|progpowminer", ("--api-bind", "--api-port")),
            CommandLine("teamredminer", ("--cm_api_listen", "--cm-api-listen"), bare=3333),
        ),
    ),
    Kind(
        "excavator", "NiceHash Excavator, QuickMiner", "tcp", (3456,), Control.PROCESS,
        _tcp(lambda tcp, _: excavator.Excavator(tcp)),
        (CommandLine("excavator", ("-p",), default=3456),),
    ),
    Kind(
        "gminer", "GMiner", "http", (10050, 42010), Control.PROCESS,
        _http(lambda http, _: ReadOnlyHttp(gminer.KIND, http, gminer.PATH, gminer.parse)),
        (CommandLine("gminer", ("--api",)), CommandLine("miner", ("--api",), needs=("--algo", "--server"))),
    ),
    Kind(
        "lolminer", "lolMiner", "http", (44444,), Control.PROCESS,
        _http(lambda http, _: ReadOnlyHttp(lolminer.KIND, http, lolminer.PATH, lolminer.parse, lolminer.mend)),
        (CommandLine("lolminer", ("--apiport",)),),
    ),
    Kind(
        "nbminer", "NBMiner", "http", (22333,), Control.PROCESS,
        _http(lambda http, _: ReadOnlyHttp(nbminer.KIND, http, nbminer.PATH, nbminer.parse)),
        (CommandLine("nbminer", ("--api",)),),
    ),
    Kind(
        "rigel", "Rigel", "http", (5000,), Control.PROCESS,
        _http(lambda http, _: ReadOnlyHttp(rigel.KIND, http, rigel.PATH, rigel.parse)),
        (CommandLine("rigel", ("--api-bind",)),),
    ),
    Kind(
        "srbminer", "SRBMiner-Multi", "http", (21550,), Control.PROCESS,
        _http(lambda http, _: ReadOnlyHttp(srbminer.KIND, http, srbminer.PATH, srbminer.parse)),
        (CommandLine("srbminer-multi|srbminer", ("--api-port",), default=21550, needs=("--api-enable",)),),
    ),
    Kind(
        "trex", "T-Rex", "http", (4067, 4058), Control.HTTP_PAUSE, _http(trex.Trex),
        (CommandLine("t-rex", ("--api-bind-http",), default=4067),),
    ),
    Kind(
        "xmrig", "xmrig", "http", (60070,), Control.RPC_PAUSE, None,
        (CommandLine("xmrig", ("--http-port", "--api-port")),),
    ),
)  # fmt: skip
KINDS: dict[str, Kind] = {kind.name: kind for kind in _TABLE}


def kind_named(name: str) -> Kind:
    if name not in KINDS:
        raise MinerConfigError(f"no miner is of kind {name[:40]!r}", f"The kinds are {', '.join(KINDS)}.")
    return KINDS[name]


def default_url(kind: Kind) -> str:
    return f"{kind.scheme}://127.0.0.1:{kind.ports[0]}"


def read_token(path: str) -> str:
    """The token or password in a file; empty without a *path*. MinerConfigError where it cannot be read."""
    if not path:
        return ""
    try:
        with open(path, encoding="utf-8") as file:
            return file.read(_TOKEN_CHARACTERS).strip()
    except OSError as error:
        raise MinerConfigError(f"{path} cannot be read: {error.strerror}", "Check token_file.") from error
    except UnicodeDecodeError:
        raise MinerConfigError(f"{path} is no text", "Check token_file.") from None


def open_miner(
    name: str,
    url: str,
    token: str = "",
    *,
    clock: Callable[[], int],
    allow_remote: bool = False,
    timeout_s: float = TIMEOUT_S,
    look_again_s: float = 0.5,
) -> MinerAdapter:
    """The adapter of a miner of kind *name* at *url*; it is not asked anything yet. MinerConfigError if refused."""
    kind = kind_named(name)
    if kind.talk is None:
        return xmrig.XmrigAdapter(
            url, token, clock=clock, allow_remote=allow_remote, timeout_s=timeout_s, look_again_s=look_again_s
        )
    base = local_url(url, allow_remote=allow_remote, scheme=kind.scheme)
    return Adapter(
        kind.talk(base, token, timeout_s),
        name=f"{name}@{base.authority}",
        clock=clock,
        timeout_s=timeout_s,
        look_again_s=look_again_s,
    )
