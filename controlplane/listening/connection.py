"""One HTTP/1.1 connection that can't cost more than its bounds: a head in time, a body in time, a reader that reads.

Rule: whoever dawdles is cut off without an answer; whoever is being answered is not hurried, as long as it reads.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

import h11
from uvicorn.protocols.http.h11_impl import H11Protocol

HEAD_BYTES: Final = 32 * 1024
"""A request's line and headers; a token has about 1,200 bytes, and a user may be in many groups."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Bounds:
    """What clients may cost. Seconds, but for `connections`, which is how many are open together."""

    connections: int = 256
    handshake: float = 10.0
    head: float = 10.0
    """From a connection's beginning, or a request's first byte, to the end of its headers."""
    body: float = 30.0
    """From there to the end of its body."""
    unread: float = 30.0
    """How long a client may leave an answer lying that our buffers don't hold."""


class Connection(H11Protocol):
    """`bounds` and `gone` are set by the server that accepts it."""

    bounds = Bounds()

    def __init__(self, *args: Any, **others: Any) -> None:
        super().__init__(*args, **others)
        self.gone: Callable[[], None] = lambda: None
        self._awaited: type | None = None
        self._arriving: asyncio.TimerHandle | None = None
        self._reading: asyncio.TimerHandle | None = None

    @property
    def answering(self) -> bool:
        """Whether a request is being answered."""
        return self.cycle is not None and not self.cycle.response_complete

    def cut(self) -> None:
        """End it now, whatever the other side does."""
        if self.transport is not None:
            self.transport.abort()

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Called when the handshake is over, where there is one."""
        super().connection_made(transport)
        self._await(h11.IDLE)

    def data_received(self, data: bytes) -> None:
        """Called with whatever came."""
        super().data_received(data)
        self._look()

    def on_response_complete(self) -> None:
        """Called when an answer is written; the next request may have come meanwhile."""
        super().on_response_complete()
        if not self.transport.is_closing() and self.answering:
            self._look()

    def pause_writing(self) -> None:
        """Called when the client does not read what it is sent."""
        super().pause_writing()
        if self._reading is None:
            self._reading = self.loop.call_later(self.bounds.unread, self.cut)

    def resume_writing(self) -> None:
        """Called when it does."""
        super().resume_writing()
        if self._reading is not None:
            self._reading.cancel()
            self._reading = None

    def connection_lost(self, exc: Exception | None) -> None:
        """Called once, at the end."""
        self._await(None)
        super().connection_lost(exc)
        self.resume_writing()
        self.gone()

    def _look(self) -> None:
        state = self.conn.their_state
        self._await(state if state in {h11.IDLE, h11.SEND_BODY} else None)

    def _await(self, part: type | None) -> None:
        """Wait for the head (IDLE), the body (SEND_BODY) or nothing; a wait that is under way goes on."""
        if part is self._awaited:
            return
        self._awaited = part
        if self._arriving is not None:
            self._arriving.cancel()
            self._arriving = None
        if part is not None:
            seconds = self.bounds.head if part is h11.IDLE else self.bounds.body
            self._arriving = self.loop.call_later(seconds, self.cut)
