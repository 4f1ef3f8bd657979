"""Our own transport: gRPC over HTTP/2 over TLS 1.3, on the one event loop, without a task or a thread for a connection.

Rule: it serves `xds.transport.call.Call`s and knows nothing of what they carry. Why it exists, and what it is measured
against: docs/decisions/0054-own-transport.md.
"""

from __future__ import annotations

import asyncio
import errno
import socket
import ssl
from typing import Final

import structlog

from xds.transport.call import Certificate, Opener, TransportSettings
from xds.transport.channel import Channel
from xds.transport.framing import Framings
from xds.transport.server_keys import load

log = structlog.get_logger(__name__)

BACKLOG: Final = 4096
ACCEPTS_AT_ONCE: Final = 16
"""A handshake costs up to a millisecond; streams that are there come in between."""
PAUSE: Final = 0.5
"""Seconds without accepting when the process has no file descriptors left."""
CHECKS_PER_INTERVAL: Final = 6


class Listener:
    """Accepts connections and hands their streams to `opener`."""

    def __init__(self, settings: TransportSettings, opener: Opener) -> None:
        self._settings = settings
        self._opener = opener
        self._socket: socket.socket | None = None
        self._port = 0
        self._tls: ssl.SSLContext | None = None
        self._certificate: Certificate | None = None
        self._channels: set[Channel] = set()
        self._dirty: dict[Channel, None] = {}
        self._framings = Framings()
        self._sweeper: asyncio.TimerHandle | None = None
        self._empty = asyncio.Event()

    @property
    def port(self) -> int:
        """The bound port; 0 before `start`."""
        return self._port

    @property
    def connections(self) -> int:
        """How many are open."""
        return len(self._channels)

    async def start(self) -> None:
        """Bind and serve. Raises OSError where the address can't be bound, ssl.SSLError for an unusable certificate."""
        self._context()
        family = socket.AF_INET6 if ":" in self._settings.address else socket.AF_INET
        listening = socket.create_server(
            (self._settings.address, self._settings.port), family=family, backlog=BACKLOG, reuse_port=False
        )
        listening.setblocking(False)
        self._socket, self._port = listening, listening.getsockname()[1]
        asyncio.get_running_loop().add_reader(listening.fileno(), self._accept)
        self._sweep()

    async def stop(self, grace: float) -> None:
        """Take no more connections, ask those that are there to leave, and cut them off after `grace` seconds."""
        self._stop_accepting()
        for channel in [*self._channels]:
            channel.leave()
            channel.flush()
        self._empty.clear()
        if self._channels and grace > 0:
            try:
                async with asyncio.timeout(grace):
                    await self._empty.wait()
            except TimeoutError:
                pass
        for channel in [*self._channels]:
            channel.close()
        if self._sweeper is not None:
            self._sweeper.cancel()

    def _stop_accepting(self) -> None:
        if self._socket is not None:
            asyncio.get_running_loop().remove_reader(self._socket.fileno())
            self._socket.close()
            self._socket = None

    def _accept(self) -> None:
        for _ in range(ACCEPTS_AT_ONCE):
            if self._socket is None:
                return
            try:
                sock, address = self._socket.accept()
            except (BlockingIOError, InterruptedError, ConnectionAbortedError):
                return
            except OSError as error:
                self._pause(error)
                return
            self._adopt(sock, _peer(address))

    def _pause(self, error: OSError) -> None:
        """Out of file descriptors: those who are here go on, others wait in the kernel's queue."""
        if error.errno not in {errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM} or self._socket is None:
            log.warning("a connection could not be accepted", reason=error.strerror)
            return
        log.error("no more connections can be accepted", reason=error.strerror, open=len(self._channels))
        loop, listening = asyncio.get_running_loop(), self._socket
        loop.remove_reader(listening.fileno())
        loop.call_later(PAUSE, lambda: self._socket and loop.add_reader(self._socket.fileno(), self._accept))

    def _adopt(self, sock: socket.socket, peer: str) -> None:
        try:
            sock.setblocking(False)
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            context = self._context()
            if context is not None:
                sock = context.wrap_socket(sock, server_side=True, do_handshake_on_connect=False)
            channel = Channel(sock, peer, self._settings, self._opener, self._framings, self._schedule, self._gone)
        except OSError as error:
            log.info("connection lost before it began", peer=peer, reason=str(error))
            sock.close()
            return
        self._channels.add(channel)

    def _context(self) -> ssl.SSLContext | None:
        """TLS with the certificate of this moment."""
        if self._settings.certificate is None:
            return None
        certificate = self._settings.certificate()
        if self._tls is None or certificate != self._certificate:
            self._tls, self._certificate = _tls(certificate), certificate
        return self._tls

    def _schedule(self, channel: Channel) -> None:
        """The channel has something to write: all such write once, at the end of this turn of the loop."""
        if not self._dirty:
            asyncio.get_running_loop().call_soon(self._flush)
        self._dirty[channel] = None

    def _flush(self) -> None:
        dirty, self._dirty = self._dirty, {}
        for channel in dirty:
            channel.flush()

    def _gone(self, channel: Channel) -> None:
        self._channels.discard(channel)
        if not self._channels:
            self._empty.set()

    def _sweep(self) -> None:
        loop = asyncio.get_running_loop()
        now = loop.time()
        # Whoever gets a message long after the others can have it cut for itself.
        self._framings.forget()
        for channel in [*self._channels]:
            channel.check(now)
        shortest = min(self._settings.ping_interval, self._settings.ping_timeout, self._settings.handshake)
        self._sweeper = loop.call_later(shortest.total_seconds() / CHECKS_PER_INTERVAL, self._sweep)


def _tls(certificate: Certificate) -> ssl.SSLContext:
    """TLS 1.3 alone."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_3
    context.set_alpn_protocols(["h2"])
    # The client's choice: Envoy's TLS library prefers AES-128-GCM where the processor has AES, which costs least.
    context.options &= ~ssl.OP_CIPHER_SERVER_PREFERENCE
    # Envoy does not resume; two tickets for each connection would be made for nobody.
    context.num_tickets = 0
    load(context, certificate.chain, certificate.key, "weft-xds-certificate")
    return context


def _peer(address: tuple[str, int] | tuple[str, int, int, int]) -> str:
    host, port = address[0], address[1]
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
