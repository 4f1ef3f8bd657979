"""Short conversations with servers in pods, for live tests of translation."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass

from sidecars import Pod

GREETING = b"HELLO\n"


@dataclass(frozen=True)
class Answer:
    status: int
    headers: dict[str, str]
    body: str


async def greet(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """A server that speaks first, and then repeats what it hears."""
    writer.write(GREETING)
    while heard := await reader.read(1000):
        writer.write(heard)


async def mirror(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """An HTTP server that answers with the head of the request, over and over."""
    while head := await reader.readuntil(b"\r\n\r\n"):
        writer.write(b"HTTP/1.1 200 OK\r\nserver: app\r\ncontent-length: %d\r\n\r\n" % len(head) + head)


class Http:
    """One HTTP/1.1 connection that is kept."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader, self._writer = reader, writer

    @classmethod
    async def open(cls, pod: Pod, host: str, port: int) -> Http:
        return cls(*await pod.connect(host, port))

    async def get(self, path: str = "/api", *, host: str = "catalog", user: str = "bob", method: str = "GET") -> Answer:
        self._writer.write(f"{method} {path} HTTP/1.1\r\nhost: {host}\r\nx-user: {user}\r\n\r\n".encode())
        head = (await asyncio.wait_for(self._reader.readuntil(b"\r\n\r\n"), 5)).decode()
        status, *lines = head.strip().split("\r\n")
        headers = dict(line.split(": ", 1) for line in lines)
        body = await self._reader.readexactly(int(headers.get("content-length", 0)))
        return Answer(int(status.split()[1]), headers, body.decode())

    async def closed_by_peer(self) -> bool:
        return await asyncio.wait_for(self._reader.read(1), 5) == b""

    def close(self) -> None:
        self._writer.close()


async def get(pod: Pod, host: str, port: int, path: str = "/api", *, user: str = "bob", method: str = "GET") -> Answer:
    """One request over a connection of its own."""
    connection = await Http.open(pod, host, port)
    try:
        return await connection.get(path, user=user, method=method)
    finally:
        connection.close()


async def heard(pod: Pod, host: str, port: int, say: bytes = b"") -> bytes:
    """The first bytes that come back, nothing if the connection is closed before any do."""
    try:
        reader, writer = await pod.connect(host, port)
    except ConnectionError:
        return b""
    try:
        writer.write(say)
        return await asyncio.wait_for(reader.read(1000), 10)
    except ConnectionError:
        return b""
    finally:
        writer.close()
