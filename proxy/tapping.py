"""What a sidecar needs so that its requests can be watched: a switch that the control plane holds, and a way to it.

Rule: nothing is sent and no connection exists while nobody watches; then the connection proves who the pod is as
the one for configuration does, by its token (docs/decisions/0120).
"""

from __future__ import annotations

from typing import Final

from proxy.probes import TYPE, Document
from xds.collector import is_address
from xds.names import TAP

SWITCH_TIMEOUT: Final = "5s"
"""How long a sidecar waits for it when it starts, should its control plane not know of it."""
RESOLVED_EVERY: Final = "300s"
"""The control plane's address is looked up that often, for nothing mostly."""
UNSENT: Final = 131_072
"""Bytes that wait for a control plane that reads slowly; what is beyond them Envoy drops and counts."""
_HTTP: Final = f"{TYPE}envoy.extensions.upstreams.http.v3.HttpProtocolOptions"

# Read for each new stream, as the ADS credentials do; a projected token changes while the pod lives.
_SCRIPT: Final = """\
function envoy_on_request(request)
  local file = io.open(%s)
  if file then
    request:headers():replace("authorization", "Bearer " .. file:read("*a"):gsub("%%s+", ""))
    file:close()
  end
end
"""


def runtime_layer() -> Document:
    """The layer of Envoy's runtime that comes by ADS; it is empty, but while somebody watches."""
    source = {"ads": {}, "resource_api_version": "V3", "initial_fetch_timeout": SWITCH_TIMEOUT}
    return {"name": TAP, "rtds_layer": {"name": TAP, "rtds_config": source}}


def cluster(host: str, port: int, ca_file: str, token_file: str) -> Document:
    """The control plane as a cluster of Envoy's own, over TLS, with the pod's token put into each request.

    `host` is a name or an address, IPv6 in brackets; the control plane's certificate must be made for it.
    """
    bare = host.removeprefix("[").removesuffix("]")
    endpoint = {"endpoint": {"address": {"socket_address": {"address": bare, "port_value": port}}}}
    trust = {"filename": ca_file, "watched_directory": {"path": token_file.rpartition("/")[0] or "/"}}
    name = {"san_type": "IP_ADDRESS" if is_address(bare) else "DNS", "matcher": {"exact": bare}}
    validation = {"trusted_ca": trust, "match_typed_subject_alt_names": [name]}
    tls: Document = {"@type": f"{TYPE}envoy.extensions.transport_sockets.tls.v3.UpstreamTlsContext"}
    only = {"tls_minimum_protocol_version": "TLSv1_3", "tls_maximum_protocol_version": "TLSv1_3"}
    tls["common_tls_context"] = {"validation_context": validation, "alpn_protocols": ["h2"], "tls_params": only}
    if not is_address(bare):
        tls["sni"] = bare
    return {
        "name": TAP,
        **({"type": "STATIC"} if is_address(bare) else _resolved()),
        "connect_timeout": "5s",
        "per_connection_buffer_limit_bytes": UNSENT,
        "load_assignment": {"cluster_name": TAP, "endpoints": [{"lb_endpoints": [endpoint]}]},
        "transport_socket": {"name": "envoy.transport_sockets.tls", "typed_config": tls},
        "typed_extension_protocol_options": {_HTTP.removeprefix(TYPE): _http(token_file)},
    }


def _resolved() -> Document:
    dns = {
        "@type": f"{TYPE}envoy.extensions.clusters.dns.v3.DnsCluster",
        "dns_refresh_rate": RESOLVED_EVERY,
        "dns_failure_refresh_rate": {"base_interval": "5s", "max_interval": "60s"},
        "dns_lookup_family": "ALL",
    }
    # A name that can't be resolved must not keep the sidecar from starting.
    return {"cluster_type": {"name": "envoy.clusters.dns", "typed_config": dns}, "wait_for_warm_on_init": False}


def _http(token_file: str) -> Document:
    path = '"' + token_file.replace("\\", "\\\\").replace('"', '\\"') + '"'
    script = {"inline_string": _SCRIPT % path}
    lua = {"@type": f"{TYPE}envoy.extensions.filters.http.lua.v3.Lua", "default_source_code": script}
    codec = {"@type": f"{TYPE}envoy.extensions.filters.http.upstream_codec.v3.UpstreamCodec"}
    keepalive = {"interval": "60s", "timeout": "20s"}
    return {
        "@type": _HTTP,
        "explicit_http_config": {"http2_protocol_options": {"connection_keepalive": keepalive}},
        "http_filters": [
            {"name": "token", "typed_config": lua},
            {"name": "envoy.filters.http.upstream_codec", "typed_config": codec},
        ],
    }
