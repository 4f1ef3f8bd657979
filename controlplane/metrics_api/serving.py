"""Runs the metrics API in a control plane of a cluster.

Rule: it serves as long as the control plane does; an API server that does not tell who its front proxy is leaves
everybody a stranger, and what was known before in force.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

import structlog

from controlplane.listening.server import Manner, Server, serve_at, server_of
from controlplane.metrics_api.callers import Requests, front_proxy
from controlplane.metrics_api.rights import Rights
from controlplane.metrics_api.server import Connection, MetricsApi
from controlplane.metrics_api.tls import Handshakes, Served
from controlplane.traffic.telling import Telling
from kube.client import ApiError, ApiUnavailable
from kube.clock import SYSTEM_CLOCK, Clock
from xds.server import Certificate

log = structlog.get_logger(__name__)

LOOK: Final = 60.0
"""Seconds between two looks at who the cluster's front proxy is."""
SOON: Final = 2.0
"""The same while it is not known."""
KEPT: Final = 180
"""Seconds that an idle connection stays: longer than the API server keeps it (90 s)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class MetricsApiSettings:
    """`address` and `port` to listen at; port 0 picks a free one."""

    address: str = "0.0.0.0"  # noqa: S104 - the API server is elsewhere; every request is authenticated
    port: int


class MetricsServer:
    """`port` is where it listens, from the start of `run` on."""

    def __init__(
        self,
        settings: MetricsApiSettings,
        telling: Telling,
        requests: Requests,
        certificate: Callable[[], Certificate],
        clock: Clock = SYSTEM_CLOCK,
    ) -> None:
        self._settings = settings
        self._requests = requests
        self._certificate = certificate
        self._clock = clock
        self._api = MetricsApi(telling, requests, Rights(requests, clock))
        self.serving = asyncio.Event()
        self.port = settings.port

    async def run(self) -> None:
        """Serve until cancelled. Raises OSError where the port is taken."""
        looking = asyncio.create_task(self._look())
        try:
            await serve_at(self._server(), self._settings.address, self._settings.port, self._listening)
        finally:
            looking.cancel()

    def _listening(self, port: int) -> None:
        self.port = port
        self.serving.set()

    def _server(self) -> Server:
        manner = Manner(tls=Handshakes(self._served).context, kept=KEPT, connection=Connection)
        return server_of(self._api.app(), manner)

    def _served(self) -> Served:
        certificate = self._certificate()
        return Served(certificate.chain, certificate.key, self._api.front_proxy.ca_pem)

    async def _look(self) -> None:
        """Keep who the front proxy is."""
        said = ""
        while True:
            try:
                self._api.front_proxy = await front_proxy(self._requests)
                said = ""
            except (ApiError, ApiUnavailable) as error:
                if str(error) != said:
                    log.warning("who asks for others is not known", error=str(error))
                said = str(error)
            await self._clock.sleep(LOOK if self._api.front_proxy.ca_pem else SOON)
