"""How the sidecar asks an app what the kubelet wants to know, on the kubelet's behalf (rule A15).

Rule: a question is asked when the kubelet asks, never ahead of it, and its answer is the app's. The connection comes
from `redirect.DIRECT_SOURCE`, so it meets the app and no policy; it goes to the pod's address, as the kubelet's would.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Final

from proxy.redirect import DIRECT_SOURCE, DIRECT_SOURCE_V6

TYPE: Final = "type.googleapis.com/"
LUA: Final = "envoy.filters.http.lua"
GRPC: Final = "grpc"

Document = dict[str, Any]
"""A piece of Envoy's configuration in its JSON form."""


@dataclass(frozen=True, slots=True)
class AskHttp:
    """GET `path` of a port. With `tls` the certificate is not checked, as the kubelet does not either."""

    port: int
    path: str
    tls: bool = False


@dataclass(frozen=True, slots=True)
class AskTcp:
    """Connect to a port."""

    port: int


@dataclass(frozen=True, slots=True)
class AskGrpc:
    """Call grpc.health.v1.Health/Check of a port for `service`; SERVING is a yes (gRPC Health Checking Protocol)."""

    port: int
    service: str = ""


@dataclass(frozen=True, slots=True)
class Probe:
    """What is asked of the app when `path` of the health port is asked. `timeout` is in seconds."""

    path: str
    ask: AskHttp | AskTcp | AskGrpc
    timeout: int = 1


def routes(probes: Iterable[Probe]) -> list[Document]:
    """A route for each probe."""
    return [_route(probe) for probe in probes]


def clusters(probes: Iterable[Probe], address: str, socket_options: Iterable[Document] = ()) -> list[Document]:
    """A cluster for each way to ask and port. `address` is the pod's."""
    asked = {_cluster_name(probe.ask): probe.ask for probe in probes}
    return [cluster(name, ask, address, list(socket_options)) for name, ask in sorted(asked.items())]


def http_filters(probes: Iterable[Probe]) -> list[Document]:
    """What the health listener needs before its router: the script that speaks gRPC, where a probe does."""
    if not any(isinstance(probe.ask, AskGrpc) for probe in probes):
        return []
    script = {
        "@type": f"{TYPE}envoy.extensions.filters.http.lua.v3.Lua",
        "source_codes": {GRPC: {"inline_string": GRPC_SCRIPT}},
    }
    return [{"name": LUA, "typed_config": script}]


def _route(probe: Probe) -> Document:
    match = {"path": probe.path}
    if isinstance(probe.ask, AskGrpc):
        question = {"@type": f"{TYPE}envoy.extensions.filters.http.lua.v3.LuaPerRoute", "name": GRPC}
        return {
            "match": match,
            "direct_response": {"status": 503},  # the script answers first; this is for when it can't
            "typed_per_filter_config": {LUA: question | {"filter_context": _question(probe.ask, probe.timeout)}},
        }
    action: Document = {"cluster": _cluster_name(probe.ask), "timeout": f"{probe.timeout}s"}
    if isinstance(probe.ask, AskTcp):
        # Envoy answers 200 once it is connected; an announced empty body ends the answer there.
        nothing = {"header": {"key": "content-length", "value": "0"}, "append_action": "OVERWRITE_IF_EXISTS_OR_ADD"}
        return {"match": match, "route": action, "response_headers_to_add": [nothing]}
    # A redirect is a yes to the kubelet. It would follow one within the pod, but only the probes' own paths are here.
    redirects = ["location"]
    return {
        "match": match,
        "route": action | {"prefix_rewrite": probe.ask.path},
        "response_headers_to_remove": redirects,
    }


def _question(ask: AskGrpc, timeout: int) -> Document:
    return {
        "cluster": _cluster_name(ask),
        "authority": f"localhost:{ask.port}",
        "message": _health_check_request(ask.service).hex(),
        "timeout_ms": timeout * 1000,
    }


def _health_check_request(service: str) -> bytes:
    """A length-prefixed grpc.health.v1.HealthCheckRequest (gRPC over HTTP/2, "Length-Prefixed-Message")."""
    name = service.encode()
    message = b"\x0a" + _varint(len(name)) + name if name else b""
    return b"\x00" + len(message).to_bytes(4, "big") + message


