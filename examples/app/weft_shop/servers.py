"""Servers that keep connections open, answer every request in one piece, and end when they are told to.

Rule: a handler that fails costs its caller an answer of 500, never the connection or the server.
"""

from __future__ import annotations

import json
import signal
import socket
import socketserver
import sys
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import urlsplit

BACKLOG = 256
"""Connections that may wait to be accepted; a burst of callers is the usual case under test."""


@dataclass(frozen=True, slots=True)
class Answer:
    """What a request is answered: a status, and a value that is sent as JSON."""

    value: Any
    status: int = 200


@dataclass(frozen=True, slots=True)
class Request:
    """A request as the handlers see it; header names are in lower case, `path` is without the query."""

    method: str
    path: str
    headers: Mapping[str, str] = field(default_factory=dict)


Handler = Callable[[Request], Answer]
LineHandler = Callable[[str], str]


def web_server(port: int, handle: Handler) -> ThreadingHTTPServer:
    """An HTTP/1.1 server on all addresses; each connection has a thread and stays open. Port 0 picks a free one."""

    class Connection(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        wbufsize = -1  # Head and body leave in one segment: two would wait for each other's acknowledgement.
        disable_nagle_algorithm = True

        def answer(self) -> None:
            self.rfile.read(int(self.headers.get("content-length") or 0))
            headers = {name.lower(): value for name, value in self.headers.items()}
            request = Request(self.command, urlsplit(self.path).path, headers)
            try:
                answer = handle(request)
            except Exception as error:
                answer = Answer({"error": f"{type(error).__name__}: {error}"}, 500)
            body = json.dumps(answer.value).encode() + b"\n"
            self.send_response(answer.status)
            self.send_header("content-type", "application/json")
            self.send_header("content-length", str(len(body)))
            if self.close_connection:
                self.send_header("connection", "close")
            self.end_headers()
            if self.command != "HEAD":
                self.wfile.write(body)

        do_GET = do_HEAD = do_POST = do_PUT = do_PATCH = do_DELETE = answer  # noqa: N815 - http.server's names

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - http.server's name
            """Say nothing: under load a line for each request would be the slowest part."""

    class Server(ThreadingHTTPServer):
        request_queue_size = BACKLOG

        def server_bind(self) -> None:
            # As in http.server, without its look-up of this machine's full name, which can take seconds.
            socketserver.TCPServer.server_bind(self)
            self.server_name, self.server_port = "", self.server_address[1]

        def handle_error(self, request: object, client_address: object) -> None:
            """Say nothing of callers that go away."""

    return Server(("", port), Connection)


def line_server(port: int, handle: LineHandler, greeting: str = "") -> socketserver.ThreadingTCPServer:
    """A TCP server that answers every line with a line; with a greeting it speaks first."""

    class Connection(socketserver.StreamRequestHandler):
        disable_nagle_algorithm = True

        def handle(self) -> None:
            if greeting:
                self.wfile.write(f"{greeting}\n".encode())
            for line in self.rfile:
                self.wfile.write(f"{handle(line.decode(errors='replace').strip())}\n".encode())

    class Server(socketserver.ThreadingTCPServer):
        allow_reuse_address = True
        daemon_threads = True
        request_queue_size = BACKLOG

        def handle_error(self, request: object, client_address: object) -> None:
            """Say nothing of callers that go away."""

    return Server(("", port), Connection)


def serve(server: socketserver.BaseServer) -> None:
    """Serve until SIGTERM or SIGINT. As a container's first process nothing else would end it."""

    def stop(_number: int, _frame: object) -> None:
        # `shutdown` waits for `serve_forever`, which this very thread is running.
        threading.Thread(target=server.shutdown, daemon=True).start()

    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, stop)
    host = socket.gethostname()
    print(f"{host} serves on port {server.server_address[1]}", file=sys.stderr, flush=True)  # type: ignore[index] # an address of TCP
    server.serve_forever(poll_interval=0.1)
    server.server_close()
