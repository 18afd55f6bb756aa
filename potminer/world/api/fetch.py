"""A small file from an address that the owner named: bounded, once, with no redirects and nothing said about us."""

from __future__ import annotations

import aiohttp

from potminer.base.errors import NotProven, Unreachable

TIMEOUT_S = 20.0


async def fetch(where: str, *, max_bytes: int) -> bytes:
    """What *where* answers; Unreachable where it does not, NotProven where it is more than it may be."""
    limit = aiohttp.ClientTimeout(total=TIMEOUT_S)
    headers = {"Accept-Encoding": "identity", "User-Agent": "potminer"}
    try:
        async with (
            aiohttp.ClientSession(timeout=limit, trust_env=False) as session,
            session.get(where, allow_redirects=False, headers=headers) as reply,
        ):
            if reply.status != 200:
                raise Unreachable(f"{where} answers {reply.status}", "Check the address.")
            read = bytearray()
            async for chunk in reply.content.iter_chunked(16_384):
                read += chunk
                if len(read) > max_bytes:
                    raise NotProven(f"{where} answers with more than {max_bytes:,} bytes", "Is it the right address?")
            return bytes(read)
    except (aiohttp.ClientError, TimeoutError, OSError, ValueError) as error:
        raise Unreachable(f"{where} does not answer: {type(error).__name__}", "Check the address.") from error
