"""A client for every row of the matrix, as a program: `protocol_client.py HOST [OPTION…]`.

Talks to all rows at HOST at once (`--only SPOKEN`: to those of one protocol), `--count` requests or connections each,
and prints by row who answered how often (`names`), how the others were refused (`refused`: a status, or `closed`), and
what else there was to see (`facts`). `--container` is for a pod's own address: the ports are the containers'.
"""

from __future__ import annotations

import argparse
import collections
import contextlib
import hashlib
import json
import os
import queue
import socket
import ssl
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import grpc
import h2.config
import h2.connection
import h2.events

from protocol_rows import ROWS, Row

PATIENCE = 15
SERVER_NAME = "app.example"
GOAWAY = 7
UPGRADE = (
    b"GET /chat HTTP/1.1\r\nhost: any\r\nupgrade: websocket\r\nconnection: Upgrade\r\n"
    b"sec-websocket-version: 13\r\nsec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
)
"""The request of RFC 6455 §1.3."""
Facts = dict[str, Any]


class Refused(Exception):  # noqa: N818 - no error: what is looked for
    """The text is a status, or `closed`."""


@contextlib.contextmanager
def dialled(host: str, port: int) -> Iterator[socket.socket]:
    """A connection. Whatever ends it too early is `Refused("closed")`."""
    try:
        with socket.create_connection((host, port), PATIENCE) as sock:
            yield sock
    except OSError as error:
        raise Refused("closed") from error


def line_of(sock: socket.socket) -> bytes:
    """The next line. Raises Refused where the connection ends instead."""
    got = b""
    while not got.endswith(b"\n"):
        part = sock.recv(1)
        if not part:
            raise Refused("closed")
        got += part
    return got


def exactly(sock: socket.socket, size: int) -> bytes:
    got = b""
    while len(got) < size:
        part = sock.recv(size - len(got))
        if not part:
            raise Refused("closed")
        got += part
    return got


def http_answer(sock: socket.socket) -> tuple[int, dict[str, str], bytes]:
    """One HTTP/1.1 answer with a content-length: status, headers, body."""
    status = int(line_of(sock).split()[1])
    headers = {}
    while (line := line_of(sock)) != b"\r\n":
        key, value = line.decode().strip().split(": ", 1)
        headers[key.lower()] = value
    return status, headers, b"" if status == 101 else exactly(sock, int(headers.get("content-length", 0)))


def http1(host: str, port: int, count: int, facts: Facts) -> Iterator[str]:
    """Requests over one connection, with bodies in chunks."""
    with dialled(host, port) as sock:
        for _ in range(count):
            sock.sendall(
                b"POST / HTTP/1.1\r\nhost: any\r\ntransfer-encoding: chunked\r\n\r\n3\r\nabc\r\n2\r\nde\r\n0\r\n\r\n"
            )
            status, headers, body = http_answer(sock)
            if status != 200:
                raise Refused(str(status))
            seen = json.loads(body)
            facts |= {"request": seen["request"], "body": seen["body"], "headers": seen["headers"], "answer": headers}
            yield seen["name"]


def ws(host: str, port: int, count: int, facts: Facts) -> Iterator[str]:
    """Connections: the server speaks first, then 300 bytes of every value go there and back."""
    message = bytes(range(256)) + bytes(44)
    for _ in range(count):
        with dialled(host, port) as sock:
            sock.sendall(UPGRADE)
            status, headers, _ = http_answer(sock)
            if status != 101:
                raise Refused(str(status))
            first = message_of(sock)
            sock.sendall(b"\x82\xfe" + len(message).to_bytes(2, "big") + bytes(4) + message)
            name, _, back = message_of(sock).partition(b" ")
            facts |= {"first": first.decode(), "unchanged": back == message, "accept": headers["sec-websocket-accept"]}
        yield name.decode()


def message_of(sock: socket.socket) -> bytes:
    _, length = exactly(sock, 2)
    return exactly(sock, int.from_bytes(exactly(sock, 2), "big") if length == 126 else length)


def h2c(host: str, port: int, count: int, facts: Facts) -> Iterator[str]:
    """Requests over one HTTP/2 connection, with prior knowledge."""
    connection = h2.connection.H2Connection(h2.config.H2Configuration(header_encoding="utf-8"))
    with dialled(host, port) as sock:
        connection.initiate_connection()
        for _ in range(count):
            stream = connection.get_next_available_stream_id()
            connection.send_headers(
                stream,
                [(":method", "GET"), (":path", "/"), (":scheme", "http"), (":authority", "any")],
                end_stream=True,
            )
            sock.sendall(connection.data_to_send())
            answer: dict[str, Any] = {"body": b"", ":status": "", "trailers": {}}
            while not _ended(connection, sock, answer):
                pass
            if answer[":status"] != "200":
                raise Refused(str(answer[":status"]))
            seen = json.loads(answer["body"])
            facts |= {"request": seen["request"], "headers": seen["headers"], "trailers": answer["trailers"]}
            yield seen["name"]


