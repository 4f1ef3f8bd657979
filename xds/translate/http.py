"""HTTP connection managers: towards a destination, towards the app, and one that only refuses.

Rule: the app notices as little of the sidecars as can be: no timeouts of ours, no headers of ours but XFCC.
"""

from __future__ import annotations

from typing import Final

from mesh.settings import AccessLog
from xds import pb, told
from xds.translate import logs, taps, telemetry, traces
from xds.translate.observing import UNOBSERVED, Observing
from xds.translate.sources import ads

RBAC_FILTER: Final = "envoy.filters.http.rbac"
NOT_PERMITTED: Final = told.NOT_PERMITTED
"""Why a caller's own sidecar refuses (rule A16)."""
BODY: Final = f"Refused by the mesh: {NOT_PERMITTED}.\n"
NOT_GRANTED: Final = told.NOT_GRANTED
"""Why a request does not leave the mesh (docs/egress.md)."""
EGRESS_BODY: Final = f"Refused by the mesh: {NOT_GRANTED}.\n"
REFUSED_IDLE_TIMEOUT: Final = 5
"""Seconds until a connection is closed on which no request comes that could be refused."""
HEADERS_TIMEOUT: Final = 60
STREAM_WINDOW: Final = 1 << 20
CONNECTION_WINDOW: Final = 1 << 27
"""Bytes (RFC 9113 §5.2): what a peer may send before it hears that some of it was read."""


def http2_options() -> pb.Http2ProtocolOptions:
    """Requests of many callers share a connection, and one that nobody reads must not hold up the others.

    So the connection has room for many streams that stand still, and each of these holds back no more than a megabyte.
    """
    return pb.Http2ProtocolOptions(
        allow_connect=True,
        initial_stream_window_size=pb.UInt32Value(value=STREAM_WINDOW),
        initial_connection_window_size=pb.UInt32Value(value=CONNECTION_WINDOW),
    )


def towards_destination(name: str, observing: Observing = UNOBSERVED) -> pb.Filter:
    """The app's requests to a Destination, routed by the route configuration of the same name.

    A destination whose clusters are gone while the app still holds a connection is one that no rule allows any more:
    answered 403, as a new connection would be (rule A16).
    """
    manager = _manager(name)
    manager.rds.CopyFrom(_rds(name))
    manager.http_filters.append(_router())
    manager.access_log.append(telemetry.requests_from(name.removeprefix("outbound/")))
    manager.access_log.append(logs.requests_without_cluster(NOT_PERMITTED, name))
    manager.access_log.extend(taps.requests(observing, taps.OUTBOUND))
    _observe(manager, observing)
    manager.local_reply_config.mappers.append(_gone(BODY))
    return _filter(manager)


def towards_outside(name: str, lookup: pb.HttpFilter, observing: Observing = UNOBSERVED) -> pb.Filter:
    """The app's requests to hosts outside the mesh, as far as the route configuration of this name lets them.

    `lookup` looks up those whose host is granted by name, after RBAC: what is refused asks no resolver anything.
    """
    manager = _manager(name)
    manager.rds.CopyFrom(_rds(name))
    manager.http_filters.extend([_nothing_allowed(), lookup, _router()])
    manager.access_log.append(telemetry.requests_from("outside"))
    manager.access_log.append(logs.requests_refused(NOT_GRANTED))
    manager.access_log.append(logs.requests_without_cluster(NOT_GRANTED, name))
    manager.access_log.extend(taps.requests(observing, taps.OUTBOUND))
    _observe(manager, observing)
    manager.local_reply_config.mappers.append(_gone(EGRESS_BODY))
    # Policies look at the path that the server will see, so what is ambiguous about it is settled before both.
    manager.normalize_path.value = True
    manager.merge_slashes = True
    return _filter(manager)


def _observe(manager: pb.HttpConnectionManager, observing: Observing) -> None:
    """Traces and logs as the operator wants them."""
    traces.add(manager, observing)
    logs.send(manager.access_log, observing)


def _gone(body: str) -> pb.ResponseMapper:
    """403 where a cluster was taken away."""
    return pb.ResponseMapper(
        filter=pb.AccessLogFilter(response_flag_filter=pb.ResponseFlagFilter(flags=[logs.NO_CLUSTER])),
        status_code=pb.UInt32Value(value=403),
        body=pb.DataSource(inline_string=body),
    )


