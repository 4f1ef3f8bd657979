"""The kubelet's probes and lifecycle hooks, turned so that they keep working under strict mTLS (rule A15).

Rule: only what would meet the sidecar is turned. `exec`, a `host` of its own, an excluded port and a port name that
the container lacks stay as they are; times, thresholds and headers stay in every case.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final
from urllib.parse import quote

from kube.objects import RawDocument
from proxy import ports
from proxy.probes import AskGrpc, AskHttp, AskTcp, Probe
from proxy.redirect import PortRange
from webhook.shape import Container, Handler

_ACTIONS: Final = ("httpGet", "tcpSocket", "grpc")
_URL: Final = "/?%:@!$&'()*+,;=~-._[]"


@dataclass(frozen=True, slots=True)
class Turned:
    """One probe or hook that asks the sidecar from now on. `field` leads to it from the container's document."""

    container: str
    field: tuple[str, ...]
    probe: Probe


def turned(containers: tuple[Container, ...], excluded: tuple[PortRange, ...]) -> list[Turned]:
    """Everything of these containers that is to be turned."""
    return [
        Turned(container.name, field, Probe(path, ask, timeout))
        for container in containers
        for field, path, handler, timeout in _handlers(container)
        if (ask := _ask(handler, container, excluded)) is not None
    ]


def turn_all(pod: RawDocument, items: Iterable[Turned]) -> None:
    """Let all of these ask the sidecar; the pod's document is changed."""
    spec = pod["spec"]
    documents = {item["name"]: item for item in (*(spec.get("initContainers") or ()), *spec["containers"])}
    for item in items:
        _turn(documents[item.container], item.field, item.probe.path)


def _turn(container: RawDocument, field: tuple[str, ...], path: str) -> None:
    """Let one handler of a container's document ask the sidecar."""
    handler: dict[str, Any] = container
    for name in field:
        handler = handler[name]
    headers = (handler.get("httpGet") or {}).get("httpHeaders")
    for action in _ACTIONS:
        handler.pop(action, None)
    handler["httpGet"] = {"path": path, "port": ports.HEALTH, **({"httpHeaders": headers} if headers else {})}


def _handlers(container: Container) -> Iterator[tuple[tuple[str, ...], str, Handler, int]]:
    """Field, path on the health port, handler and timeout in seconds; hooks have no timeout of their own, hence 0."""
    probes: Mapping[str, Handler | None] = {
        "readiness": container.readiness_probe,
        "liveness": container.liveness_probe,
        "startup": container.startup_probe,
    }
    for name, probe in probes.items():
        if probe is not None:
            # Kubernetes reads 0 as 1; an hour bounds what Envoy is told.
            timeout = min(max(1, probe.timeout_seconds), 3600)
            yield (f"{name}Probe",), f"/probe/{container.name}/{name}", probe, timeout
    hooks = {"postStart": container.lifecycle.post_start, "preStop": container.lifecycle.pre_stop}
    for name, hook in hooks.items():
        # The kubelet does nothing for a hook that says tcpSocket.
        if hook is not None and hook.http_get is not None:
            yield ("lifecycle", name), f"/hook/{container.name}/{name}", hook, 0


def _ask(handler: Handler, container: Container, excluded: tuple[PortRange, ...]) -> AskHttp | AskTcp | AskGrpc | None:
    asked = handler.http_get or handler.tcp_socket or handler.grpc
    if asked is None or asked.host:
        return None
    port = _number(asked.port, container)
    # What asks the sidecar asks it already: it was turned before, or is the sidecar's own.
    if port is None or port == ports.HEALTH or any(port in range_ for range_ in excluded):
        return None
    if handler.http_get is not None:
        return AskHttp(port, _path(handler.http_get.path), handler.http_get.scheme.upper() == "HTTPS")
    if handler.tcp_socket is not None:
        return AskTcp(port)
    return AskGrpc(port, handler.grpc.service if handler.grpc else "")


def _number(port: int | str, container: Container) -> int | None:
    if isinstance(port, int):
        return port if 0 < port < 65536 else None
    return next((candidate.container_port for candidate in container.ports if candidate.name == port), None)


def _path(path: str) -> str:
    """The path as the kubelet would send it: rooted, escaped, without a fragment."""
    rooted = path if path.startswith("/") else f"/{path}"
    return quote(rooted.partition("#")[0], safe=_URL)
