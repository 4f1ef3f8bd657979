"""Our transport on real sockets: TLS, silence, age, slow readers, and the process's own limits."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import socket
import ssl
from collections.abc import AsyncIterator
from datetime import timedelta
from typing import Any

import pytest
from structlog.testing import capture_logs

from bootstrapped import certificate
from http2_peer import PATH, Heard, message
from live_envoy import until
from xds.transport.call import Call, Certificate, Receiver, TransportSettings
from xds.transport.frames import PREFACE, frame, header_block, window_update
from xds.transport.listener import Listener

HEADERS = header_block([(b":method", b"POST"), (b":scheme", b"https"), (b":path", PATH.encode()),
                        (b"content-type", b"application/grpc")])  # fmt: skip
HELLO = PREFACE + frame(4, 0, 0)
OPEN = HELLO + frame(1, 0x4, 1, HEADERS)
PING, GOAWAY, RST = 6, 7, 3


class Lab:
    """A Listener whose streams are `heard`."""

    def __init__(self, **settings: Any) -> None:
        self.heard: list[Heard] = []
        self.writers: list[asyncio.StreamWriter] = []
        self.listener = Listener(TransportSettings(**settings), self._open)

    def _open(self, _path: str, call: Call) -> Receiver | None:
        self.heard.append(Heard(call))
        return self.heard[-1]

    async def __aenter__(self) -> Lab:
        await self.listener.start()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.listener.stop(0)
        for writer in self.writers:
            writer.close()
            with contextlib.suppress(OSError):
                await writer.wait_closed()

    async def connect(self, data: bytes = OPEN, **tls: Any) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        reader, writer = await asyncio.open_connection("127.0.0.1", self.listener.port, **tls)
        self.writers.append(writer)
        writer.write(data)
        return reader, writer


@pytest.fixture
async def lab() -> AsyncIterator[Lab]:
    async with Lab() as lab:
        yield lab


async def frames(reader: asyncio.StreamReader, until_kind: int | None = None) -> list[tuple[int, int, bytes]]:
    """(type, flags, payload) of all frames up to one of this type, or to the end of the connection."""
    found = []
    try:
        while True:
            head = await asyncio.wait_for(reader.readexactly(9), 5)
            found.append((head[3], head[4], await reader.readexactly(int.from_bytes(head[:3], "big"))))
            if found[-1][0] == until_kind:
                return found
    except (asyncio.IncompleteReadError, ConnectionResetError):
        return found


async def test_a_stream_on_a_plain_socket(lab: Lab) -> None:
    _, writer = await lab.connect(OPEN + frame(0, 0, 1, message(b"hello")))
    await until(lambda: bool(lab.heard and lab.heard[0].requests), "the request arrives")
    assert lab.heard[0].requests == [b"hello"]
    assert lab.heard[0].call.peer == "{}:{}".format(*writer.get_extra_info("sockname"))
    writer.close()
    await until(lambda: lab.heard[0].gone, "the stream is gone")
    assert lab.listener.connections == 0


async def test_tls_is_1_3_with_http2_and_nothing_less() -> None:
    own = certificate()
    async with Lab(certificate=lambda: Certificate(own.pem, own.key)) as lab:
        context = ssl.create_default_context(cadata=own.pem.decode())
        context.set_alpn_protocols(["h2"])
        _, writer = await lab.connect(ssl=context, server_hostname="localhost")
        secure = writer.get_extra_info("ssl_object")
        assert (secure.version(), secure.selected_alpn_protocol()) == ("TLSv1.3", "h2")
        await until(lambda: len(lab.heard) == 1, "the stream is open")
        writer.close()
        context.maximum_version = ssl.TLSVersion.TLSv1_2
        with pytest.raises((ssl.SSLError, ConnectionError)):
            await lab.connect(ssl=context, server_hostname="localhost")


async def test_the_cipher_is_the_client_s_choice() -> None:
    own = certificate()
    async with Lab(certificate=lambda: Certificate(own.pem, own.key)) as lab:
        import grpc  # noqa: PLC0415 - gRPC's TLS library is BoringSSL, which is Envoy's

        channel = grpc.aio.secure_channel(f"localhost:{lab.listener.port}", grpc.ssl_channel_credentials(own.pem))
        stream = channel.stream_stream(PATH)()
        await until(lambda: len(lab.heard) == 1, "the stream is open")
        (channel_here,) = lab.listener._channels
        assert isinstance(channel_here._sock, ssl.SSLSocket)
        assert channel_here._sock.cipher() == ("TLS_AES_128_GCM_SHA256", "TLSv1.3", 128)
        stream.cancel()
        await channel.close()


async def test_a_client_that_never_finishes_its_handshake_is_let_go() -> None:
    own = certificate()
    brief = timedelta(seconds=0.2)
    async with Lab(certificate=lambda: Certificate(own.pem, own.key), handshake=brief) as lab:
        reader, _ = await lab.connect(b"")
        await until(lambda: lab.listener.connections == 1, "the connection is there")
        assert await asyncio.wait_for(reader.read(), 5) == b""
        assert lab.listener.connections == 0


async def test_a_client_that_opens_no_stream_is_let_go() -> None:
    async with Lab(handshake=timedelta(seconds=0.2)) as lab:
        reader, _ = await lab.connect(HELLO)
        await frames(reader)
        assert lab.listener.connections == 0


async def test_a_silent_client_is_pinged_and_kept_while_it_answers() -> None:
    quick = timedelta(seconds=0.1)
    async with Lab(ping_interval=quick, ping_timeout=quick) as lab:
        reader, writer = await lab.connect()
        for _ in range(3):
            kind, flags, payload = (await frames(reader, PING))[-1]
            assert (kind, flags) == (PING, 0)
            writer.write(frame(PING, 1, 0, payload))
        assert not lab.heard[0].gone


async def test_a_silent_client_that_does_not_answer_is_gone() -> None:
    quick = timedelta(seconds=0.1)
    async with Lab(ping_interval=quick, ping_timeout=quick) as lab:
        await lab.connect()
        await until(lambda: bool(lab.heard and lab.heard[0].gone), "the stream is gone")


async def test_r76_an_old_connection_is_asked_to_leave_and_ends_after_its_grace() -> None:
    young = timedelta(seconds=0.2)
    async with Lab(max_connection_age=young, max_connection_grace=young, ping_timeout=young) as lab:
        reader, _ = await lab.connect()
        kinds = [kind for kind, _, _ in await frames(reader)]
        assert GOAWAY in kinds
        assert lab.heard[0].gone
        assert lab.listener.connections == 0


async def test_a_broken_client_is_told_why_before_it_is_cut_off(lab: Lab) -> None:
    reader, _ = await lab.connect(OPEN + frame(6, 0, 1, bytes(8)))
    kind, _, payload = (await frames(reader, GOAWAY))[-1]
    assert (kind, payload[8:]) == (GOAWAY, b"ping of a stream")
    await until(lambda: lab.heard[0].gone, "the stream is gone")


async def test_a_client_that_does_not_read_holds_back_itself_alone(lab: Lab) -> None:
    await lab.connect(OPEN + window_update(0, 2**30) + window_update(1, 2**30))
    reader, _ = await lab.connect()
    await until(lambda: len(lab.heard) == 2, "both streams are open")
    slow, quick = (heard.call for heard in lab.heard)
    slow.send(bytes(20_000_000))
    quick.send(b"quick")
    assert any(payload.endswith(b"quick") for _, _, payload in await frames(reader, 0))
    await asyncio.sleep(0.05)
    assert not slow.writable
    assert lab.heard[0].writable == 0


async def test_stop_lets_streams_end_and_then_closes(lab: Lab) -> None:
    reader, _ = await lab.connect()
    await until(lambda: len(lab.heard) == 1, "the stream is open")
    lab.heard[0].call.end("UNAVAILABLE", "shutting down")
    await lab.listener.stop(5)
    found = await frames(reader)
    assert {GOAWAY, RST, 1} <= {kind for kind, _, _ in found}
    assert any(b"shutting down" in payload for _, _, payload in found)
    with pytest.raises(OSError, match="Connect call failed"):
        await asyncio.open_connection("127.0.0.1", lab.listener.port)


async def test_stop_does_not_wait_for_ever(lab: Lab) -> None:
    await lab.connect()
    await until(lambda: len(lab.heard) == 1, "the stream is open")
    await asyncio.wait_for(lab.listener.stop(0.1), 5)
    assert lab.heard[0].gone


async def test_without_file_descriptors_those_who_are_here_go_on(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    await lab.connect()
    await until(lambda: len(lab.heard) == 1, "the stream is open")
    exhausted = [True]
    real = socket.socket.accept

    def accept(self: socket.socket) -> tuple[socket.socket, Any]:
        if exhausted[0]:
            raise OSError(errno.EMFILE, "Too many open files")
        return real(self)

    monkeypatch.setattr(socket.socket, "accept", accept)
    with capture_logs() as logs:
        await lab.connect()
        await until(lambda: bool(logs), "it is logged")
        assert not lab.heard[0].gone
        exhausted[0] = False
        await until(lambda: len(lab.heard) == 2, "the one who waited is let in")
    assert [line["event"] for line in logs] == ["no more connections can be accepted"]


async def test_our_own_failure_costs_one_connection(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    await lab.connect()
    reader, writer = await lab.connect()
    await until(lambda: len(lab.heard) == 2, "both streams are open")

    def broken(_data: bytes) -> None:
        raise RuntimeError("a fault of ours")

    monkeypatch.setattr(lab.heard[1], "on_request", broken)
    with capture_logs() as logs:
        writer.write(frame(0, 0, 1, message(b"x")))
        await frames(reader, GOAWAY)
    assert [line["event"] for line in logs] == ["connection failed"]
    await until(lambda: lab.heard[1].gone, "its stream is gone")
    assert not lab.heard[0].gone