def _nothing_allowed() -> pb.HttpFilter:
    """RBAC that refuses every request, unless a route says otherwise."""
    rules = pb.HttpRBAC(rules=pb.RBAC(action=pb.RBAC.ALLOW))
    return pb.HttpFilter(name=RBAC_FILTER, typed_config=pb.packed(rules))


def towards_app(name: str, access_log: AccessLog, observing: Observing = UNOBSERVED) -> pb.Filter:
    """Callers' requests to the app. Without a route configuration that says otherwise, RBAC refuses all of them."""
    manager = _manager(name)
    manager.rds.CopyFrom(_rds(name))
    manager.http_filters.append(_nothing_allowed())
    manager.http_filters.append(_router())
    manager.access_log.append(telemetry.requests_to(name.removeprefix("inbound/")))
    manager.access_log.append(logs.requests_denied_by_rules(name))
    manager.access_log.extend(logs.requests_served(name, access_log))
    manager.access_log.extend(taps.requests(observing, taps.INBOUND))
    _observe(manager, observing)
    # Rules look at the path the app will see, so what is ambiguous about it is settled before both.
    manager.normalize_path.value = True
    manager.merge_slashes = True
    manager.request_headers_timeout.CopyFrom(pb.seconds(HEADERS_TIMEOUT))
    manager.http2_protocol_options.CopyFrom(http2_options())
    # The app learns its caller's identity, and only from us: what the caller sent under this name is dropped.
    manager.forward_client_cert_details = pb.HttpConnectionManager.SANITIZE_SET
    manager.set_current_client_cert_details.uri = True
    return _filter(manager)


def refusing(observing: Observing = UNOBSERVED) -> pb.Filter:
    """Answers 403 to each request, and closes: so that what is allowed later isn't held up by a kept connection."""
    manager = _manager("refused/http")
    refusal = pb.Route(
        match=pb.RouteMatch(prefix="/"),
        direct_response=pb.DirectResponseAction(status=403, body=pb.DataSource(inline_string=BODY)),
    )
    everything = pb.VirtualHost(name="refused", domains=["*"], routes=[refusal])
    manager.route_config.CopyFrom(pb.RouteConfiguration(name="refused", virtual_hosts=[everything]))
    manager.http_filters.append(_router())
    # Only the addresses of meshed services lead here, so there are no more of them than of those.
    manager.access_log.append(telemetry.requests_from("%DOWNSTREAM_LOCAL_ADDRESS%"))
    manager.access_log.append(logs.every_request(NOT_PERMITTED))
    manager.access_log.extend(taps.requests(observing, taps.OUTBOUND, NOT_PERMITTED))
    _observe(manager, observing)
    manager.common_http_protocol_options.max_requests_per_connection.value = 1
    manager.common_http_protocol_options.idle_timeout.CopyFrom(pb.seconds(REFUSED_IDLE_TIMEOUT))
    return _filter(manager)


def _manager(stat_prefix: str) -> pb.HttpConnectionManager:
    """What all have in common. Streams may be silent for ever: time-outs are the app's own business."""
    return pb.HttpConnectionManager(
        stat_prefix=stat_prefix,
        codec_type=pb.HttpConnectionManager.AUTO,
        http_protocol_options=pb.Http1ProtocolOptions(accept_http_10=True, default_host_for_http_10="localhost"),
        http2_protocol_options=pb.Http2ProtocolOptions(allow_connect=True),
        stream_idle_timeout=pb.seconds(0),
        server_header_transformation=pb.HttpConnectionManager.PASS_THROUGH,
        use_remote_address=pb.BoolValue(value=False),
        # Callers that count as internal steer our router by x-envoy-… headers. Envoy believes one address that the
        # caller itself writes into x-forwarded-for, unless the one to believe stands behind a proxy's.
        xff_num_trusted_hops=1,
        skip_xff_append=True,
        generate_request_id=pb.BoolValue(value=False),
        upgrade_configs=[pb.HttpConnectionManager.UpgradeConfig(upgrade_type="websocket")],
    )


def _router() -> pb.HttpFilter:
    return pb.HttpFilter(
        name="envoy.filters.http.router", typed_config=pb.packed(pb.Router(suppress_envoy_headers=True))
    )


def _rds(name: str) -> pb.Rds:
    return pb.Rds(config_source=ads(), route_config_name=name)


def _filter(manager: pb.HttpConnectionManager) -> pb.Filter:
    return pb.Filter(name="envoy.filters.network.http_connection_manager", typed_config=pb.packed(manager))
