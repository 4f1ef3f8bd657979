"""The other transport: grpcio's asyncio server behind the same seam.

Rule: grpc is named here and nowhere else in the product. It is kept for comparison and for clients that our own
transport might not get along with; docs/decisions/0054-own-transport.md has the numbers.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Callable, Mapping
from datetime import timedelta
from typing import Any

import grpc
import grpc.aio

from xds.transport.call import Certificate, Opener, Receiver, TransportSettings

Context = Any
"""A ServicerContext: grpc has no types of its own."""


class GrpcAio:
    """Serves calls with grpc.aio."""

    def __init__(self, settings: TransportSettings, opener: Opener) -> None:
        self._settings = settings
        self._opener = opener
        self._server: Any = None
        self._port = 0

    @property
    def port(self) -> int:
        """The bound port; 0 before `start`."""
        return self._port

    async def start(self) -> None:
        """Bind and serve. Raises RuntimeError where the address can't be bound."""
        self._server = grpc.aio.server(handlers=[_Handler(self._opener)], options=_options(self._settings))
        where = f"{self._settings.address}:{self._settings.port}"
        if self._settings.certificate is None:
            self._port = self._server.add_insecure_port(where)
        else:
            self._port = self._server.add_secure_port(where, _credentials(self._settings.certificate))
        await self._server.start()

    async def stop(self, grace: float) -> None:
        """Take no more streams, and wait at most `grace` seconds until those that are there have ended."""
        if self._server is not None:
            await self._server.stop(grace)


class _Handler(grpc.GenericRpcHandler):  # type: ignore[misc]  # grpc has no types
    """Every method, as a stream of bytes both ways."""

    def __init__(self, opener: Opener) -> None:
        self._opener = opener

    def service(self, details: grpc.HandlerCallDetails) -> grpc.RpcMethodHandler:
        """The handler of one call."""

        async def serve(requests: AsyncIterator[bytes], context: Context) -> None:
            await GrpcCall(context).run(self._opener, details.method, requests)

        return grpc.stream_stream_rpc_method_handler(serve)


class GrpcCall:
    """A `Call` over grpc.aio: two tasks, one that reads and one that writes."""

    def __init__(self, context: Context) -> None:
        self.metadata: Mapping[str, str] = {
            key: value for key, value in context.invocation_metadata() or () if isinstance(value, str)
        }
        self.peer = _peer(context.peer())
        self._context = context
        self._queue: deque[bytes] = deque()
        self._due = asyncio.Event()
        self._going = asyncio.Event()
        self._going.set()
        self._ending: tuple[str, str] | None = None

    @property
    def writable(self) -> bool:
        """Whether everything given to `send` has left."""
        return not self._queue and self._ending is None

    def trust(self) -> None:
        """Nothing: grpc has one limit for all."""

    def hold(self) -> None:
        """Read no more."""
        self._going.clear()

    def go_on(self) -> None:
        """Read again."""
        self._going.set()

    def send(self, message: bytes) -> None:
        """Queue a message."""
        self._queue.append(message)
        self._due.set()

    def flush(self) -> None:
        """Nothing: grpc writes when it likes."""

    def end(self, code: str, text: str) -> None:
        """End with this status; what has not begun to leave is dropped."""
        if self._ending is None:
            self._queue.clear()
            self._ending = (code, text)
            self._due.set()

    async def run(self, opener: Opener, path: str, requests: AsyncIterator[bytes]) -> None:
        """Serve until one side ends it."""
        receiver = opener(path, self)
        if receiver is None:
            self.end("UNIMPLEMENTED", f"there is no method {path}")
        reader = asyncio.create_task(self._read(requests, receiver))
        try:
            await self._write(receiver)
        finally:
            reader.cancel()
            if receiver is not None and self._ending is None:
                receiver.on_gone()
        if self._ending is not None and self._ending[0] != "OK":
            await self._context.abort(grpc.StatusCode[self._ending[0]], self._ending[1])

    async def _read(self, requests: AsyncIterator[bytes], receiver: Receiver | None) -> None:
        async for data in requests:
            await self._going.wait()
            if receiver is None or self._ending is not None:
                return
            receiver.on_request(data)
        if receiver is not None and self._ending is None:
            receiver.on_finished()

    async def _write(self, receiver: Receiver | None) -> None:
        while True:
            await self._due.wait()
            self._due.clear()
            while self._queue:
                await self._context.write(self._queue[0])
                # `end` may have cleared the queue meanwhile.
                if self._queue:
                    self._queue.popleft()
            if self._ending is not None:
                return
            if receiver is not None:
                receiver.on_writable()


def _options(settings: TransportSettings) -> list[tuple[str, int]]:
    """Channel arguments of gRPC core, as grpc/impl/channel_arg_names.h spells them."""
    options = [
        ("grpc.max_receive_message_length", settings.receive_limit),
        ("grpc.max_send_message_length", -1),
        # Envoy pings as often as its bootstrap says; the default here would cut it off after two (rule R75).
        ("grpc.http2.min_ping_interval_without_data_ms", 1000),
        ("grpc.http2.max_ping_strikes", 0),
        ("grpc.keepalive_permit_without_calls", 1),
        ("grpc.keepalive_time_ms", _milliseconds(settings.ping_interval)),
        ("grpc.keepalive_timeout_ms", _milliseconds(settings.ping_timeout)),
        ("grpc.so_reuseport", 0),
    ]
    if settings.max_connection_age is not None:
        options.append(("grpc.max_connection_age_ms", _milliseconds(settings.max_connection_age)))
        options.append(("grpc.max_connection_age_grace_ms", _milliseconds(settings.max_connection_grace)))
    return options


def _milliseconds(span: timedelta) -> int:
    return int(span.total_seconds() * 1000)


def _credentials(certificate: Callable[[], Certificate]) -> grpc.ServerCredentials:
    """TLS that asks for the certificate at each handshake, and keeps the last one while it is unchanged."""
    current = certificate()

    def fetch() -> Any:
        nonlocal current
        latest = certificate()
        if latest == current:
            return None
        current = latest
        return _configuration(latest)

    return grpc.dynamic_ssl_server_credentials(_configuration(current), fetch)


def _configuration(certificate: Certificate) -> Any:
    return grpc.ssl_server_certificate_configuration([(certificate.key, certificate.chain)])


def _peer(peer: str) -> str:
    """`address:port` of what gRPC writes as `ipv4:10.0.0.1:5000` or `ipv6:%5B::1%5D:5000`."""
    scheme, colon, rest = peer.partition(":")
    return rest.replace("%5B", "[").replace("%5D", "]") if colon and scheme in {"ipv4", "ipv6"} else peer
