"""Access logs as JSON on standard output: who, where to, and, of refusals, why (rule A12).

Rule: what is refused is logged always, what is allowed if a person wants it, and who it was is never taken from a
header. Counters say how often: those of `telemetry`, RBAC's own, `ssl.fail_verify_san` for TCP callers refused in the
handshake, `refused/…` for the chains that only refuse.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from mesh.settings import AccessLog
from xds import pb
from xds.translate.collectors import LOGS
from xds.translate.observing import Observing

LOG_NAME: Final = "weft-access"
NO_CLUSTER: Final = "NC"
"""Envoy's response flag for a route whose cluster does not exist: we took it away, because no rule allows it now."""

STDOUT: Final = "envoy.access_loggers.stdout"
OTLP: Final = "envoy.access_loggers.open_telemetry"
SAMPLE_PERCENT: Final = 1
SAMPLE_KEY: Final = "weft.access_log.sampled"
"""Of Envoy's runtime; nobody sets it, so the percentage holds."""
FAILED_HANDSHAKE: Final = "xds.filter_chain_name.startsWith('mtls-') && has(connection.transport_failure_reason)"
_DENIED: Final = "response.code_details.startsWith('rbac_access_denied')"
_CONNECTION: Final = {
    "event": "refused",
    "time": "%START_TIME%",
    "source": "%DOWNSTREAM_PEER_URI_SAN%",
    "source_address": "%DOWNSTREAM_DIRECT_REMOTE_ADDRESS%",
    "destination_address": "%DOWNSTREAM_LOCAL_ADDRESS%",
}
_OWN: Final = {"source": "%CEL(xds.node.cluster)%"}
"""Who calls, where the caller's own sidecar refuses: SERVICEACCOUNT.NAMESPACE, as its node has it. There is no peer."""
_REQUEST: Final = {
    **_CONNECTION,
    "method": "%REQ(:METHOD)%",
    "authority": "%REQ(:AUTHORITY)%",
    "path": "%REQ(:PATH)%",
    "status": "%RESPONSE_CODE%",
}


def every_request(reason: str) -> pb.AccessLog:
    """For a connection manager that only refuses."""
    return _log(_REQUEST | _OWN | {"reason": reason})


def requests_without_cluster(reason: str, destination: str) -> pb.AccessLog:
    """Requests for a destination whose clusters were taken away from this caller."""
    log = _log(_REQUEST | _OWN | {"destination": destination, "reason": reason})
    log.filter.response_flag_filter.flags.append(NO_CLUSTER)
    return log


def requests_refused(reason: str) -> pb.AccessLog:
    """Requests to addresses outside the mesh that a route or RBAC answered with 403."""
    log = _log(_REQUEST | _OWN | {"destination": "outside", "reason": reason})
    return only(log, f"{_DENIED} || response.code_details == 'direct_response'")


def requests_denied_by_rules(destination: str) -> pb.AccessLog:
    """Requests that RBAC answered with 403; the reason is RBAC's own words."""
    log = _log(_REQUEST | {"destination": destination, "reason": "%RESPONSE_CODE_DETAILS%"})
    return only(log, _DENIED)


def requests_served(destination: str, wanted: AccessLog) -> list[pb.AccessLog]:
    """Requests that rules let in, those of them that are wanted."""
    if wanted is AccessLog.OFF:
        return []
    served = _REQUEST | {
        "event": "request",
        "destination": destination,
        "flags": "%RESPONSE_FLAGS%",
        "duration_ms": "%DURATION%",
        "received_bytes": "%BYTES_RECEIVED%",
        "sent_bytes": "%BYTES_SENT%",
    }
    failed = " && (!has(response.code) || response.code >= 500)" if wanted is AccessLog.ERRORS else ""
    log = only(_log(served), f"!({_DENIED}){failed}")
    if wanted is AccessLog.SAMPLED:
        let_in = pb.AccessLogFilter()
        let_in.CopyFrom(log.filter)
        sample = pb.AccessLogFilter()
        sample.runtime_filter.runtime_key = SAMPLE_KEY
        sample.runtime_filter.percent_sampled.numerator = SAMPLE_PERCENT
        log.filter.and_filter.filters.extend([let_in, sample])
    return [log]


def every_connection(reason: str, *, own: bool = False) -> pb.AccessLog:
    """For a chain that only refuses. `own`: the caller is the sidecar's own pod."""
    return _log(_CONNECTION | (_OWN if own else {}) | {"reason": reason})


def handshakes_denied() -> pb.AccessLog:
    """Connections whose TLS handshake failed: not one of us, or not among those a TCP port lets in."""
    log = _log(_CONNECTION | {"destination": "%FILTER_CHAIN_NAME%", "reason": "%DOWNSTREAM_TRANSPORT_FAILURE_REASON%"})
    return only(log, FAILED_HANDSHAKE)


def _log(fields: dict[str, str]) -> pb.AccessLog:
    config = pb.StdoutAccessLog()
    config.log_format.json_format.update(fields)
    return pb.AccessLog(name=STDOUT, typed_config=pb.packed(config))


def send(logs: Iterable[pb.AccessLog], observing: Observing) -> None:
    """Have what would go to standard output go to the operator's collector (OTLP), where there is one.

    The same fields become attributes; Envoy adds node_name (`NAMESPACE/POD`) to them.
    """
    if observing.logs is None:
        return
    for log in logs:
        if log.name != STDOUT:
            continue
        written, config = pb.StdoutAccessLog(), pb.OpenTelemetryAccessLogConfig()
        log.typed_config.Unpack(written)
        common = config.common_config
        common.log_name, common.transport_api_version = LOG_NAME, pb.ApiVersion.V3
        common.grpc_service.envoy_grpc.cluster_name = LOGS
        for key, value in sorted(written.log_format.json_format.items()):
            config.attributes.values.add(key=key).value.string_value = str(value)
        log.name = OTLP
        log.typed_config.CopyFrom(pb.packed(config))


def only(log: pb.AccessLog, expression: str) -> pb.AccessLog:
    """The log, for what a CEL expression over Envoy's attributes is true of."""
    log.filter.extension_filter.name = "envoy.access_loggers.extension_filters.cel"
    log.filter.extension_filter.typed_config.CopyFrom(pb.packed(pb.ExpressionFilter(expression=expression)))
    return log
