"""What strangers cost the bundle endpoint, on real sockets: seconds and few bytes each, and not many at once."""

from __future__ import annotations

import asyncio
import contextlib
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta
from pathlib import Path

import pytest

from ca.authority import Authority
from controlplane.bundle_endpoint import AT_ONCE, LONGEST_HEAD, PATH, BundleEndpoint
from controlplane.metrics_api.tls import Served

ASK = f"GET {PATH} HTTP/1.1\r\nhost: weft\r\n\r\n".encode()
PATIENCE = 10.0
Stream = tuple[asyncio.StreamReader, asyncio.StreamWriter]


class Endpoint:
    """One that serves, and how to connect to it."""

    def __init__(self, folder: Path, patience: float) -> None:
        authority = Authority.open(folder / "ca", "cluster.local")
        leaf = authority.served_elsewhere(("localhost",), timedelta(days=1))
        self.tls = ssl.create_default_context(cadata=authority.bundle_pem().decode())
        self.serving = BundleEndpoint(
            "127.0.0.1", 0, lambda: b"roots", lambda: Served(leaf.chain_pem, leaf.key_pem, ""), patience
        )

    async def open(self, *, tls: bool = True) -> Stream:
        told = {"ssl": self.tls, "server_hostname": "localhost"} if tls else {}
        return await asyncio.open_connection("127.0.0.1", self.serving.port, **told)  # type: ignore[arg-type]

    async def ask(self, said: bytes = ASK) -> bytes:
        """What is answered until the end."""
        reader, writer = await self.open()
        writer.write(said)
        return await ended((reader, writer))


async def ended(stream: Stream) -> bytes:
    try:
        return await asyncio.wait_for(stream[0].read(), PATIENCE)
    except (ConnectionError, ssl.SSLError):
        return b""
    finally:
        stream[1].close()


@asynccontextmanager
async def endpoint(folder: Path, patience: float = 0.3) -> AsyncIterator[Endpoint]:
    found = Endpoint(folder, patience)
    task = asyncio.create_task(found.serving.run())
    await found.serving.ready.wait()
    try:
        yield found
    finally:
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task


@pytest.mark.parametrize("said", [b"", b"GET /bun", b"GET /bundle.json HTTP/1.1\r\nhost: x\r\n"])
async def test_a_question_that_does_not_come_ends_the_connection(tmp_path: Path, said: bytes) -> None:
    async with endpoint(tmp_path) as server:
        assert await server.ask(said) == b""
        assert b"roots" in await server.ask()


async def test_a_handshake_that_does_not_come_ends_the_connection(tmp_path: Path) -> None:
    async with endpoint(tmp_path) as server:
        reader, writer = await server.open(tls=False)
        writer.write(b"\x16\x03")
        assert await ended((reader, writer)) == b""


async def test_a_question_that_is_too_long_is_not_answered(tmp_path: Path) -> None:
    async with endpoint(tmp_path, PATIENCE) as server:
        assert await server.ask(ASK[:-2] + b"x: " + b"y" * 2 * LONGEST_HEAD + b"\r\n\r\n") == b""


async def test_more_than_so_many_at_once_are_turned_away(tmp_path: Path) -> None:
    async with endpoint(tmp_path, PATIENCE) as server:
        held = [await server.open() for _ in range(AT_ONCE)]
        assert await server.ask() == b""
        for _, writer in held:
            writer.close()
        async with asyncio.timeout(PATIENCE):
            while b"roots" not in await server.ask():
                pass
