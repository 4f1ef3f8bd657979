"""What is counted: one histogram of requests and four counters of connections, on each side, for Envoy's own /stats.

Rule: a label holds what the control plane wrote, what a certificate proves, or a number; never text that a caller
chose. So the number of series follows the edges of the mesh, and `LIMIT` ends it. The names by which people ask are
made when somebody scrapes (`proxy.exposition`): a request costs one entry in one histogram (docs/decisions/0090).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from xds import pb
from xds.stats_logger import MILLISECONDS

METADATA: Final = "weft"
WORKLOAD: Final = "workload"
"""Where an endpoint says what workload it is of: this namespace of its metadata, and this key."""

LIMIT: Final = 4096
"""Series of a kind that one sidecar keeps at most; what would be beyond them is not counted."""

_ANSWER: Final = {"code": "%RESPONSE_CODE%", "grpc": "%GRPC_STATUS_NUMBER%", "flags": "%RESPONSE_FLAGS%"}
_OPENED: Final = ("TcpUpstreamConnected",)
_CLOSED: Final = ("TcpConnectionEnd",)


def requests_from(service: str) -> pb.AccessLog:
    """On the caller's side. `service` is the port that was called, as `NAMESPACE/NAME/PORT`."""
    return _histogram("outbound", _called(service) | _ANSWER)


def requests_to(port: str) -> pb.AccessLog:
    """On the server's side. `port` is the number of the port that was called."""
    return _histogram("inbound", _served(port) | _ANSWER)


def connections_from(proxy: pb.TcpProxy, service: str) -> None:
    """Have a TCP proxy count its connections, on the caller's side. `service` as above."""
    _connect_and_close(proxy, _called(service) | {"flags": "%RESPONSE_FLAGS%"}, "outbound")


def connections_to(proxy: pb.TcpProxy, port: str) -> None:
    """Have a TCP proxy count its connections, on the server's side. `port` as above."""
    _connect_and_close(proxy, _served(port) | {"flags": "%RESPONSE_FLAGS%"}, "inbound")


def _called(service: str) -> dict[str, str]:
    return {
        "peer": "%UPSTREAM_PEER_URI_SAN%",
        "workload": f"%UPSTREAM_METADATA({METADATA}:{WORKLOAD})%",
        "service": service,
        "backend": "%UPSTREAM_CLUSTER%",
    }


def _served(port: str) -> dict[str, str]:
    return {"peer": "%DOWNSTREAM_PEER_URI_SAN%", "port": port}


def _connect_and_close(proxy: pb.TcpProxy, labels: Mapping[str, str], side: str) -> None:
    """Connections are counted when they are made and when they end, bytes when they end."""
    proxy.access_log_options.flush_access_log_on_connected = True
    proxy.access_log.append(_counters(side, labels, {"opened": 1}, _OPENED))
    closed: dict[str, int | str] = {"closed": 1, "sent_bytes": "%BYTES_SENT%", "received_bytes": "%BYTES_RECEIVED%"}
    proxy.access_log.append(_counters(side, labels, closed, _CLOSED))


def _histogram(side: str, labels: Mapping[str, str]) -> pb.AccessLog:
    stat = {"name": f"{side}_ms", "tags": _tags(labels)}
    return _log({"histograms": [{"stat": stat, "unit": MILLISECONDS, "value_format": "%DURATION%"}]})


def _counters(
    side: str, labels: Mapping[str, str], amounts: Mapping[str, int | str], moments: tuple[str, ...]
) -> pb.AccessLog:
    counters = [
        {
            "stat": {"name": f"{side}_tcp_{name}", "tags": _tags(labels)},
            **({"value_format": amount} if isinstance(amount, str) else {"value_fixed": {"value": amount}}),
        }
        for name, amount in amounts.items()
    ]
    log = _log({"counters": counters})
    log.filter.log_type_filter.CopyFrom(pb.LogTypeFilter(types=moments))
    return log


def _tags(labels: Mapping[str, str]) -> list[dict[str, str]]:
    return [{"name": name, "value_format": value} for name, value in labels.items()]


def _log(metrics: Mapping[str, Any]) -> pb.AccessLog:
    most = {"value": LIMIT}
    scope = {"prefix": "weft", "enable_eviction": True, "max_histograms": most, "max_counters": most}
    config = pb.StatsConfig(stats_scope=scope, **metrics)
    return pb.AccessLog(name="envoy.access_loggers.stats", typed_config=pb.packed(config))
