"""The document and arguments a sidecar's Envoy starts with: where the control plane is, and what is served without it.

Rule: nothing here depends on policy, so a new version of the mesh's configuration never restarts a proxy. Everything
that a pod knows only at run time stands as Kubernetes' `$(VAR)`, so a stock Envoy image needs no wrapper.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

from kube.workload import UNKNOWN, WorkloadName
from proxy import exposition, ports, probes, tapping
from proxy.exposition import AppMetrics
from proxy.probes import TYPE, AskHttp, Document, Probe
from smi.regex import PROGRAM_LIMIT, PROGRAM_LIMIT_KEY
from xds.names import WORKLOAD_API_CLUSTER

POD_IP: Final = "$(POD_IP)"
"""The pod's address, which Kubernetes fills into a container's arguments."""

XDS_HOST: Final = "weft.weft-system.svc"
"""The control plane's name, which its certificate is made for."""

IDENTITY_FOLDER: Final = "/var/run/secrets/weft"
"""Where a sidecar finds its token and what it trusts."""

ADMIN_CLUSTER: Final = "admin"
_SOL_SOCKET: Final = 1
_SO_MARK: Final = 36


@dataclass(frozen=True, slots=True, kw_only=True)
class BootstrapSettings:
    """What a sidecar starts with.

    `ca_file` holds PEM certificates that the control plane's must chain to, `token_file` the token that proves who
    the pod is; Envoy reads the token again for every stream. `pod_address` is listened on and where probes are asked.
    `mark` is put on the sockets of the proxy's connections (not on those to the control plane, which gRPC's own library
    makes). `heap_bytes`, where known, is when Envoy gives memory back and at last refuses requests. `drain_seconds` is
    how long a replaced listener's connections may go on. `workload` is what made the pod, `app_metrics` where its app
    tells metrics; both are for the metrics port only. `spiffe_socket` is the Unix socket of a SPIFFE Workload API that
    serves certificates, where there is one.
    """

    control_plane_host: str = XDS_HOST
    control_plane_port: int = ports.XDS
    ca_file: str = f"{IDENTITY_FOLDER}/ca/bundle.pem"
    token_file: str = f"{IDENTITY_FOLDER}/token"
    pod_address: str = POD_IP
    mark: int | None = None
    heap_bytes: int | None = None
    concurrency: int = 2
    log_level: str = "warning"
    drain_seconds: int = 45
    probes: tuple[Probe, ...] = ()
    workload: WorkloadName = UNKNOWN
    spiffe_socket: str = ""
    app_metrics: AppMetrics | None = None


def bootstrap(settings: BootstrapSettings) -> Document:
    """Envoy's Bootstrap (config.bootstrap.v3) in its JSON form."""
    options = _socket_options(settings)
    document: Document = {
        "admin": {"address": _address("127.0.0.1", ports.ADMIN)},
        "layered_runtime": {"layers": [*runtime()["layers"], tapping.runtime_layer()]},
        "dynamic_resources": {"ads_config": _ads(settings), "cds_config": _from_ads(), "lds_config": _from_ads()},
        "static_resources": {
            "listeners": [_health(settings), _metrics(settings)],
            "clusters": [
                _admin_cluster(),
                tapping.cluster(
                    settings.control_plane_host, settings.control_plane_port, settings.ca_file, settings.token_file
                ),
                *probes.clusters(settings.probes, settings.pod_address, options),
                *_app_metrics_cluster(settings, options),
                *_workload_api_cluster(settings),
            ],
        },
        **exposition.statistics(),
    }
    if options:
        document["cluster_manager"] = {"upstream_bind_config": {"socket_options": options}}
    if settings.heap_bytes is not None:
        document["overload_manager"] = _overload_manager(settings.heap_bytes)
    return document


def runtime() -> Document:
    """Envoy's runtime settings: the size of regexes that `smi` lets pass is the one Envoy takes (rule F6)."""
    return {"layers": [{"name": "weft", "static_layer": {PROGRAM_LIMIT_KEY: PROGRAM_LIMIT}}]}


def arguments(settings: BootstrapSettings) -> list[str]:
    """Envoy's arguments, as a container's `args`: Kubernetes fills in `$(VAR)` and reads `$$` as `$`."""
    return [
        "--config-yaml", _container_text(bootstrap(settings)),
        "--service-node", "$(POD_NAMESPACE)/$(POD_NAME)",
        "--service-cluster", "$(SERVICE_ACCOUNT).$(POD_NAMESPACE)",
        "--concurrency", str(settings.concurrency),
        "--log-level", settings.log_level,
        "--drain-time-s", str(settings.drain_seconds),
        "--disable-hot-restart",
    ]  # fmt: skip


