"""The controllers that tests of whole applications need. Rule: one worker, one object at a time, from the store alone.

As kube-controller-manager: EndpointSlices of Services, ReplicaSets of Deployments, pods of ReplicaSets and Jobs.
StatefulSets and DaemonSets get no pods here.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable
from typing import TYPE_CHECKING

from tests.fakes import endpoint_slices
from tests.fakes.errors import StatusError
from tests.fakes.jobs import JOBS, Jobs
from tests.fakes.kinds import Key
from tests.fakes.rollouts import DEPLOYMENTS, PODS, REPLICA_SETS, Rollouts
from tests.fakes.storage import Event, Place, StaleError, place_of

if TYPE_CHECKING:
    from tests.fakes.api import Api

Due = tuple[Key, Place]
PAUSE = 0.2  # seconds until what failed is tried again


class Controllers:
    """Listens to the store and brings about what Services, Deployments, ReplicaSets and Jobs ask for."""

    def __init__(self, api: Api) -> None:
        self._api = api
        self._due: dict[Due, None] = {}
        self._woken = asyncio.Event()
        rollouts = Rollouts(api)
        self._acts: dict[Key, Callable[[Place], Awaitable[None]]] = {
            endpoint_slices.SERVICES: self._slices,
            DEPLOYMENTS: rollouts.deployment,
            REPLICA_SETS: rollouts.replica_set,
            JOBS: Jobs(api).job,
        }
        api.store.listeners.append(self._heard)
        for key in self._acts:
            for stored in api.store.all(key):
                self._mark(key, place_of(stored.object))
        self._task = asyncio.get_running_loop().create_task(self._work())

    async def close(self) -> None:
        """Stop working."""
        self._task.cancel()
        await asyncio.gather(self._task, return_exceptions=True)

    def _mark(self, key: Key, place: Place) -> None:
        self._due[key, place] = None
        self._woken.set()

    def _heard(self, key: Key, event: Event) -> None:
        place = place_of(event.after.object)
        if key in self._acts:
            self._mark(key, place)
        for owner in event.after.object["metadata"].get("ownerReferences") or []:
            for kind, owning in (("ReplicaSet", REPLICA_SETS), ("Deployment", DEPLOYMENTS), ("Job", JOBS)):
                if owner["kind"] == kind:
                    self._mark(owning, (place[0], owner["name"]))
        for service in self._services(key, event):
            self._mark(endpoint_slices.SERVICES, service)

    def _services(self, key: Key, event: Event) -> Iterable[Place]:
        """The Services whose slices a write may change."""
        thing = event.after.object
        if key == PODS:
            return endpoint_slices.services_of(self._api, event)
        if key == endpoint_slices.NODES and event.type != "MODIFIED":
            return [place_of(each.object) for each in self._api.store.all(endpoint_slices.SERVICES)]
        name = (thing["metadata"].get("labels") or {}).get(endpoint_slices.SERVICE_NAME)
        if key == endpoint_slices.SLICES and name:
            return [(thing["metadata"]["namespace"], name)]
        return []

    async def _slices(self, place: Place) -> None:
        endpoint_slices.reconcile(self._api, place)

    async def _work(self) -> None:
        while True:
            await self._woken.wait()
            self._woken.clear()
            while self._due:
                key, place = next(iter(self._due))
                del self._due[key, place]
                try:
                    await self._acts[key](place)
                except StaleError:
                    self._mark(key, place)
                except StatusError:
                    asyncio.get_running_loop().call_later(PAUSE, self._mark, key, place)
                await asyncio.sleep(0)
