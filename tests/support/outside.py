"""Servers outside the mesh, and a client that calls them, for tests of egress; standard library only.

serve NAME CERTIFICATE   HTTP on 8080 and 8081, TLS on 8443 (which says its name and the server name it was asked for),
                         lines on 9000 with a greeting first; CERTIFICATE is a key and a certificate, PEM
ask JSON                 a list of attempts [KIND, ADDRESS, PORT, NAME, …], all at once; prints the answers as a list:
                         http ADDRESS PORT HOST [PATH [METHOD]]   [status, who answered]
                         tls ADDRESS PORT SERVER-NAME             [who answered, for which server name]
                         tcp ADDRESS PORT                         who greeted
                         what was closed without an answer is `closed`
watch KIND ADDRESS PORT HOST   one connection, used again and again until standard input ends; prints each answer that
                               differs from the last
"""

from __future__ import annotations

import contextlib
import http.client
import json
import os
import socket
import socketserver
import ssl
import sys
import tempfile
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

PATIENCE = 10


def serve(name: str, certificate: str) -> None:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    with tempfile.NamedTemporaryFile("w", suffix=".pem") as file:
        file.write(certificate)
        file.flush()
        context.load_cert_chain(file.name)
    asked: dict[object, str | None] = {}
    context.sni_callback = lambda connection, server_name, _context: asked.update({connection: server_name})

    class Web(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            body = name.encode()
            self.send_response(200)
            self.send_header("content-length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        do_POST = do_GET  # noqa: N815 - http.server's name

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - http.server's name
            pass

    class Lines(socketserver.StreamRequestHandler):
        def handle(self) -> None:
            self.wfile.write(f"{name}\n".encode())
            for line in self.rfile:
                self.wfile.write(line)

    class Secure(socketserver.BaseRequestHandler):
        def handle(self) -> None:
            with contextlib.suppress(OSError), context.wrap_socket(self.request, server_side=True) as connection:
                connection.sendall(json.dumps([name, asked.get(connection)]).encode() + b"\n")
                connection.recv(1)

    socketserver.ThreadingTCPServer.allow_reuse_address = True
    socketserver.ThreadingTCPServer.daemon_threads = True
    ThreadingHTTPServer.request_queue_size = 128
    servers: list[Any] = [ThreadingHTTPServer(("", port), Web) for port in (8080, 8081)]
    servers += [socketserver.ThreadingTCPServer(("", 9000), Lines), socketserver.ThreadingTCPServer(("", 8443), Secure)]
    for server in servers[1:]:
        threading.Thread(target=server.serve_forever, daemon=True).start()
    servers[0].serve_forever()


def attempt(words: list[Any]) -> Any:
    kind, address, port, *rest = words
    try:
        ways: dict[str, Any] = {"http": _http, "tls": _tls, "tcp": _tcp}
        return ways[kind](str(address), int(port), *rest)
    except (ConnectionError, ssl.SSLError, TimeoutError, http.client.HTTPException):
        return "closed"


def _http(address: str, port: int, host: str, path: str = "/", method: str = "GET") -> Any:
    connection = http.client.HTTPConnection(address, port, timeout=PATIENCE)
    connection.request(method, path, headers={"host": host})
    return _answer(connection)


def _answer(connection: http.client.HTTPConnection) -> Any:
    response = connection.getresponse()
    return [response.status, response.read().decode().strip()]


def _tls(address: str, port: int, server_name: str) -> Any:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    with (
        socket.create_connection((address, port), PATIENCE) as plain,
        context.wrap_socket(plain, server_hostname=server_name or None) as secure,
    ):
        return json.loads(secure.makefile("rb").readline() or b'"closed"')


def _tcp(address: str, port: int) -> Any:
    with socket.create_connection((address, port), PATIENCE) as connection:
        return connection.makefile("rb").readline().decode().strip() or "closed"


def watch(kind: str, address: str, port: str, host: str) -> None:
    last: Any = None
    connection = http.client.HTTPConnection(address, int(port), timeout=PATIENCE)
    plain = socket.create_connection((address, int(port)), PATIENCE) if kind == "tcp" else None
    lines = plain.makefile("rwb", buffering=0) if plain else None
    threading.Thread(target=_until_input_ends, daemon=True).start()
    while last != "closed":
        try:
            if lines:
                lines.write(b"again\n")
                seen = lines.readline().decode().strip() or "closed"
            else:
                connection.request("GET", "/", headers={"host": host})
                seen = _answer(connection)
        except (OSError, http.client.HTTPException):
            seen = "closed"
        if seen != last:
            print(json.dumps(seen), flush=True)
        last = seen
        time.sleep(0.02)


def _until_input_ends() -> None:
    sys.stdin.read()
    os._exit(0)


if __name__ == "__main__":
    mode, *arguments = sys.argv[1:]
    if mode == "serve":
        serve(*arguments)
    elif mode == "watch":
        watch(*arguments)
    else:
        attempts = json.loads(arguments[0])
        with ThreadPoolExecutor(len(attempts)) as pool:
            print(json.dumps(list(pool.map(attempt, attempts))))
