"""Destinations: a listener at the service's addresses, and what comes by itself: routes (RDS), TCP shares (ECDS).

Rule: each of the three is a leaf of its own, given nothing but what stands in it: a listener is not encoded again
because a split changed.
"""

from __future__ import annotations

from dataclasses import dataclass

from mesh.model import Destination, PodDestination, PortId, Protocol, Share
from xds import pb
from xds.resource import Resource, encode
from xds.translate import http, naming, sockets, tcp
from xds.translate.addresses import Place
from xds.translate.chains import HTTP_PROTOCOLS, chain
from xds.translate.naming import Flavour
from xds.translate.observing import UNOBSERVED, Observing
from xds.translate.routes import Requests, destination_routes


@dataclass(frozen=True, slots=True)
class Front:
    """What a Destination's listener is made of; it is reached at `places`, of which there is one at least."""

    places: tuple[Place, ...]
    id: PortId
    protocol: Protocol


@dataclass(frozen=True, slots=True)
class Connections:
    """Where a Destination's connections go that are not looked into."""

    id: PortId
    shares: tuple[Share, ...]


def front(places: tuple[Place, ...], destination: Destination) -> Front:
    """What the listener is told of a Destination."""
    return Front(places, destination.id, destination.protocol)


def listener(front: Front, detection_timeout: float, observing: Observing = UNOBSERVED) -> Resource:
    """The listener at a Destination's addresses."""
    name = naming.destination(front.id)
    listener = sockets.behind(name, front.places)
    speaks_http = front.protocol is not Protocol.TCP
    speaks_tcp = not front.protocol.is_http
    http_chain = chain("http", http.towards_destination(name, observing))
    tcp_chain = chain("tcp", tcp.discovered(name))
    if speaks_http and speaks_tcp:
        _detect(listener, http_chain, tcp_chain, detection_timeout)
    else:
        listener.filter_chains.append(http_chain if speaks_http else tcp_chain)
    return encode(name, listener)


def requests(_places: tuple[Place, ...], destination: Destination, carried: frozenset[PortId]) -> Requests | None:
    """What the routes are told of a Destination; None where no request can be seen. `carried`: of all Backends."""
    if destination.protocol is Protocol.TCP:
        return None
    backends = {share.backend for route in destination.routes for share in route.shares}
    return Requests(destination.id, destination.routes, carried & backends)


def routes(requests: Requests | None) -> Resource | None:
    """The route configuration of a Destination."""
    return destination_routes(requests) if requests else None


def connections(_places: tuple[Place, ...], destination: Destination) -> Connections | None:
    """What the TCP filter is told of a Destination; None where everything is HTTP."""
    return Connections(destination.id, destination.tcp_shares) if not destination.protocol.is_http else None


def tcp_filter(connections: Connections | None) -> Resource | None:
    """The TCP filter of a Destination."""
    return tcp.split(naming.destination(connections.id), connections.shares) if connections else None


def uses(requests: Requests | None, connections: Connections | None) -> frozenset[tuple[PortId, Flavour]]:
    """The clusters a Destination needs."""
    by_http = (
        [(share.backend, requests.flavour(share.backend)) for route in requests.routes for share in route.shares]
        if requests
        else []
    )
    by_tcp = [(share.backend, Flavour.TCP) for share in (connections.shares if connections else ())]
    return frozenset(by_http + by_tcp)


def pod_listener(
    pod: PodDestination, places: tuple[Place, ...], protocol: Protocol, detection_timeout: float
) -> Resource:
    """A meshed pod at its own addresses (rule H5). Bytes pass as they are; the server's sidecar understands them."""
    name = naming.pod_listener(pod)
    listener = sockets.behind(name, places)
    as_tcp = chain("tcp", tcp.towards(naming.pod_cluster(pod.identity, Flavour.TCP), name))
    if protocol is Protocol.DETECT:
        as_http = chain("http", tcp.towards(naming.pod_cluster(pod.identity, Flavour.HTTP), name))
        _detect(listener, as_http, as_tcp, detection_timeout)
    else:
        listener.filter_chains.append(as_tcp)
    return encode(name, listener)


def _detect(listener: pb.Listener, as_http: pb.FilterChain, as_tcp: pb.FilterChain, detection_timeout: float) -> None:
    """Connections that begin like HTTP take one chain, all others and those that stay silent the other (rule H2)."""
    listener.listener_filters.append(sockets.http_inspector())
    sockets.wait_at_most(listener, detection_timeout)
    as_http.filter_chain_match.application_protocols.extend(HTTP_PROTOCOLS)
    listener.filter_chains.append(as_http)
    listener.default_filter_chain.CopyFrom(as_tcp)
