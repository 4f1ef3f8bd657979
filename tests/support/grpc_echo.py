"""A gRPC echo as a program, server or client: `grpc_echo.py serve ADDRESS` or `grpc_echo.py call ADDRESS TEXT`."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import grpc

METHOD = "/echo.Echo/Talk"


def serve(address: str) -> None:
    def talk(requests: Iterator[bytes], _context: grpc.ServicerContext) -> Iterator[bytes]:
        yield from requests

    server = grpc.server(ThreadPoolExecutor(4))
    handlers = {"Talk": grpc.stream_stream_rpc_method_handler(talk)}
    server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler("echo.Echo", handlers),))
    server.add_insecure_port(address)
    server.start()
    print("ready", flush=True)
    server.wait_for_termination()


def call(address: str, text: str) -> None:
    with grpc.insecure_channel(address) as channel:
        answers = channel.stream_stream(METHOD)(iter([text.encode(), b"again"]), timeout=10)
        print(b" ".join(answers).decode())


if __name__ == "__main__":
    serve(sys.argv[2]) if sys.argv[1] == "serve" else call(sys.argv[2], sys.argv[3])
