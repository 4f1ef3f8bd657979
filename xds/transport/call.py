"""The seam between the xDS server and whatever carries its bytes: `send(bytes)` one way, `on_request(bytes)` the other.

Rule: nothing here knows HTTP/2, gRPC's libraries or xDS. Everything happens on one event loop; no method waits.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import timedelta
from typing import Protocol


@dataclass(frozen=True, slots=True)
class Certificate:
    """The server's own: a PEM chain, leaf first, and its PEM key."""

    chain: bytes
    key: bytes

    def __repr__(self) -> str:
        return f"Certificate({len(self.chain)} bytes of chain)"


@dataclass(frozen=True, slots=True, kw_only=True)
class TransportSettings:
    """Where and how to serve.

    `certificate` is asked at every handshake, so a renewed one needs no restart; without one the server speaks
    plaintext, which only tests should. A port of 0 picks a free one.
    """

    address: str = "127.0.0.1"
    port: int = 0
    certificate: Callable[[], Certificate] | None = None
    max_connection_age: timedelta | None = timedelta(hours=10)
    """Connections end after this ±10 %, so that replicas share the load again (rule R76)."""
    max_connection_grace: timedelta = timedelta(minutes=2)
    """How long streams may go on after that."""
    ping_interval: timedelta = timedelta(seconds=30)
    """A connection that was silent for so long is pinged."""
    ping_timeout: timedelta = timedelta(seconds=10)
    handshake: timedelta = timedelta(seconds=10)
    """How long a new connection may take until it has said what it wants."""
    receive_limit: int = 32 * 1024 * 1024
    """Bytes of one request. A node alone has 61 KB, a thousand names 58 KB (rule R78)."""


class Receiver(Protocol):
    """The xDS side of one stream."""

    def on_request(self, data: bytes) -> None:
        """The client has sent this message, whole."""

    def on_writable(self) -> None:
        """What was given to `send` has left; called after `writable` was False."""

    def on_finished(self) -> None:
        """The client has nothing more to say, and wants to be told the status."""

    def on_gone(self) -> None:
        """The client has left, or the connection is lost. Nothing is called after this."""


class Call(Protocol):
    """One gRPC stream, as the xDS server sees it."""

    @property
    def metadata(self) -> Mapping[str, str]:
        """The client's metadata, names in lower case."""

    @property
    def peer(self) -> str:
        """Where the client is, as `address:port`."""

    @property
    def writable(self) -> bool:
        """Whether everything given to `send` has left for the socket: a slow client holds its stream back by this."""

    def trust(self) -> None:
        """The client has proved who it is: it may now send as much as a request may have."""

    def hold(self) -> None:
        """Let the client send no more than it may already, until `go_on`."""

    def go_on(self) -> None:
        """Let the client send again."""

    def send(self, message: bytes) -> None:
        """Send a message after those before it. The bytes are kept, not copied."""

    def flush(self) -> None:
        """Write at once what was sent so far; otherwise that happens at the end of the event loop's turn."""

    def end(self, code: str, text: str) -> None:
        """End the stream with a gRPC status name and a sentence. What has not begun to leave is dropped."""


Opener = Callable[[str, Call], Receiver | None]
"""Told a path (`/package.Service/Method`) and the stream; None: there is no such method."""


class Transport(Protocol):
    """What accepts streams."""

    @property
    def port(self) -> int:
        """The bound port; 0 before `start`."""

    async def start(self) -> None:
        """Bind and serve. Raises OSError or RuntimeError where the address can't be bound."""

    async def stop(self, grace: float) -> None:
        """Take no more streams, and wait at most `grace` seconds until those that are there have ended."""
