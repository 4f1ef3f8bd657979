"""What a broken or hostile HTTP/2 client is answered, and how little it may cost (error codes: RFC 9113)."""

from __future__ import annotations

import struct
from collections.abc import Iterable, Iterator

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from http2_peer import PATH, Peer, Server
from xds.transport import limits
from xds.transport.frames import PREFACE, ConnectionFault, Error, frame, header_block, window_update

SETTINGS = frame(4, 0, 0)
FIELDS = [
    (b":method", b"POST"),
    (b":scheme", b"https"),
    (b":path", PATH.encode()),
    (b"content-type", b"application/grpc"),
]
HEADERS = header_block(FIELDS)


def greeted(*frames: bytes) -> Server:
    server = Server()
    server.connection.receive(PREFACE + SETTINGS)
    server.output()
    for each in frames:
        server.connection.receive(each)
    return server


def opened() -> Server:
    return greeted(frame(1, 0x4, 1, HEADERS))


def fault(server: Server, *frames: bytes | Iterable[bytes]) -> Error:
    """The error for which the connection is given up."""
    try:
        for each in frames:
            for one in (each,) if isinstance(each, bytes) else each:
                server.connection.receive(one)
    except ConnectionFault as found:
        return found.error
    pytest.fail("the connection goes on")


def resets(server: Server) -> list[tuple[int, Error]]:
    """RST_STREAM frames that were written."""
    output, found = server.output(), []
    while output:
        length, kind, number = int.from_bytes(output[:3], "big"), output[3], int.from_bytes(output[5:9], "big")
        if kind == 3:
            found.append((number, Error(struct.unpack(">I", output[9:13])[0])))
        output = output[9 + length :]
    return found


@pytest.mark.parametrize("data", [b"GET / HTTP/1.1\r\n", b"\x16\x03\x01\x02\x00", b"PRI * HTTP/2.0\r\n\r\nXX"])
def test_what_is_not_http2_is_cut_off_at_its_first_wrong_byte(data: bytes) -> None:
    assert fault(Server(), data) == Error.PROTOCOL_ERROR


def test_the_first_frame_must_be_settings() -> None:
    assert fault(Server(), PREFACE + frame(6, 0, 0, bytes(8))) == Error.PROTOCOL_ERROR


@pytest.mark.parametrize(
    ("broken", "error"),
    [
        (frame(0, 0, 1, b""), Error.PROTOCOL_ERROR),  # data of an idle stream
        (frame(0, 0, 0, b"x"), Error.PROTOCOL_ERROR),
        (frame(0, 0, 1, bytes(16_385)), Error.FRAME_SIZE_ERROR),
        (frame(1, 0x4, 0, HEADERS), Error.PROTOCOL_ERROR),
        (frame(1, 0x4, 2, HEADERS), Error.PROTOCOL_ERROR),
        (frame(1, 0x4 | 0x20, 1, b"\0\0"), Error.FRAME_SIZE_ERROR),  # a priority that is cut short
        (frame(1, 0x4 | 0x8, 1, b"\xff" + HEADERS), Error.PROTOCOL_ERROR),  # more padding than frame
        (frame(1, 0x4, 1, b"\x80"), Error.COMPRESSION_ERROR),  # index 0
        (frame(1, 0x4, 1, b"\xff\xff\xff\xff\xff\xff\xff"), Error.COMPRESSION_ERROR),
        (frame(2, 0, 0, bytes(5)), Error.PROTOCOL_ERROR),
        (frame(3, 0, 1, bytes(4)), Error.PROTOCOL_ERROR),  # reset of an idle stream
        (frame(3, 0, 1, bytes(3)), Error.FRAME_SIZE_ERROR),
        (frame(4, 0, 1), Error.PROTOCOL_ERROR),
        (frame(4, 0, 0, bytes(5)), Error.FRAME_SIZE_ERROR),
        (frame(4, 1, 0, bytes(6)), Error.FRAME_SIZE_ERROR),
        (frame(4, 0, 0, struct.pack(">HI", 2, 2)), Error.PROTOCOL_ERROR),
        (frame(4, 0, 0, struct.pack(">HI", 4, 2**31)), Error.FLOW_CONTROL_ERROR),
        (frame(4, 0, 0, struct.pack(">HI", 5, 16_383)), Error.PROTOCOL_ERROR),
        (frame(5, 0x4, 1, bytes(4)), Error.PROTOCOL_ERROR),  # clients don't push
        (frame(6, 0, 1, bytes(8)), Error.PROTOCOL_ERROR),
        (frame(6, 0, 0, bytes(7)), Error.FRAME_SIZE_ERROR),
        (frame(7, 0, 1, bytes(8)), Error.PROTOCOL_ERROR),
        (frame(7, 0, 0, bytes(7)), Error.FRAME_SIZE_ERROR),
        (window_update(0, 0), Error.PROTOCOL_ERROR),
        (window_update(0, 2**31 - 1), Error.FLOW_CONTROL_ERROR),
        (window_update(1, 5), Error.PROTOCOL_ERROR),  # of an idle stream
        (frame(8, 0, 0, bytes(3)), Error.FRAME_SIZE_ERROR),
        (frame(9, 0x4, 1, b""), Error.PROTOCOL_ERROR),  # a continuation of nothing
    ],
)
def test_a_broken_frame_ends_the_connection(broken: bytes, error: Error) -> None:
    assert fault(greeted(), broken) == error


