"""One accepted socket: TLS, bytes between kernel and Connection, and when to give up on it.

Rule: nothing blocks and nothing is queued beyond one piece; a client that does not read is not written to, and one that
does not answer is cut off. All methods run on the event loop.
"""

from __future__ import annotations

import asyncio
import random
import socket
import ssl
from collections.abc import Callable
from functools import partial
from typing import Final

import structlog

from xds.transport.call import Opener, TransportSettings
from xds.transport.connection import Connection
from xds.transport.frames import ConnectionFault, Error
from xds.transport.framing import Framings

log = structlog.get_logger(__name__)

READ: Final = 16_384
"""What one TLS record holds at most."""
IDLE: Final = 300.0
"""Seconds after which a connection without streams that says nothing is asked to leave."""
READS_AT_ONCE: Final = 8
"""After so many reads others get their turn."""
WRITE: Final = 131_072
"""Bytes of data of one write; TLS makes records of 16 KB of them."""
WRITES_AT_ONCE: Final = 8

_NOT_NOW: Final = (BlockingIOError, InterruptedError, ssl.SSLWantReadError, ssl.SSLWantWriteError)


class Channel:
    """One connection. `closed` is called once, when it is gone."""

    def __init__(
        self,
        sock: socket.socket,
        peer: str,
        settings: TransportSettings,
        opener: Opener,
        framings: Framings,
        schedule: Callable[[Channel], None],
        closed: Callable[[Channel], None],
    ) -> None:
        self._loop = asyncio.get_running_loop()
        self._sock = sock
        self._fileno = sock.fileno()
        self._settings = settings
        self._closed = closed
        self._connection = Connection(
            opener, peer, settings.receive_limit, partial(schedule, self), self.flush, framings
        )
        self._unsent: memoryview | None = None
        self._writing = False
        self._open = True
        self._shaken = not isinstance(sock, ssl.SSLSocket)
        now = self._loop.time()
        self._born = self._heard = now
        self._pinged: float | None = None
        self._aged: float | None = None
        spread = random.uniform(0.9, 1.1)  # noqa: S311 - spreads load, protects nothing
        age = settings.max_connection_age
        self._age = age.total_seconds() * spread if age is not None else None
        self._loop.add_reader(self._fileno, self._on_readable)

    def leave(self) -> None:
        """Ask the client to go elsewhere; the channel closes when its streams have ended."""
        self._guarded(self._connection.leave)

    def flush(self) -> None:
        """Write what there is to write, as far as the kernel takes it."""
        if self._connection.wants and self._open and self._shaken and not self._writing:
            self._guarded(self._write)

    def check(self, now: float) -> None:
        """Look whether this client is alive, and old; called every few seconds."""
        self._guarded(lambda: self._check(now))

    def close(self) -> None:
        """Close at once; streams are told."""
        if not self._open:
            return
        self._open = False
        self._loop.remove_reader(self._fileno)
        if self._writing:
            self._loop.remove_writer(self._fileno)
        self._sock.close()
        self._connection.lost()
        self._closed(self)

    def _on_readable(self) -> None:
        if self._shaken:
            self._guarded(self._read)
        else:
            self._guarded(self._handshake)

    def _handshake(self) -> None:
        assert isinstance(self._sock, ssl.SSLSocket)  # noqa: S101 - a plain socket needs none
        self._heard = self._loop.time()
        try:
            self._sock.do_handshake()
        except ssl.SSLWantReadError:
            return
        except ssl.SSLWantWriteError:
            self._await_room()
            return
        if self._sock.selected_alpn_protocol() not in {"h2", None}:
            self.close()
            return
        self._shaken = True
        self._read()

    def _read(self) -> None:
        self._heard = self._loop.time()
        for _ in range(READS_AT_ONCE):
            try:
                data = self._sock.recv(READ)
            except ssl.SSLWantWriteError:
                self._await_room()
                break
            except _NOT_NOW:
                break
            if not data:
                self.close()
                return
            self._connection.receive(data)
            if len(data) < READ:
                # A record is at most READ long, so TLS holds nothing back, and what the kernel still has it reports
                # again. To ask now would mostly be answered by an exception, which costs as much as the read did.
                break
        else:
            # TLS may hold bytes that the kernel no longer reports.
            self._loop.call_soon(self._again)
        self._write()

    def _again(self) -> None:
        if self._open:
            self._guarded(self._read)

    def _write(self) -> None:
        for _ in range(WRITES_AT_ONCE):
            if not self._open:
                return
            if self._unsent is None:
                parts = self._connection.collect(WRITE)
                if not parts:
                    break
                self._unsent = memoryview(parts[0] if len(parts) == 1 else b"".join(parts))
            try:
                sent = self._sock.send(self._unsent)
            except _NOT_NOW:
                self._await_room()
                return
            self._unsent = self._unsent[sent:] if sent < len(self._unsent) else None
            if self._unsent is None and not self._connection.wants:
                break
        else:
            # More to write: others first.
            self._await_room()
            return
        if self._connection.finished:
            self.close()

    def _await_room(self) -> None:
        if not self._writing and self._open:
            self._writing = True
            self._loop.add_writer(self._fileno, self._on_room)

    def _on_room(self) -> None:
        self._writing = False
        self._loop.remove_writer(self._fileno)
        self._guarded(self._write if self._shaken else self._handshake)

    def _check(self, now: float) -> None:
        settings = self._settings
        if not self._connection.opened:
            if now - self._born > settings.handshake.total_seconds():
                self.close()
            return
        if self._pinged is not None and self._heard < self._pinged:
            if now - self._pinged > settings.ping_timeout.total_seconds():
                log.info("connection does not answer", peer=self._connection.peer)
                self.close()
            return
        if not self._connection.streams:
            if now - self._heard > IDLE:
                self._connection.leave()
        elif now - self._heard >= settings.ping_interval.total_seconds():
            self._pinged = now
            self._connection.ping()
        self._check_age(now)

    def _check_age(self, now: float) -> None:
        if self._aged is not None:
            if now - self._aged > self._settings.max_connection_grace.total_seconds():
                self.close()
        elif self._age is not None and now - self._born > self._age:
            self._aged = now
            self._connection.leave(text="this connection is old; another replica may have more time")

    def _guarded(self, step: Callable[[], None]) -> None:
        """Do something of which the peer may be the end; a failure costs this connection alone."""
        if not self._open:
            return
        try:
            step()
        except ConnectionFault as fault:
            log.info("connection broke HTTP/2", peer=self._connection.peer, error=fault.error.name, reason=fault.text)
            self._farewell(fault.error, fault.text)
        except OSError:
            self.close()
        except Exception:
            log.exception("connection failed", peer=self._connection.peer)
            self._farewell(Error.INTERNAL_ERROR, "")

    def _farewell(self, error: Error, text: str) -> None:
        """Say why, if the kernel takes it at once, and close."""
        try:
            self._connection.leave(error, text)
            self._write()
        except (ConnectionFault, OSError):
            pass
        self.close()
