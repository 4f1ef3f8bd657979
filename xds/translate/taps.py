"""The access logs of `weft tap`: in every place where requests and connections end, and silent until switched on.

Rule: the switch is a value of Envoy's runtime, so watching changes no listener; while it is off a request costs a look
at it (docs/decisions/0120). All logs of one name are one stream to the control plane.
"""

from __future__ import annotations

from typing import Final

from xds import pb
from xds.names import TAP, TAP_SWITCH
from xds.told import INBOUND, OUTBOUND
from xds.translate import logs
from xds.translate.observing import Observing

__all__ = ["INBOUND", "OUTBOUND", "connections", "ended", "handshakes", "requests"]

_HTTP: Final = "envoy.access_loggers.http_grpc"
_TCP: Final = "envoy.access_loggers.tcp_grpc"
_ENDED: Final = "TcpConnectionEnd"


def requests(observing: Observing, side: str, reason: str = "") -> list[pb.AccessLog]:
    """Of an HTTP connection manager on this side; `reason` is why it refuses, where it only does that."""
    if not observing.tap:
        return []
    return [_log(_HTTP, pb.HttpGrpcAccessLogConfig(common_config=_common(side, reason)))]


def connections(observing: Observing, side: str, reason: str = "") -> list[pb.AccessLog]:
    """Of a TCP proxy that only refuses."""
    if not observing.tap:
        return []
    return [_log(_TCP, pb.TcpGrpcAccessLogConfig(common_config=_common(side, reason)))]


def ended(observing: Observing, side: str) -> list[pb.AccessLog]:
    """Of a TCP proxy that tells when it has connected, too: its connections when they end."""
    found = connections(observing, side)
    for log in found:
        _and(log, pb.AccessLogFilter(log_type_filter=pb.LogTypeFilter(types=[_ENDED])))
    return found


def handshakes(observing: Observing) -> list[pb.AccessLog]:
    """Of the inbound listener: connections whose handshake failed."""
    found = connections(observing, INBOUND)
    failed = logs.only(pb.AccessLog(), logs.FAILED_HANDSHAKE).filter
    for log in found:
        _and(log, failed)
    return found


def _common(side: str, reason: str) -> pb.CommonGrpcAccessLogConfig:
    return pb.CommonGrpcAccessLogConfig(
        log_name=f"{side}/{reason}" if reason else side,
        grpc_service=pb.GrpcService(envoy_grpc=pb.GrpcService.EnvoyGrpc(cluster_name=TAP)),
        transport_api_version=pb.ApiVersion.V3,
        # Each request is told at once: somebody looks on.
        buffer_size_bytes=pb.UInt32Value(value=0),
    )


def _and(log: pb.AccessLog, more: pb.AccessLogFilter) -> None:
    """The switch is looked at first, so that what is asked besides costs nothing while it is off."""
    switch = pb.AccessLogFilter()
    switch.CopyFrom(log.filter)
    log.filter.and_filter.filters.extend([switch, more])


def _log(name: str, config: pb.Message) -> pb.AccessLog:
    log = pb.AccessLog(name=name, typed_config=pb.packed(config))
    log.filter.runtime_filter.runtime_key = TAP_SWITCH
    # Without the switch this holds: none.
    log.filter.runtime_filter.percent_sampled.numerator = 0
    return log
