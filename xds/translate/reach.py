"""What callers are told about: the outbound half of the World, chosen for each Scope (rule A16).

Rule: every kind of thing is made, and chosen for the scopes, apart from the others, so that an endpoint that comes or
goes costs one cluster's endpoints and a look at what endpoints each scope has, and a split the same for routes.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from operator import attrgetter
from types import MappingProxyType
from typing import Any

from mesh.model import Backend, Destination, Endpoint, Mesh, PodId, PortId, Protocol, Scope
from mesh.remember import Joined, Remembered, RememberedMap
from xds.peers import NO_PEERS, Peers
from xds.resource import CLUSTER, ENDPOINTS, EXTENSION, LISTENER, ROUTES, Resource
from xds.snapshot import Named
from xds.translate import clusters, destinations
from xds.translate.addresses import Place, first_come, places
from xds.translate.endpoints import backend_endpoints
from xds.translate.naming import Flavour
from xds.translate.pods import PodPort, Pods
from xds.translate.routes import Requests
from xds.translate.settings import TranslateSettings

Use = tuple[PortId, Flavour]
Reach = Mapping[str, Named]
"""What a caller is told about, by type."""
Each = Mapping[Scope, Iterable[Any]]
"""What each scope has of one kind."""


@dataclass(frozen=True, slots=True)
class Asked:
    """Who wants to listen where: Destinations first, then pods."""

    destinations: Mapping[PortId, tuple[Place, ...]]
    pods: Mapping[PodPort, tuple[Place, ...]]


@dataclass(frozen=True, slots=True)
class Choice:
    """What is to be told: of `made` those whose keys a scope has in `keys`, and all it has in `besides`."""

    keys: Each
    made: Mapping[Any, Resource | None]
    besides: Each


class Outside:
    """Makes the Reach of every Scope, round after round; what did not change is the very same object."""

    def __init__(self, settings: TranslateSettings) -> None:
        timeout = settings.detection_timeout
        self._places = RememberedMap[PortId, Destination, tuple[Place, ...]](
            lambda made: places(made.id.port, made.addresses)
        )
        self._servers = Remembered[Peers, Peers](attrgetter("servers"))
        self._given = Remembered(_given)
        self._fronts = Joined[PortId, destinations.Front](destinations.front)
        self._listeners = RememberedMap[PortId, destinations.Front, Resource](
            lambda front: destinations.listener(front, timeout, settings.observing)
        )
        self._carried = Remembered(_carried)
        self._carried_each = Remembered(_for_each)
        self._requests = Joined[PortId, Requests | None](destinations.requests)
        self._routes = RememberedMap[PortId, Requests | None, Resource | None](destinations.routes)
        self._connections = Joined[PortId, destinations.Connections | None](destinations.connections)
        self._filters = RememberedMap[PortId, destinations.Connections | None, Resource | None](destinations.tcp_filter)
        self._used = RememberedMap[PortId, frozenset[Use], frozenset[Use]](lambda uses: uses)
        self._uses = Joined[PortId, frozenset[Use]](destinations.uses)
        self._by_backend = Remembered(_by_backend)
        self._clusters = RememberedMap[Use, tuple[Backend, Flavour, Peers], Resource](
            lambda leaf: clusters.backend_cluster(*leaf, settings.certificates)
        )
        self._endpoints = RememberedMap[Use, tuple[PortId, Flavour, tuple[Endpoint, ...]], Resource](
            lambda leaf: backend_endpoints(*leaf)
        )
        self._pods = Pods(timeout, settings.certificates)
        self._destinations_of = Remembered(_destinations_of)
        self._uses_of = Remembered(_uses_of)
        self._listeners_told, self._clusters_told = Remembered(_pods_told), Remembered(_pods_told)
        self._told = {kind: Remembered(_told) for kind in (CLUSTER, ENDPOINTS, LISTENER, ROUTES, EXTENSION)}
        self._reaches = Joined[Scope, Reach](lambda *named: dict(zip(self._told, named, strict=True)))

    def __call__(self, mesh: Mesh, peers: Peers = NO_PEERS) -> Mapping[Scope, Reach]:
        """The Reach of each Scope of this Mesh."""
        scopes, servers = frozenset(mesh.scopes.values()), self._servers(peers)
        given = self._given(Asked(self._places(mesh.destinations), self._pods.places(mesh)))
        listeners = self._listeners(self._fronts(given.destinations, mesh.destinations))
        carried = self._carried_each((given.destinations, self._carried(mesh.backends)))
        requests = self._requests(given.destinations, mesh.destinations, carried)
        connections = self._connections(given.destinations, mesh.destinations)
        uses = self._by_backend((self._used(self._uses(requests, connections)), mesh.backends))
        pods = self._pods(mesh, given.pods, servers)
        ports, wanted = self._destinations_of(scopes), self._uses_of((scopes, uses))
        nothing: Each = dict.fromkeys(scopes, ())
        choices = {
            CLUSTER: Choice(
                wanted,
                self._clusters(_backends(uses, mesh, servers)),
                self._clusters_told((scopes, pods.clusters)),
            ),
            ENDPOINTS: Choice(wanted, self._endpoints(_endpoints(uses, mesh)), nothing),
            LISTENER: Choice(ports, listeners, self._listeners_told((scopes, pods.listeners))),
            ROUTES: Choice(ports, self._routes(requests), nothing),
            EXTENSION: Choice(ports, self._filters(connections), nothing),
        }
        return self._reaches(*(self._told[kind](choice) for kind, choice in choices.items()))


def _given(asked: Asked) -> Asked:
    """Each address to the first that asks for it; those that get none are left out."""
    taken: set[Place] = set()
    return Asked(first_come(asked.destinations, taken), first_come(asked.pods, taken))


def _carried(backends: Mapping[PortId, Backend]) -> frozenset[PortId]:
    """The Backends that are spoken to in HTTP/2 whatever their callers speak (docs/decisions/0100)."""
    return frozenset(
        port for port, backend in backends.items() if backend.all_meshed and backend.protocol is Protocol.HTTP
    )


def _for_each(given: tuple[Mapping[PortId, Any], frozenset[PortId]]) -> Mapping[PortId, frozenset[PortId]]:
    keys, same = given
    return dict.fromkeys(keys, same)


def _by_backend(made: tuple[Mapping[PortId, frozenset[Use]], Mapping[PortId, Backend]]) -> Mapping[PortId, list[Use]]:
    """The clusters each Backend needs: by how it is used, which is not always by what it speaks."""
    found: defaultdict[PortId, set[Use]] = defaultdict(set)
    for uses in made[0].values():
        for use in uses:
            found[use[0]].add(use)
    return {backend: sorted(uses) for backend, uses in found.items() if backend in made[1]}


def _backends(
    uses: Mapping[PortId, list[Use]], mesh: Mesh, peers: Peers
) -> Mapping[Use, tuple[Backend, Flavour, Peers]]:
    return {use: (mesh.backends[backend], use[1], peers) for backend, mine in uses.items() for use in mine}


def _endpoints(
    uses: Mapping[PortId, list[Use]], mesh: Mesh
) -> Mapping[Use, tuple[PortId, Flavour, tuple[Endpoint, ...]]]:
    return {use: (*use, mesh.endpoints.get(backend, ())) for backend, mine in uses.items() for use in mine}


def _destinations_of(scopes: frozenset[Scope]) -> Each:
    return {scope: scope.destinations for scope in scopes}


def _uses_of(given: tuple[frozenset[Scope], Mapping[PortId, list[Use]]]) -> Each:
    scopes, uses = given
    return {scope: [use for backend in scope.backends for use in uses.get(backend, ())] for scope in scopes}


def _pods_told(given: tuple[frozenset[Scope], Mapping[PodId, tuple[Resource, ...]]]) -> Each:
    scopes, made = given
    return {scope: [resource for pod in scope.pods for resource in made.get(pod, ())] for scope in scopes}


def _told(choice: Choice) -> Mapping[Scope, Named]:
    """What each scope is told, by name."""
    made, besides = choice.made, choice.besides
    return {
        scope: MappingProxyType({each.name: each for each in (*map(made.get, keys), *besides[scope]) if each})
        for scope, keys in choice.keys.items()
    }