def _ended(connection: h2.connection.H2Connection, sock: socket.socket, answer: dict[str, Any]) -> bool:
    """Read one frame; whether the answer is complete.

    GOAWAY may come before an answer that is still owed (RFC 9113 §6.8), which h2 does not expect: it is not told.
    """
    head = exactly(sock, 9)
    frame = head + exactly(sock, int.from_bytes(head[:3], "big"))
    ended = False
    for event in connection.receive_data(frame) if head[3] != GOAWAY else ():
        if isinstance(event, h2.events.ResponseReceived):
            answer |= _decoded(event.headers)
        elif isinstance(event, h2.events.DataReceived):
            answer["body"] += event.data
            connection.acknowledge_received_data(event.flow_controlled_length or 0, event.stream_id)
        elif isinstance(event, h2.events.TrailersReceived):
            answer["trailers"] = _decoded(event.headers)
        elif isinstance(event, h2.events.StreamEnded):
            ended = True
    sock.sendall(connection.data_to_send())
    return ended


def _decoded(headers: Any) -> dict[str, str]:
    """Headers as the configuration of the connection has them: decoded."""
    return dict(headers)


def grpc_calls(host: str, port: int, count: int, facts: Facts) -> Iterator[str]:
    """Unary calls, then one of every other kind, over one channel."""
    # gRPC's own resolver takes names of a hosts file that share one address for one name with all their addresses.
    address = socket.gethostbyname(host)
    with grpc.insecure_channel(f"{address}:{port}", [("grpc.enable_retries", 0)]) as channel:
        try:
            for _ in range(count):
                answer, call = channel.unary_unary("/matrix.Echo/One").with_call(b"ping", timeout=PATIENCE)
                facts["trailer"] = dict(call.trailing_metadata()).get("x-served-by")
                yield answer.split()[0].decode()
            many = channel.unary_stream("/matrix.Echo/Many")(b"x", timeout=PATIENCE)
            facts["many"] = [message.decode() for message in many]
            facts["both"] = list(_in_turn(channel))
        except grpc.RpcError as error:
            raise Refused("closed" if error.code() is grpc.StatusCode.UNAVAILABLE else error.code().name) from error
        fail = channel.unary_stream("/matrix.Echo/Fail")(b"x", timeout=PATIENCE)
        try:
            facts["before"] = [message.decode() for message in fail]
        except grpc.RpcError:
            trailers = dict(fail.trailing_metadata())
            facts["fail"] = [fail.code().name, fail.details(), trailers["x-why"], trailers["x-bytes-bin"].hex()]


def _in_turn(channel: grpc.Channel) -> Iterator[str]:
    """A stream where each message is only sent once the last was answered."""
    answers: queue.Queue[str] = queue.Queue()

    def questions() -> Iterator[bytes]:
        for number in range(1, 4):
            yield str(number).encode()
            answers.get(timeout=PATIENCE)

    for answer in channel.stream_stream("/matrix.Echo/Both")(questions(), timeout=PATIENCE):
        answers.put(answer.decode())
        yield answer.decode().split()[1]


def tcp(host: str, port: int, count: int, facts: Facts) -> Iterator[str]:
    """Connections with a line of any bytes each."""
    for _ in range(count):
        with dialled(host, port) as sock:
            sock.sendall(b"\x00\xfe ping\n")
            name, _, back = line_of(sock).partition(b" ")
        if name.startswith(b"HTTP/"):
            raise Refused("closed")
        facts["back"] = back.hex()
        yield name.decode()


def banner(host: str, port: int, count: int, facts: Facts) -> Iterator[str]:
    """Connections where the server speaks first: the client is silent until it does. All at once: they may be slow."""
    with contextlib.ExitStack() as stack:
        started = time.monotonic()
        for sock in [stack.enter_context(dialled(host, port)) for _ in range(count)]:
            first = line_of(sock).decode().split()
            facts.setdefault("seconds", time.monotonic() - started)
            sock.sendall(b"HELO any\r\n")
            facts["second"] = line_of(sock).decode().split()
            yield first[1]


def tls(host: str, port: int, count: int, facts: Facts) -> Iterator[str]:
    """TLS of the app's own: what the app says its certificate is, and what this client was shown."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    for _ in range(count):
        with dialled(host, port) as sock, context.wrap_socket(sock, server_hostname=SERVER_NAME) as secured:
            shown = hashlib.sha256(secured.getpeercert(binary_form=True) or b"").hexdigest()
            secured.sendall(b"hello\n")
            seen = json.loads(line_of(secured))
        facts |= {"sni": seen["sni"], "same_certificate": seen["certificate"] == shown}
        yield seen["name"]


TALK = {"http1": http1, "h2c": h2c, "grpc": grpc_calls, "ws": ws, "tcp": tcp, "banner": banner, "tls": tls}


def talk(row: Row, host: str, port: int, count: int) -> dict[str, Any]:
    names: collections.Counter[str] = collections.Counter()
    facts: Facts = {}
    refused = ""
    try:
        for name in TALK[row.speaks](host, port, count, facts):
            names[name] += 1
    except Refused as error:
        refused = str(error)
    return {"names": names, "refused": refused, "facts": facts}


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("host")
    parser.add_argument("--container", action="store_true")
    parser.add_argument("--count", type=int, default=2)
    parser.add_argument("--only", default="")
    options = parser.parse_args()
    with ThreadPoolExecutor(len(ROWS)) as pool:
        conversations = {
            str(row): pool.submit(talk, row, options.host, row.port if options.container else row.called, options.count)
            for row in ROWS
            if options.only in {"", row.speaks}
        }
        print(json.dumps({row: found.result() for row, found in conversations.items()}), flush=True)
    sys.stdout.flush()
    os._exit(0)  # a channel that was refused may still be trying


if __name__ == "__main__":
    main()
