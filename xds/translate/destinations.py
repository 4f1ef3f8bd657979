"""Destinations: a listener at the service's addresses, and what comes by itself: routes (RDS), TCP shares (ECDS).

Rule: the listener's bytes depend on addresses and protocol only. Splits and weights change the other two.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from mesh.model import Destination, PodDestination, PortId, Protocol
from xds import pb
from xds.resource import Resource, encode
from xds.translate import http, naming, sockets, tcp
from xds.translate.addresses import Place
from xds.translate.chains import HTTP_PROTOCOLS, chain
from xds.translate.naming import Flavour
from xds.translate.routes import destination_routes


@dataclass(frozen=True, slots=True)
class Outbound:
    """What one Destination is made of. `uses` are the clusters it needs."""

    resources: tuple[Resource, ...]
    uses: frozenset[tuple[PortId, Flavour]]


def outbound(destination: Destination, places: Sequence[Place], detection_timeout: float) -> Outbound:
    """All of a Destination that is reached at `places`, of which there is one at least."""
    name = naming.destination(destination.id)
    listener = sockets.behind(name, places)
    speaks_http = destination.protocol is not Protocol.TCP
    speaks_tcp = not destination.protocol.is_http
    http_chain = chain("http", http.towards_destination(name))
    tcp_chain = chain("tcp", tcp.discovered(name))
    if speaks_http and speaks_tcp:
        _detect(listener, http_chain, tcp_chain, detection_timeout)
    else:
        listener.filter_chains.append(http_chain if speaks_http else tcp_chain)
    resources = [encode(name, listener)]
    if speaks_http:
        resources.append(destination_routes(destination))
    if speaks_tcp:
        resources.append(tcp.split(name, destination.tcp_shares))
    return Outbound(tuple(resources), _uses(destination, speaks_http=speaks_http, speaks_tcp=speaks_tcp))


def _uses(destination: Destination, *, speaks_http: bool, speaks_tcp: bool) -> frozenset[tuple[PortId, Flavour]]:
    by_http = [(share.backend, Flavour.HTTP) for route in destination.routes for share in route.shares]
    by_tcp = [(share.backend, Flavour.TCP) for share in destination.tcp_shares]
    return frozenset((by_http if speaks_http else []) + (by_tcp if speaks_tcp else []))


def pod_listener(pod: PodDestination, place: Place, protocol: Protocol, detection_timeout: float) -> Resource:
    """A meshed pod at its own address (rule H5). Bytes pass as they are; the server's sidecar understands them."""
    name = naming.pod_listener(pod)
    listener = sockets.behind(name, [place])
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
