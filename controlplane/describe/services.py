"""`weft describe service`: where a Service's calls go, by which split, and who may make them. JSON values."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any, Final

from controlplane.describe.callers import port_view, reason_view, who
from controlplane.describe.pods import MODES, concerned, sidecar_view
from controlplane.describe.scene import Scene
from controlplane.view import problem_view
from kube.enrolment import ENFORCED_PORTS, OPEN_PORTS, PERMISSIVE_PORTS, STRICT_PORTS
from kube.objects import Pod, Service
from kube.problem import Ref
from mesh.model import Destination, PodId, PortId, Route, ServiceId, Share
from mesh.names import service_named
from mesh.verdicts import in_words
from smi.kinds import HTTPRouteGroup, TrafficSplit

_SAID_BY: Final = {*MODES.values(), STRICT_PORTS, PERMISSIVE_PORTS, ENFORCED_PORTS, OPEN_PORTS}
"""Annotations of pods that say which modes hold."""


def service_view(scene: Scene, namespace: str, name: str) -> dict[str, Any]:
    """All about one Service. Raises UnknownError."""
    service = scene.service(namespace, name)
    own = ServiceId(namespace, name)
    ports = sorted(port for port in scene.mesh.destinations if port.service == own)
    destinations = [scene.mesh.destinations[port] for port in ports]
    pods = _pods(scene, _backends(destinations))
    return {
        "kind": "Service",
        "namespace": namespace,
        "name": name,
        "addresses": sorted({address for each in destinations for address in each.addresses}),
        "ports": [_port(scene, destination) for destination in destinations],
        "workloads": [_workload(scene, alike, destinations) for alike in _alike(scene, pods)],
        "problems": [problem_view(each) for each in scene.about(_concerned(scene, service, pods))],
    }


def _port(scene: Scene, destination: Destination) -> dict[str, Any]:
    return {
        "port": destination.id.port,
        "protocol": str(destination.protocol),
        "routes": [_route(scene, destination.id, route) for route in destination.routes],
    }


def _route(scene: Scene, port: PortId, route: Route) -> dict[str, Any]:
    """One route: for which requests, because of what, and what each backend gets."""
    total = sum(share.weight for share in route.shares)
    split = next((item for item in scene.splits(port.service) if str(item.ref) == route.origin), None)
    return {
        "requests": [in_words(match) for match in route.matches],
        "by": route.origin if split else "",
        "backends": [_share(scene, share, total) for share in route.shares],
        "left_out": _left_out(scene, split, route) if split else [],
        "answer": f"503: {route.reason}" if not route.shares else "",
    }


def _share(scene: Scene, share: Share, total: int) -> dict[str, Any]:
    endpoints = scene.mesh.endpoints.get(share.backend, ())
    meshed = sum(endpoint.identity is not None for endpoint in endpoints)
    return {
        "service": share.backend.service.name,
        "weight": share.weight,
        "percent": round(100 * share.weight / total, 1),
        "meshed": meshed,
        "plain": len(endpoints) - meshed,
        "note": _share_note(share, len(endpoints)),
    }


def _share_note(share: Share, endpoints: int) -> str:
    if not share.weight:
        return "weight 0: it gets nothing"
    return "" if endpoints else "no endpoint is ready: its share is answered 503 (T13)"


def _left_out(scene: Scene, split: TrafficSplit, route: Route) -> list[dict[str, str]]:
    """The backends of a split that get nothing here, and why."""
    present = {share.backend.service for share in route.shares}
    problems = {problem.field: problem.message for problem in scene.about([split.ref])}
    found = []
    for index, backend in enumerate(split.backends):
        named = service_named(backend.service, split.namespace, scene.settings.cluster_domain)
        if not isinstance(named, ServiceId) or named not in present:
            why = problems.get(f"spec.backends[{index}].service") or problems.get("spec.backends") or route.reason
            found.append({"service": backend.service, "why": why})
    return found


def _backends(destinations: Iterable[Destination]) -> set[PortId]:
    """Everything that calls of a Service may end at."""
    found = set()
    for destination in destinations:
        shares = [share for route in destination.routes for share in route.shares]
        found |= {destination.id, *(share.backend for share in (*shares, *destination.tcp_shares))}
    return found


def _pods(scene: Scene, backends: set[PortId]) -> list[Pod]:
    """The pods behind them, by name."""
    ids = {each.pod for backend in backends for each in scene.mesh.endpoints.get(backend, ()) if each.pod is not None}
    found = (scene.resources.get(Pod, pod.namespace, pod.name) for pod in sorted(ids))
    return [pod for pod in found if pod is not None]


def _alike(scene: Scene, pods: Iterable[Pod]) -> list[list[Pod]]:
    """The pods in groups that get the same answer; those without a sidecar together."""
    groups: dict[object, list[Pod]] = {}
    for pod in pods:
        role = scene.mesh.proxies.get(PodId(pod.namespace, pod.name))
        said = frozenset((key, word) for key, word in pod.metadata.annotations.items() if key in _SAID_BY)
        groups.setdefault(role and (role, said), []).append(pod)
    return list(groups.values())


def _workload(scene: Scene, pods: list[Pod], destinations: list[Destination]) -> dict[str, Any]:
    """Pods that are alike: who may call the ports that the Service leads to."""
    workload = scene.workload(pods[0])
    names = [pod.name for pod in pods]
    if workload is None:
        return {"meshed": False, "pods": names}
    backends, reasons = _backends(destinations), scene.reasons(pods[0])
    ids = {PodId(pod.namespace, pod.name) for pod in pods}
    numbers = {
        each.port for backend in backends for each in scene.mesh.endpoints.get(backend, ()) if each.pod in ids
    }  # fmt: skip
    return {
        "meshed": True,
        "pods": names,
        "identity": {"name": who(workload.identity, scene.settings.trust_domain), "uri": workload.identity.uri},
        "modes": {name: reason_view(reasons.mode(key)) for name, key in MODES.items()},
        "ports": [port_view(scene, pods[0], port) for port in workload.ports if port.port in numbers],
        "sidecars": [{"pod": pod.name, **sidecar_view(scene, pod)} for pod in pods],
    }


def _concerned(scene: Scene, service: Service, pods: list[Pod]) -> Iterator[Ref]:
    yield service.ref
    own = ServiceId(service.namespace, service.name)
    for split in scene.splits(own):
        names = [split.service, *(backend.service for backend in split.backends)]
        named = [service_named(name, split.namespace, scene.settings.cluster_domain) for name in names]
        if own in named:
            yield split.ref
            yield from (Ref(HTTPRouteGroup.__name__, split.namespace, rule.name) for rule in split.matches)
    for pod in pods:
        workload = scene.workload(pod)
        yield from concerned(scene, pod, workload.identity if workload else None)
