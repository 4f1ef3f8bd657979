"""An HTTP/2 connection of a gRPC server, without I/O: bytes in, bytes out, streams between (RFC 9113).

Rule: whatever a peer does has a bound and an answer: the stream's end, or the connection's. Nothing waits here, and
answers to pings come before all data, since clients measure by them how fast they may be sent to.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import Final

from xds.transport import limits
from xds.transport.blocks import HeaderBlocks, unpadded
from xds.transport.call import Opener
from xds.transport.frames import (
    ACK,
    DEFAULT_WINDOW,
    END_HEADERS,
    END_STREAM,
    HEAD,
    HEAD_SIZE,
    MAX_FRAME,
    MAX_WINDOW,
    MIN_FRAME,
    PREFACE,
    WORD,
    ConnectionFault,
    Error,
    Kind,
    Setting,
    StreamFault,
    frame,
    goaway,
    rst_stream,
    settings,
    window_update,
)
from xds.transport.framing import Framings
from xds.transport.headers import Request, refusal_block, request, trailers
from xds.transport.stream import Part, Stream

_CLOSED_KEPT: Final = 128


class Connection:
    """One client. `touched` is called when there is something to send, `flush` when that is to leave at once.

    `framings` are shared by all connections.
    """

    def __init__(
        self,
        opener: Opener,
        peer: str,
        receive_limit: int,
        touched: Callable[[], None],
        flush: Callable[[], None],
        framings: Framings,
    ) -> None:
        self.flush = flush
        self.framings = framings
        self.peer = peer
        self.receive_limit = receive_limit
        self.streams: dict[int, Stream] = {}
        self.opened = 0
        """Streams opened so far."""
        self.pongs = 0
        """Pings of ours that were answered."""
        self._opener = opener
        self._touched = touched
        self._active: dict[int, Stream] = {}
        self._rest = b""
        self._greeted = False
        self._settled = False
        self._leaving = False
        self._blocks = HeaderBlocks()
        self._last = 0
        self._closed: deque[int] = deque(maxlen=_CLOSED_KEPT)
        self._window = DEFAULT_WINDOW
        self._stream_window = DEFAULT_WINDOW
        self._room = limits.CONNECTION_WINDOW
        self._idle_frames = 0
        self._control = bytearray(
            settings([
                (Setting.MAX_CONCURRENT_STREAMS, limits.CONCURRENT_STREAMS),
                (Setting.MAX_HEADER_LIST_SIZE, limits.HEADER_LIST),
            ])
            + window_update(0, limits.CONNECTION_WINDOW - DEFAULT_WINDOW)
        )  # fmt: skip

    # What the socket does.

    def receive(self, data: bytes) -> None:
        """Bytes from the client. Raises ConnectionFault, after which only `leave` and `collect` make sense."""
        if self._rest:
            data = self._rest + data
        position = 0 if self._greeted else self._greet(data)
        size = len(data)
        while self._greeted and size - position >= HEAD_SIZE:
            upper, lower, kind, flags, number = HEAD.unpack_from(data, position)
            length = upper << 16 | lower
            if length > MIN_FRAME:
                raise ConnectionFault(Error.FRAME_SIZE_ERROR, f"a frame of {length} bytes")
            end = position + HEAD_SIZE + length
            if end > size:
                break
            self._frame(kind, flags, number & MAX_WINDOW, data[position + HEAD_SIZE : end])
            position = end
        self._rest = data[position:]

    def collect(self, limit: int) -> list[Part]:
        """What to write next, about `limit` bytes of it at most; empty when there is nothing or no room for it."""
        parts: list[Part] = []
        if self._control:
            parts.append(bytes(self._control))
            self._control.clear()
        for stream in [*self._active.values()]:
            sent = stream.emit(min(limit, self._window), parts)
            limit -= sent
            self._window -= sent
            # Whoever has more goes to the end of the line; who has no room comes back when the client makes some.
            self._active.pop(stream.number, None)
            if stream.waiting and stream.number in self.streams:
                if sent:
                    self._active[stream.number] = stream
            elif sent:
                stream.drained()
            if limit <= 0 or self._window <= 0:
                break
        return parts

    def lost(self) -> None:
        """The connection is no more: every stream is told."""
        for stream in [*self.streams.values()]:
            self.forget(stream)
            stream.gone()

    def leave(self, error: Error = Error.NO_ERROR, text: str = "") -> None:
        """Ask the client to go elsewhere; streams that are there go on (GOAWAY)."""
        if not self._leaving:
            self._leaving = True
            self.control(goaway(self._last, error, text))

    def ping(self) -> None:
        """Ask whether the client is there."""
        self.control(frame(Kind.PING, 0, 0, b"weft\0\0\0\0"))

    @property
    def wants(self) -> bool:
        """Whether `collect` may have something."""
        return bool(self._active or self._control)

    @property
    def finished(self) -> bool:
        """Whether we have said that we leave, and nothing is left to say."""
        return self._leaving and not self.streams and not self._control

    # What streams do.

    def control(self, data: bytes) -> None:
        """Send this before all data. Raises ConnectionFault when the client makes us say too much."""
        self._control += data
        if len(self._control) > limits.CONTROL_BYTES:
            raise ConnectionFault(Error.ENHANCE_YOUR_CALM, "too many frames to answer")
        self._touched()

    def activate(self, stream: Stream) -> None:
        """The stream has something to send, or room to send it."""
        self._active[stream.number] = stream
        self._touched()

    def forget(self, stream: Stream) -> None:
        """The stream is closed."""
        self.streams.pop(stream.number, None)
        self._active.pop(stream.number, None)
        self._closed.append(stream.number)

    # Frames.

    def _greet(self, data: bytes) -> int:
        if not PREFACE.startswith(data[: len(PREFACE)]):
            raise ConnectionFault(Error.PROTOCOL_ERROR, "this is not HTTP/2")
        self._greeted = len(data) >= len(PREFACE)
        return len(PREFACE) if self._greeted else 0

    def _frame(self, kind: int, flags: int, number: int, payload: bytes) -> None:
        if self._blocks.of is not None and (kind != Kind.CONTINUATION or number != self._blocks.of[0]):
            raise ConnectionFault(Error.PROTOCOL_ERROR, "a header block was interrupted")
        if not self._settled and kind != Kind.SETTINGS:
            raise ConnectionFault(Error.PROTOCOL_ERROR, "the first frame must be SETTINGS")
        handler = _HANDLERS.get(kind)
        if handler is None:
            self._idle()
            return
        try:
            handler(self, flags, number, payload)
        except StreamFault as fault:
            self._reset(number, fault.error)

    def _reset(self, number: int, error: Error) -> None:
        stream = self.streams.get(number)
        self.control(rst_stream(number, error))
        if stream is not None:
            self.forget(stream)
            stream.gone()

    def _idle(self) -> None:
        self._idle_frames += 1
        if self._idle_frames > limits.IDLE_FRAMES:
            raise ConnectionFault(Error.ENHANCE_YOUR_CALM, "too many frames that carry nothing")

    def _data(self, flags: int, number: int, payload: bytes) -> None:
        self._take_room(len(payload))
        content = unpadded(flags, payload)
        stream = self.streams.get(number)
        if stream is None:
            self._missing(number)
            raise StreamFault(Error.STREAM_CLOSED, "data for a closed stream")
        if not content and not flags & END_STREAM:
            self._idle()
        stream.on_data(len(payload), content, last=bool(flags & END_STREAM))

    def _take_room(self, size: int) -> None:
        self._room -= size
        if self._room < 0:
            raise ConnectionFault(Error.FLOW_CONTROL_ERROR, "more data than the window allows")
        if self._room < limits.CONNECTION_WINDOW // 2:
            self.control(window_update(0, limits.CONNECTION_WINDOW - self._room))
            self._room = limits.CONNECTION_WINDOW

    def _headers(self, flags: int, number: int, payload: bytes) -> None:
        if number % 2 == 0:
            raise ConnectionFault(Error.PROTOCOL_ERROR, "clients' streams have odd numbers")
        if number <= self._last and number not in self.streams:
            error = Error.STREAM_CLOSED if number in self._closed else Error.PROTOCOL_ERROR
            raise ConnectionFault(error, "headers for a closed stream")
        self._blocks.begin(flags, number, payload)
        if flags & END_HEADERS:
            self._whole_block(number, flags)

    def _continuation(self, flags: int, number: int, payload: bytes) -> None:
        self._blocks.more(payload)
        if flags & END_HEADERS and self._blocks.of is not None:
            self._whole_block(number, self._blocks.of[1])

    def _whole_block(self, number: int, flags: int) -> None:
        fields = self._blocks.decode()
        stream = self.streams.get(number)
        finished = bool(flags & END_STREAM)
        try:
            if stream is None:
                self._open(number, request(fields), finished=finished)
                return
            if not finished:
                raise StreamFault(Error.PROTOCOL_ERROR, "headers in the middle of a stream")
            trailers(fields)
            stream.on_trailers()
        finally:
            self._last = max(self._last, number)

    def _open(self, number: int, asked: Request, *, finished: bool) -> None:
        self._count(number)
        if asked.method != "POST" or not asked.is_grpc:
            self._refuse(number, 405 if asked.method != "POST" else 415, finished=finished)
            return
        stream = Stream(self, number, asked.metadata, self._stream_window)
        self.streams[number] = stream
        stream.receiver = self._opener(asked.path, stream)
        if stream.receiver is None:
            stream.end("UNIMPLEMENTED", f"there is no method {asked.path}")
        if finished:
            stream.on_trailers()

    def _count(self, number: int) -> None:
        """One more stream. Raises StreamFault, or ConnectionFault for who goes on all the same."""
        self.opened += 1
        if self.opened > limits.STREAMS_PER_CONNECTION + limits.CONCURRENT_STREAMS:
            raise ConnectionFault(Error.ENHANCE_YOUR_CALM, "too many streams")
        if self._leaving or len(self.streams) >= limits.CONCURRENT_STREAMS:
            raise StreamFault(Error.REFUSED_STREAM, "no more streams")
        if self.opened >= limits.STREAMS_PER_CONNECTION:
            self._last = number
            self.leave(text="this connection has had enough streams")

    def _refuse(self, number: int, status: int, *, finished: bool) -> None:
        """Answer what is not gRPC in plain HTTP."""
        self._closed.append(number)
        self.control(frame(Kind.HEADERS, END_HEADERS | END_STREAM, number, refusal_block(status)))
        if not finished:
            self.control(rst_stream(number, Error.NO_ERROR))

    def _priority(self, _flags: int, number: int, payload: bytes) -> None:
        if number == 0:
            raise ConnectionFault(Error.PROTOCOL_ERROR, "priority of no stream")
        if len(payload) != 5:
            raise StreamFault(Error.FRAME_SIZE_ERROR, "priority of a wrong size")
        self._idle()

    def _rst_stream(self, _flags: int, number: int, payload: bytes) -> None:
        if len(payload) != 4:
            raise ConnectionFault(Error.FRAME_SIZE_ERROR, "rst_stream of a wrong size")
        stream = self.streams.get(number)
        if stream is None:
            self._missing(number)
            return
        self.forget(stream)
        stream.gone()

    def _settings(self, flags: int, number: int, payload: bytes) -> None:
        if number != 0:
            raise ConnectionFault(Error.PROTOCOL_ERROR, "settings of a stream")
        if len(payload) % 6 or (flags & ACK and payload):
            raise ConnectionFault(Error.FRAME_SIZE_ERROR, "settings of a wrong size")
        if flags & ACK:
            return
        self._settled = True
        for at in range(0, len(payload), 6):
            self._setting(int.from_bytes(payload[at : at + 2], "big"), int.from_bytes(payload[at + 2 : at + 6], "big"))
        self.control(frame(Kind.SETTINGS, ACK, 0))

    def _setting(self, key: int, value: int) -> None:
        if key == Setting.ENABLE_PUSH and value > 1:
            raise ConnectionFault(Error.PROTOCOL_ERROR, "enable_push is 0 or 1")
        if key == Setting.MAX_FRAME_SIZE and not MIN_FRAME <= value <= MAX_FRAME:
            raise ConnectionFault(Error.PROTOCOL_ERROR, "max_frame_size out of range")
        if key == Setting.INITIAL_WINDOW_SIZE:
            if value > MAX_WINDOW:
                raise ConnectionFault(Error.FLOW_CONTROL_ERROR, "initial_window_size out of range")
            try:
                for stream in self.streams.values():
                    stream.widen(value - self._stream_window)
            except StreamFault as fault:
                raise ConnectionFault(fault.error, str(fault)) from None
            self._stream_window = value

    def _push_promise(self, _flags: int, _number: int, _payload: bytes) -> None:
        raise ConnectionFault(Error.PROTOCOL_ERROR, "clients don't push")

    def _ping(self, flags: int, number: int, payload: bytes) -> None:
        if number != 0:
            raise ConnectionFault(Error.PROTOCOL_ERROR, "ping of a stream")
        if len(payload) != 8:
            raise ConnectionFault(Error.FRAME_SIZE_ERROR, "ping of a wrong size")
        if flags & ACK:
            self.pongs += 1
        else:
            self.control(frame(Kind.PING, ACK, 0, payload))

    def _goaway(self, _flags: int, number: int, payload: bytes) -> None:
        if number != 0:
            raise ConnectionFault(Error.PROTOCOL_ERROR, "goaway of a stream")
        if len(payload) < 8:
            raise ConnectionFault(Error.FRAME_SIZE_ERROR, "goaway of a wrong size")

    def _window_update(self, _flags: int, number: int, payload: bytes) -> None:
        if len(payload) != 4:
            raise ConnectionFault(Error.FRAME_SIZE_ERROR, "window_update of a wrong size")
        increment = WORD.unpack(payload)[0] & MAX_WINDOW
        if number == 0:
            self._widen(increment)
            return
        stream = self.streams.get(number)
        if stream is None:
            self._missing(number)
            return
        if increment == 0:
            raise StreamFault(Error.PROTOCOL_ERROR, "a window that does not grow")
        stream.widen(increment)

    def _widen(self, increment: int) -> None:
        if increment == 0:
            raise ConnectionFault(Error.PROTOCOL_ERROR, "a window that does not grow")
        if self._window + increment > MAX_WINDOW:
            raise ConnectionFault(Error.FLOW_CONTROL_ERROR, "window too large")
        self._window += increment
        for stream in self.streams.values():
            if stream.waiting:
                self.activate(stream)

    def _missing(self, number: int) -> None:
        """A frame for a stream that is not there. Raises ConnectionFault unless it has been there."""
        if number == 0 or number > self._last:
            raise ConnectionFault(Error.PROTOCOL_ERROR, f"a frame for stream {number}, which is idle")


_HANDLERS: Final[dict[int, Callable[[Connection, int, int, bytes], None]]] = {
    Kind.DATA: Connection._data,
    Kind.HEADERS: Connection._headers,
    Kind.PRIORITY: Connection._priority,
    Kind.RST_STREAM: Connection._rst_stream,
    Kind.SETTINGS: Connection._settings,
    Kind.PUSH_PROMISE: Connection._push_promise,
    Kind.PING: Connection._ping,
    Kind.GOAWAY: Connection._goaway,
    Kind.WINDOW_UPDATE: Connection._window_update,
    Kind.CONTINUATION: Connection._continuation,
}
