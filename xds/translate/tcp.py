"""TCP proxies: towards a destination, towards the app, and one that only refuses.

Rule: no idle time-out of ours; dead peers are found by TCP keep-alive.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Final

from mesh.model import Share
from xds import pb
from xds.resource import TYPE_PREFIX, Resource, encode
from xds.translate import logs, naming, taps, telemetry
from xds.translate.naming import Flavour
from xds.translate.observing import UNOBSERVED, Observing
from xds.translate.sources import ads
from xds.translate.weights import weighted

TCP_FILTER: Final = "envoy.filters.network.tcp_proxy"
ATTEMPTS: Final = 3
"""How many endpoints are tried before a connection is given up. Nothing has been sent by then."""


def discovered(name: str) -> pb.Filter:
    """A TCP proxy that comes by ECDS, so that other weights change no listener and drain no connection (rule T2)."""
    source = pb.ExtensionConfigSource(config_source=ads(), type_urls=[TYPE_PREFIX + pb.TcpProxy.DESCRIPTOR.full_name])
    return pb.Filter(name=name, config_discovery=source)


def split(name: str, shares: Sequence[Share]) -> Resource:
    """The filter that `discovered` waits for: each connection goes to one Backend by weight (rules T3, T7)."""
    proxy = _proxy(name)
    telemetry.connections_from(proxy, name.removeprefix("outbound/"))
    clusters = proxy.weighted_clusters.clusters
    for backend, weight in weighted(shares):
        clusters.add(name=naming.backend_cluster(backend, Flavour.TCP), weight=weight)
    if not clusters:
        proxy.cluster = naming.REFUSED_CLUSTER
    return encode(name, pb.TypedExtensionConfig(name=name, typed_config=pb.packed(proxy)))


def towards(cluster: str, stat_prefix: str) -> pb.Filter:
    """To one cluster, on the caller's side."""
    proxy = _proxy(stat_prefix)
    telemetry.connections_from(proxy, stat_prefix)
    proxy.cluster = cluster
    return _filter(proxy)


def towards_app(stat_prefix: str, told: Iterable[pb.AccessLog] = ()) -> pb.Filter:
    """To the app, once the handshake has shown that the caller may: before, the app learns nothing of it."""
    proxy = _inbound(stat_prefix, told)
    proxy.upstream_connect_mode = pb.UpstreamConnectMode.ON_DOWNSTREAM_TLS_HANDSHAKE
    proxy.max_early_data_bytes.value = 0
    return _filter(proxy)


def in_plaintext(stat_prefix: str, told: Iterable[pb.AccessLog] = ()) -> pb.Filter:
    """To the app, for callers that no handshake knows."""
    return _filter(_inbound(stat_prefix, told))


def refusing(stat_prefix: str, reason: str, observing: Observing = UNOBSERVED, *, own: bool = False) -> pb.Filter:
    """Closes every connection at once: the cluster it names does not exist. `own`: those of the sidecar's own pod."""
    proxy = _proxy(stat_prefix)
    proxy.cluster = naming.REFUSED_CLUSTER
    proxy.access_log.append(logs.every_connection(reason, own=own))
    proxy.access_log.extend(taps.connections(observing, taps.OUTBOUND if own else taps.INBOUND, reason))
    logs.send(proxy.access_log, observing)
    return _filter(proxy)


def _inbound(stat_prefix: str, told: Iterable[pb.AccessLog]) -> pb.TcpProxy:
    proxy = _proxy(stat_prefix)
    proxy.cluster = naming.INBOUND_CLUSTER
    telemetry.connections_to(proxy, stat_prefix.removeprefix("inbound/"))
    proxy.access_log.extend(told)
    return proxy


def _proxy(stat_prefix: str) -> pb.TcpProxy:
    return pb.TcpProxy(
        stat_prefix=stat_prefix, idle_timeout=pb.seconds(0), max_connect_attempts=pb.UInt32Value(value=ATTEMPTS)
    )


def _filter(proxy: pb.TcpProxy) -> pb.Filter:
    return pb.Filter(name=TCP_FILTER, typed_config=pb.packed(proxy))
