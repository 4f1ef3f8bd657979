"""Bytes between two connections."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from local.relay import Handler, relay


@asynccontextmanager
async def echoing(path: Path) -> AsyncIterator[None]:
    """A server that says everything again, and ends when it is told that this was all."""

    async def echo(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while chunk := await reader.read(1000):
            writer.write(chunk)
            await writer.drain()
        writer.close()

    async with await asyncio.start_unix_server(echo, path):
        yield


@asynccontextmanager
async def relayed(near: Path, far: Path) -> AsyncIterator[None]:
    async def listen(handler: Handler) -> asyncio.Server:
        return await asyncio.start_unix_server(handler, near)

    async with relay(listen, lambda: asyncio.open_unix_connection(far)):
        yield


async def test_bytes_go_both_ways_and_so_does_the_end(tmp_path: Path) -> None:
    near, far = tmp_path / "near", tmp_path / "far"
    async with echoing(far), relayed(near, far):
        reader, writer = await asyncio.open_unix_connection(near)
        sent = bytes(range(256)) * 1000
        writer.write(sent)
        writer.write_eof()
        assert await reader.read(-1) == sent
        writer.close()


async def test_a_connection_that_nobody_answers_is_closed(tmp_path: Path) -> None:
    near = tmp_path / "near"
    async with relayed(near, tmp_path / "absent"):
        reader, writer = await asyncio.open_unix_connection(near)
        assert await reader.read(-1) == b""
        writer.close()


async def test_connections_end_with_the_relay(tmp_path: Path) -> None:
    near, far = tmp_path / "near", tmp_path / "far"
    async with echoing(far):
        async with relayed(near, far):
            reader, writer = await asyncio.open_unix_connection(near)
            writer.write(b"here")
            assert await reader.read(4) == b"here"
        assert await reader.read(-1) == b""
        writer.close()
