"""Endpoints: the fast-changing half of a Backend."""

from __future__ import annotations

from collections.abc import Iterable

from mesh.model import Endpoint, PortId
from xds import pb
from xds.resource import Resource, encode
from xds.translate import naming
from xds.translate.addresses import canonical, socket_address
from xds.translate.naming import Flavour
from xds.translate.transport import MATCH_METADATA, PLAINTEXT


def backend_endpoints(backend: PortId, flavour: Flavour, endpoints: Iterable[Endpoint]) -> Resource:
    """The ready ones, each address once, sorted. None at all: requests get 503 (rule T13)."""
    name = naming.backend_cluster(backend, flavour)
    unique = {place: e for e in endpoints if e.ready and (place := canonical(e.address, e.port))}
    hosts = [_host(*place, meshed=unique[place].identity is not None) for place in sorted(unique)]
    localities = [pb.LocalityLbEndpoints(lb_endpoints=hosts)] if hosts else []
    return encode(name, pb.ClusterLoadAssignment(cluster_name=name, endpoints=localities))


def _host(address: str, port: int, *, meshed: bool) -> pb.LbEndpoint:
    host = pb.LbEndpoint(endpoint=pb.Endpoint(address=socket_address(address, port)))
    if not meshed:
        host.metadata.filter_metadata[MATCH_METADATA].update({PLAINTEXT: True})
    return host
