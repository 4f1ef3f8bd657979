"""What hostile clients cost our HTTP servers, on real sockets: each is bounded, and the others go on."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from ca.authority import Authority
from controlplane.listening.connection import HEAD_BYTES, Bounds
from controlplane.listening.server import Manner, Server, serve_at, server_of
from controlplane.metrics_api.tls import Handshakes, Served

PATIENCE = 10.0
SOON = Bounds(connections=8, handshake=0.2, head=0.2, body=0.2, unread=0.2)
HUGE = 64 << 20
GET = b"GET / HTTP/1.1\r\nhost: localhost\r\n\r\n"

Send = Callable[[dict[str, Any]], Awaitable[None]]


class App:
    """Answers a word, a lot, or when it is told to; reads no body."""

    def __init__(self) -> None:
        self.go_on = asyncio.Event()
        self.asked: list[str] = []

    async def __call__(self, scope: dict[str, Any], _receive: object, send: Send) -> None:
        self.asked.append(scope["path"])
        if scope["path"] == "/wait":
            await self.go_on.wait()
        await send({"type": "http.response.start", "status": 200, "headers": []})
        chunk = bytes(1 << 20)
        for _ in range(HUGE >> 20 if scope["path"] == "/huge" else 0):
            await send({"type": "http.response.body", "body": chunk, "more_body": True})
        await send({"type": "http.response.body", "body": b"hello"})


class Running:
    """A server under attack."""

    def __init__(self, app: App, port: int, server: Server) -> None:
        self.app, self.port, self.server = app, port, server

    async def open(self, said: bytes = b"", **options: Any) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        reader, writer = await asyncio.open_connection("127.0.0.1", self.port, **options)
        writer.write(said)
        return reader, writer

    async def ask(self, path: bytes = b"/") -> bytes:
        """An honest client: the answer as it came."""
        head = b"GET " + path + b" HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n"
        reader, writer = await self.open(head)
        try:
            return await asyncio.wait_for(reader.read(), PATIENCE)
        finally:
            writer.close()

    async def until_open(self, count: int) -> None:
        """Wait until so many clients are here."""
        async with asyncio.timeout(PATIENCE):
            while len(self.server.servers[0]._clients) != count:  # type: ignore[attr-defined]  # noqa: ASYNC110
                await asyncio.sleep(0.005)


@asynccontextmanager
async def running(bounds: Bounds = SOON, tls: ssl.SSLContext | None = None) -> AsyncIterator[Running]:
    app, at = App(), asyncio.get_running_loop().create_future()
    server = server_of(app, Manner(bounds=bounds, tls=tls, last=1))
    task = asyncio.create_task(serve_at(server, "127.0.0.1", 0, at.set_result))
    found = Running(app, await at, server)
    while not server.started:  # noqa: ASYNC110 - uvicorn tells nobody
        await asyncio.sleep(0.005)
    try:
        yield found
    finally:
        app.go_on.set()
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task


async def ended(reader: asyncio.StreamReader) -> bytes:
    """What still came before the server ended the connection."""
    try:
        return await asyncio.wait_for(reader.read(), PATIENCE)
    except ConnectionError:
        return b""


POST = b"POST / HTTP/1.1\r\nhost: localhost\r\ncontent-length: 1000000\r\n\r\n"


@pytest.mark.parametrize("said", [b"", b"G", b"GET / HTTP/1.1\r\nhost: local"])
async def test_a_head_that_does_not_come_ends_the_connection(said: bytes) -> None:
    async with running() as server:
        reader, writer = await server.open(said)
        assert await ended(reader) == b""
        assert server.app.asked == []
        await server.until_open(0)
        writer.close()


async def test_a_head_that_drips_is_not_waited_for() -> None:
    async with running() as server:
        reader, writer = await server.open()
        dripping = asyncio.create_task(drip(writer, b"GET / HTTP/1.1\r\nhost: localhost\r\nx: " + b"y" * 10_000))
        assert await ended(reader) == b""
        dripping.cancel()
        writer.close()


async def drip(writer: asyncio.StreamWriter, content: bytes) -> None:
    for each in content:
        writer.write(bytes([each]))
        await asyncio.sleep(0.01)


async def test_the_second_request_of_a_connection_is_bounded_as_the_first() -> None:
    async with running() as server:
        reader, writer = await server.open(GET)
        assert b"hello" in await asyncio.wait_for(reader.readuntil(b"hello"), PATIENCE)
        writer.write(b"GET / HT")
        await ended(reader)
        await server.until_open(0)
        writer.close()


async def test_a_body_that_does_not_come_ends_the_connection() -> None:
    async with running() as server:
        reader, writer = await server.open(POST.replace(b"/ ", b"/wait ", 1) + b"x" * 100)
        assert await ended(reader) == b""
        assert server.app.asked == ["/wait"]
        writer.close()


async def test_a_body_that_nobody_reads_is_not_kept() -> None:
    """Of a body without an end no more is taken than a buffer holds, and that not for long."""
    async with running() as server:
        endless = b"POST /wait HTTP/1.1\r\nhost: localhost\r\ntransfer-encoding: chunked\r\n\r\n"
        reader, writer = await server.open(endless)
        pouring = asyncio.create_task(pour(writer))
        await ended(reader)
        assert await pouring < 32 << 20
        writer.close()


async def pour(writer: asyncio.StreamWriter) -> int:
    """Send without an end; how much was taken."""
    sent = 0
    with contextlib.suppress(ConnectionError):
        while sent < 64 << 20:
            writer.write(b"10000\r\n" + bytes(0x10000) + b"\r\n")
            await writer.drain()
            sent += 0x10000
    return sent


async def test_a_head_that_is_too_long_is_refused() -> None:
    async with running(Bounds()) as server:
        reader, writer = await server.open(b"GET / HTTP/1.1\r\nhost: localhost\r\nx: " + b"y" * (HEAD_BYTES + 70_000))
        assert b" 400 " in await ended(reader)
        assert server.app.asked == []
        writer.close()


async def test_who_does_not_read_is_cut_off_and_an_answer_is_never_held_whole() -> None:
    async with running() as server:
        plain = socket.socket()
        plain.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        plain.setblocking(False)
        await asyncio.get_running_loop().sock_connect(plain, ("127.0.0.1", server.port))
        await asyncio.get_running_loop().sock_sendall(plain, GET.replace(b"/ ", b"/huge ", 1))
        await server.until_open(1)
        await server.until_open(0)
        plain.close()


async def test_who_reads_slowly_and_goes_on_reading_gets_all_of_it() -> None:
    async with running(Bounds(unread=PATIENCE)) as server:
        reader, writer = await server.open(
            GET.replace(b"/ ", b"/huge ", 1).replace(b"\r\n\r\n", b"\r\nconnection: close\r\n\r\n")
        )
        length = 0
        while chunk := await reader.read(1 << 20):
            length += len(chunk)
        assert length > HUGE
        writer.close()


async def test_a_flood_of_idle_connections_keeps_nobody_out() -> None:
    async with running(Bounds(connections=8, head=PATIENCE)) as server:
        idle = [await server.open() for _ in range(30)]
        assert b"hello" in await server.ask()
        await server.until_open(7)
        assert b"hello" in await server.ask()
        for _, writer in idle:
            writer.close()


async def test_who_is_being_answered_is_not_put_out_for_others() -> None:
    async with running(Bounds(connections=4, head=PATIENCE)) as server:
        waiting = asyncio.create_task(server.ask(b"/wait"))
        await server.until_open(1)
        idle = [await server.open() for _ in range(30)]
        assert b"hello" in await server.ask()
        server.app.go_on.set()
        assert b"hello" in await waiting
        for _, writer in idle:
            writer.close()


async def test_where_everybody_is_being_answered_newcomers_are_turned_away() -> None:
    async with running(Bounds(connections=4)) as server:
        waiting = [asyncio.create_task(server.ask(b"/wait")) for _ in range(4)]
        async with asyncio.timeout(PATIENCE):
            while len(server.app.asked) < 4:  # noqa: ASYNC110 - the server tells nobody
                await asyncio.sleep(0.005)
        reader, writer = await server.open(GET)
        assert await ended(reader) == b""
        writer.close()
        server.app.go_on.set()
        assert all(b"hello" in each for each in await asyncio.gather(*waiting))


@pytest.fixture
def tls(tmp_path: Path) -> tuple[ssl.SSLContext, ssl.SSLContext]:
    """Of the server, and of a client."""
    authority = Authority.open(tmp_path / "ca", "cluster.local")
    leaf = authority.served_elsewhere(("localhost",), timedelta(days=1))
    client = ssl.create_default_context(cadata=authority.bundle_pem().decode())
    return Handshakes(lambda: Served(leaf.chain_pem, leaf.key_pem, "")).context, client


async def test_a_handshake_that_does_not_come_makes_room(tls: tuple[ssl.SSLContext, ssl.SSLContext]) -> None:
    async with running(tls=tls[0]) as server:
        reader, writer = await server.open(b"\x16\x03\x01")
        await ended(reader)
        await server.until_open(0)
        writer.close()


async def test_a_flood_of_handshakes_keeps_nobody_out(tls: tuple[ssl.SSLContext, ssl.SSLContext]) -> None:
    async with running(Bounds(connections=8), tls[0]) as server:
        idle = [await server.open(b"\x16") for _ in range(30)]
        reader, writer = await server.open(GET, ssl=tls[1], server_hostname="localhost")
        assert b"hello" in await asyncio.wait_for(reader.readuntil(b"hello"), PATIENCE)
        writer.close()
        for _, each in idle:
            each.close()


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1, ssl.TLSVersion.TLSv1_1])
async def test_old_tls_is_refused(tls: tuple[ssl.SSLContext, ssl.SSLContext], version: ssl.TLSVersion) -> None:
    async with running(tls=tls[0]) as server:
        with pytest.warns(DeprecationWarning, match="TLSv1"):
            tls[1].minimum_version = tls[1].maximum_version = version
        tls[1].set_ciphers("ALL:@SECLEVEL=0")
        with pytest.raises((ssl.SSLError, ConnectionError)):
            await server.open(ssl=tls[1], server_hostname="localhost")
