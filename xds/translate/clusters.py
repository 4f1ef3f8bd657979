"""Clusters: one for each Backend and flavour, with what changes slowly only; and the constant ones.

Rule: no cluster changes when endpoints, weights or rules do, for a changed cluster loses its connections (P3 of
docs/xds.md). The transport is mTLS unless an endpoint's own metadata says that it has no sidecar.
"""

from __future__ import annotations

from enum import Enum, auto
from typing import Final

from mesh.model import Backend, Identity, Protocol
from xds import pb
from xds.peers import NO_PEERS, Peers
from xds.resource import Resource, encode
from xds.translate import naming
from xds.translate.certificates import OURS, Certificates
from xds.translate.http import http2_options
from xds.translate.naming import Flavour
from xds.translate.sources import ads
from xds.translate.transport import PLAINTEXT, upstream_mtls, upstream_plaintext

CONNECT_TIMEOUT: Final = 5
HTTP_OPTIONS: Final = "envoy.extensions.upstreams.http.v3.HttpProtocolOptions"
UNLIMITED: Final = 0xFFFFFFFF
APP_IDLE_TIMEOUT: Final = 1
"""Seconds an idle connection to the app is kept. Apps close theirs after some seconds, unannounced, and a request sent
at that moment is lost; a new connection on loopback costs next to nothing."""
APP_SOURCE: Final = "127.0.0.6"
APP_SOURCE_V6: Final = "::6"
"""What connections to the app come from, so that the redirect rules let them through to it (docs/decisions/0012)."""


class Version(Enum):
    """Which HTTP a cluster speaks."""

    AS_CALLED = auto()
    """What the caller speaks."""
    HTTP1 = auto()
    HTTP2 = auto()


def backend_cluster(
    backend: Backend, flavour: Flavour, peers: Peers = NO_PEERS, certificates: Certificates = OURS
) -> Resource:
    """The cluster of a Backend; its endpoints come by EDS under the same name."""
    name = naming.backend_cluster(backend.id, flavour)
    cluster = _cluster(name)
    cluster.type = pb.Cluster.EDS
    cluster.eds_cluster_config.eds_config.CopyFrom(ads())
    cluster.lb_policy = pb.Cluster.LEAST_REQUEST
    cluster.transport_socket.CopyFrom(upstream_mtls(backend.identities, flavour, peers, certificates))
    cluster.transport_socket_matches.append(_unmeshed_endpoints())
    if flavour is Flavour.HTTP:
        _speak_http(cluster, Version.HTTP2 if backend.protocol is Protocol.HTTP2 else Version.AS_CALLED)
    elif flavour is Flavour.CARRIED:
        _speak_http(cluster, Version.HTTP2)
        # What is counted is the same Backend's.
        cluster.alt_stat_name = naming.backend_cluster(backend.id, Flavour.HTTP)
    return encode(name, cluster)


def pod_cluster(
    identity: Identity, flavour: Flavour, peers: Peers = NO_PEERS, certificates: Certificates = OURS
) -> Resource:
    """Pods of one identity, at the address the app asked for. Bytes pass as they are, so no HTTP here."""
    name = naming.pod_cluster(identity, flavour)
    cluster = _original_destination(name)
    cluster.transport_socket.CopyFrom(upstream_mtls([identity], flavour, peers, certificates))
    return encode(name, cluster)


def passthrough_cluster() -> Resource:
    """Whatever address the app asked for, untouched (rule H6)."""
    return encode(naming.PASSTHROUGH_CLUSTER, _original_destination(naming.PASSTHROUGH_CLUSTER))


def outside(name: str) -> pb.Cluster:
    """A cluster outside the mesh, reached in the protocol that the app speaks; whoever asks says where it is."""
    cluster = _cluster(name)
    _speak_http(cluster, Version.AS_CALLED)
    return cluster


def outside_cluster(name: str) -> Resource:
    """Whatever address the app asked for, for the requests and connections of one port."""
    cluster = outside(name)
    cluster.type = pb.Cluster.ORIGINAL_DST
    cluster.lb_policy = pb.Cluster.CLUSTER_PROVIDED
    return encode(name, cluster)


def inbound_clusters() -> tuple[Resource, ...]:
    """The app beside the sidecar, at the address the caller used: an app bound to loopback only stays private."""
    made = []
    for name, version in (
        (naming.INBOUND_CLUSTER, Version.AS_CALLED),
        (naming.INBOUND_HTTP1_CLUSTER, Version.HTTP1),
        (naming.INBOUND_HTTP2_CLUSTER, Version.HTTP2),
    ):
        cluster = _original_destination(name)
        cluster.upstream_bind_config.CopyFrom(_from_loopback())
        _speak_http(cluster, version, idle_timeout=APP_IDLE_TIMEOUT)
        made.append(encode(name, cluster))
    return tuple(made)


def _cluster(name: str) -> pb.Cluster:
    """What all have in common. Envoy's limits of 1,024 connections and requests would be a surprise: none here."""
    everything = pb.UInt32Value(value=UNLIMITED)
    return pb.Cluster(
        name=name,
        connect_timeout=pb.seconds(CONNECT_TIMEOUT),
        circuit_breakers=pb.CircuitBreakers(
            thresholds=[
                pb.CircuitBreakers.Thresholds(
                    max_connections=everything,
                    max_pending_requests=everything,
                    max_requests=everything,
                    max_retries=everything,
                )
            ]
        ),
        upstream_connection_options=pb.UpstreamConnectionOptions(
            tcp_keepalive=pb.TcpKeepalive(
                keepalive_time=pb.UInt32Value(value=300), keepalive_interval=pb.UInt32Value(value=30)
            )
        ),
        ignore_health_on_host_removal=True,
    )


def _original_destination(name: str) -> pb.Cluster:
    cluster = _cluster(name)
    cluster.type = pb.Cluster.ORIGINAL_DST
    cluster.lb_policy = pb.Cluster.CLUSTER_PROVIDED
    return cluster


def _unmeshed_endpoints() -> pb.Cluster.TransportSocketMatch:
    match = pb.Struct()
    match.update({PLAINTEXT: True})
    return pb.Cluster.TransportSocketMatch(name=PLAINTEXT, match=match, transport_socket=upstream_plaintext())


def _from_loopback() -> pb.BindConfig:
    return pb.BindConfig(
        source_address=pb.SocketAddress(address=APP_SOURCE, port_value=0),
        extra_source_addresses=[
            pb.ExtraSourceAddress(address=pb.SocketAddress(address=APP_SOURCE_V6, port_value=0)),
        ],
    )


def _speak_http(cluster: pb.Cluster, version: Version, idle_timeout: int | None = None) -> None:
    """WebSocket passes over HTTP/2 too (RFC 8441)."""
    options = pb.UpstreamHttpOptions()
    if version is Version.HTTP1:
        options.explicit_http_config.http_protocol_options.SetInParent()
    elif version is Version.HTTP2:
        options.explicit_http_config.http2_protocol_options.CopyFrom(http2_options())
    else:
        options.use_downstream_protocol_config.http_protocol_options.SetInParent()
        options.use_downstream_protocol_config.http2_protocol_options.CopyFrom(http2_options())
    if idle_timeout is not None:
        options.common_http_protocol_options.idle_timeout.CopyFrom(pb.seconds(idle_timeout))
    cluster.typed_extension_protocol_options[HTTP_OPTIONS].CopyFrom(pb.packed(options))
