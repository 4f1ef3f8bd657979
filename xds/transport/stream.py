"""One gRPC stream of an HTTP/2 connection: messages in and out, and how much of both (RFC 9113, section 5.2).

Rule: a message to send is never copied whole; it is cut into frames when the socket can take them. A client that reads
slowly holds back its own stream: what it has not made room for stays with whoever decides what to send.
"""

from __future__ import annotations

import struct
from collections import deque
from collections.abc import Mapping
from typing import TYPE_CHECKING, Final

from xds.transport import limits
from xds.transport.call import Receiver
from xds.transport.frames import (
    END_HEADERS,
    END_STREAM,
    MAX_WINDOW,
    MIN_FRAME,
    Error,
    Kind,
    StreamFault,
    frame,
    head,
    rst_stream,
    window_update,
)
from xds.transport.framing import prefix, whole_frames
from xds.transport.headers import RESPONSE, status_block

if TYPE_CHECKING:
    from xds.transport.connection import Connection

_PREFIX: Final = struct.Struct(">BI")
Part = bytes | memoryview


class Stream:
    """The transport's side of a `Call`. Its Connection makes it and feeds it."""

    __slots__ = (
        "_answered",
        "_connection",
        "_ending",
        "_finished",
        "_held",
        "_offset",
        "_partial",
        "_queue",
        "_room",
        "_trusted",
        "metadata",
        "number",
        "receiver",
        "window",
    )

    def __init__(self, connection: Connection, number: int, metadata: Mapping[str, str], window: int) -> None:
        self.metadata = metadata
        """The client's, names in lower case."""
        self.number = number
        self.window = window
        """Bytes the client will take; negative after it has shrunk its windows."""
        self.receiver: Receiver | None = None
        self._connection = connection
        self._room = limits.FIRST_WINDOW
        self._trusted = False
        self._held = False
        self._partial = bytearray()
        self._queue: deque[bytes] = deque()
        self._offset = 0
        """How much of the first message has left, its prefix included."""
        self._answered = False
        self._finished = False
        self._ending: bytes | None = None

    @property
    def peer(self) -> str:
        """`address:port` of the client."""
        return self._connection.peer

    @property
    def writable(self) -> bool:
        """Whether all that was to be sent has left."""
        return not self._queue and self._ending is None

    @property
    def waiting(self) -> bool:
        """Whether there is something to send, room or not."""
        return bool(self._queue) or self._ending is not None

    def trust(self) -> None:
        """Let the client send more than the first window."""
        self._trusted = True
        self._make_room()

    def hold(self) -> None:
        """Make no more room for what the client sends."""
        self._held = True

    def go_on(self) -> None:
        """Make room again."""
        self._held = False
        if self._trusted:
            self._make_room()
            self._connection.flush()

    def send(self, message: bytes) -> None:
        """Queue a message."""
        if self._ending is None:
            self._queue.append(message)
            self._connection.activate(self)

    def flush(self) -> None:
        """Write at once what was sent so far."""
        self._connection.flush()

    def end(self, code: str, text: str) -> None:
        """Send the status after what has begun to leave, and drop the rest."""
        if self._ending is not None:
            return
        begun = self._queue[0] if self._offset else None
        self._queue.clear()
        if begun is not None:
            self._queue.append(begun)
        self._ending = status_block(code, text)
        self.receiver = None
        self._partial.clear()
        self._connection.activate(self)

    def on_data(self, size: int, payload: bytes, *, last: bool) -> None:
        """A DATA frame; `size` is what it takes of the window. Raises StreamFault."""
        if self._finished:
            raise StreamFault(Error.STREAM_CLOSED, "data after the end")
        self._room -= size
        if self._room < 0:
            raise StreamFault(Error.FLOW_CONTROL_ERROR, "more data than the window allows")
        self._finished = last
        if self._ending is None:
            self._feed(payload)
        if last:
            self._half_closed()
        elif self._trusted and not self._held and self._room < limits.TRUSTED_WINDOW // 2:
            self._make_room()

    def on_trailers(self) -> None:
        """The client has said all, in trailers or with its headers. Raises StreamFault."""
        if self._finished:
            raise StreamFault(Error.STREAM_CLOSED, "trailers after the end")
        self._finished = True
        self._half_closed()

    def widen(self, increment: int) -> None:
        """The client takes more. Raises StreamFault where the window grows too large."""
        if self.window + increment > MAX_WINDOW:
            raise StreamFault(Error.FLOW_CONTROL_ERROR, "window too large")
        self.window += increment
        if self.waiting:
            self._connection.activate(self)

    def emit(self, room: int, parts: list[Part]) -> int:
        """Put frames of at most `room` bytes of data into `parts`; how many bytes. The status comes after the last."""
        sent = 0
        while self._queue:
            allowed = min(room - sent, self.window)
            if allowed <= 0:
                return sent
            message = self._queue[0]
            if not self._answered:
                self._answered = True
                parts.append(frame(Kind.HEADERS, END_HEADERS, self.number, RESPONSE))
            size = self._cut(message, allowed, parts)
            sent += size
            self.window -= size
            self._offset += size
            if self._offset == len(message) + limits.MESSAGE_PREFIX:
                self._queue.popleft()
                self._offset = 0
        if self._ending is not None:
            self._close(parts)
        return sent

    def drained(self) -> None:
        """Tell the receiver that there is room again."""
        if self.receiver is not None:
            self.receiver.on_writable()

    def gone(self) -> None:
        """The client or the connection is no more."""
        receiver, self.receiver = self.receiver, None
        if receiver is not None:
            receiver.on_gone()

    def _cut(self, message: bytes, allowed: int, parts: list[Part]) -> int:
        """The next frames of a message; how many bytes of data they are."""
        within = self._offset % MIN_FRAME
        if allowed >= MIN_FRAME and not within:
            framed = self._connection.framings.framed(message, self.number)
            if framed is not None:
                frames, size = whole_frames(framed, self._offset, allowed)
                parts.append(frames)
                return size
        if allowed >= len(message) + limits.MESSAGE_PREFIX <= MIN_FRAME and not self._offset:
            parts.append(self._connection.framings.single(message, self.number))
            return len(message) + limits.MESSAGE_PREFIX
        # Up to where a frame would begin if all were full, so that the rest can be taken from shared frames again.
        size = min(allowed, MIN_FRAME - within, len(message) + limits.MESSAGE_PREFIX - self._offset)
        parts.append(head(size, Kind.DATA, 0, self.number))
        start = self._offset - limits.MESSAGE_PREFIX
        if start >= 0:
            parts.append(memoryview(message)[start : start + size])
            return size
        first = prefix(message)[self._offset : self._offset + size]
        parts.append(first)
        rest = size - len(first)
        parts.append(message if rest == len(message) else memoryview(message)[:rest])
        return size

    def _close(self, parts: list[Part]) -> None:
        block = self._ending if self._answered else RESPONSE + (self._ending or b"")
        parts.append(frame(Kind.HEADERS, END_HEADERS | END_STREAM, self.number, block or b""))
        if not self._finished:
            # The status is said; what the client still sends is not for anybody (RFC 9113, 8.1).
            parts.append(rst_stream(self.number, Error.NO_ERROR))
        self._connection.forget(self)

    def _feed(self, payload: bytes) -> None:
        """Pass on every message that is whole now."""
        partial = self._partial
        if not partial and self.receiver is not None and self._is_message(payload):
            # As it is nearly always: one message in one frame.
            return self.receiver.on_request(payload[limits.MESSAGE_PREFIX :])
        partial += payload
        while len(partial) >= limits.MESSAGE_PREFIX and self.receiver is not None:
            compressed, length = _PREFIX.unpack_from(partial)
            end = limits.MESSAGE_PREFIX + length
            if compressed:
                return self.end("UNIMPLEMENTED", "compressed messages are not supported")
            if length > self._connection.receive_limit:
                return self.end("RESOURCE_EXHAUSTED", f"a request of {length} bytes is too large")
            if len(partial) < end:
                return None
            message = bytes(memoryview(partial)[limits.MESSAGE_PREFIX : end])
            del partial[:end]
            self.receiver.on_request(message)
        return None

    def _is_message(self, payload: bytes) -> bool:
        """Whether this is one whole message that we take, and nothing else."""
        length = len(payload) - limits.MESSAGE_PREFIX
        return 0 <= length <= self._connection.receive_limit and _PREFIX.unpack_from(payload) == (0, length)

    def _half_closed(self) -> None:
        if self.receiver is not None:
            self.receiver.on_finished()

    def _make_room(self) -> None:
        grown = limits.TRUSTED_WINDOW - self._room
        if grown > 0 and not self._finished:
            self._room += grown
            self._connection.control(window_update(self.number, grown))
