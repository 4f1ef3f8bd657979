"""One running control plane: the parts that are the same wherever the objects come from, and the order they run in.

Rule: every task belongs to the one TaskGroup in `run`; when a part fails for good the process ends, and Envoy goes
on with what it has. Nobody is answered before the first round (rule R9).
"""

from __future__ import annotations

import asyncio
import gc
import sys
from collections.abc import Callable, Coroutine
from dataclasses import dataclass, field
from functools import partial
from typing import Any, Protocol

import structlog
from fastapi import FastAPI
from prometheus_client import CollectorRegistry

from ca.authority import Authority
from ca.providers.settings import SpireFile
from controlplane.admin import admin_api, admin_server, listen
from controlplane.ca_api import ca_routes
from controlplane.ca_metrics import AuthorityCollector
from controlplane.describe.api import describe_routes
from controlplane.federated import FederationCollector, bundle_endpoint, federation_routes
from controlplane.federating import Federation, Foreign
from controlplane.listening.server import Server
from controlplane.metrics import ControlPlaneCollector
from controlplane.onlooking import Onlooker
from controlplane.pipeline import Pipeline
from controlplane.providing import Workloads, tell_of
from controlplane.settings import PlaneSettings
from controlplane.status import Status
from controlplane.tap.api import tap_routes
from controlplane.traffic.api import traffic_routes
from controlplane.traffic.telling import Telling, telling
from kube.problem import Problem
from mesh.build import Builder
from sources.store import Store
from xds.cache import Cache
from xds.peer import Authenticator
from xds.server import Certificate, ServerSettings, XdsServer
from xds.translate.certificates import OURS, Certificates
from xds.translate.observing import Observing
from xds.translate.world import TranslateSettings, Translator

log = structlog.get_logger(__name__)

Part = Callable[[], Coroutine[Any, Any, None]]
"""Something else that runs while the control plane does, until cancelled."""


class Source(Protocol):
    """Where objects come from."""

    async def run(self, store: Store) -> None:
        """Keep the store at what there is, until cancelled. It is first filled when everything is known."""

    def placed(self, problem: Problem) -> Problem:
        """The same Problem with the place a person would look at, where there is one."""


@dataclass(slots=True)
class ControlPlane:
    """All parts of one control plane process."""

    settings: PlaneSettings
    source: Source
    store: Store
    pipeline: Pipeline
    cache: Cache
    authority: Authority
    server: XdsServer
    api: FastAPI
    """The admin API, for whatever else serves it."""
    admin: Server
    status: Status
    registry: CollectorRegistry
    telling: Telling
    parts: dict[str, Part] = field(default_factory=dict)
    workloads: Workloads | None = None
    """Who keeps workloads' leaves where `authority` does not."""
    federation: Federation | None = None

    async def run(self, stop: asyncio.Event) -> None:
        """Serve until `stop` is set, then let streams end so that proxies go elsewhere at once.

        A failure of one part is raised as it is, such as the OSError of a port that is taken.
        """
        sockets = listen(self.settings.admin_address, self.settings.admin_port, self.settings.admin_socket)
        try:
            async with asyncio.TaskGroup() as tasks:
                admin = tasks.create_task(self.admin.serve(sockets=sockets), name="admin")
                running = [tasks.create_task(self.source.run(self.store), name="source")]
                parts = [tasks.create_task(part(), name=name) for name, part in self.parts.items()]
                if self.federation is not None:
                    # Sidecars that know other meshes must not be told meanwhile that there are none.
                    await self.federation.look()
                    parts.append(tasks.create_task(self.federation.run(), name="federation"))
                if await self._trust_known(stop) and await self._first_round(stop):
                    running += await self._serve(tasks)
                    await stop.wait()
                self.status.stopping = True
                for task in parts:
                    task.cancel()
                await asyncio.sleep(self.settings.drain.total_seconds())
                await self.server.stop(grace=1.0)
                self.admin.should_exit = True
                for task in running:
                    task.cancel()
                await admin
        except BaseExceptionGroup as group:
            raise _single(group) from None
        finally:
            for each in sockets:
                each.close()

    async def trust(self, foreign: Foreign) -> None:
        """Have these other meshes accepted, everywhere and now."""
        self.authority.trust(foreign)
        self.store.again()
        await self.authority.spread(self.cache.publish_secrets)

    @property
    def _onlooker(self) -> Onlooker:
        return Onlooker(self.status, self.server, self.store, self.authority)

    async def _trust_known(self, stop: asyncio.Event) -> bool:
        """Wait until it is known whom workloads trust. False: it is time to stop."""
        if self.workloads is None:
            return True
        stopping, known = asyncio.ensure_future(stop.wait()), asyncio.ensure_future(self.workloads.begin())
        try:
            await asyncio.wait((known, stopping), return_when=asyncio.FIRST_COMPLETED)
            if known.done():
                known.result()
            return known.done()
        finally:
            stopping.cancel()
            known.cancel()

    @property
    def trouble(self) -> str:
        """What keeps certificates from being kept, in words."""
        found = (self.authority.trouble, self.workloads.trouble if self.workloads is not None else "")
        return "; ".join(filter(None, found))

    def _authorities(self) -> list[Coroutine[Any, Any, None]]:
        """What keeps leaves fresh. Where a provider does, our own issuers serve our own servers alone."""
        publish = self.cache.publish_secrets
        if self.workloads is None:
            return [self.authority.run(publish, self._onlooker)]
        return [self.authority.run(lambda _identity, _secrets: None), self.workloads.run(publish, self._onlooker)]

    async def _first_round(self, stop: asyncio.Event) -> bool:
        """Wait for a whole world and publish what it means. False: it is time to stop.

        A round that fails by a mistake of ours is no first round: nobody is answered until one succeeds.
        """
        stopping = asyncio.ensure_future(stop.wait())
        try:
            while not self.status.rounds:
                world = asyncio.ensure_future(self.store.settled())
                await asyncio.wait((world, stopping), return_when=asyncio.FIRST_COMPLETED)
                if not world.done():
                    world.cancel()
                    return False
                self.pipeline.round(world.result())
            return True
        finally:
            stopping.cancel()

    async def _serve(self, tasks: asyncio.TaskGroup) -> list[asyncio.Task[None]]:
        """Let proxies in. What keeps their answers up to date."""
        await self.server.start()
        log.info("serving", xds_port=self.server.port, trust_domain=self.settings.mesh.trust_domain)
        # What is here now stays: keep the collector from walking it again and again.
        gc.collect()
        gc.freeze()
        # What comes later lives long too (streams) or holds no cycles (rounds): the collector looks less often. By
        # default it stopped everybody for 56 ms in a dozen rounds with 1,000 streams (docs/performance.md).
        gc.set_threshold(20_000, 20, 100)
        # Rounds run in a thread; streams get the interpreter back after 1 ms, not 5 (docs/decisions/0050).
        sys.setswitchinterval(0.001)
        return [
            tasks.create_task(self.pipeline.run(), name="pipeline"),
            *(tasks.create_task(each, name="authority") for each in self._authorities()),
        ]


