"""The pods that end-to-end tests talk to, as manifests, and short ways to write SMI objects.

client, other       callers with identities of their own, in namespace `test`; `plain` is a caller without a sidecar
web, web-v1, web-v2 HTTP Services; web-v1 and web-v2 select one Deployment each, `web` both
lines               a TCP Service that echoes, `greeter` one that speaks first; both run in pod `lines`
quiet               an HTTP Service whose pod has no sidecar
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

ECHO = str(Path(__file__).with_name("echo.py"))
NAMESPACE = "test"

Manifest = dict[str, Any]


def manifests(*objects: Manifest) -> str:
    """Several objects as one file."""
    return "\n---\n".join(json.dumps(item, indent=1) for item in objects)


def base() -> str:
    """Everything but access rules and splits."""
    accounts = [
        thing("v1", "ServiceAccount", name) for name in ("client", "other", "web-v1", "web-v2", "lines", "quiet")
    ]
    return manifests(
        {"apiVersion": "v1", "kind": "Namespace",
         "metadata": {"name": NAMESPACE, "labels": {"weft.dev/inject": "enabled"}}},
        *accounts,
        deployment("client", "client", ["sleep", "infinity"], []),
        deployment("other", "other", ["sleep", "infinity"], []),
        deployment("plain", "other", ["sleep", "infinity"], [], {"weft.dev/inject": "disabled"}),
        deployment("web-v1", "web-v1", http("web-v1"), [8080], {"app": "web", "version": "v1"}),
        deployment("web-v2", "web-v2", http("web-v2"), [8080], {"app": "web", "version": "v2"}),
        deployment("lines", "lines", ["sh", "-c", f"python3 {ECHO} tcp 9000 lines & "
                                      f"exec python3 {ECHO} tcp 9001 greeter --greet"], [9000, 9001]),
        deployment("quiet", "quiet", http("quiet"), [8080], {"weft.dev/inject": "disabled"}),
        service("web", {"app": "web"}, ("http", 80, 8080)),
        service("web-v1", {"version": "v1"}, ("http", 80, 8080)),
        service("web-v2", {"version": "v2"}, ("http", 80, 8080)),
        service("lines", {"app": "lines"}, ("tcp-lines", 9000, 9000)),
        service("greeter", {"app": "lines"}, ("tcp-greeter", 9001, 9001)),
        service("quiet", {"app": "quiet"}, ("http", 80, 8080)),
    )  # fmt: skip


def http(name: str) -> list[str]:
    """The command of an HTTP echo server."""
    return ["python3", ECHO, "http", "8080", name]


def thing(api_version: str, kind: str, name: str, **fields: Any) -> Manifest:
    """An object of the test namespace."""
    return {"apiVersion": api_version, "kind": kind, "metadata": {"name": name, "namespace": NAMESPACE}, **fields}


def deployment(
    name: str, account: str, command: list[str], ports: list[int], labels: Mapping[str, str] | None = None
) -> Manifest:
    """One pod that runs a command."""
    labels = {"app": name, **(labels or {})}
    container: Manifest = {"name": "app", "image": "python:3.11", "command": command}
    if ports:
        container["ports"] = [{"containerPort": port} for port in ports]
        container["readinessProbe"] = {"tcpSocket": {"port": ports[0]}, "periodSeconds": 1}
    spec = {
        "replicas": 1,
        "selector": {"matchLabels": labels},
        "template": {
            "metadata": {"labels": labels},
            "spec": {"serviceAccountName": account, "containers": [container]},
        },
    }
    return thing("apps/v1", "Deployment", name, spec=spec)


def service(name: str, selector: Mapping[str, str], *ports: tuple[str, int, int]) -> Manifest:
    """A Service; ports are (name, port, targetPort)."""
    listed = [{"name": port_name, "port": port, "targetPort": target} for port_name, port, target in ports]
    return thing("v1", "Service", name, spec={"selector": dict(selector), "ports": listed})


def account(name: str, namespace: str = NAMESPACE) -> Manifest:
    """A ServiceAccount as destination or source of a TrafficTarget."""
    return {"kind": "ServiceAccount", "name": name, "namespace": namespace}


def target(name: str, destination: str, sources: list[Manifest], rules: list[Manifest]) -> Manifest:
    """A TrafficTarget."""
    spec = {"destination": account(destination), "sources": sources, "rules": rules}
    return thing("access.smi-spec.io/v1alpha3", "TrafficTarget", name, spec=spec)


def allow_http(destination: str, *sources: str) -> str:
    """Let callers send any request to a destination."""
    name = f"allow-{destination}"
    return manifests(
        route_group(name, {"name": "all", "pathRegex": ".*", "methods": ["*"]}),
        target(name, destination, [account(source) for source in sources], [group_ref(name)]),
    )


def allow_tcp(destination: str, *sources: str) -> str:
    """Let callers open any connection to a destination."""
    name = f"allow-{destination}"
    return manifests(
        thing("specs.smi-spec.io/v1alpha4", "TCPRoute", name, spec={"matches": {"ports": []}}),
        target(name, destination, [account(source) for source in sources], [{"kind": "TCPRoute", "name": name}]),
    )


def route_group(name: str, *matches: Manifest) -> Manifest:
    """An HTTPRouteGroup."""
    return thing("specs.smi-spec.io/v1alpha4", "HTTPRouteGroup", name, spec={"matches": list(matches)})


def group_ref(name: str, *matches: str) -> Manifest:
    """A TrafficTarget's rule that refers to an HTTPRouteGroup."""
    return {"kind": "HTTPRouteGroup", "name": name, **({"matches": list(matches)} if matches else {})}


def split(name: str, root: str, weights: Mapping[str, int], *groups: str) -> str:
    """A TrafficSplit, with header matches where groups are named."""
    spec: Manifest = {
        "service": root,
        "backends": [{"service": backend, "weight": weight} for backend, weight in weights.items()],
    }
    if groups:
        spec["matches"] = [{"kind": "HTTPRouteGroup", "name": group} for group in groups]
    return manifests(thing("split.smi-spec.io/v1alpha4", "TrafficSplit", name, spec=spec))
