"""TCP to a miner on this machine: one JSON value a question, small and short."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import msgspec
from yarl import URL

from potminer.world.rig.miners.interface import Failure, MinerError
from potminer.world.rig.miners.local import REPLY_BYTES, TIMEOUT_S, deadline, decode_json

_PIECE_BYTES = 65_536
_PIECES = 2_000
"""Every piece is looked at: a reply in single bytes would cost more than its size."""
_ENDS = (b"}", b"]")
_FILLING = b" \t\r\n\0"
"""cgminer ends its replies with a zero byte, the others with a line feed or nothing."""


class LocalTcp:
    """Questions to one miner, each call on a connection of its own."""

    def __init__(self, base: URL, *, timeout_s: float = TIMEOUT_S) -> None:
        self._host, self._port = base.host, base.port
        self._timeout_s = timeout_s

    async def ask(self, *questions: object) -> list[Any]:
        """The decoded answers, in order, on one connection."""
        async with self._connected() as (reader, writer):
            answers = []
            for question in questions:
                writer.write(msgspec.json.encode(question) + b"\n")
                answers.append(await _answer(reader))
            return answers

    async def tell(self, command: object) -> None:
        """Sends what is not answered."""
        async with self._connected() as (_, writer):
            writer.write(msgspec.json.encode(command) + b"\n")
            await writer.drain()

    @asynccontextmanager
    async def _connected(self) -> AsyncIterator[tuple[asyncio.StreamReader, asyncio.StreamWriter]]:
        async with deadline(self._timeout_s):
            try:
                reader, writer = await asyncio.open_connection(self._host, self._port)
            except OSError:
                raise MinerError(Failure.UNREACHABLE, "nothing listens there") from None
            try:
                yield reader, writer
            except OSError:
                raise _closed() from None
            finally:
                writer.close()


async def _answer(reader: asyncio.StreamReader) -> Any:
    """One whole JSON value, however it is ended."""
    data = bytearray()
    for _ in range(_PIECES):
        piece = await reader.read(_PIECE_BYTES)
        data += piece
        if len(data) > REPLY_BYTES:
            raise MinerError(Failure.MALFORMED, f"the answer is longer than {REPLY_BYTES} bytes")
        text = bytes(data).strip(_FILLING)
        if not piece and not text:
            raise _closed()
        if not piece or (text and text[:1] not in (b"{", b"[")):
            return decode_json(text)
        if text.endswith(_ENDS) and (value := _whole(text)) is not None:
            return value
    raise MinerError(Failure.MALFORMED, "the answer comes in crumbs")


def _whole(text: bytes) -> Any:
    try:
        return msgspec.json.decode(text)
    except (msgspec.DecodeError, RecursionError):
        return None  # the rest may still come


def _closed() -> MinerError:
    return MinerError(Failure.REFUSED, "the connection was closed without an answer")
