"""Endpoints: the fast-changing half of a Backend."""

from __future__ import annotations

from collections.abc import Iterable

from kube.workload import workload_of
from mesh.model import Endpoint, PortId
from xds import pb
from xds.resource import Resource, encode
from xds.translate import naming, telemetry
from xds.translate.addresses import canonical, socket_address
from xds.translate.naming import Flavour
from xds.translate.transport import MATCH_METADATA, PLAINTEXT


def backend_endpoints(backend: PortId, flavour: Flavour, endpoints: Iterable[Endpoint]) -> Resource:
    """The ready ones, each address once, sorted. None at all: requests get 503 (rule T13).

    What is carried in HTTP/2 never goes to a pod without a sidecar: where one joins, callers are led elsewhere first.
    """
    name = naming.backend_cluster(backend, flavour)
    fit = (e for e in endpoints if e.ready and (e.identity is not None or flavour is not Flavour.CARRIED))
    unique = {place: e for e in fit if (place := canonical(e.address, e.port))}
    hosts = [_host(*place, unique[place]) for place in sorted(unique)]
    localities = [pb.LocalityLbEndpoints(lb_endpoints=hosts)] if hosts else []
    return encode(name, pb.ClusterLoadAssignment(cluster_name=name, endpoints=localities))


def _host(address: str, port: int, endpoint: Endpoint) -> pb.LbEndpoint:
    """What it is to metrics is the name of its workload; the metadata stays in the caller's sidecar."""
    host = pb.LbEndpoint(endpoint=pb.Endpoint(address=socket_address(address, port)))
    if endpoint.identity is None:
        host.metadata.filter_metadata[MATCH_METADATA].update({PLAINTEXT: True})
    if endpoint.pod is not None:
        workload = workload_of(endpoint.pod.name).name
        host.metadata.filter_metadata[telemetry.METADATA].update({telemetry.WORKLOAD: workload})
    return host
