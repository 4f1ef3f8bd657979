"""Meshed pods reached by their own addresses (rule H5): a listener for each port, a cluster for each identity.

Rule: nothing here changes with endpoints, routes or rules.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from mesh.model import Identity, Mesh, PodDestination, PodId, Protocol, Workload
from mesh.remember import Joined, Remembered, RememberedMap
from xds.peers import NO_PEERS, Peers
from xds.resource import Resource
from xds.translate import clusters
from xds.translate.addresses import Place, places
from xds.translate.certificates import Certificates
from xds.translate.destinations import pod_listener
from xds.translate.naming import Flavour

PodPort = tuple[PodId, int]
Peer = tuple[Identity, Flavour]
Ports = Mapping[PodPort, PodDestination]
FLAVOURS: Final = (Flavour.HTTP, Flavour.TCP)
"""Bytes pass as they are to a pod's own address, so nothing is carried in anything."""
Leaf = tuple[PodDestination, tuple[Place, ...], Protocol]
"""A pod's port, where it listens, and what is spoken there."""


@dataclass(frozen=True, slots=True)
class Listeners:
    """The listeners of all pods' ports, and the clusters of the identities they lead to."""

    ports: Ports
    listeners: Mapping[PodPort, Resource]
    clusters: Mapping[Peer, Resource]


@dataclass(frozen=True, slots=True)
class Reachable:
    """By pod: its listeners, and the clusters those lead to."""

    listeners: dict[PodId, tuple[Resource, ...]]
    clusters: dict[PodId, tuple[Resource, ...]]


class Pods:
    """Makes what pods are reached by, and remembers it between rounds."""

    def __init__(self, detection_timeout: float, certificates: Certificates) -> None:
        self._ports = Remembered(_ports)
        self._places = RememberedMap[PodPort, PodDestination, tuple[Place, ...]](
            lambda pod: places(pod.port, pod.addresses)
        )
        self._detecting = RememberedMap[str, Workload, tuple[int, ...]](_detecting)
        self._protocols = Remembered(_protocols)
        self._leaves = Joined[PodPort, Leaf](_leaf)
        self._listeners = RememberedMap[PodPort, Leaf, Resource](lambda leaf: pod_listener(*leaf, detection_timeout))
        self._peers = Remembered(_peers)
        self._clusters = RememberedMap[Peer, tuple[Identity, Flavour, Peers], Resource](
            lambda leaf: clusters.pod_cluster(*leaf, certificates)
        )
        self._reachable = Remembered(_reachable)

    def places(self, mesh: Mesh) -> Mapping[PodPort, tuple[Place, ...]]:
        """Where each port of a pod would listen."""
        return self._places(self._ports(mesh.pods))

    def __call__(self, mesh: Mesh, given: Mapping[PodPort, tuple[Place, ...]], peers: Peers = NO_PEERS) -> Reachable:
        """What leads to the pods, each port at the places given to it."""
        ports = self._ports(mesh.pods)
        protocols = self._protocols((self._detecting(mesh.workloads), mesh.proxies))
        listeners = self._listeners(self._leaves(given, ports, protocols))
        return self._reachable(Listeners(ports, listeners, self._clusters(self._peers((ports, peers)))))


def _ports(pods: Mapping[PodId, tuple[PodDestination, ...]]) -> Ports:
    return {(pod.pod, pod.port): pod for every in pods.values() for pod in every}


def _detecting(workload: Workload) -> tuple[int, ...]:
    """The ports of a workload where HTTP has to be told from TCP by looking."""
    return tuple(port.port for port in workload.ports if port.protocol is Protocol.DETECT)


def _protocols(given: tuple[Mapping[str, tuple[int, ...]], Mapping[PodId, str]]) -> Mapping[PodPort, Protocol]:
    """The protocol of the ports that have to be looked into; of all others it does not matter."""
    detecting, proxies = given
    return {(pod, port): Protocol.DETECT for pod, workload in proxies.items() for port in detecting.get(workload, ())}


def _leaf(mine: tuple[Place, ...], pod: PodDestination, protocol: Protocol | None) -> Leaf:
    return pod, mine, protocol or Protocol.TCP


def _peers(given: tuple[Ports, Peers]) -> Mapping[Peer, tuple[Identity, Flavour, Peers]]:
    ports, peers = given
    met = ((pod.identity, flavour) for pod in ports.values() for flavour in FLAVOURS)
    return {each: (*each, peers) for each in met}


def _reachable(made: Listeners) -> Reachable:
    listeners: defaultdict[PodId, tuple[Resource, ...]] = defaultdict(tuple)
    leads_to: dict[PodId, tuple[Resource, ...]] = {}
    for key, listener in made.listeners.items():
        listeners[key[0]] += (listener,)
        identity = made.ports[key].identity
        leads_to[key[0]] = tuple(made.clusters[identity, flavour] for flavour in FLAVOURS)
    return Reachable(dict(listeners), leads_to)
