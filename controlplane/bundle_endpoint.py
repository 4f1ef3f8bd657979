"""Our own bundle over HTTPS, for other meshes: GET /bundle.json, to anybody, by a certificate with a SPIFFE ID.

Rule: nothing but roots is told, and every connection is bounded in bytes and time; it answers one request and ends.
Source: SPIFFE Federation §5.2.2 (https_spiffe).
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable
from datetime import timedelta
from typing import Final

import structlog

from controlplane.metrics_api.tls import Handshakes, Served

PATH: Final = "/bundle.json"
REFRESH: Final = timedelta(minutes=5)
"""How often others are asked to look."""
NOTICE: Final = 3 * REFRESH
"""For how long a new root is shown before it signs (SPIFFE Federation §4.1)."""
PATIENCE: Final = 10.0
"""Seconds for a whole exchange, the handshake among them."""
LONGEST_HEAD: Final = 8192
AT_ONCE: Final = 64
"""Connections; whoever comes later is turned away."""

log = structlog.get_logger(__name__)


class BundleEndpoint:
    """Serves `bundle()`; `served` is the certificate, asked for at every handshake."""

    def __init__(
        self,
        address: str,
        port: int,
        bundle: Callable[[], bytes],
        served: Callable[[], Served],
        patience: float = PATIENCE,
    ) -> None:
        self._patience = patience
        self._address = address
        self._bundle = bundle
        self._served = served
        self._open = 0
        self.port = port
        """The one it listens on, once it runs."""
        self.ready = asyncio.Event()

    async def run(self) -> None:
        """Serve until cancelled. Raises OSError where the port can't be had."""
        server = await asyncio.start_server(
            self._serve, self._address, self.port, ssl=Handshakes(self._served).context,
            ssl_handshake_timeout=self._patience, limit=LONGEST_HEAD,
        )  # fmt: skip
        self.port = server.sockets[0].getsockname()[1]
        log.info("bundle endpoint", port=self.port, path=PATH)
        self.ready.set()
        async with server:
            await server.serve_forever()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._open += 1
        try:
            if self._open <= AT_ONCE:
                async with asyncio.timeout(self._patience):
                    writer.write(self._answer(await reader.readuntil(b"\r\n\r\n")))
                    await writer.drain()
        except (OSError, TimeoutError, asyncio.IncompleteReadError, asyncio.LimitOverrunError):
            pass  # whoever does not speak gets no answer
        finally:
            self._open -= 1
            writer.close()
            with contextlib.suppress(OSError, TimeoutError):
                async with asyncio.timeout(1):
                    await writer.wait_closed()

    def _answer(self, head: bytes) -> bytes:
        method, _, rest = head.partition(b" ")
        path = rest.partition(b" ")[0].partition(b"?")[0]
        if path != PATH.encode():
            return _response("404 Not Found", b"")
        if method != b"GET":
            return _response("405 Method Not Allowed", b"")
        return _response("200 OK", self._bundle())


def _response(status: str, body: bytes) -> bytes:
    head = (
        f"HTTP/1.1 {status}\r\ncontent-type: application/json\r\ncontent-length: {len(body)}\r\nconnection: close\r\n"
    )
    return head.encode() + b"\r\n" + body
