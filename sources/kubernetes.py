"""Objects from a Kubernetes API server, followed live.

Rule: nothing is served before every kind that the server has was read whole; from then on what is known stays in
force until the server says otherwise, however long it is away. It only ever reads: get, list, watch.
"""

from __future__ import annotations

import asyncio
import time
from typing import Final

from kube.client import Client
from kube.clock import SYSTEM_CLOCK, Clock
from kube.collection import Key
from kube.discovery import Served
from kube.problem import Problem, Ref
from smi.decode import Read
from smi.resources import Anything, Resources
from sources.following import Following, KindSource
from sources.store import Store
from sources.upstream import KindState, Upstream

_SPECS: Final = ("v1alpha4", "v1alpha3", "v1alpha2", "v1alpha1")

KINDS: Final = (
    KindSource("Namespace", Served("v1", "/api/v1/namespaces")),
    KindSource("ServiceAccount", Served("v1", "/api/v1/serviceaccounts")),
    KindSource("Service", Served("v1", "/api/v1/services")),
    KindSource("Pod", Served("v1", "/api/v1/pods")),
    KindSource("EndpointSlice", Served("discovery.k8s.io/v1", "/apis/discovery.k8s.io/v1/endpointslices")),
    KindSource("Deployment", Served("apps/v1", "/apis/apps/v1/deployments")),
    KindSource("StatefulSet", Served("apps/v1", "/apis/apps/v1/statefulsets")),
    KindSource("TrafficSplit", group="split.smi-spec.io", versions=("v1alpha4", "v1alpha3", "v1alpha2", "v1alpha1")),
    KindSource("TrafficTarget", group="access.smi-spec.io", versions=("v1alpha3", "v1alpha2", "v1alpha1")),
    KindSource("IdentityBinding", group="access.smi-spec.io", versions=("v1alpha4",)),
    KindSource("HTTPRouteGroup", group="specs.smi-spec.io", versions=_SPECS),
    KindSource("TCPRoute", group="specs.smi-spec.io", versions=_SPECS),
    KindSource("UDPRoute", group="specs.smi-spec.io", versions=_SPECS[:1]),
    KindSource("EgressPolicy", group="weft.dev", versions=("v1alpha1",)),
)
"""Every kind that is read, with where it is found."""

SHARE: Final = 4
"""A handover is followed by a pause this many times as long: handovers never take more than a fifth of a core."""


class KubernetesSource:
    """Reads everything the mesh is made of from the API server of this client."""

    def __init__(self, client: Client, clock: Clock = SYSTEM_CLOCK) -> None:
        self._client = client
        self._clock = clock
        self.upstream = Upstream(clock.now, {each.kind: KindState() for each in KINDS})
        self._objects: dict[Ref, Anything] = {}
        self._problems: dict[Ref, tuple[Problem, ...]] = {}
        self._unread: set[Ref] = set()
        self._news = asyncio.Event()

    def placed(self, problem: Problem) -> Problem:
        """The same Problem: an object of a cluster stands in no line of a file."""
        return problem

    def current(self) -> Resources:
        """Everything as it is known now."""
        problems = (problem for ref in sorted(self._problems) for problem in self._problems[ref])
        return Resources(dict(self._objects), tuple(problems), frozenset(self._unread))

    def get(self, ref: Ref) -> Anything | None:
        """One object as it is known now, perhaps before the store has it."""
        return self._objects.get(ref)

    async def run(self, store: Store) -> None:
        """Keep the store at what the API server says, until cancelled."""
        async with asyncio.TaskGroup() as tasks:
            for each in KINDS:
                following = Following(self._client, each, self.upstream, self._clock, self)
                tasks.create_task(following.run(), name=f"follow {each.kind}")
            while True:
                await self._news.wait()
                self._news.clear()
                started = time.perf_counter()
                if not self.upstream.waiting:
                    store.replace(self.current())
                await asyncio.sleep(SHARE * (time.perf_counter() - started))

    def settled(self) -> None:
        """A kind was read for the first time, or is known not to be there."""
        self._news.set()

    def changed(self, kind: str, key: Key, found: Read | None) -> None:
        """One object is another now, or gone."""
        ref = Ref(kind, *key)
        self._objects.pop(ref, None)
        self._problems.pop(ref, None)
        self._unread.discard(ref)
        if found is not None and found.object is not None:
            self._objects[ref] = found.object
        elif found is not None:
            self._unread.add(ref)
        if found is not None and found.problems:
            self._problems[ref] = found.problems
        self._news.set()
