"""Clusters of collectors, which are outside the mesh: plaintext, at an address or a name that DNS knows.

Rule: a collector that is away costs what it would have been sent, and no request.
"""

from __future__ import annotations

from typing import Final

from xds import pb
from xds.collector import Collector, Exporter, is_address
from xds.resource import Resource, encode
from xds.translate.observing import Observing

TRACES: Final = "weft-traces"
LOGS: Final = "weft-logs"
CONNECT_TIMEOUT: Final = 5
UNSENT: Final = 1024 * 1024
"""Bytes that wait for a slow collector."""
_HTTP_OPTIONS: Final = "envoy.extensions.upstreams.http.v3.HttpProtocolOptions"


def clusters(observing: Observing) -> tuple[Resource, ...]:
    """What leads to the operator's collectors."""
    traces, logs = observing.traces, observing.logs
    wanted = ((TRACES, traces.collector if traces is not None else None), (LOGS, logs))
    return tuple(encode(name, _cluster(name, collector)) for name, collector in wanted if collector is not None)


def _cluster(name: str, collector: Collector) -> pb.Cluster:
    cluster = pb.Cluster(
        name=name,
        type=pb.Cluster.STATIC if is_address(collector.host) else pb.Cluster.STRICT_DNS,
        connect_timeout=pb.seconds(CONNECT_TIMEOUT),
        per_connection_buffer_limit_bytes=pb.UInt32Value(value=UNSENT),
    )
    # As long as its name can't be resolved nothing is sent; sidecars start nevertheless.
    cluster.wait_for_warm_on_init.value = False
    place = cluster.load_assignment.endpoints.add().lb_endpoints.add().endpoint.address.socket_address
    cluster.load_assignment.cluster_name = name
    place.address, place.port_value = collector.host, collector.port
    if collector.exporter is Exporter.OTLP:
        options = pb.UpstreamHttpOptions()
        options.explicit_http_config.http2_protocol_options.SetInParent()
        cluster.typed_extension_protocol_options[_HTTP_OPTIONS].CopyFrom(pb.packed(options))
    return cluster
