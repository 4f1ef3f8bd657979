"""Three pairs of pods in a local cluster: no sidecar, a minimal Envoy pair written by hand, our two sidecars.

Rule: the three differ in what stands between wrk and the server and in nothing else: the same server, the same machine,
the same moment. The minimal pair has mutual TLS and a router, and neither policy, telemetry, logs nor redirection.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Self

from local.state import command_in_pod, control_socket, pods

START: Final = 60.0
SERVER_PORT: Final = 8080
APP_TLS: Final = 8443
LOCAL: Final = 18080
HTTP_OPTIONS: Final = "envoy.extensions.upstreams.http.v3.HttpProtocolOptions"
Manifest = dict[str, Any]


def envoy() -> str:
    """The real Envoy itself, not the script that starts it."""
    import envoy as package  # type: ignore[import-untyped]  # noqa: PLC0415 - only its file is wanted

    return str(Path(str(package.__file__)).parent / "_bin" / "envoy")


class Cluster:
    """`weft up` on some manifests, as a context manager. Raises SystemExit with its log when it does not start."""

    def __init__(self, manifests: Sequence[Manifest], *options: str) -> None:
        self.name = f"bench-{os.getpid()}"
        self._manifests, self._options = manifests, options

    def __enter__(self) -> Self:
        self._temporary = tempfile.TemporaryDirectory(prefix="weft-bench-")
        folder = Path(self._temporary.name) / "manifests"
        folder.mkdir()
        (folder / "all.yaml").write_text("\n---\n".join(json.dumps(item) for item in self._manifests))
        log = Path(self._temporary.name) / "log"
        with log.open("wb") as stream:
            self._process = subprocess.Popen(
                [sys.executable, "-P", "-m", "controlplane.cli.main", "up", str(folder), "--name", self.name,
                 *self._options],
                stdout=stream, stderr=stream, start_new_session=True,
            )  # fmt: skip
        end = time.monotonic() + START
        while not self._ready():
            if time.monotonic() > end or self._process.poll() is not None:
                text = log.read_text()[-2000:]
                self.__exit__(None, None, None)
                raise SystemExit(f"The cluster did not start:\n{text}")
            time.sleep(0.1)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._process.send_signal(signal.SIGINT)
        self._process.wait(30)
        self._temporary.cleanup()

    def _ready(self) -> bool:
        if control_socket(self.name) is None:
            return False
        found = pods(self.name).values()
        return len(found) >= self._wanted() and all(pod["ready"] for pod in found)

    def _wanted(self) -> int:
        return sum(item["kind"] == "Deployment" for item in self._manifests)

    def run(self, pod: str, *command: str) -> str:
        """What a command in a pod prints."""
        argv, environment = command_in_pod(self.name, pod, list(command))
        return subprocess.run(argv, env=environment, text=True, capture_output=True, check=True).stdout

    def envoys(self, pod: str) -> list[int]:
        """The Envoys in a pod, by process id."""
        argv, environment = command_in_pod(self.name, pod, ["readlink", "/proc/self/ns/net"])
        space = subprocess.run(argv, env=environment, text=True, capture_output=True, check=True).stdout.strip()
        processes = [entry for entry in Path("/proc").iterdir() if entry.name.isdigit()]
        return [int(entry.name) for entry in processes if _is_envoy(entry, space)]


def _is_envoy(entry: Path, space: str) -> bool:
    try:
        named = (entry / "comm").read_text().strip().startswith("envoy")
        return named and str((entry / "ns/net").readlink()) == space
    except OSError:
        return False


def base() -> list[Manifest]:
    """The three pairs. `plain`: no sidecars; `pair`: Envoys as apps; `mesh`: ours."""
    meshed = {"weft.dev/inject": "enabled"}
    answering = [envoy(), "--config-yaml", json.dumps(_server()), "--concurrency", "1", "-l", "error",
                 "--disable-hot-restart"]  # fmt: skip
    idle = ["sleep", "infinity"]
    made: list[Manifest] = [_namespace("plain"), _namespace("mesh", meshed)]
    for space in ("plain", "mesh"):
        made += [deployment(space, "client", idle), deployment(space, "server", answering, SERVER_PORT)]
    made.append(service("mesh", "server"))
    return [*made, *allow()]


def pair(server: str, certificate: str) -> tuple[list[str], list[str]]:
    """The commands of the minimal pair: client's and server's Envoy. `server` is the address of the server's pod."""
    versions = {"tls_minimum_protocol_version": "TLSv1_3", "tls_maximum_protocol_version": "TLSv1_3"}
    own = {"certificate_chain": {"inline_string": certificate}, "private_key": {"inline_string": certificate}}
    trusted = {"trusted_ca": {"inline_string": certificate}}
    tls = {"common_tls_context": {
        "tls_params": versions, "tls_certificates": [own], "validation_context": trusted,
    }}  # fmt: skip
    there = _cluster(server, APP_TLS, _socket("UpstreamTlsContext", {**tls, "sni": "server"}), http2=True)
    here = _cluster("127.0.0.1", SERVER_PORT)
    taking = _socket("DownstreamTlsContext", {**tls, "require_client_certificate": True})
    return (
        _command(_document(_listener(LOCAL, _manager()), there), 15100),
        _command(_document(_listener(APP_TLS, _manager(), taking), here), 15100),
    )


