"""Servers and clients for end-to-end tests, standard library only. Run inside pods as `python3 echo.py MODE …`.

http PORT NAME      answers every request with what it saw, as JSON, and its own NAME
tcp PORT NAME       echoes lines as `NAME: line`; with --greet it speaks first
get URL [N]         N requests over one connection; prints [{status, name, …}] as JSON
load URL SECONDS    requests over one connection until time is up; prints counts by status
dial HOST PORT      one TCP connection: prints what the server says first or after one line
hold HOST PORT SECONDS   one TCP connection kept busy; prints the number of lines echoed, or how it broke
knock HOST PORT SECONDS  one TCP connection after the other, a line each, until time is up; prints counts and errors
raw HOST PORT TEXT…      each text (with Python's escapes) over a connection of its own; prints what came back
                         until nothing did for --wait seconds; --certificate is a key and a certificate, PEM
"""

from __future__ import annotations

import argparse
import ast
import collections
import contextlib
import http.client
import json
import socket
import socketserver
import ssl
import sys
import tempfile
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import urlsplit

STOP = threading.Event()
"""Set when standard input ends, with --while-open: `load`, `hold` and `knock` end before their time then."""


def stop_at_the_end_of_input() -> None:
    sys.stdin.read()
    STOP.set()


def serve_http(port: int, name: str) -> None:
    class Echo(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        wbufsize = 1 << 16  # one packet an answer, or Nagle and delayed ACKs cost 40 ms each

        def answer(self) -> None:
            length = int(self.headers.get("content-length", 0))
            self.rfile.read(length)
            seen = {"name": name, "method": self.command, "path": self.path, "headers": dict(self.headers)}
            body = json.dumps(seen).encode()
            self.send_response(200)
            self.send_header("content-length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        do_GET = do_POST = do_PUT = do_DELETE = do_HEAD = answer  # noqa: N815 - http.server's names

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - http.server's name
            pass

    ThreadingHTTPServer.request_queue_size = 128
    ThreadingHTTPServer(("", port), Echo).serve_forever()


def serve_tcp(port: int, name: str, greet: bool) -> None:
    class Lines(socketserver.StreamRequestHandler):
        def handle(self) -> None:
            if greet:
                self.wfile.write(f"{name}: hello\n".encode())
            for line in self.rfile:
                self.wfile.write(f"{name}: ".encode() + line)

    socketserver.ThreadingTCPServer.allow_reuse_address = True
    socketserver.ThreadingTCPServer.daemon_threads = True
    socketserver.ThreadingTCPServer(("", port), Lines).serve_forever()


class Connection:
    """One keep-alive HTTP connection that counts how often it had to be made anew."""

    def __init__(self, url: str, host: str, headers: dict[str, str], method: str) -> None:
        self.parts = urlsplit(url)
        self.headers = {**({"host": host} if host else {}), **headers}
        self.method = method
        self.opened = 0
        self.http: http.client.HTTPConnection | None = None

    def request(self) -> dict[str, Any]:
        if self.http is None or self.http.sock is None:
            self.http = http.client.HTTPConnection(self.parts.hostname or "", self.parts.port or 80, timeout=20)
            self.opened += 1
        path = (self.parts.path or "/") + (f"?{self.parts.query}" if self.parts.query else "")
        try:
            self.http.request(self.method, path, headers=self.headers)
            response = self.http.getresponse()
            body = response.read().decode()
        except (OSError, http.client.HTTPException) as error:
            self.http.close()
            self.http = None
            return {"status": 0, "error": f"{type(error).__name__}: {error}"}
        seen = {"status": response.status, "body": body, "server": response.getheader("server")}
        with contextlib.suppress(ValueError):
            seen |= json.loads(body)
        return seen


def get(connection: Connection, count: int) -> None:
    print(json.dumps([connection.request() for _ in range(count)]))


def load(connection: Connection, seconds: float) -> None:
    counts: collections.Counter[str] = collections.Counter()
    errors: list[str] = []
    end = time.monotonic() + seconds
    while time.monotonic() < end and not STOP.is_set():
        seen = connection.request()
        counts[str(seen["status"])] += 1
        if "name" in seen:
            counts[str(seen["name"])] += 1
        if seen["status"] != 200:
            errors.append(str(seen.get("error") or seen.get("body")))
    print(json.dumps({"counts": counts, "errors": errors[:5], "connections": connection.opened}))


def dial(host: str, port: int, wait: float) -> None:
    result: dict[str, Any] = {"first": "", "echo": "", "closed": False}
    try:
        with socket.create_connection((host, port), timeout=5) as sock:
            sock.settimeout(wait)
            started = time.monotonic()
            with contextlib.suppress(TimeoutError):
                result["first"] = sock.recv(1000).decode()
                result["closed"] = not result["first"]
                result["seconds"] = time.monotonic() - started
            if not result["closed"]:
                sock.settimeout(5)
                sock.sendall(b"ping\n")
                result["echo"] = sock.recv(1000).decode()
                result["closed"] = not result["echo"]
    except OSError as error:
        result |= {"closed": True, "error": f"{type(error).__name__}: {error}"}
    print(json.dumps(result))


def hold(host: str, port: int, seconds: float) -> None:
    result: dict[str, Any] = {"lines": 0, "error": ""}
    end = time.monotonic() + seconds
    try:
        with socket.create_connection((host, port), timeout=5) as sock:
            lines = sock.makefile("rwb", buffering=0)
            while time.monotonic() < end and not STOP.is_set():
                lines.write(b"ping\n")
                if not lines.readline():
                    raise ConnectionResetError("the connection was closed")
                result["lines"] += 1
                time.sleep(0.01)
    except OSError as error:
        result["error"] = f"{type(error).__name__}: {error}"
    print(json.dumps(result))


def knock(host: str, port: int, seconds: float) -> None:
    lines, errors, end = 0, [], time.monotonic() + seconds
    while time.monotonic() < end and not STOP.is_set():
        try:
            with socket.create_connection((host, port), timeout=5) as sock:
                sock.sendall(b"ping\n")
                if not sock.recv(1000):
                    raise ConnectionResetError("the connection was closed")
                lines += 1
        except OSError as error:
            errors.append(f"{seconds - (end - time.monotonic()):.1f} s: {type(error).__name__}: {error}")
        time.sleep(0.02)
    print(json.dumps({"lines": lines, "errors": errors}))


def raw(host: str, port: int, texts: list[str], options: argparse.Namespace) -> None:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    if options.certificate:
        with tempfile.NamedTemporaryFile("w", suffix=".pem") as file:
            file.write(options.certificate)
            file.flush()
            context.load_cert_chain(file.name)
    if options.alpn:
        context.set_alpn_protocols([options.alpn])
    heard = []
    for text in texts:
        got = b""
        with contextlib.suppress(OSError):
            sock = socket.create_connection((host, port), 5, (options.source, 0) if options.source else None)
            with context.wrap_socket(sock) if options.alpn else sock as sock:
                sock.sendall(ast.literal_eval(f"b'{text}'"))
                while part := sock.recv(1 << 16):
                    got += part
                    sock.settimeout(options.wait)
        heard.append(got.decode("latin-1"))
    print(json.dumps(heard))


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("mode", choices=["http", "tcp", "get", "load", "dial", "hold", "knock", "raw"])
    parser.add_argument("words", nargs="+")
    parser.add_argument("--greet", action="store_true")
    parser.add_argument("--while-open", action="store_true")
    parser.add_argument("--host", default="")
    parser.add_argument("--method", default="GET")
    parser.add_argument("--wait", type=float, default=1.0)
    parser.add_argument("--source", default="")
    parser.add_argument("--alpn", default="")
    parser.add_argument("--certificate", default="")
    parser.add_argument("-H", "--header", action="append", default=[])
    options = parser.parse_args()
    if options.while_open:
        threading.Thread(target=stop_at_the_end_of_input, daemon=True).start()
    words = options.words
    headers = dict(header.split("=", 1) for header in options.header)
    if options.mode == "http":
        serve_http(int(words[0]), words[1])
    elif options.mode == "tcp":
        serve_tcp(int(words[0]), words[1], options.greet)
    elif options.mode == "dial":
        dial(words[0], int(words[1]), options.wait)
    elif options.mode == "hold":
        hold(words[0], int(words[1]), float(words[2]))
    elif options.mode == "knock":
        knock(words[0], int(words[1]), float(words[2]))
    elif options.mode == "raw":
        raw(words[0], int(words[1]), words[2:], options)
    else:
        connection = Connection(words[0], options.host, headers, options.method)
        amount = words[1] if len(words) > 1 else "1"
        if options.mode == "get":
            get(connection, int(amount))
        else:
            load(connection, float(amount))


if __name__ == "__main__":
    main()
