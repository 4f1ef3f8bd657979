"""`weft describe pod` and `weft authz`: one pod, who may call it, its modes and its sidecar. JSON values."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from controlplane.describe.callers import port_view, reason_view, who
from controlplane.describe.outside import outside_view
from controlplane.describe.scene import Scene
from controlplane.view import problem_view
from kube.enrolment import ACCESS, ACCESS_LOG, EGRESS, MTLS
from kube.objects import Pod
from kube.problem import Ref
from mesh.model import Identity, InboundPort
from mesh.verdicts import Call, HttpRequest, Verdict, judge_call
from smi.kinds import EgressPolicy, TrafficTarget
from xds.status import ProxyStatus

MODES = {"mtls": MTLS, "access": ACCESS, "egress": EGRESS, "access_log": ACCESS_LOG}
"""What a mode is called in JSON, and the annotation it is about."""


def pod_view(scene: Scene, namespace: str, name: str) -> dict[str, Any]:
    """All about one pod. Raises UnknownError."""
    pod = scene.pod(namespace, name)
    workload = scene.workload(pod)
    if workload is None:
        return {**_named(scene, pod), "meshed": False, "problems": _problems(scene, pod)}
    reasons = scene.reasons(pod)
    return {
        **_named(scene, pod),
        "meshed": True,
        "identity": {"name": who(workload.identity, scene.settings.trust_domain), "uri": workload.identity.uri},
        "modes": {name: reason_view(reasons.mode(key)) for name, key in MODES.items()},
        "ports": [port_view(scene, pod, port) for port in workload.ports],
        "outside": outside_view(scene, workload),
        "sidecar": sidecar_view(scene, pod),
        "problems": _problems(scene, pod),
    }


def authz_view(scene: Scene, namespace: str, name: str) -> dict[str, Any]:
    """Who is let in to a pod, port by port. Raises UnknownError."""
    pod = scene.pod(namespace, name)
    workload = scene.workload(pod)
    if workload is None:
        return {**_named(scene, pod), "meshed": False}
    return {
        **_named(scene, pod),
        "meshed": True,
        "identity": {"name": who(workload.identity, scene.settings.trust_domain), "uri": workload.identity.uri},
        "ports": [port_view(scene, pod, port) for port in workload.ports],
    }


def verdict_view(
    scene: Scene, named: tuple[str, str], caller: Identity | None, port: int, request: HttpRequest | None
) -> dict[str, Any]:
    """Whether one call to a pod is let in. Raises UnknownError and mesh.paths' UnclearPathError."""
    pod = scene.pod(*named)
    workload = scene.workload(pod)
    asked = {**_named(scene, pod), "from": who(caller, scene.settings.trust_domain) if caller else None, "port": port}
    if workload is None:
        verdict = Verdict(True, "The pod has no sidecar, so nobody is asked.")
        return {**asked, "meshed": False, **_answer(verdict), "notes": []}
    found = next((each for each in workload.ports if each.port == port), None)
    verdict = judge_call(workload, Call(caller, port, request))
    seen = request is not None and found is not None and found.protocol != "tcp"
    return {
        **asked,
        "meshed": True,
        "request": _request(request) if seen and request else None,
        **_answer(verdict),
        "notes": list(_notes(scene, pod, caller, found) if verdict.allowed else _callers_pods(scene, caller)),
    }


def sidecar_view(scene: Scene, pod: Pod) -> dict[str, Any]:
    """How it stands with the sidecar of a pod: a word and a sentence."""
    if scene.proxies is None:
        return {"state": "unknown", "sentence": "No running mesh was asked, so its sidecar is not known."}
    proxy = scene.proxy(pod)
    if proxy is None:
        return {"state": "away", "sentence": "Its sidecar is not connected to this control plane."}
    return _proxy_state(proxy)


def concerned(scene: Scene, pod: Pod, identity: Identity | None) -> Iterator[Ref]:
    """The objects whose Problems concern a pod."""
    yield pod.ref
    yield Ref("Namespace", "", pod.namespace)
    for service in scene.services_of(pod):
        yield service.ref
    if identity is not None:
        for target in scene.all(TrafficTarget, pod.namespace):
            if target.destination.name == identity.service_account:
                yield target.ref
                yield from (Ref(rule.kind, target.namespace, rule.name) for rule in target.rules)
        for policy in scene.all(EgressPolicy, pod.namespace):
            if identity.service_account in policy.sources:
                yield policy.ref


def _named(scene: Scene, pod: Pod) -> dict[str, Any]:
    services = [service.name for service in scene.services_of(pod)]
    return {"kind": "Pod", "namespace": pod.namespace, "name": pod.name, "services": services}


def _problems(scene: Scene, pod: Pod) -> list[dict[str, Any]]:
    workload = scene.workload(pod)
    return [problem_view(each) for each in scene.about(concerned(scene, pod, workload.identity if workload else None))]


def _answer(verdict: Verdict) -> dict[str, Any]:
    return {
        "allowed": verdict.allowed, "answer": verdict.answer, "because": verdict.because,
        "rules": list(verdict.rules), "nearly": list(verdict.nearly),
    }  # fmt: skip


def _request(request: HttpRequest) -> dict[str, Any]:
    return {"method": request.method, "path": request.path, "headers": dict(request.headers)}


def _notes(scene: Scene, pod: Pod, caller: Identity | None, port: InboundPort | None) -> Iterator[str]:
    """What the server's rules don't say: whether the caller's own sidecar has been told of it (rule A16)."""
    yield from _callers_pods(scene, caller)
    scope = scene.mesh.scopes.get(caller) if caller else None
    if scope is None or port is None:
        return
    untold = [each for each in scene.leading_to(pod, port.port) if each not in scope.destinations]
    if untold:
        names = ", ".join(map(str, untold))
        yield f"Its own sidecar is not told of {names} (weft.dev/export-to), and refuses calls to that address."


def _callers_pods(scene: Scene, caller: Identity | None) -> Iterator[str]:
    if caller is None:
        return
    if caller.trust_domain != scene.settings.trust_domain:
        yield f"Whether this mesh is federated with {caller.trust_domain} is not looked at here."
    elif caller not in scene.mesh.scopes:
        yield f"No meshed pod runs as {who(caller, caller.trust_domain)} now."


def _proxy_state(proxy: ProxyStatus) -> dict[str, Any]:
    rejected = {kind: each.error for kind, each in proxy.types.items() if each.state == "rejected"}
    if rejected:
        words = "; ".join(f"{kind}: {error}" for kind, error in rejected.items())
        return {"state": "rejected", "sentence": f"Its sidecar refuses a part of what it was sent ({words})."}
    behind = [kind for kind, each in proxy.types.items() if each.state in {"stale", "pending"}]
    if behind:
        return {"state": "stale", "sentence": f"Its sidecar has not acknowledged the newest {', '.join(behind)} yet."}
    return {"state": "synced", "sentence": "Its sidecar is connected and has taken all it was sent."}
