"""A gRPC echo as a program: `grpc_echo.py serve ADDRESS`, `call ADDRESS TEXT`, or `hold ADDRESS SECONDS`.

`hold` keeps one stream busy and prints how many messages came back, and how it broke, as JSON.
"""

from __future__ import annotations

import json
import sys
import time
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


def hold(address: str, seconds: float) -> None:
    result: dict[str, object] = {"messages": 0, "error": ""}
    end, count = time.monotonic() + seconds, 0

    def talk() -> Iterator[bytes]:
        while time.monotonic() < end:
            yield b"ping"
            time.sleep(0.02)

    with grpc.insecure_channel(address) as channel:
        try:
            for _ in channel.stream_stream(METHOD)(talk(), timeout=seconds + 30):
                count += 1
        except grpc.RpcError as error:
            result["error"] = f"{error.code()}: {error.details()}"
    print(json.dumps(result | {"messages": count}))


if __name__ == "__main__":
    if sys.argv[1] == "hold":
        hold(sys.argv[2], float(sys.argv[3]))
    else:
        serve(sys.argv[2]) if sys.argv[1] == "serve" else call(sys.argv[2], sys.argv[3])
