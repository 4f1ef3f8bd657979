"""The composition root of the webhook process: certificates, the API and, where it is needed, a client.

Rule: it listens only once it has a certificate and knows which sidecars this cluster runs. It ends in steps: not ready,
then no connection is kept, then none is taken.
"""

from __future__ import annotations

import asyncio
import socket
from contextlib import AsyncExitStack
from dataclasses import dataclass, field, replace
from enum import StrEnum
from typing import Any, Final

import structlog

from controlplane.listening.connection import Bounds
from controlplane.listening.server import Manner, Server, server_of
from kube.client import ApiError, ApiUnavailable, Client, ClientSettings
from kube.clock import SYSTEM_CLOCK, Clock
from mesh.settings import MeshSettings
from webhook import convert, validate
from webhook.certificates import CertificateError, CertificateFiles, Certificates
from webhook.look import looks
from webhook.metrics import WebhookMetrics
from webhook.namespaces import Asks, Namespaces
from webhook.server import Parts, State, webhook_api
from webhook.settings import InjectorSettings

log = structlog.get_logger(__name__)

PORT: Final = 9443

KEPT_SECONDS: Final = 180
"""How long an idle connection stays: longer than the API server keeps it (90 s), so that it is the one who ends it and
never sends a question into a connection that is just being closed."""

CLIENTS: Final = 512
"""Connections at once. The API server asks over few, and one that waits between two questions makes room."""

LAST_SECONDS: Final = 10
"""How long questions that are being answered may go on when the process ends."""


class NativeSidecars(StrEnum):
    """Whether sidecars are native (KEP-753). `auto` asks the API server for its version."""

    AUTO = "auto"
    ON = "on"
    OFF = "off"


@dataclass(frozen=True, slots=True, kw_only=True)
class WebhookSettings:
    """Settings of one webhook process.

    An empty address means all, in IPv4 and IPv6; port 0 picks a free one. `leaving_seconds` is how long it still
    answers when it is told to end, so that the API server hears that it is no longer ready. The certificate's files are
    looked at every `look_seconds`. `kubernetes` is used only for what `native_sidecars` and other meshes' marks need.
    `mesh` is what objects are checked for.
    """

    files: CertificateFiles
    injector: InjectorSettings = field(default_factory=InjectorSettings)
    mesh: MeshSettings = field(default_factory=MeshSettings)
    native_sidecars: NativeSidecars = NativeSidecars.AUTO
    address: str = ""
    port: int = PORT
    leaving_seconds: float = 5.0
    look_seconds: float = 5.0
    kubernetes: ClientSettings = field(default_factory=ClientSettings)


class Webhook:
    """One webhook process. `serving` is set while it takes questions, at `port`."""

    def __init__(self, settings: WebhookSettings, clock: Clock = SYSTEM_CLOCK) -> None:
        self.settings = settings
        self._clock = clock
        self.certificates = Certificates(settings.files)
        self.metrics = WebhookMetrics()
        self.state = State()
        self.serving = asyncio.Event()
        self.port = settings.port
        self._server: Server | None = None
        self._said = ""

    async def run(self, stop: asyncio.Event) -> None:
        """Serve until `stop` is set. Raises kube.client.ConfigurationError and OSError at the start."""
        async with asyncio.TaskGroup() as tasks:
            serve = tasks.create_task(self._serve(), name="serve")
            look = tasks.create_task(self._look(), name="certificate")
            await stop.wait()
            if self._server is None:
                serve.cancel()
            else:
                self.state.leaving = True
                await self._clock.sleep(self.settings.leaving_seconds)
                self._server.should_exit = True
                await serve
            look.cancel()

    async def _serve(self) -> None:
        async with AsyncExitStack() as ends:
            injector = self.settings.injector
            client: Client | None = None
            if self.settings.native_sidecars is NativeSidecars.AUTO or injector.other_meshes:
                client = await Client.open(self.settings.kubernetes)
                ends.push_async_callback(client.close)
            injector = replace(injector, native_sidecar=await self._native(client))
            await self._certificate()
            namespace = Namespaces(client).view if client is not None and injector.other_meshes else None
            parts = Parts(
                injector=injector,
                validate=validate.Validator(self.settings.mesh, looks(client) if client else None).review,
                convert=convert.review,
                namespace=namespace,
                metrics=self.metrics,
                state=self.state,
            )
            listening = ends.enter_context(_listen(self.settings.address, self.settings.port))
            self.port = listening.getsockname()[1]
            self._server = self._made(parts)
            log.info("serving", port=self.port, native_sidecars=injector.native_sidecar)
            self.serving.set()
            await self._server.serve(sockets=[listening])

    def _made(self, parts: Parts) -> Server:
        manner = Manner(
            bounds=Bounds(connections=CLIENTS), tls=self.certificates.context, kept=KEPT_SECONDS, last=LAST_SECONDS
        )
        return server_of(webhook_api(parts), manner)

    async def _native(self, client: Asks | None) -> bool:
        """Whether sidecars are native, asked until there is an answer."""
        if self.settings.native_sidecars is not NativeSidecars.AUTO or client is None:
            return self.settings.native_sidecars is NativeSidecars.ON
        wait = 0.5
        while True:
            try:
                return native_sidecars(await client.request("GET", "/version", seconds=5.0))
            except (ApiError, ApiUnavailable) as error:
                log.warning("the API server's version is not known yet", error=str(error))
            await self._clock.sleep(wait)
            wait = min(wait * 2, 10.0)

    async def _certificate(self) -> None:
        """Wait until there is one."""
        while self.certificates.not_after is None:
            self._load()
            if self.certificates.not_after is None:
                await self._clock.sleep(min(1.0, self.settings.look_seconds))

    async def _look(self) -> None:
        """Take every new certificate."""
        while True:
            await self._clock.sleep(self.settings.look_seconds)
            if self.certificates.not_after is not None:
                self._load()

    def _load(self) -> None:
        try:
            fresh = self.certificates.load()
        except CertificateError as error:
            self.metrics.certificate_failures.inc()
            if str(error) != self._said:
                log.warning("the certificate can't be used", error=str(error))
            self._said = str(error)
            return
        self._said = ""
        if fresh and (end := self.certificates.not_after):
            self.metrics.certificate_not_after.set(end.timestamp())
            log.info("certificate", not_after=end.isoformat())


def native_sidecars(version: Any) -> bool:
    """Whether an API server of this version (GET /version) takes native sidecars: 1.29 and later do by themselves."""
    found = version if isinstance(version, dict) else {}
    major, minor = (_leading_number(str(found.get(name, ""))) for name in ("major", "minor"))
    return (major, minor) >= (1, 29)


def _leading_number(text: str) -> int:
    """`29` of `29+`, as managed clusters write it."""
    digits = "".join(character for character in text if character.isascii() and character.isdigit())
    return int(digits) if digits else 0


def _listen(address: str, port: int) -> socket.socket:
    if address:
        family = socket.AF_INET6 if ":" in address else socket.AF_INET
        return socket.create_server((address, port), family=family)
    if socket.has_dualstack_ipv6():
        return socket.create_server(("", port), family=socket.AF_INET6, dualstack_ipv6=True)
    return socket.create_server(("", port))
