"""The way from objects to Envoy: store → mesh → translation → cache, one round per settled state of the world.

Rule: this is the one place where a failure of ours is caught. The last good configuration stays in force, the
failure is counted, logged and shown, and the next change is tried as if nothing had happened.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import Protocol

import structlog

from controlplane.status import Status
from kube.problem import Problem
from mesh.build import Builder
from mesh.model import Identity, Mesh
from smi.resources import Resources
from sources.store import Store
from xds.cache import Cache
from xds.peers import Peers
from xds.snapshot import World
from xds.translate.world import Translator

log = structlog.get_logger(__name__)


class Issuing(Protocol):
    """What a round needs of the certificate authority."""

    def bundle_pem(self) -> bytes:
        """The certificates a peer's leaf must chain to."""

    @property
    def peers(self) -> Peers:
        """The names by which ours are accepted, and other meshes."""

    def forget(self, identities: Iterable[Identity]) -> None:
        """Stop renewing the leaves of identities that no workload has any more."""


class Pipeline:
    """Owns nothing but the order of things; every part is made in `controlplane.app`."""

    def __init__(
        self,
        store: Store,
        builder: Builder,
        translator: Translator,
        cache: Cache,
        status: Status,
        authority: Issuing,
        place: Callable[[Problem], Problem],
    ) -> None:
        self._store = store
        self._builder = builder
        self._translator = translator
        self._cache = cache
        self._status = status
        self._authority = authority
        self._place = place
        self._gone: set[Identity] = set()
        """Identities that no workload has, but perhaps a stream still."""

    async def run(self) -> None:
        """Serve rounds until cancelled. Idle, it acts at once; busy, changes gather in the store meanwhile.

        Rounds are computed in a thread, one after the other: streams are served meanwhile (docs/decisions/0050).
        """
        while True:
            resources = await self._store.settled()
            with self._fail_static():
                started = time.perf_counter()
                bundle, peers = self._authority.bundle_pem().decode(), self._authority.peers
                mesh, world = await asyncio.to_thread(self._compute, resources, bundle, peers)
                self._publish(resources, mesh, world, started)

    def round(self, resources: Resources) -> None:
        """Publish what these objects mean, before anything else happens: for the first time, when nobody waits."""
        with self._fail_static():
            started = time.perf_counter()
            mesh, world = self._compute(resources, self._authority.bundle_pem().decode(), self._authority.peers)
            self._publish(resources, mesh, world, started)

    def _compute(self, resources: Resources, bundle: str, peers: Peers) -> tuple[Mesh, World]:
        """The slow part. Touches only the Builder and the Translator, which nobody else touches."""
        mesh = self._builder.build(resources)
        return mesh, self._translator.translate(mesh, bundle, peers)

    def _publish(self, resources: Resources, mesh: Mesh, world: World, started: float) -> None:
        self._cache.publish(world, self._store.seen)
        self._status.rounds += 1
        self._status.failure = ""
        self._status.seconds = time.perf_counter() - started
        self._forget(mesh)
        self._status.resources, self._status.mesh, self._status.world = resources, mesh, world
        self._report((*resources.problems, *map(self._place, mesh.problems)))

    def _forget(self, mesh: Mesh) -> None:
        """Let leaves go that nobody needs. While a stream has one it is renewed: it must not end under traffic."""
        self._gone = (self._gone | self._status.mesh.scopes.keys()) - mesh.scopes.keys()
        unused = {identity for identity in self._gone if not self._cache.has_secrets(identity)}
        self._authority.forget(unused)
        self._gone -= unused

    @contextmanager
    def _fail_static(self) -> Iterator[None]:
        try:
            yield
        except Exception as error:
            self._status.failures += 1
            self._status.failure = f"{type(error).__name__}: {error}"
            log.exception("round failed, the last good configuration stays in force")

    def _report(self, problems: tuple[Problem, ...]) -> None:
        """Log each Problem once, when it appears and when it is gone."""
        before, now = set(self._status.problems), set(problems)
        for problem in problems:
            if problem not in before:
                log.warning("problem", severity=str(problem.severity), problem=str(problem))
        for problem in before - now:
            log.info("problem solved", problem=str(problem))
        self._status.problems = problems
