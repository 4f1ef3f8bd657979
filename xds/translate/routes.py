"""Route configurations of Destinations: matches, weights, and 503 where nothing is usable (rules T2, T3, T8, H1)."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final

from mesh.model import PortId, Protocol, Route
from xds import pb
from xds.resource import Resource, encode
from xds.translate import naming
from xds.translate.matches import every_request, route_match
from xds.translate.naming import Flavour
from xds.translate.weights import weighted

RETRY_ON: Final = "connect-failure,refused-stream,reset-before-request"
"""Only what no app has seen anything of, so that any method may be sent again (RFC 9110 §9.2.2): there was no
connection, the peer said that it did not look (RFC 9113 §8.7), or it closed before the request left."""
RETRIES: Final = 2


@dataclass(frozen=True, slots=True)
class Requests:
    """Where a Destination's requests go: its routes, tried in order. `carried`: to which Backends in HTTP/2."""

    id: PortId
    routes: tuple[Route, ...]
    carried: frozenset[PortId] = frozenset()

    def flavour(self, backend: PortId) -> Flavour:
        """How requests travel to a Backend."""
        return Flavour.CARRIED if backend in self.carried else Flavour.HTTP


def destination_routes(requests: Requests) -> Resource:
    """One virtual host for every Host header; one Envoy route for each match of each Route, in order."""
    name = naming.destination(requests.id)
    routes = [found for route in requests.routes for found in _routes(route, requests)]
    everything = pb.VirtualHost(name=name, domains=["*"], routes=routes)
    config = pb.RouteConfiguration(name=name, virtual_hosts=[everything], validate_clusters=pb.BoolValue(value=False))
    return encode(name, config)


def route_to(cluster: str) -> pb.RouteAction:
    """All to one cluster."""
    action = _action()
    action.cluster = cluster
    return action


def app_routes(protocol: Protocol, *, http1: bool) -> list[pb.Route]:
    """To the app in the version it speaks.

    Where it says HTTP/1.1, requests came here in HTTP/2 perhaps only because their callers' sidecars did so
    (docs/decisions/0100); those of gRPC, which has no other, stay what they are.
    """
    if protocol is Protocol.HTTP2:
        return [_to_app(every_request(), naming.INBOUND_HTTP2_CLUSTER)]
    if not http1:
        return [_to_app(every_request(), naming.INBOUND_CLUSTER)]
    grpc = every_request()
    grpc.grpc.SetInParent()
    return [_to_app(grpc, naming.INBOUND_CLUSTER), _to_app(every_request(), naming.INBOUND_HTTP1_CLUSTER)]


def _to_app(match: pb.RouteMatch, cluster: str) -> pb.Route:
    route = pb.Route(match=match, route=route_to(cluster))
    route.route.ClearField("retry_policy")
    return route


def _routes(route: Route, requests: Requests) -> Iterator[pb.Route]:
    matches = [route_match(match) for match in route.matches] or [every_request()]
    shares = weighted(route.shares)
    clusters = [(naming.backend_cluster(backend, requests.flavour(backend)), weight) for backend, weight in shares]
    for match in matches:
        if clusters:
            yield pb.Route(name=route.origin, match=match, route=_split(clusters))
        else:
            body = pb.DataSource(inline_string=f"{route.reason}\n")
            unusable = pb.DirectResponseAction(status=503, body=body)
            yield pb.Route(name=route.origin, match=match, direct_response=unusable)


def _split(shares: Sequence[tuple[str, int]]) -> pb.RouteAction:
    if len(shares) == 1:
        return route_to(shares[0][0])
    action = _action()
    for cluster, weight in shares:
        action.weighted_clusters.clusters.add(name=cluster, weight=pb.UInt32Value(value=weight))
    return action


def _action() -> pb.RouteAction:
    """No time-outs of ours, and another endpoint for what one endpoint could not take."""
    other_host = pb.RetryPolicy.RetryHostPredicate(
        name="envoy.retry_host_predicates.previous_hosts", typed_config=pb.packed(pb.PreviousHostsPredicate())
    )
    retries = pb.RetryPolicy(
        retry_on=RETRY_ON,
        num_retries=pb.UInt32Value(value=RETRIES),
        retry_host_predicate=[other_host],
        host_selection_retry_max_attempts=3,
    )
    return pb.RouteAction(timeout=pb.seconds(0), retry_policy=retries)