def with_probes(words: list[str], settings: BootstrapSettings) -> list[str] | None:
    """Arguments of `arguments` that serve the probes of `settings` too; None for what are no such arguments."""
    try:
        place = words.index("--config-yaml") + 1
        document = json.loads(words[place])
        health, clusters = _health_manager(document), document["static_resources"]["clusters"]
        # Both documents as texts of a container, so that `$` means the same in them.
        more = json.loads(_container_text(bootstrap(settings)))
        added = _health_manager(more)
        _join(_routes(health), _routes(added), lambda route: str(route["match"]["path"]))
        filters = health["http_filters"]
        known = {item["name"] for item in filters}
        filters[:0] = [item for item in added["http_filters"] if item["name"] not in known]
        _join(clusters, more["static_resources"]["clusters"], lambda cluster: str(cluster["name"]))
    except (ValueError, IndexError, KeyError, TypeError, StopIteration):
        return None
    return [*words[:place], json.dumps(document, separators=(",", ":")), *words[place + 1 :]]


def _health_manager(document: Document) -> Document:
    listener = next(item for item in document["static_resources"]["listeners"] if item["name"] == "health")
    manager: Document = listener["filter_chains"][0]["filters"][0]["typed_config"]
    return manager


def _routes(manager: Document) -> list[Document]:
    routes: list[Document] = manager["route_config"]["virtual_hosts"][0]["routes"]
    return routes


def _join(items: list[Document], more: list[Document], key: Callable[[Document], str]) -> None:
    """Append those that are not there yet."""
    known = {key(item) for item in items}
    items.extend(item for item in more if key(item) not in known)


def _container_text(document: Document) -> str:
    """The document on one line, in which `$` is what it says, except where the pod's address belongs."""
    text = json.dumps(document, separators=(",", ":"))
    return text.replace("$", "$$").replace(json.dumps(POD_IP).replace("$", "$$"), json.dumps(POD_IP))


def _ads(settings: BootstrapSettings) -> Document:
    credentials = {
        "@type": f"{TYPE}envoy.config.grpc_credential.v3.FileBasedMetadataConfig",
        "secret_data": {"filename": settings.token_file},
        "header_key": "authorization",
        "header_prefix": "Bearer ",
    }
    name = "envoy.grpc_credentials.file_based_metadata"
    return {
        "api_type": "DELTA_GRPC",
        "transport_api_version": "V3",
        # The node is 61 kB; without this it goes with every message (rule R3).
        "set_node_on_first_message_only": True,
        "grpc_services": [
            {
                "google_grpc": {
                    "target_uri": f"{settings.control_plane_host}:{settings.control_plane_port}",
                    "stat_prefix": "xds",
                    "channel_credentials": {"ssl_credentials": {"root_certs": {"filename": settings.ca_file}}},
                    "credentials_factory_name": name,
                    "call_credentials": [{"from_plugin": {"name": name, "typed_config": credentials}}],
                    "channel_args": {"args": {key: {"int_value": value} for key, value in _CHANNEL.items()}},
                }
            }
        ],
    }


# gRPC core's channel arguments (grpc/impl/channel_arg_names.h), in its units.
_CHANNEL: Final = {
    # A control plane that is gone without a word is noticed within 80 s.
    "grpc.keepalive_time_ms": 60_000,
    "grpc.keepalive_timeout_ms": 20_000,
    "grpc.http2.max_pings_without_data": 0,
    # One that comes back is found within 5 s (the default grows to two minutes).
    "grpc.initial_reconnect_backoff_ms": 200,
    "grpc.min_reconnect_backoff_ms": 5_000,
    "grpc.max_reconnect_backoff_ms": 5_000,
    # The first answer holds everything this proxy needs (the default is 4 MiB).
    "grpc.max_receive_message_length": 256 * 1024 * 1024,
    "grpc.enable_http_proxy": 0,
}


def _from_ads() -> Document:
    # No timeout: a proxy that was never told anything is not ready, rather than ready and without listeners.
    return {"ads": {}, "resource_api_version": "V3", "initial_fetch_timeout": "0s"}


def _health(settings: BootstrapSettings) -> Document:
    ready = _to_admin("/healthz/ready", "/ready")
    return _listener(
        "health", settings.pod_address, ports.HEALTH,
        [ready, *probes.routes(settings.probes)], probes.http_filters(settings.probes),
    )  # fmt: skip


