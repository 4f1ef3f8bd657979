"""The admin API over TLS, with the control plane's own certificate, for those who show a token.

Rule: as long as the control plane runs, also before its first round: that is when people ask what keeps it waiting.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass

import structlog
from fastapi import FastAPI

from controlplane.door.doors import GuardedDoor
from controlplane.door.tokens import Tokens
from controlplane.listening.server import Manner, serve_at, server_of
from controlplane.metrics_api.callers import Requests
from controlplane.metrics_api.rights import Rights
from controlplane.metrics_api.tls import Handshakes, Served
from kube.clock import SYSTEM_CLOCK, Clock
from xds.server import Certificate

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class GuardedSettings:
    """`address` and `port` to listen at; port 0 picks a free one."""

    address: str = "0.0.0.0"  # noqa: S104 - for those who are elsewhere; every request is authenticated
    port: int


class GuardedServer:
    """`port` is where it listens, once `serving` is set."""

    def __init__(
        self,
        settings: GuardedSettings,
        api: FastAPI,
        requests: Requests,
        certificate: Callable[[], Certificate],
        clock: Clock = SYSTEM_CLOCK,
    ) -> None:
        self._settings = settings
        self._door = GuardedDoor(api, Tokens(requests, clock), Rights(requests, clock))
        self._certificate = certificate
        self.serving = asyncio.Event()
        self.port = settings.port

    async def run(self) -> None:
        """Serve until cancelled. Raises OSError where the port is taken."""
        server = server_of(self._door, Manner(tls=Handshakes(self._served).context))
        await serve_at(server, self._settings.address, self._settings.port, self._listening)

    def _listening(self, port: int) -> None:
        self.port = port
        log.info("admin API over TLS", port=port)
        self.serving.set()

    def _served(self) -> Served:
        certificate = self._certificate()
        return Served(certificate.chain, certificate.key, "")
