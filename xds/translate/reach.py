"""What callers are told about: the outbound half of the World, chosen for each Scope (rule A16).

Rule: what changes fast (endpoints) is apart from what changes slowly (all else), so that an endpoint that comes or goes
costs one cluster's endpoints and a look at each scope, whatever the mesh's size.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from types import MappingProxyType

from mesh.model import (
    Backend,
    Destination,
    Endpoint,
    Identity,
    Mesh,
    PodDestination,
    PodId,
    PortId,
    Protocol,
    Scope,
)
from mesh.remember import Remembered, RememberedMap
from xds.resource import CLUSTER, ENDPOINTS, EXTENSION, LISTENER, ROUTES, Resource
from xds.snapshot import Named
from xds.translate import clusters, naming
from xds.translate.addresses import Place, first_come, places
from xds.translate.destinations import Outbound, outbound, pod_listener
from xds.translate.endpoints import backend_endpoints
from xds.translate.naming import Flavour
from xds.translate.settings import TranslateSettings

Use = tuple[PortId, Flavour]
PodPort = tuple[PodId, int]
Peer = tuple[Identity, Flavour]
Reach = Mapping[str, Named]
"""What a caller is told about, by type."""
Slow = tuple[
    Mapping[PortId, Destination],
    Mapping[PortId, Backend],
    Mapping[PodId, tuple[PodDestination, ...]],
    frozenset[PodPort],
    frozenset[Scope],
]
"""Destinations, backends, pods, the pods' ports of unknown protocol, and the scopes."""


@dataclass(frozen=True, slots=True)
class Skeleton:
    """All but the endpoints. `clusters` are the names that have endpoints; a scope's are in `reaches`, type CLUSTER."""

    clusters: Mapping[str, Use]
    reaches: Mapping[Scope, Reach]