def _metrics(settings: BootstrapSettings) -> Document:
    told = exposition.routes(ADMIN_CLUSTER, settings.workload, settings.app_metrics)
    listener = _listener("metrics", settings.pod_address, ports.METRICS, told, [exposition.http_filter()])
    return listener | {"per_connection_buffer_limit_bytes": exposition.LARGEST}


def _app_metrics_cluster(settings: BootstrapSettings, options: list[Document]) -> list[Document]:
    if settings.app_metrics is None:
        return []
    ask = AskHttp(port=settings.app_metrics.port, path=settings.app_metrics.path)
    return [probes.cluster(exposition.APP_CLUSTER, ask, settings.pod_address, options)]


def _workload_api_cluster(settings: BootstrapSettings) -> list[Document]:
    """Who serves this sidecar's certificates where the control plane does not (xds.translate.certificates)."""
    if not settings.spiffe_socket:
        return []
    options = "envoy.extensions.upstreams.http.v3.HttpProtocolOptions"
    http2 = {"@type": f"{TYPE}{options}", "explicit_http_config": {"http2_protocol_options": {}}}
    endpoint = {"endpoint": {"address": {"pipe": {"path": settings.spiffe_socket}}}}
    return [
        {
            "name": WORKLOAD_API_CLUSTER,
            "type": "STATIC",
            "connect_timeout": "1s",
            "typed_extension_protocol_options": {options: http2},
            "load_assignment": {"cluster_name": WORKLOAD_API_CLUSTER, "endpoints": [{"lb_endpoints": [endpoint]}]},
        }
    ]


def _to_admin(path: str, admin_path: str) -> Document:
    only_get = [{"name": ":method", "string_match": {"exact": "GET"}}]
    action = {"cluster": ADMIN_CLUSTER, "prefix_rewrite": admin_path}
    return {"match": {"path": path, "headers": only_get}, "route": action}


def _listener(
    name: str, address: str, port: int, route_list: list[Document], before_router: list[Document]
) -> Document:
    router = {"@type": f"{TYPE}envoy.extensions.filters.http.router.v3.Router", "suppress_envoy_headers": True}
    manager = {
        "@type": f"{TYPE}envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager",
        "stat_prefix": name,
        "generate_request_id": False,
        "skip_xff_append": True,
        "route_config": {"name": name, "virtual_hosts": [{"name": name, "domains": ["*"], "routes": route_list}]},
        "http_filters": [*before_router, {"name": "envoy.filters.http.router", "typed_config": router}],
    }
    chain = {"filters": [{"name": "envoy.filters.network.http_connection_manager", "typed_config": manager}]}
    return {
        "name": name,
        "address": _address(address, port),
        "filter_chains": [chain],
        # Health and metrics are wanted most when connections are many.
        "ignore_global_conn_limit": True,
        "bypass_overload_manager": True,
    }


def _admin_cluster() -> Document:
    endpoint = {"endpoint": {"address": _address("127.0.0.1", ports.ADMIN)}}
    return {
        "name": ADMIN_CLUSTER,
        "type": "STATIC",
        "load_assignment": {"cluster_name": ADMIN_CLUSTER, "endpoints": [{"lb_endpoints": [endpoint]}]},
    }


def _socket_options(settings: BootstrapSettings) -> list[Document]:
    if settings.mark is None:
        return []
    mark = {"level": _SOL_SOCKET, "name": _SO_MARK, "int_value": settings.mark, "state": "STATE_PREBIND"}
    return [{"description": "exempt from redirection", **mark}]


def _overload_manager(heap_bytes: int) -> Document:
    heap = "envoy.resource_monitors.fixed_heap"
    config = {"@type": f"{TYPE}envoy.extensions.resource_monitors.fixed_heap.v3.FixedHeapConfig"}
    actions = {"envoy.overload_actions.shrink_heap": 0.9, "envoy.overload_actions.stop_accepting_requests": 0.98}
    return {
        "refresh_interval": "0.25s",
        "resource_monitors": [{"name": heap, "typed_config": config | {"max_heap_size_bytes": heap_bytes}}],
        "actions": [
            {"name": action, "triggers": [{"name": heap, "threshold": {"value": threshold}}]}
            for action, threshold in actions.items()
        ],
    }


def _address(address: str, port: int) -> dict[str, Any]:
    return {"socket_address": {"address": address, "port_value": port}}
