"""What sidecars send, as `hostile_bytes.Parser`s: frames of HTTP/2, requests of xDS, messages of access logs."""

from __future__ import annotations

import contextlib
import json
import struct

from hypothesis import strategies as st

from controlplane.tap.api import request_view
from hostile_bytes import Parser, edited
from http2_peer import PATH, Server
from mesh.model import PodId
from xds import pb
from xds.requests import RequestReader
from xds.resource import CLUSTER, LISTENER, SECRET, TYPES
from xds.told import told
from xds.transport.frames import PREFACE, ConnectionFault, frame, header_block, window_update
from xds.wire import ProtocolFault
from xds_client import IDENTITY, resource
from xds_stream import DeltaStream, SotwStream

MOST_OUTPUT = 1 << 20
"""Bytes that the server may be made to say by one input, which is shorter than that by far."""
POD = PodId("shop", "web-1")
_REQUESTS = [
    message.SerializeToString()
    for message in (
        pb.DeltaDiscoveryRequest(
            node={"id": "shop/web-1"}, type_url=CLUSTER, resource_names_subscribe=["a", "*"],
            initial_resource_versions={"a": "1", "b": "2"},
        ),
        pb.DeltaDiscoveryRequest(type_url=LISTENER, response_nonce="1", resource_names_unsubscribe=["*"]),
        pb.DeltaDiscoveryRequest(type_url=SECRET, response_nonce="1", error_detail={"code": 13, "message": "no"}),
        pb.DiscoveryRequest(node={"id": "shop/web-1"}, type_url=CLUSTER, resource_names=["a", "b"]),
        pb.DiscoveryRequest(type_url=SECRET, version_info="1", response_nonce="1", resource_names=["own"]),
        pb.DiscoveryRequest(type_url=LISTENER, response_nonce="1", error_detail={"code": 13, "message": "no"}),
    )
]  # fmt: skip


def requests(messages: list[bytes]) -> None:
    """A stream of requests to each kind of machine; a fault ends the stream."""
    for kind in (DeltaStream, SotwStream):
        stream = kind(*(resource(type_url, "a") for type_url in TYPES))
        reader = RequestReader()
        with contextlib.suppress(ProtocolFault):
            for number, data in enumerate(messages):
                read = reader.delta if kind is DeltaStream else reader.sotw
                stream.machine.receive(read(data), float(number))
                stream.sent()


_FIELDS = [
    (b":method", b"POST"), (b":scheme", b"https"), (b":path", PATH.encode()), (b":authority", b"weft"),
    (b"content-type", b"application/grpc"), (b"te", b"trailers"), (b"authorization", b"Bearer e30.e30.x"),
]  # fmt: skip
_HEADERS = header_block(_FIELDS)
_MESSAGES = [struct.pack(">BI", 0, len(each)) + each for each in _REQUESTS]
_FRAMES = [
    frame(4, 0, 0), frame(4, 1, 0), frame(4, 0, 0, struct.pack(">HI", 4, 100)), frame(1, 0x4, 1, _HEADERS),
    frame(1, 0x5, 3, _HEADERS), frame(1, 0, 5, _HEADERS[:9]) + frame(9, 0x4, 5, _HEADERS[9:]),
    *(frame(0, 0, 1, each) for each in _MESSAGES), frame(0, 0x1, 1, b""), frame(0, 0x8, 1, b"\x02ab\0\0"),
    frame(3, 0, 1, bytes(4)), frame(6, 0, 0, bytes(8)), frame(7, 0, 0, bytes(8)), window_update(0, 1000),
    window_update(1, 1000), frame(2, 0, 1, bytes(5)), frame(99, 0, 0, b"x"),
]  # fmt: skip
_RANDOM_FRAME = st.builds(
    frame,
    st.integers(0, 12), st.integers(0, 255), st.sampled_from([0, 1, 2, 3, 5, 7, 2**31 - 1]),
    st.binary(max_size=40) | edited([_HEADERS]),
)  # fmt: skip


def frames(pieces: list[bytes]) -> None:
    """Frames to a connection that was greeted, in pieces that need not be whole frames."""
    server, written = Server(), 0
    with contextlib.suppress(ConnectionFault):
        server.connection.receive(PREFACE + frame(4, 0, 0))
        for piece in pieces:
            server.connection.receive(piece)
            for each in server.heard:
                if len(each.requests) == 1 and not each.finished and not each.gone:
                    each.call.trust()
                    each.call.send(b"answer")
            written += len(server.output())
    server.connection.lost()
    assert all(each.gone or each.call for each in server.heard)
    assert not server.connection.streams
    assert written < MOST_OUTPUT


def _logs() -> list[bytes]:
    message = pb.StreamAccessLogsMessage()
    message.identifier.log_name = "inbound/refused"
    entry = message.http_logs.log_entry.add(protocol_version=pb.HTTPAccessLogEntry.HTTP2)
    common = entry.common_properties
    common.downstream_local_address.socket_address.port_value = 8080
    common.downstream_direct_remote_address.socket_address.address = "10.0.0.9"
    common.upstream_cluster = "shop/cart/80"
    common.tls_properties.peer_certificate_properties.subject_alt_name.add(uri=IDENTITY.uri)
    common.start_time.FromMilliseconds(1_700_000_000_500)
    common.duration.FromMicroseconds(2500)
    entry.request.authority, entry.request.path = "cart", "/items?x=1"
    entry.response.response_code.value, entry.response.response_code_details = 403, "rbac_access_denied"
    other = pb.StreamAccessLogsMessage()
    other.tcp_logs.log_entry.add().common_properties.CopyFrom(common)
    return [message.SerializeToString(), other.SerializeToString()]


def logs(data: bytes) -> None:
    """A message of a sidecar's access log, as somebody who taps it is told."""
    with contextlib.suppress(pb.DecodeError):
        message = pb.StreamAccessLogsMessage.FromString(data)
        for request in told(message, message.identifier.log_name, POD, IDENTITY):
            assert request.pod == POD
            assert json.loads(json.dumps(request_view(request)))["pod"] == "shop/web-1"


PARSERS = (
    Parser("xds-requests", st.lists(st.sampled_from(_REQUESTS) | edited(_REQUESTS), max_size=6), requests, 3),
    Parser(
        "http2-frames", st.lists(st.sampled_from(_FRAMES) | _RANDOM_FRAME | edited(_FRAMES), max_size=12), frames, 3
    ),
    Parser("access-log-messages", edited(_logs()), logs, 6),
)
