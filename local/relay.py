"""Carries bytes between a listener and somebody it dials: the way of a node to an API server outside of it.

Rule: bytes only. TLS goes through from end to end, so nothing here can read or change what is said.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, closing, suppress

CHUNK = 64 * 1024
"""Bytes read at once."""

Dial = Callable[[], Awaitable[tuple[asyncio.StreamReader, asyncio.StreamWriter]]]
"""Opens the other half of a connection. Raises OSError."""

Handler = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]
Listen = Callable[[Handler], Awaitable[asyncio.Server]]
"""Begins to listen and gives each connection to the handler. Raises OSError."""


@asynccontextmanager
async def relay(listen: Listen, dial: Dial) -> AsyncIterator[None]:
    """While the block lasts, connections are carried to what `dial` opens, each until both sides have said their last.

    Raises OSError when it can't listen. Where dialing fails the connection is closed.
    """
    carried: set[asyncio.Task[None]] = set()

    async def carry(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with closing(writer), suppress(OSError):
            far_reader, far_writer = await dial()
            with closing(far_writer):
                await asyncio.gather(_one_way(reader, far_writer), _one_way(far_reader, writer))

    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.create_task(carry(reader, writer))
        carried.add(task)
        task.add_done_callback(carried.discard)

    server = await listen(handle)
    try:
        yield
    finally:
        server.close()
        for task in carried:
            task.cancel()
        await asyncio.gather(*carried, return_exceptions=True)


async def _one_way(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """One way; the end is passed on."""
    while chunk := await reader.read(CHUNK):
        writer.write(chunk)
        await writer.drain()
    if writer.can_write_eof():
        writer.write_eof()