def test_nothing_comes_between_the_parts_of_a_header_block() -> None:
    begun = frame(1, 0, 1, HEADERS[:5])
    assert fault(greeted(begun), frame(6, 0, 0, bytes(8))) == Error.PROTOCOL_ERROR
    assert fault(greeted(begun), frame(9, 0x4, 3, HEADERS[5:])) == Error.PROTOCOL_ERROR
    assert fault(greeted(begun), frame(99, 0, 0)) == Error.PROTOCOL_ERROR
    assert len(greeted(begun, frame(9, 0, 1, HEADERS[5:9]), frame(9, 0x4, 1, HEADERS[9:])).heard) == 1


@pytest.mark.parametrize(
    "fields",
    [
        FIELDS[1:],
        [*FIELDS, (b":path", b"/")],
        [FIELDS[3], *FIELDS[:3]],
        [*FIELDS[:2], (b":path", b""), FIELDS[3]],
        [*FIELDS, (b":status", b"200")],
        [*FIELDS, (b"Upper", b"x")],
        [*FIELDS, (b"connection", b"close")],
        [*FIELDS, (b"te", b"gzip")],
        [*FIELDS, (b"", b"x")],
    ],
)
def test_a_malformed_request_ends_its_stream_and_is_seen_by_nobody(fields: list[tuple[bytes, bytes]]) -> None:
    server = greeted(frame(1, 0x4, 1, header_block(fields)))
    assert resets(server) == [(1, Error.PROTOCOL_ERROR)]
    assert server.heard == []
    server.connection.receive(frame(1, 0x4, 3, HEADERS))
    assert len(server.heard) == 1


def test_headers_in_the_middle_of_a_stream_end_it() -> None:
    server = opened()
    server.connection.receive(frame(1, 0x4, 1, header_block([(b"x", b"y")])))
    assert resets(server) == [(1, Error.PROTOCOL_ERROR)]
    assert server.heard[0].gone


def test_trailers_end_the_client_s_side() -> None:
    server = opened()
    server.connection.receive(frame(1, 0x5, 1, header_block([(b"x", b"y")])))
    assert server.heard[0].finished
    server.connection.receive(frame(0, 0, 1, b"late"))
    assert resets(server) == [(1, Error.STREAM_CLOSED)]


def test_a_stream_that_is_closed_stays_closed() -> None:
    server = opened()
    server.connection.receive(frame(3, 0, 1, struct.pack(">I", Error.CANCEL)))
    server.connection.receive(window_update(1, 5))
    server.connection.receive(frame(3, 0, 1, bytes(4)))
    server.connection.receive(frame(0, 0, 1, b"late"))
    assert resets(server) == [(1, Error.STREAM_CLOSED)]
    assert fault(server, frame(1, 0x4, 1, HEADERS)) == Error.STREAM_CLOSED


def test_stream_numbers_only_grow() -> None:
    server = greeted(frame(1, 0x4, 7, HEADERS))
    assert fault(server, frame(1, 0x4, 5, HEADERS)) == Error.PROTOCOL_ERROR


def test_more_data_than_the_window_ends_the_stream() -> None:
    server = opened()
    for _ in range(4):
        server.connection.receive(frame(0, 0, 1, bytes(16_384)))
    assert (1, Error.FLOW_CONTROL_ERROR) in resets(server)
    assert server.heard[0].gone


def test_a_window_that_overflows_or_does_not_grow_ends_the_stream() -> None:
    for update, error in ((0, Error.PROTOCOL_ERROR), (2**31 - 1, Error.FLOW_CONTROL_ERROR)):
        server = opened()
        server.connection.receive(window_update(1, update))
        assert resets(server) == [(1, error)]


def test_a_larger_initial_window_must_not_overflow_a_stream_s() -> None:
    server = opened()
    server.connection.receive(window_update(1, 2**31 - 1 - 65_535))
    with pytest.raises(ConnectionFault) as caught:
        server.connection.receive(frame(4, 0, 0, struct.pack(">HI", 4, 65_536)))
    assert caught.value.error == Error.FLOW_CONTROL_ERROR


# What costs us something is bounded.


def test_streams_at_once_are_bounded() -> None:
    server = greeted(*(frame(1, 0x4, 1 + 2 * index, HEADERS) for index in range(limits.CONCURRENT_STREAMS + 3)))
    assert [error for _, error in resets(server)] == [Error.REFUSED_STREAM] * 3
    assert len(server.connection.streams) == limits.CONCURRENT_STREAMS


