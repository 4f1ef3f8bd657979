"""An HTTP/2 client without I/O for tests of our transport: `h2`, which knows nothing of ours."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from h2.config import H2Configuration
from h2.connection import H2Connection
from h2.events import DataReceived, Event, ResponseReceived, StreamEnded, StreamReset, TrailersReceived

from xds.transport.call import Call, Receiver
from xds.transport.connection import Connection
from xds.transport.framing import Framings

PATH = "/weft.Test/Stream"


@dataclass
class Heard:
    """A Receiver that keeps what it is told."""

    call: Call
    requests: list[bytes] = field(default_factory=list)
    finished: bool = False
    gone: bool = False
    writable: int = 0

    def on_request(self, data: bytes) -> None:
        self.requests.append(data)

    def on_writable(self) -> None:
        self.writable += 1

    def on_finished(self) -> None:
        self.finished = True

    def on_gone(self) -> None:
        self.gone = True


class Server:
    """Our Connection, with a method at PATH whose streams are `heard` in their order."""

    def __init__(self, receive_limit: int = 1_000_000, framings: Framings | None = None) -> None:
        self.heard: list[Heard] = []
        self.touched = 0
        self.connection = Connection(
            self._open, "10.0.0.1:5000", receive_limit, self._touch, self._touch, framings or Framings()
        )  # fmt: skip

    def _open(self, path: str, call: Call) -> Receiver | None:
        if path != PATH:
            return None
        self.heard.append(Heard(call))
        return self.heard[-1]

    def _touch(self) -> None:
        self.touched += 1

    def output(self, limit: int = 131_072) -> bytes:
        """All there is to write."""
        written = b""
        while parts := self.connection.collect(limit):
            written += b"".join(parts)
        return written


class Peer:
    """A client by `h2` and the server it talks to."""

    def __init__(self, window: int | None = None, **server: Any) -> None:
        self.server = Server(**server)
        self.h2 = H2Connection(H2Configuration(client_side=True, header_encoding="utf-8"))
        self.events: list[Event] = []
        self.h2.initiate_connection()
        if window is not None:
            self.h2.update_settings({4: window})
        self.exchange()

    def exchange(self, limit: int = 131_072) -> None:
        """Pass bytes to and fro until neither has any."""
        while True:
            sent = self.h2.data_to_send()
            if sent:
                self.server.connection.receive(sent)
            got = self.server.output(limit)
            if got:
                self.events += self.h2.receive_data(got)
            if not sent and not got:
                return

    def open(self, path: str = PATH, headers: Sequence[tuple[str, str]] = (), *, end: bool = False) -> int:
        number = self.h2.get_next_available_stream_id()
        fields = [
            (":method", "POST"), (":scheme", "https"), (":path", path), (":authority", "weft"),
            ("content-type", "application/grpc"), ("te", "trailers"), *headers,
        ]  # fmt: skip
        self.h2.send_headers(number, fields, end_stream=end)
        self.exchange()
        return number

    def say(self, number: int, data: bytes) -> None:
        """Send bytes as the windows allow."""
        while data:
            size = min(len(data), self.h2.local_flow_control_window(number), self.h2.max_outbound_frame_size)
            assert size, "the server makes no room"
            self.h2.send_data(number, data[:size])
            data = data[size:]
            self.exchange()

    def data(self, number: int) -> bytes:
        """All that came on a stream."""
        return b"".join(
            each.data for each in self.events if isinstance(each, DataReceived) and each.stream_id == number
        )

    def read(self, number: int) -> None:
        """Make room again for all that came."""
        for each in self.events:
            if isinstance(each, DataReceived) and each.stream_id == number and each.flow_controlled_length:
                self.h2.acknowledge_received_data(each.flow_controlled_length, number)
                each.flow_controlled_length = 0
        self.exchange()

    def status(self, number: int) -> dict[str, str]:
        """Trailers, or the headers of an answer that is nothing else."""
        for kind in (TrailersReceived, ResponseReceived):
            for each in self.events:
                fields = {str(name): str(value) for name, value in getattr(each, "headers", ())}
                if isinstance(each, kind) and each.stream_id == number and "grpc-status" in fields:
                    return fields
        return {}

    def ended(self, number: int) -> bool:
        return any(isinstance(each, StreamEnded | StreamReset) and each.stream_id == number for each in self.events)


def message(data: bytes, *, compressed: bool = False) -> bytes:
    """A gRPC message with its prefix."""
    return bytes((compressed,)) + len(data).to_bytes(4, "big") + data