class Outside:
    """Makes the Reach of every Scope, round after round; what did not change is the very same object."""

    def __init__(self, settings: TranslateSettings) -> None:
        timeout = settings.detection_timeout
        self._skeleton = Remembered[Slow, Skeleton](lambda slow: self._slow(*slow))
        self._destinations = RememberedMap[PortId, tuple[Destination, tuple[Place, ...]], Outbound](
            lambda leaf: outbound(*leaf, timeout)
        )
        self._places = RememberedMap[PortId, tuple[int, tuple[str, ...]], tuple[Place, ...]](lambda leaf: places(*leaf))
        self._pods = RememberedMap[PodPort, tuple[PodDestination, Place, Protocol], Resource](
            lambda leaf: pod_listener(*leaf, timeout)
        )
        self._pod_places = RememberedMap[PodPort, tuple[int, tuple[str, ...]], tuple[Place, ...]](
            lambda leaf: places(*leaf)
        )
        self._clusters = RememberedMap[Use, tuple[Backend, Flavour], Resource](
            lambda leaf: clusters.backend_cluster(*leaf)
        )
        self._pod_clusters = RememberedMap[Peer, Peer, Resource](lambda leaf: clusters.pod_cluster(*leaf))
        self._endpoints = RememberedMap[str, tuple[PortId, Flavour, tuple[Endpoint, ...]], Resource](
            lambda leaf: backend_endpoints(*leaf)
        )
        self._reaches = RememberedMap[Scope, tuple[Reach, tuple[Resource, ...]], Reach](lambda leaf: _with(*leaf))

    def __call__(self, mesh: Mesh) -> Mapping[Scope, Reach]:
        """The Reach of each Scope of this Mesh."""
        slow = (mesh.destinations, mesh.backends, mesh.pods, _undeclared(mesh), frozenset(mesh.scopes.values()))
        skeleton = self._skeleton(slow)
        endpoints = self._endpoints(
            {name: (*use, mesh.endpoints.get(use[0], ())) for name, use in skeleton.clusters.items()}
        )
        return self._reaches(
            {
                scope: (reach, tuple(endpoints[name] for name in reach[CLUSTER] if name in endpoints))
                for scope, reach in skeleton.reaches.items()
            }
        )

    def _slow(
        self,
        destinations: Mapping[PortId, Destination],
        backends: Mapping[PortId, Backend],
        pods: Mapping[PodId, tuple[PodDestination, ...]],
        undeclared: frozenset[PodPort],
        scopes: frozenset[Scope],
    ) -> Skeleton:
        taken: set[Place] = set()
        asked = self._places({port: (port.port, made.addresses) for port, made in destinations.items()})
        reached = self._destinations(
            {port: (destinations[port], mine) for port, mine in first_come(asked, taken).items()}
        )
        listeners = self._pod_listeners(pods, undeclared, taken)
        uses = _uses(reached.values())
        wanted = [(port, flavour) for port, used in uses.items() for flavour in sorted(used) if port in backends]
        made = self._clusters({use: (backends[use[0]], use[1]) for use in wanted})
        return Skeleton(
            clusters={naming.backend_cluster(*use): use for use in wanted},
            reaches={
                scope: _named_by_type(
                    [
                        *_of_destinations(scope, reached),
                        *(made[use] for port in scope.backends for use in _each(port, uses) if use in made),
                        *(resource for pod in scope.pods for resource in listeners.get(pod, ())),
                    ]
                )
                for scope in scopes
            },
        )

    def _pod_listeners(
        self, pods: Mapping[PodId, tuple[PodDestination, ...]], undeclared: frozenset[PodPort], taken: set[Place]
    ) -> Mapping[PodId, list[Resource]]:
        """The listeners of each pod, and the clusters they lead to."""
        ports = {(pod.pod, pod.port): pod for every in pods.values() for pod in every}
        asked = self._pod_places({key: (pod.port, (pod.address,)) for key, pod in ports.items()})
        made = self._pods(
            {
                key: (ports[key], mine[0], Protocol.DETECT if key in undeclared else Protocol.TCP)
                for key, mine in first_come(asked, taken).items()
            }
        )
        peers = {(pod.identity, flavour) for pod in ports.values() for flavour in Flavour}
        leads_to = self._pod_clusters({peer: peer for peer in peers})
        found: defaultdict[PodId, list[Resource]] = defaultdict(list)
        for key, listener in made.items():
            found[key[0]] += [listener, *(leads_to[ports[key].identity, flavour] for flavour in Flavour)]
        return found


def _undeclared(mesh: Mesh) -> frozenset[PodPort]:
    """The ports of meshed pods where HTTP has to be told from TCP by looking."""
    ports = {
        name: [port.port for port in workload.ports if port.protocol is Protocol.DETECT]
        for name, workload in mesh.workloads.items()
    }
    return frozenset((pod, port) for pod, workload in mesh.proxies.items() for port in ports.get(workload, ()))


def _uses(made: Iterable[Outbound]) -> Mapping[PortId, set[Flavour]]:
    """The clusters each Backend needs: by how it is used, which is not always by what it speaks."""
    found: defaultdict[PortId, set[Flavour]] = defaultdict(set)
    for one in made:
        for backend, flavour in one.uses:
            found[backend].add(flavour)
    return found


def _each(port: PortId, uses: Mapping[PortId, set[Flavour]]) -> Iterable[Use]:
    return [(port, flavour) for flavour in uses.get(port, ())]


def _of_destinations(scope: Scope, reached: Mapping[PortId, Outbound]) -> Iterable[Resource]:
    for port in scope.destinations:
        if port in reached:
            yield from reached[port].resources


def _named_by_type(resources: Iterable[Resource]) -> Reach:
    found: dict[str, dict[str, Resource]] = {kind: {} for kind in (CLUSTER, LISTENER, ROUTES, EXTENSION)}
    for resource in resources:
        found[resource.type_url][resource.name] = resource
    return {kind: MappingProxyType(named) for kind, named in found.items()}


def _with(reach: Reach, endpoints: tuple[Resource, ...]) -> Reach:
    return {**reach, ENDPOINTS: MappingProxyType({resource.name: resource for resource in endpoints})}