def _command(document: Manifest, admin: int) -> list[str]:
    document = {**document, "admin": {"address": _address("127.0.0.1", admin)}}
    return [envoy(), "--config-yaml", json.dumps(document), "--concurrency", "2", "-l", "error",
            "--disable-hot-restart"]  # fmt: skip


def _server() -> Manifest:
    """What all three call: an Envoy that answers by itself, since it is here anyway and quick."""
    return _document(_listener(SERVER_PORT, _manager(answer=True)))


def _document(listener: Manifest, *clusters: Manifest) -> Manifest:
    return {"static_resources": {"listeners": [listener], "clusters": list(clusters)}}


def _listener(port: int, manager: Manifest, socket: Manifest | None = None) -> Manifest:
    chain: Manifest = {"filters": [manager], **({"transport_socket": socket} if socket else {})}
    return {"name": f"at-{port}", "address": _address("0.0.0.0", port), "filter_chains": [chain]}


def _manager(*, answer: bool = False) -> Manifest:
    route: Manifest = {"match": {"prefix": "/"}}
    if answer:
        route["direct_response"] = {"status": 200, "body": {"inline_string": "ok"}}
    else:
        route["route"] = {"cluster": "there", "timeout": "0s"}
    package = "type.googleapis.com/envoy.extensions.filters"
    return {"name": "http", "typed_config": {
        "@type": f"{package}.network.http_connection_manager.v3.HttpConnectionManager",
        "stat_prefix": "http",
        "route_config": {"virtual_hosts": [{"name": "all", "domains": ["*"], "routes": [route]}]},
        "http_filters": [{"name": "router", "typed_config": {"@type": f"{package}.http.router.v3.Router"}}],
    }}  # fmt: skip


def _cluster(address: str, port: int, socket: Manifest | None = None, *, http2: bool = False) -> Manifest:
    endpoint = {"endpoint": {"address": _address(address, port)}}
    spoken: Manifest = {"http2_protocol_options": {}} if http2 else {"http_protocol_options": {}}
    options = {"@type": f"type.googleapis.com/{HTTP_OPTIONS}", "explicit_http_config": spoken}
    return {
        "name": "there", "type": "STATIC", "connect_timeout": "5s",
        "load_assignment": {"cluster_name": "there", "endpoints": [{"lb_endpoints": [endpoint]}]},
        "typed_extension_protocol_options": {HTTP_OPTIONS: options},
        **({"transport_socket": socket} if socket else {}),
    }  # fmt: skip


def _socket(kind: str, config: Manifest) -> Manifest:
    typed = {"@type": f"type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.{kind}", **config}
    return {"name": "tls", "typed_config": typed}


def _address(address: str, port: int) -> Manifest:
    return {"socket_address": {"address": address, "port_value": port}}


def _namespace(name: str, labels: dict[str, str] | None = None) -> Manifest:
    return {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name, "labels": labels or {}}}


def deployment(space: str, name: str, command: list[str], port: int = 0) -> Manifest:
    """One pod with an identity of its name."""
    container: Manifest = {"name": "app", "image": "bench", "command": command}
    if port:
        container["ports"] = [{"containerPort": port}]
        container["readinessProbe"] = {"tcpSocket": {"port": port}, "periodSeconds": 1}
    template = {"metadata": {"labels": {"app": name}}, "spec": {"serviceAccountName": name, "containers": [container]}}
    spec = {"replicas": 1, "selector": {"matchLabels": {"app": name}}, "template": template}
    metadata = {"name": name, "namespace": space}
    return {"apiVersion": "apps/v1", "kind": "Deployment", "metadata": metadata, "spec": spec}


def service(space: str, name: str, app: str = "") -> Manifest:
    """A Service of HTTP on port 80."""
    ports = [{"name": "http", "port": 80, "targetPort": SERVER_PORT}]
    spec = {"selector": {"app": app or name}, "ports": ports}
    return {"apiVersion": "v1", "kind": "Service", "metadata": {"name": name, "namespace": space}, "spec": spec}


def allow() -> list[Manifest]:
    """The client may send every request to the server: the policy that ours looks at for each request."""
    group = {
        "apiVersion": "specs.smi-spec.io/v1alpha4", "kind": "HTTPRouteGroup",
        "metadata": {"name": "all", "namespace": "mesh"},
        "spec": {"matches": [{"name": "all", "pathRegex": "/.*", "methods": ["*"]}]},
    }  # fmt: skip
    account = {"kind": "ServiceAccount", "namespace": "mesh"}
    target = {
        "apiVersion": "access.smi-spec.io/v1alpha3", "kind": "TrafficTarget",
        "metadata": {"name": "client", "namespace": "mesh"},
        "spec": {
            "destination": {**account, "name": "server"}, "sources": [{**account, "name": "client"}],
            "rules": [{"kind": "HTTPRouteGroup", "name": "all"}],
        },
    }  # fmt: skip
    return [group, target]


def wrk() -> str:
    """The load client. Raises SystemExit with what to install."""
    found = shutil.which("wrk")
    if found is None:
        raise SystemExit("The load client is wrk: install it (Debian: apt-get install wrk).")
    return found
