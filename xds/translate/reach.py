"""What callers are told about: the outbound half of the World, chosen for each Scope (rule A16).

Rule: no two listeners get the same address, and none gets an address Envoy would refuse, for one such listener would
keep all others of its update from being accepted (rule F6, P9 and P10 of docs/xds.md).
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import TypeVar

from mesh.model import Backend, Destination, Endpoint, Identity, Mesh, PodDestination, PodId, PortId, Protocol, Scope
from xds.resource import CLUSTER, ENDPOINTS, EXTENSION, LISTENER, ROUTES, Resource
from xds.snapshot import Named
from xds.translate import clusters
from xds.translate.addresses import canonical
from xds.translate.destinations import Outbound, Place, outbound, pod_listener
from xds.translate.endpoints import backend_endpoints
from xds.translate.leaves import Leaves
from xds.translate.naming import Flavour
from xds.translate.settings import TranslateSettings

Use = tuple[PortId, Flavour]
PodPort = tuple[PodId, int]
Peer = tuple[Identity, Flavour]
Asked = tuple[int, tuple[str, ...]]
Key = TypeVar("Key", PortId, PodPort)


@dataclass(frozen=True, slots=True)
class Everything:
    """All outbound Resources of one round, by what they are about."""

    destinations: Mapping[PortId, Outbound]
    flavours: Mapping[PortId, Iterable[Flavour]]
    clusters: Mapping[Use, Resource]
    endpoints: Mapping[Use, Resource]
    pods: Mapping[PodPort, Resource]
    pod_ports: Mapping[PodId, tuple[PodDestination, ...]]
    pod_clusters: Mapping[Peer, Resource]

    def within(self, scope: Scope) -> Mapping[str, Named]:
        """What callers of this scope have, by type."""
        reached = [self.destinations[port] for port in scope.destinations if port in self.destinations]
        uses = [(port, flavour) for port in scope.backends for flavour in self.flavours.get(port, ())]
        pods = [pod for name in scope.pods for pod in self.pod_ports.get(name, ())]
        peers = {(pod.identity, flavour) for pod in pods for flavour in Flavour}
        listeners = [made.listener for made in reached]
        listeners += [self.pods[key] for pod in pods if (key := (pod.pod, pod.port)) in self.pods]
        used = [self.clusters[use] for use in uses if use in self.clusters]
        return {
            CLUSTER: _named([*used, *(self.pod_clusters[peer] for peer in peers)]),
            ENDPOINTS: _named(self.endpoints[use] for use in uses if use in self.endpoints),
            LISTENER: _named(listeners),
            ROUTES: _named(made.routes for made in reached if made.routes),
            EXTENSION: _named(made.tcp_filter for made in reached if made.tcp_filter),
        }


class Outside:
    """Makes Everything, round after round."""

    def __init__(self, settings: TranslateSettings) -> None:
        timeout = settings.detection_timeout
        self._places = Leaves[PortId, Asked, tuple[Place, ...]](_places)
        self._pod_places = Leaves[PodPort, Asked, tuple[Place, ...]](_places)
        self._destinations = Leaves[PortId, tuple[Destination, tuple[Place, ...]], Outbound](
            lambda leaf: outbound(*leaf, timeout)
        )
        self._clusters = Leaves[Use, tuple[Backend, Flavour], Resource](lambda leaf: clusters.backend_cluster(*leaf))
        self._endpoints = Leaves[Use, tuple[PortId, Flavour, tuple[Endpoint, ...]], Resource](
            lambda leaf: backend_endpoints(*leaf)
        )
        self._pods = Leaves[PodPort, tuple[PodDestination, Place, Protocol], Resource](
            lambda leaf: pod_listener(*leaf, timeout)
        )
        self._pod_clusters = Leaves[Peer, Peer, Resource](lambda leaf: clusters.pod_cluster(*leaf))

    def __call__(self, mesh: Mesh) -> Everything:
        """All of this Mesh."""
        taken: set[Place] = set()
        asked = {port: (port.port, made.addresses) for port, made in mesh.destinations.items()}
        free = _first_come(self._places(asked), taken)
        pods = {(pod.pod, pod.port): pod for ports in mesh.pods.values() for pod in ports}
        asked_by_pods = {key: (pod.port, (pod.address,)) for key, pod in pods.items()}
        free_pods = _first_come(self._pod_places(asked_by_pods), taken)
        destinations = self._destinations({port: (mesh.destinations[port], mine) for port, mine in free.items()})
        flavours = _flavours(destinations.values())
        uses = [(port, flavour) for port, used in flavours.items() for flavour in used if port in mesh.backends]
        spoken = _protocols(mesh)
        peers = [(identity, flavour) for identity in {pod.identity for pod in pods.values()} for flavour in Flavour]
        return Everything(
            destinations=destinations,
            flavours=flavours,
            clusters=self._clusters({use: (mesh.backends[use[0]], use[1]) for use in uses}),
            endpoints=self._endpoints({use: (*use, mesh.endpoints.get(use[0], ())) for use in uses}),
            pods=self._pods(
                {key: (pods[key], mine[0], spoken.get(key, Protocol.TCP)) for key, mine in free_pods.items()}
            ),
            pod_ports=mesh.pods,
            pod_clusters=self._pod_clusters({peer: peer for peer in peers}),
        )


def _places(asked: Asked) -> tuple[Place, ...]:
    port, addresses = asked
    return tuple(place for address in addresses if (place := canonical(address, port)))


def _first_come(asked: Mapping[Key, tuple[Place, ...]], taken: set[Place]) -> dict[Key, tuple[Place, ...]]:
    """Each place to the first key that asks for it, in the keys' order, so that every replica decides the same."""
    given = {}
    for key in sorted(asked):
        mine = tuple(place for place in dict.fromkeys(asked[key]) if place not in taken)
        if mine:
            given[key] = mine
            taken.update(mine)
    return given


def _flavours(made: Iterable[Outbound]) -> Mapping[PortId, set[Flavour]]:
    """The clusters each Backend needs: by how it is used, which is not always by what it speaks."""
    found: defaultdict[PortId, set[Flavour]] = defaultdict(set)
    for one in made:
        for backend, flavour in one.uses:
            found[backend].add(flavour)
    return found


def _protocols(mesh: Mesh) -> Mapping[PodPort, Protocol]:
    """What is spoken on the ports of meshed pods."""
    spoken = {name: {port.port: port.protocol for port in workload.ports} for name, workload in mesh.workloads.items()}
    return {
        (pod, port): protocol
        for pod, workload in mesh.proxies.items()
        for port, protocol in spoken.get(workload, {}).items()
    }


def _named(resources: Iterable[Resource]) -> Named:
    return {resource.name: resource for resource in resources}