def _varint(number: int) -> bytes:
    """Protobuf's base-128 encoding."""
    if number < 0x80:
        return bytes([number])
    return bytes([number & 0x7F | 0x80]) + _varint(number >> 7)


def _cluster_name(ask: AskHttp | AskTcp | AskGrpc) -> str:
    match ask:
        case AskHttp(port=port, tls=tls):
            return f"probe-{'https' if tls else 'http'}-{port}"
        case AskTcp(port=port):
            return f"probe-tcp-{port}"
        case AskGrpc(port=port):
            return f"probe-grpc-{port}"


def cluster(name: str, ask: AskHttp | AskTcp | AskGrpc, address: str, socket_options: list[Document]) -> Document:
    """The app at a port of the pod's address, past the redirect rules."""
    endpoint = {"address": {"socket_address": {"address": address, "port_value": ask.port}}}
    source: Document = {
        "source_address": {"address": DIRECT_SOURCE, "port_value": 0},
        "extra_source_addresses": [{"address": {"address": DIRECT_SOURCE_V6, "port_value": 0}}],
    }
    if socket_options:
        source["socket_options"] = socket_options
    return {
        "name": name,
        "type": "STATIC",
        "upstream_bind_config": source,
        "load_assignment": {"cluster_name": name, "endpoints": [{"lb_endpoints": [{"endpoint": endpoint}]}]},
        **_speaking(ask),
    }


def _speaking(ask: AskHttp | AskTcp | AskGrpc) -> Mapping[str, Any]:
    match ask:
        case AskTcp():
            pool = f"{TYPE}envoy.extensions.upstreams.http.tcp.v3.TcpConnectionPoolProto"
            return {"upstream_config": {"name": "envoy.upstreams.http.tcp", "typed_config": {"@type": pool}}}
        case AskGrpc():
            return _http({"explicit_http_config": {"http2_protocol_options": {}}})
        case AskHttp(tls=True):
            versions: Document = {"http_protocol_options": {}, "http2_protocol_options": {}}
            return {"transport_socket": _UNCHECKED_TLS, **_http({"auto_config": versions})}
        case AskHttp():
            return _http({"explicit_http_config": {"http_protocol_options": {}}})


def _http(version: Document) -> Document:
    # One request per connection, as the kubelet does: a connection kept would tell less, and can be closed under us.
    options = {
        "@type": f"{TYPE}envoy.extensions.upstreams.http.v3.HttpProtocolOptions",
        "common_http_protocol_options": {"max_requests_per_connection": 1},
        **version,
    }
    return {"typed_extension_protocol_options": {"envoy.extensions.upstreams.http.v3.HttpProtocolOptions": options}}


_UNCHECKED_TLS: Final[Mapping[str, Any]] = {
    "name": "envoy.transport_sockets.tls",
    "typed_config": {
        "@type": f"{TYPE}envoy.extensions.transport_sockets.tls.v3.UpstreamTlsContext",
        # Envoy's clients stop at TLS 1.2 unless told.
        "common_tls_context": {"tls_params": {"tls_maximum_protocol_version": "TLSv1_3"}},
    },
}

# A HealthCheckResponse has one field, so SERVING has one encoding: field 1, varint 1.
GRPC_SCRIPT: Final = r"""function envoy_on_request(handle)
  local question = handle:filterContext()
  local message = question:get("message"):gsub("%x%x", function(byte) return string.char(tonumber(byte, 16)) end)
  local _, answer = handle:httpCall(question:get("cluster"), {
    [":method"] = "POST", [":path"] = "/grpc.health.v1.Health/Check", [":authority"] = question:get("authority"),
    ["content-type"] = "application/grpc", ["te"] = "trailers",
  }, message, question:get("timeout_ms"))
  local serving = answer == "\0\0\0\0\2\8\1"
  handle:respond({[":status"] = serving and "200" or "503"}, serving and "SERVING" or "not SERVING")
end
"""
"""Asks what the route's filter context says and answers 200 or 503."""
