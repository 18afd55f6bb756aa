"""What a request carries, read in bounds: size, and how long it may dawdle."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

from aiohttp import web

from potminer.world.api.guard import Refused

BODY_S = 30
LEAST_BYTES_S = 16_384
"""Who sends less than this for longer than BODY_S holds a place that others need."""
CHUNK_BYTES = 1_048_576


async def chunks(request: web.Request, max_bytes: int) -> AsyncIterator[bytes]:
    """The body in chunks of at most 1 MiB; Refused above *max_bytes* in all, or where it dawdles."""
    if request.content_length is not None and request.content_length > max_bytes:
        raise Refused(413, f"more than {max_bytes} bytes")
    total, clock = 0, asyncio.get_running_loop().time
    began = clock()
    while True:
        try:
            async with asyncio.timeout(patience(clock() - began, total)):
                chunk = await request.content.read(CHUNK_BYTES)
        except TimeoutError as error:
            raise Refused(408, f"nothing came for {BODY_S} s, or too little for longer") from error
        except (web.RequestPayloadError, ConnectionError) as error:
            raise Refused(400, "the body ended early") from error
        if not chunk:
            return
        total += len(chunk)
        if total > max_bytes:
            raise Refused(413, f"more than {max_bytes} bytes")
        yield chunk


def patience(spent_s: float, total: int) -> float:
    """Seconds for the next bytes of a body of which *total* have come within *spent_s*."""
    return max(0.0, min(BODY_S, BODY_S + total / LEAST_BYTES_S - spent_s))


async def read_body(request: web.Request, max_bytes: int) -> bytes:
    if request.content.is_eof() and (request.content_length or 0) <= max_bytes:
        whole: bytes = request.content.read_nowait()  # a small body came with its head: nothing can dawdle
        if len(whole) <= max_bytes:
            return whole
        raise Refused(413, f"more than {max_bytes} bytes")
    return b"".join([chunk async for chunk in chunks(request, max_bytes)])
