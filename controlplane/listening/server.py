"""Serves an ASGI application on sockets that are given, for as many clients at once as the bounds say.

Rule: what is accepted is counted from its first byte on. When all places are taken, the client that has been here
longest without a request that is being answered makes room: a flood can't keep a probe out that is done at once.
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
import socket
import ssl
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any, Final, cast

import structlog
import uvicorn

from controlplane.listening.connection import HEAD_BYTES, Bounds, Connection

log = structlog.get_logger(__name__)

BACKLOG: Final = 1024
ACCEPTS_AT_ONCE: Final = 16
PAUSE: Final = 0.5
"""Seconds without accepting when the process has no file descriptors left."""


class _Client:
    """From accepting to the end: first a handshake under way, then a connection."""

    def __init__(self) -> None:
        self.beginning: asyncio.Task[None] | None = None
        self.connection: Connection | None = None

    @property
    def answering(self) -> bool:
        return self.connection is not None and self.connection.answering

    def cut(self) -> None:
        if self.connection is not None:
            self.connection.cut()
        if self.beginning is not None:
            self.beginning.cancel()


class _Accepting:
    """What uvicorn takes for an asyncio server: it closes it, and waits for the end."""

    def __init__(
        self,
        sockets: Iterable[socket.socket],
        made: Callable[[], Connection],
        tls: ssl.SSLContext | None,
        bounds: Bounds,
    ) -> None:
        self._loop = asyncio.get_running_loop()
        self._sockets = tuple(sockets)
        self._made = made
        self._tls = tls
        self._bounds = bounds
        self._clients: dict[_Client, None] = {}
        for each in self._sockets:
            each.listen(BACKLOG)
            each.setblocking(False)
            self._loop.add_reader(each.fileno(), self._accept, each)

    def close(self) -> None:
        """Accept no more. Who is in the middle of a handshake is let go."""
        for each in self._sockets:
            if each.fileno() >= 0:
                self._loop.remove_reader(each.fileno())
        for client in self._clients:
            if client.connection is None:
                client.cut()

    async def wait_closed(self) -> None:
        """As asyncio's servers have it."""

    def _accept(self, listening: socket.socket) -> None:
        for _ in range(ACCEPTS_AT_ONCE):
            try:
                accepted, _address = listening.accept()
            except (BlockingIOError, InterruptedError, ConnectionAbortedError):
                return
            except OSError as error:
                self._pause(listening, error)
                return
            if len(self._clients) >= self._bounds.connections and not self._made_room():
                accepted.close()
                continue
            accepted.setblocking(False)
            client = _Client()
            self._clients[client] = None
            client.beginning = self._loop.create_task(self._begin(client, accepted), name="client")

    def _made_room(self) -> bool:
        client = next((each for each in self._clients if not each.answering), None)
        if client is None:
            return False
        del self._clients[client]
        client.cut()
        return True

    async def _begin(self, client: _Client, accepted: socket.socket) -> None:
        seconds = self._bounds.handshake if self._tls is not None else None

        def made() -> Connection:
            connection = self._made()
            connection.bounds = self._bounds
            connection.gone = lambda: self._gone(client)
            return connection

        try:
            _transport, connection = await self._loop.connect_accepted_socket(
                made, accepted, ssl=self._tls, ssl_handshake_timeout=seconds
            )
            client.connection = connection
        except (OSError, EOFError, TimeoutError, asyncio.CancelledError):
            self._gone(client)
            accepted.close()
        finally:
            client.beginning = None

    def _gone(self, client: _Client) -> None:
        self._clients.pop(client, None)

    def _pause(self, listening: socket.socket, error: OSError) -> None:
        """Out of file descriptors: those who are here go on, others wait in the kernel's queue."""
        log.error("no connection can be accepted", reason=error.strerror, open=len(self._clients))
        if error.errno not in {errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM}:
            return
        self._loop.remove_reader(listening.fileno())
        self._loop.call_later(PAUSE, self._resume, listening)

    def _resume(self, listening: socket.socket) -> None:
        if listening.fileno() >= 0:
            self._loop.add_reader(listening.fileno(), self._accept, listening)


class Server(uvicorn.Server):
    """Serves on the sockets given to `serve(sockets=…)`; signals belong to the process, not to it.

    `config.http` must be `Connection` or a class of its kind.
    """

    def __init__(self, config: uvicorn.Config, bounds: Bounds) -> None:
        super().__init__(config)
        self.bounds = bounds

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Begin to accept; called by `serve`."""
        kind, config = cast(type[Connection], self.config.http_protocol_class), self.config

        def made() -> Connection:
            return kind(config=config, server_state=self.server_state, app_state={})

        self.servers = cast("list[asyncio.base_events.Server]", [
            _Accepting(sockets or (), made, config.ssl, self.bounds)
        ])  # fmt: skip
        self.started = True

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Leave signal handlers alone."""
        yield


@dataclass(frozen=True, slots=True, kw_only=True)
class Manner:
    """How a server serves: within which bounds, over which TLS, with which class of connections.

    `kept` are the seconds that an idle connection stays, `last` those that answers may go on when the server ends.
    """

    bounds: Bounds = field(default_factory=Bounds)
    tls: ssl.SSLContext | None = None
    kept: int = 5
    last: int = 2
    connection: type[Connection] = Connection


def server_of(app: Any, manner: Manner) -> Server:
    """A server of an ASGI application, quiet in the log, that believes no header about who is there."""
    tls = manner.tls
    config = uvicorn.Config(
        app, http=manner.connection, ws="none", log_config=None, access_log=False, lifespan="off", server_header=False,
        proxy_headers=False, timeout_keep_alive=manner.kept, timeout_graceful_shutdown=manner.last,
        h11_max_incomplete_event_size=HEAD_BYTES,
        ssl_context_factory=(lambda _config, _default: tls) if tls is not None else None,
    )  # fmt: skip
    return Server(config, manner.bounds)


async def serve_at(server: Server, address: str, port: int, listening: Callable[[int], None]) -> None:
    """Serve there until cancelled; `listening` is told the port. Raises OSError where it is taken."""
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    with socket.create_server((address, port), family=family) as bound:
        listening(bound.getsockname()[1])
        serve = asyncio.create_task(server.serve(sockets=[bound]))
        try:
            await asyncio.shield(serve)
        finally:
            server.should_exit = True
            with contextlib.suppress(asyncio.CancelledError):
                await serve
