"""gRPC streams over our own HTTP/2, against a client that is `h2`."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from http2_peer import Heard, Peer, message
from xds.transport.frames import MIN_FRAME
from xds.transport.framing import KEPT, LONG, Framings
from xds.transport.limits import FIRST_WINDOW, TRUSTED_WINDOW


def opened(**options: int) -> tuple[Peer, int, Heard]:
    peer = Peer(**options)
    number = peer.open()
    return peer, number, peer.server.heard[0]


def test_a_message_goes_each_way() -> None:
    peer, number, heard = opened()
    peer.say(number, message(b"question"))
    assert heard.requests == [b"question"]
    heard.call.send(b"answer")
    peer.exchange()
    assert peer.data(number) == message(b"answer")


def test_metadata_is_what_the_client_sent_and_repeated_fields_are_joined() -> None:
    peer = Peer()
    peer.open(headers=[("authorization", "Bearer x"), ("many", "a"), ("many", "b")])
    metadata = peer.server.heard[0].call.metadata
    assert metadata["authorization"] == "Bearer x"
    assert metadata["many"] == "a,b"
    assert ":path" not in metadata


@pytest.mark.parametrize("cut", [1, 3, 5, 7, 100])
def test_messages_arrive_whole_however_the_bytes_are_cut(cut: int) -> None:
    peer, number, heard = opened()
    wanted = [b"", b"a", b"b" * 50, b"", b"c" * 300]
    whole = b"".join(map(message, wanted))
    for at in range(0, len(whole), cut):
        peer.say(number, whole[at : at + cut])
    assert heard.requests == wanted


def test_bytes_may_come_one_by_one() -> None:
    peer = Peer()
    peer.h2.send_headers(1, [(":method", "POST"), (":scheme", "https"), (":path", "/weft.Test/Stream"),
                             (":authority", "weft"), ("content-type", "application/grpc")])  # fmt: skip
    peer.h2.send_data(1, message(b"slow"))
    for octet in peer.h2.data_to_send():
        peer.server.connection.receive(bytes((octet,)))
    assert peer.server.heard[0].requests == [b"slow"]


def test_padding_is_not_content() -> None:
    peer, number, heard = opened()
    peer.h2.send_data(number, message(b"padded"), pad_length=200)
    peer.exchange()
    assert heard.requests == [b"padded"]


def test_a_stranger_may_send_one_window_and_a_trusted_client_as_much_as_a_request_may_have() -> None:
    peer, number, heard = opened()
    long = message(b"x" * 300_000)
    peer.say(number, long[:FIRST_WINDOW])
    assert peer.h2.local_flow_control_window(number) == 0
    heard.call.trust()
    peer.exchange()
    assert peer.h2.local_flow_control_window(number) == TRUSTED_WINDOW
    peer.say(number, long[FIRST_WINDOW:])
    assert heard.requests == [b"x" * 300_000]


def test_requests_far_beyond_all_windows_are_read_while_the_client_is_trusted() -> None:
    peer, number, heard = opened()
    heard.call.trust()
    peer.exchange()
    for _ in range(12):
        peer.say(number, message(b"y" * 900_000))
    assert [len(each) for each in heard.requests] == [900_000] * 12


def test_a_request_that_is_too_large_ends_its_stream_and_no_other() -> None:
    peer = Peer(receive_limit=1000)
    large, small = peer.open(), peer.open()
    peer.say(large, message(b"x" * 1001)[:100])
    assert peer.status(large)["grpc-status"] == "8"
    assert peer.server.heard[0].requests == []
    peer.say(small, message(b"x" * 1000))
    assert peer.server.heard[1].requests == [b"x" * 1000]


def test_a_compressed_message_is_refused_as_the_protocol_says() -> None:
    peer, number, heard = opened()
    peer.say(number, message(b"zipped", compressed=True))
    assert peer.status(number)["grpc-status"] == "12"
    assert heard.requests == []


def test_an_unknown_method_is_unimplemented() -> None:
    peer = Peer()
    number = peer.open("/weft.Test/Nothing")
    status = peer.status(number)
    assert (status["grpc-status"], status["grpc-message"]) == ("12", "there is no method /weft.Test/Nothing")
    assert peer.ended(number)


@pytest.mark.parametrize(
    ("method", "content_type", "status"),
    [("GET", "application/grpc", "405"), ("POST", "text/plain", "415"), ("POST", "application/grpc-web", "415")],
)
def test_what_is_not_grpc_is_answered_in_plain_http(method: str, content_type: str, status: str) -> None:
    peer = Peer()
    peer.h2.send_headers(1, [(":method", method), (":scheme", "https"), (":path", "/"),
                             (":authority", "weft"), ("content-type", content_type)])  # fmt: skip
    peer.exchange()
    assert [dict(event.headers)[":status"] for event in peer.events if hasattr(event, "headers")] == [status]
    assert peer.server.heard == []


def test_a_status_comes_with_its_words_percent_encoded() -> None:
    peer, number, heard = opened()
    heard.call.send(b"last")
    heard.call.end("PERMISSION_DENIED", "größe 100%\n")
    peer.exchange()
    status = peer.status(number)
    assert (status["grpc-status"], status["grpc-message"]) == ("7", "gr%C3%B6%C3%9Fe 100%25%0A")
    assert peer.ended(number)
    assert peer.server.connection.streams == {}


def test_after_the_status_the_stream_is_closed_to_the_client_too() -> None:
    peer, _, heard = opened()
    heard.call.end("OK", "")
    peer.exchange()
    peer.server.connection.receive(b"\x00\x00\x05\x00\x00\x00\x00\x00\x01hello")
    assert heard.requests == []
    assert not heard.gone


def test_the_end_of_the_client_s_side_is_told_once() -> None:
    peer, number, heard = opened()
    peer.h2.end_stream(number)
    peer.exchange()
    assert heard.finished
    assert not heard.gone


def test_a_call_without_any_message_is_finished_at_once() -> None:
    peer = Peer()
    peer.open(end=True)
    assert peer.server.heard[0].finished


def test_a_reset_stream_is_gone_and_the_others_go_on() -> None:
    peer = Peer()
    one, two = peer.open(), peer.open()
    peer.h2.reset_stream(one)
    peer.exchange()
    assert [heard.gone for heard in peer.server.heard] == [True, False]
    peer.server.heard[1].call.send(b"still here")
    peer.exchange()
    assert peer.data(two) == message(b"still here")


def test_all_streams_of_a_lost_connection_are_gone() -> None:
    peer = Peer()
    peer.open()
    peer.open()
    peer.server.connection.lost()
    assert [heard.gone for heard in peer.server.heard] == [True, True]


def test_a_client_that_makes_no_room_is_sent_no_more_and_held_back() -> None:
    peer, number, heard = opened(window=1000)
    heard.call.send(b"z" * 5000)
    peer.exchange()
    assert len(peer.data(number)) == 1000
    assert not heard.call.writable
    assert heard.writable == 0
    while len(peer.data(number)) < 5005:
        before = len(peer.data(number))
        peer.read(number)
        assert len(peer.data(number)) > before
    assert heard.writable == 1
    assert heard.call.writable


def test_a_stream_without_room_does_not_stop_another() -> None:
    peer = Peer(window=1000)
    full, free = peer.open(), peer.open()
    peer.server.heard[0].call.send(b"z" * 5000)
    peer.exchange()
    peer.server.heard[1].call.send(b"free")
    peer.exchange()
    assert peer.data(free) == message(b"free")
    assert len(peer.data(full)) == 1000


def test_a_connection_without_room_sends_again_when_there_is_some() -> None:
    peer = Peer(window=1_000_000)
    numbers = [peer.open(), peer.open()]
    for heard in peer.server.heard:
        heard.call.send(b"w" * 60_000)
    peer.exchange()
    assert sum(len(peer.data(number)) for number in numbers) == 65_535
    for number in (*numbers, *numbers):
        peer.read(number)
    assert [len(peer.data(number)) for number in numbers] == [60_005, 60_005]


def test_windows_that_the_client_shrinks_hold_until_they_grow_again() -> None:
    peer, number, heard = opened()
    heard.call.send(b"a" * 40_000)
    peer.exchange()
    peer.h2.update_settings({4: 100})
    peer.exchange()
    heard.call.send(b"b" * 10)
    peer.exchange()
    assert len(peer.data(number)) == 40_005
    peer.read(number)
    peer.h2.update_settings({4: 65_535})
    peer.exchange()
    assert peer.data(number)[40_005:] == message(b"b" * 10)


def test_ending_drops_what_has_not_begun_and_finishes_what_has() -> None:
    peer, number, heard = opened(window=1000)
    heard.call.send(b"1" * 3000)
    peer.exchange()
    heard.call.send(b"2" * 3000)
    heard.call.end("UNAVAILABLE", "shutting down")
    for _ in range(5):
        peer.read(number)
    assert peer.data(number) == message(b"1" * 3000)
    assert peer.status(number)["grpc-status"] == "14"


def test_answers_to_pings_overtake_data() -> None:
    peer, _, heard = opened(window=1_000_000)
    heard.call.send(b"x" * 40_000)
    peer.h2.ping(b"12345678")
    peer.server.connection.receive(peer.h2.data_to_send())
    first = peer.server.connection.collect(1000)[0]
    assert bytes(first)[3:5] == b"\x06\x01"
    assert bytes(first).endswith(b"12345678")


def test_a_connection_that_leaves_finishes_its_streams_and_takes_no_more() -> None:
    peer, _, heard = opened()
    connection = peer.server.connection
    connection.leave()
    assert not connection.finished
    heard.call.end("UNAVAILABLE", "elsewhere")
    output = peer.server.output()
    assert output.count(b"\x07\x00\x00\x00\x00\x00") == 1  # one GOAWAY
    assert connection.finished


def test_long_messages_are_cut_once_for_all_connections() -> None:
    framings = Framings()
    long = bytes(range(256)) * 1000
    written = []
    for _ in range(3):
        peer = Peer(window=10_000_000, framings=framings)
        number = peer.open()
        peer.h2.increment_flow_control_window(1_000_000)
        peer.exchange()
        peer.server.heard[0].call.send(long)
        parts = peer.server.connection.collect(10_000_000)
        written.append(parts[-1])
        assert b"".join(parts).count(long[:MIN_FRAME][:100]) >= 1
        peer.events += peer.h2.receive_data(b"".join(parts))
        assert peer.data(number) == message(long)
    views = [part for part in written if isinstance(part, memoryview)]
    assert len(views) == 3
    assert all(view.obj is views[0].obj for view in views)


def test_shared_frames_are_bounded_and_short_messages_have_none() -> None:
    framings = Framings()
    assert framings.framed(b"s" * (LONG - 1), 1) is None
    assert framings.framed(b"s" * (KEPT // 2 + 1), 1) is None
    for _ in range(20):
        framings.framed(bytes(KEPT // 8), 1)
    assert framings._bytes <= KEPT


@settings(max_examples=150, deadline=None)
@given(
    sizes=st.lists(st.sampled_from([0, 1, 11, 16_379, 16_380, 50_000, 65_536, 131_072, 200_001]), max_size=6),
    window=st.sampled_from([1, 7, 16_383, 16_384, 16_385, 65_535, 1_000_000]),
    limit=st.sampled_from([16_384, 20_000, 131_072]),
)
def test_whatever_the_windows_the_client_gets_every_byte_in_order(sizes: list[int], window: int, limit: int) -> None:
    sizes = [min(size, window * 200) for size in sizes]
    peer, number, heard = opened(window=window)
    sent = [bytes((index + 1,)) * size for index, size in enumerate(sizes)]
    for each in sent:
        heard.call.send(each)
    wanted = b"".join(map(message, sent))
    peer.exchange(limit)
    while len(peer.data(number)) < len(wanted):
        before = len(peer.data(number))
        peer.read(number)
        assert len(peer.data(number)) > before, "stuck although the client has made room"
    assert peer.data(number) == wanted
    assert heard.call.writable


def test_a_short_message_is_framed_once_for_all_who_are_sent_it() -> None:
    framings = Framings()
    text = b"the same for a thousand streams"
    assert framings.single(text, 1) is framings.single(text, 1)
    assert framings.single(text, 3) != framings.single(text, 1)
    assert framings.single(b"another", 1).endswith(message(b"another"))
    assert framings.single(text, 1)[9:] == message(text)