def assemble(
    settings: PlaneSettings,
    source: Source,
    authority: Authority,
    authenticator: Authenticator,
    status: Status,
    workloads: Workloads | None = None,
) -> ControlPlane:
    """Make the parts that are the same everywhere and connect them. `workloads` signs for them in our place."""
    cache, store = Cache(), Store()
    server = XdsServer(
        cache,
        workloads or authority,
        authenticator,
        ServerSettings(
            address=settings.xds_address,
            port=settings.xds_port,
            transport=settings.xds_transport,
            certificate=partial(_certificate, authority, settings),
        ),
    )
    registry = CollectorRegistry()
    registry.register(ControlPlaneCollector(status, server))
    registry.register(AuthorityCollector(authority, leaves=workloads))
    api = admin_api(status, server.proxies, registry)
    api.include_router(ca_routes(authority, provider=tell_of(workloads, registry)))
    api.include_router(describe_routes(status, server.proxies, settings.mesh))
    api.include_router(tap_routes(server.taps if settings.tap else None, lambda: status.world.proxies))
    told = telling(store, settings.mesh.cluster_domain, settings.prometheus_url)
    api.include_router(traffic_routes(told))
    builder, translator = Builder(settings.mesh), Translator(translation(settings))
    plane = ControlPlane(
        settings=settings,
        source=source,
        store=store,
        pipeline=Pipeline(store, builder, translator, cache, status, workloads or authority, source.placed),
        cache=cache,
        authority=authority,
        server=server,
        api=api,
        admin=admin_server(api),
        status=status,
        registry=registry,
        telling=told,
        workloads=workloads,
        parts={"traffic": told.run},
    )
    if settings.federation is not None:
        plane.federation = Federation(settings.federation, plane.trust)
        registry.register(FederationCollector(plane.federation))
    if settings.bundle_port is not None:
        endpoint = bundle_endpoint(authority, settings.bundle_address, settings.bundle_port)
        plane.parts["bundle endpoint"] = endpoint.run
    api.include_router(federation_routes(authority, plane.federation))
    return plane


def translation(settings: PlaneSettings) -> TranslateSettings:
    """How this control plane translates: the operator's choices, and who makes certificates."""
    certificates, chosen = OURS, settings.ca_provider
    if isinstance(chosen, SpireFile):
        certificates = Certificates(leaf=chosen.certificate_name, bundle=chosen.bundle_name, elsewhere=True)
    return TranslateSettings(observing=_observing(settings), certificates=certificates)


def _observing(settings: PlaneSettings) -> Observing:
    return Observing(tap=settings.tap, traces=settings.traces, logs=settings.log_collector)


def _certificate(authority: Authority, settings: PlaneSettings) -> Certificate:
    leaf = authority.server_certificate(settings.server_names, settings.server_addresses)
    return Certificate(chain=leaf.chain_pem, key=leaf.key_pem)


def _single(group: BaseExceptionGroup[BaseException]) -> BaseException:
    """The failure itself where there is only one: a person reads it."""
    found: BaseException = group
    while isinstance(found, BaseExceptionGroup) and len(found.exceptions) == 1:
        found = found.exceptions[0]
    return found
