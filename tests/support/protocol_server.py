"""A server for every row of the matrix, as a program: `protocol_server.py NAME`. All tell NAME and what they saw."""

from __future__ import annotations

import asyncio
import base64
import datetime
import hashlib
import json
import socket
import ssl
import sys
import tempfile
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import grpc
import h2.config
import h2.connection
import h2.events
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from protocol_rows import ROWS

WEBSOCKET_GUID = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"
"""RFC 6455 §1.3."""
ANY = "[::]"
BIG = 8 << 20
"""Bytes of an answer to `/big`: more than any buffer on the way holds."""


async def speak_http1(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, name: str) -> None:
    """HTTP/1.1 with keep-alive, chunked bodies in both directions, and WebSocket where it is asked for."""
    while True:
        request, headers = await _head(reader)
        if headers.get("upgrade", "").lower() == "websocket":
            await _speak_websocket(reader, writer, name, headers)
            return
        body = await _body(reader, headers)
        seen = {"name": name, "request": request, "headers": headers, "body": body.decode()}
        answer = json.dumps(seen).encode()
        writer.write(b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\n")
        answer += bytes(BIG) if " /big " in request else b""
        writer.write(b"content-length: %d\r\n\r\n" % len(answer) + (b"" if request.startswith("HEAD") else answer))
        await writer.drain()
        if headers.get("connection", "") == "close" or "HTTP/1.0" in request:
            return


async def _head(reader: asyncio.StreamReader) -> tuple[str, dict[str, str]]:
    request, *lines = (await reader.readuntil(b"\r\n\r\n")).decode().strip().split("\r\n")
    return request, {key.lower(): value for key, value in (line.split(": ", 1) for line in lines)}


async def _body(reader: asyncio.StreamReader, headers: dict[str, str]) -> bytes:
    if headers.get("transfer-encoding") != "chunked":
        return await reader.readexactly(int(headers.get("content-length", 0)))
    body = b""
    while size := int(await reader.readline(), 16):
        body += (await reader.readexactly(size + 2))[:-2]
    while (await reader.readline()).strip():
        pass
    return body


async def _speak_websocket(
    reader: asyncio.StreamReader, writer: asyncio.StreamWriter, name: str, headers: dict[str, str]
) -> None:
    """Speaks first, then sends back every message with its name before it."""
    accept = base64.b64encode(hashlib.sha1(headers["sec-websocket-key"].encode() + WEBSOCKET_GUID).digest())
    writer.write(b"HTTP/1.1 101 Switching Protocols\r\nupgrade: websocket\r\nconnection: Upgrade\r\n")
    writer.write(b"sec-websocket-accept: " + accept + b"\r\n\r\n")
    writer.write(frame(b"hello"))
    while message := unmasked(await reader.readexactly(2), reader):
        writer.write(frame(name.encode() + b" " + await message))


def frame(payload: bytes) -> bytes:
    """A binary message of up to 65,535 bytes from a server (RFC 6455 §5.2)."""
    length = bytes([len(payload)]) if len(payload) < 126 else b"\x7e" + len(payload).to_bytes(2, "big")
    return b"\x82" + length + payload


async def unmasked(head: bytes, reader: asyncio.StreamReader) -> bytes:
    length = head[1] & 0x7F
    if length == 126:
        length = int.from_bytes(await reader.readexactly(2), "big")
    mask = await reader.readexactly(4)
    return bytes(byte ^ mask[index % 4] for index, byte in enumerate(await reader.readexactly(length)))


async def speak_h2c(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, name: str) -> None:
    """HTTP/2 with prior knowledge; every answer ends with trailers."""
    connection = h2.connection.H2Connection(h2.config.H2Configuration(client_side=False, header_encoding="utf-8"))
    connection.initiate_connection()
    writer.write(connection.data_to_send())
    asked: dict[int, dict[str, str]] = {}
    while data := await reader.read(1 << 16):
        for event in connection.receive_data(data):
            if isinstance(event, h2.events.RequestReceived):
                decoded: Any = event.headers
                asked[event.stream_id] = dict(decoded)
            elif isinstance(event, h2.events.StreamEnded):
                headers = asked.pop(event.stream_id)
                body = json.dumps({"name": name, "request": "HTTP/2", "headers": headers}).encode()
                connection.send_headers(event.stream_id, [(":status", "200"), ("trailer", "x-end")])
                connection.send_data(event.stream_id, body)
                connection.send_headers(event.stream_id, [("x-end", name)], end_stream=True)
        writer.write(connection.data_to_send())


async def speak_lines(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, name: str) -> None:
    while line := await reader.readline():
        writer.write(name.encode() + b" " + line)


async def speak_banner(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, name: str) -> None:
    writer.write(f"220 {name}\r\n".encode())
    await speak_lines(reader, writer, name)


async def speak_tls(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, name: str) -> None:
    """Inside the app's own TLS: its name, the server name that was asked for, and a digest of its certificate."""
    await reader.readline()
    tls = writer.get_extra_info("ssl_object")
    writer.write(json.dumps({"name": name, "sni": tls.asked, "certificate": tls.context.digest}).encode() + b"\n")


class AppTls(ssl.SSLContext):
    """The app's own certificate, which nobody else knows."""

    digest = ""


def app_tls() -> AppTls:
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "app.example")])
    now = datetime.datetime.now(datetime.UTC)
    builder = x509.CertificateBuilder(subject, subject, key.public_key(), x509.random_serial_number())
    day = datetime.timedelta(1)
    certificate = builder.not_valid_before(now - day).not_valid_after(now + day).sign(key, hashes.SHA256())
    context = AppTls(ssl.PROTOCOL_TLS_SERVER)
    context.digest = hashlib.sha256(certificate.public_bytes(serialization.Encoding.DER)).hexdigest()
    form = serialization.PrivateFormat.PKCS8
    with tempfile.NamedTemporaryFile(suffix=".pem") as file:
        pem = certificate.public_bytes(serialization.Encoding.PEM)
        pem += key.private_bytes(serialization.Encoding.PEM, form, serialization.NoEncryption())
        Path(file.name).write_bytes(pem)
        context.load_cert_chain(file.name)
    context.sni_callback = lambda tls, asked, _: setattr(tls, "asked", asked)
    return context