def test_opening_and_resetting_in_a_loop_ends_with_the_connection() -> None:
    """CVE-2023-44487, "rapid reset"."""
    server = greeted()

    def attack() -> Iterator[bytes]:
        for index in range(100_000):
            yield frame(1, 0x4, 1 + 2 * index, HEADERS) + frame(3, 0, 1 + 2 * index, bytes(4))
            server.output()

    assert fault(server, attack()) == Error.ENHANCE_YOUR_CALM
    assert len(server.heard) <= limits.STREAMS_PER_CONNECTION
    assert all(heard.gone for heard in server.heard)


def test_an_endless_header_block_ends_with_the_connection() -> None:
    """CVE-2024-27316, "CONTINUATION flood"."""
    tiny = (frame(9, 0, 1, b"\0") for _ in range(100_000))
    assert fault(greeted(frame(1, 0, 1, b"\0")), tiny) == Error.ENHANCE_YOUR_CALM
    large = (frame(9, 0, 1, bytes(16_000)) for _ in range(100))
    assert fault(greeted(frame(1, 0, 1, b"\0")), large) == Error.ENHANCE_YOUR_CALM


def test_a_header_that_is_small_when_packed_and_huge_when_unpacked_is_refused() -> None:
    """An "HPACK bomb": one long field in the table, named a thousand times."""
    name = b"\x40" + header_block([(b"x", b"y" * 3000)])[1:]
    assert fault(greeted(), frame(1, 0x4, 1, name + b"\xbe" * 5000)) == Error.COMPRESSION_ERROR


@pytest.mark.parametrize("asked", [frame(6, 0, 0, bytes(8)), SETTINGS])
def test_a_client_that_asks_and_does_not_read_is_cut_off(asked: bytes) -> None:
    assert fault(greeted(), (asked for _ in range(100_000))) == Error.ENHANCE_YOUR_CALM


@pytest.mark.parametrize("asked", [frame(6, 0, 0, bytes(8)), SETTINGS])
def test_a_client_that_asks_and_reads_may_do_so_for_ever(asked: bytes) -> None:
    server = greeted()
    for _ in range(20_000):
        server.connection.receive(asked)
        assert server.output()


@pytest.mark.parametrize("nothing", [frame(0, 0, 1), frame(2, 0, 1, bytes(5)), frame(0xFE, 0, 0, b"?")])
def test_frames_that_carry_nothing_are_bounded(nothing: bytes) -> None:
    server = opened()
    assert fault(server, (nothing for _ in range(limits.IDLE_FRAMES + 1))) == Error.ENHANCE_YOUR_CALM


def test_what_a_stranger_makes_us_keep_is_bounded() -> None:
    """A stream whose token was not checked yet may send one window, whatever it announces."""
    server = opened()
    announced = b"\0" + (900_000).to_bytes(4, "big")
    server.connection.receive(frame(0, 0, 1, announced))
    sent = len(announced)
    while sent + 1000 <= limits.FIRST_WINDOW:
        server.connection.receive(frame(0, 0, 1, bytes(1000)))
        sent += 1000
    assert resets(server) == []
    server.connection.receive(frame(0, 0, 1, bytes(1000)))
    assert resets(server) == [(1, Error.FLOW_CONTROL_ERROR)]
    assert server.heard[0].requests == []


@settings(max_examples=300, deadline=None)
@given(
    frames=st.lists(
        st.tuples(st.integers(0, 12), st.integers(0, 255), st.sampled_from([0, 1, 2, 3, 5]), st.binary(max_size=40)),
        max_size=30,
    ),
    headers=st.booleans(),
)
def test_random_frames_end_in_an_answer_and_never_in_a_crash(
    frames: list[tuple[int, int, int, bytes]], headers: bool
) -> None:
    server = opened() if headers else greeted()
    try:
        for kind, flags, number, payload in frames:
            server.connection.receive(frame(kind, flags, number, payload))
            server.output()
    except ConnectionFault:
        pass
    server.connection.lost()
    assert server.connection.streams == {}
    assert all(heard.gone or not heard.call.writable for heard in server.heard)


@settings(max_examples=200, deadline=None)
@given(data=st.binary(max_size=300), cut=st.integers(1, 50))
def test_random_bytes_after_the_preface_never_crash(data: bytes, cut: int) -> None:
    server = greeted()
    try:
        for at in range(0, len(data), cut):
            server.connection.receive(data[at : at + cut])
    except ConnectionFault as caught:
        server.connection.leave(caught.error, caught.text)
        assert b"\x07" in server.output()


def test_h2_and_we_agree_on_a_long_dialogue() -> None:
    peer = Peer()
    for round_number in range(200):
        number = peer.open()
        heard = peer.server.heard[-1]
        heard.call.send(b"x" * round_number)
        heard.call.end("OK", "")
        peer.exchange()
        assert peer.status(number)["grpc-status"] == "0"
    assert peer.server.connection.streams == {}
