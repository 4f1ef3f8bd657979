"""The composition root: every stateful part of the control plane is made here and passed on by argument.

Rule: every task belongs to the one TaskGroup in `run`; when a part fails for good the process ends, and Envoy goes
on with what it has.
"""

from __future__ import annotations

import asyncio
import gc
import sys
from dataclasses import dataclass
from functools import partial

import structlog
from prometheus_client import CollectorRegistry

from ca.authority import Authority
from ca.issuer_folder import Lifetimes
from ca.tokens import TokenAuthenticator
from controlplane.admin import AdminServer, admin_api, admin_server, listen
from controlplane.metrics import ControlPlaneCollector
from controlplane.pipeline import Pipeline
from controlplane.settings import ControlPlaneSettings
from controlplane.status import Status
from mesh.build import Builder
from sources.folder import FolderSource
from sources.store import Store
from xds.cache import Cache
from xds.server import Certificate, ServerSettings, XdsServer
from xds.translate.world import TranslateSettings, Translator

log = structlog.get_logger(__name__)


@dataclass(slots=True)
class ControlPlane:
    """All parts of one control plane process."""

    settings: ControlPlaneSettings
    source: FolderSource
    store: Store
    pipeline: Pipeline
    cache: Cache
    authority: Authority
    server: XdsServer
    admin: AdminServer
    status: Status

    async def run(self, stop: asyncio.Event) -> None:
        """Serve until `stop` is set, then let streams end so that proxies go elsewhere at once."""
        # The first round comes before the first stream, so nobody is ever answered with an empty world (rule R9).
        self.store.replace(await asyncio.to_thread(self.source.read))
        self.pipeline.round(await self.store.settled())
        sockets = listen(self.settings.admin_address, self.settings.admin_port, self.settings.admin_socket)
        await self.server.start()
        log.info("serving", xds_port=self.server.port, trust_domain=self.settings.mesh.trust_domain)
        # What is here now stays: keep the collector from walking it again and again.
        gc.collect()
        gc.freeze()
        # Rounds run in a thread; streams get the interpreter back after 1 ms, not 5 (docs/decisions/0050).
        sys.setswitchinterval(0.001)
        async with asyncio.TaskGroup() as tasks:
            running = [
                tasks.create_task(self.source.run(self.store), name="source"),
                tasks.create_task(self.pipeline.run(), name="pipeline"),
                tasks.create_task(self.authority.run(self.cache.publish_secrets), name="authority"),
                tasks.create_task(self.admin.serve(sockets=sockets), name="admin"),
            ]
            await stop.wait()
            self.admin.should_exit = True
            await self.server.stop(grace=1.0)
            for task in running[:-1]:
                task.cancel()


def control_plane(settings: ControlPlaneSettings) -> ControlPlane:
    """Make all parts. Raises ca.storage's error when the CA folder can't be trusted."""
    authority = Authority.open(
        settings.ca_folder, settings.mesh.trust_domain, lifetimes=Lifetimes(leaf=settings.leaf_lifetime)
    )
    cache, status, store = Cache(), Status(), Store()
    server = XdsServer(
        cache,
        authority,
        TokenAuthenticator.open(settings.ca_folder, settings.mesh.trust_domain),
        ServerSettings(
            address=settings.xds_address, port=settings.xds_port, certificate=partial(_certificate, authority, settings)
        ),
    )
    registry = CollectorRegistry()
    registry.register(ControlPlaneCollector(status, server))
    source = FolderSource(settings.paths, settings.overlay)
    builder, translator = Builder(settings.mesh), Translator(TranslateSettings())
    pipeline = Pipeline(store, builder, translator, cache, status, authority, source.placed)
    return ControlPlane(
        settings=settings,
        source=source,
        store=store,
        pipeline=pipeline,
        cache=cache,
        authority=authority,
        server=server,
        admin=admin_server(admin_api(status, server.proxies, registry)),
        status=status,
    )


def _certificate(authority: Authority, settings: ControlPlaneSettings) -> Certificate:
    leaf = authority.server_certificate(settings.server_names, settings.server_addresses)
    return Certificate(chain=leaf.chain_pem, key=leaf.key_pem)