def serve_grpc(name: str) -> None:
    """Every answer is NAME and the request; `Fail` ends with a status and trailers, after one message."""

    def one(request: bytes, context: grpc.ServicerContext) -> bytes:
        context.set_trailing_metadata((("x-served-by", name),))
        return name.encode() + b" " + request

    def many(request: bytes, _context: grpc.ServicerContext) -> Iterator[bytes]:
        yield from (b"%d %s" % (number, request) for number in range(5))

    def both(requests: Iterator[bytes], _context: grpc.ServicerContext) -> Iterator[bytes]:
        yield from (name.encode() + b" " + request for request in requests)

    def fail(request: bytes, context: grpc.ServicerContext) -> Iterator[bytes]:
        yield request
        context.set_trailing_metadata((("x-why", "on purpose"), ("x-bytes-bin", b"\x00\xff")))
        context.abort(grpc.StatusCode.FAILED_PRECONDITION, "not today")

    handlers = {
        "One": grpc.unary_unary_rpc_method_handler(one),
        "Many": grpc.unary_stream_rpc_method_handler(many),
        "Both": grpc.stream_stream_rpc_method_handler(both),
        "Fail": grpc.unary_stream_rpc_method_handler(fail),
    }
    server = grpc.server(ThreadPoolExecutor(16))
    server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler("matrix.Echo", handlers),))
    for row in ROWS:
        if row.speaks == "grpc":
            server.add_insecure_port(f"{ANY}:{row.port}")
    server.start()
    server.wait_for_termination()


SPEAK = {"http1": speak_http1, "ws": speak_http1, "h2c": speak_h2c, "tcp": speak_lines, "banner": speak_banner,
         "tls": speak_tls}  # fmt: skip


async def serve(name: str) -> None:
    tls = app_tls()
    for row in ROWS:
        if row.speaks in SPEAK:
            await _listen(row.port, name, row.speaks, tls if row.speaks == "tls" else None)
    await asyncio.to_thread(serve_grpc, name)


async def _listen(port: int, name: str, speaks: str, tls: AppTls | None) -> None:
    async def converse(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            await SPEAK[speaks](reader, writer, name)
        except (asyncio.IncompleteReadError, ConnectionError, ssl.SSLError):
            pass
        finally:
            writer.close()

    listening = socket.create_server(("::", port), family=socket.AF_INET6, dualstack_ipv6=True, backlog=256)
    await asyncio.start_server(converse, sock=listening, ssl=tls)


if __name__ == "__main__":
    asyncio.run(serve(sys.argv[1]))
