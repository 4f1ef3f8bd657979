"""The injector: a pod in, the pod with its sidecar out.

Rule: pure and idempotent. The pod that was passed is never changed; a pod that is left alone comes with the reason,
one that is refused with Problems.
"""

from __future__ import annotations

import copy
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Final

import msgspec

from kube.enrolment import INJECT, INJECTED, enrolled
from kube.objects import RawDocument
from kube.problem import Problem, Ref
from proxy import ports
from proxy.bootstrap import IDENTITY_FOLDER
from webhook import probes, sidecar
from webhook.annotations import PROXY_VERSION, PodWishes, pod_wishes
from webhook.settings import InjectorSettings
from webhook.shape import PodShape, read_shape

__all__ = ["Injection", "InjectorSettings", "NamespaceView", "inject"]

KUBERNETES_NAMESPACES: Final = frozenset({"kube-system", "kube-public", "kube-node-lease"})

_FOREIGN: Final = {
    "istio-proxy": "Istio",
    "linkerd-proxy": "Linkerd",
    "kuma-sidecar": "Kuma",
    "osm-init": "Open Service Mesh",
    "consul-dataplane": "Consul",
}
"""Containers that other meshes add: two meshes in one pod redirect each other's traffic."""

RULE: Final = "inject"
"""The rule that the injector's Problems carry."""


@dataclass(frozen=True, slots=True)
class NamespaceView:
    """What the injector needs to know of a pod's namespace."""

    name: str
    labels: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Injection:
    """What became of a pod: `pod` is it with its sidecar, or as it was where it is left alone or refused.

    `reason` says in a sentence what was decided and why. With `problems` the pod must not run as it is.
    """

    pod: RawDocument
    reason: str
    injected: bool = False
    problems: tuple[Problem, ...] = ()


def inject(
    pod: RawDocument, namespace: NamespaceView, settings: InjectorSettings, *, everything: bool = False
) -> Injection:
    """Put the sidecar into a pod or a pod template. `everything` also takes pods that no label enrols."""
    try:
        shape = read_shape(pod)
    except msgspec.ValidationError as error:
        why, _, where = str(error).partition(" - at `$")
        message = f"this can't be read ({why}); the pod is refused"
        problem = Problem(Ref("Pod", namespace.name, ""), where.strip(".`"), message, "decode")
        return Injection(pod, "it can't be read as a pod", problems=(problem,))
    alone = _left_alone(shape, namespace, settings, everything=everything)
    if alone is not None:
        return Injection(pod, alone)
    ref = Ref("Pod", namespace.name, shape.metadata.name)
    wishes, problems = pod_wishes(shape.metadata.annotations, ref)
    problems = (*problems, *_conflicts(shape, settings, ref))
    if problems:
        return Injection(pod, "it is refused until its mistakes are mended", problems=problems)
    return Injection(_with_sidecar(pod, shape, wishes, settings), "it has its sidecar now", injected=True)


def _left_alone(
    shape: PodShape, namespace: NamespaceView, settings: InjectorSettings, *, everything: bool
) -> str | None:
    """Why a pod gets no sidecar; None when it gets one."""
    names = {container.name for container in shape.everyone}
    foreign = next((mesh for name, mesh in _FOREIGN.items() if name in names), None)
    asked = enrolled(namespace.labels, shape.metadata.labels)
    opted_out = shape.metadata.labels.get(INJECT) == "disabled"
    job = not settings.native_sidecar and shape.spec.restart_policy != "Always"
    reasons = {
        "it has its sidecar already": sidecar.PROXY in names,
        f"its label {INJECT} says disabled": opted_out,
        f"no label {INJECT}: enabled on it or its namespace asks for a sidecar": not asked and not everything,
        f"namespace {namespace.name} is Kubernetes' own": namespace.name in KUBERNETES_NAMESPACES,
        f"namespace {namespace.name} is the control plane's own": namespace.name == settings.own_namespace,
        "it uses its node's network, where redirection would take the node's traffic": shape.spec.host_network,
        "it is a Windows pod, and redirection is Linux's": shape.spec.os.name == "windows",
        f"it has a sidecar of {foreign} already": foreign is not None,
        "it has to end by itself, and before Kubernetes 1.29 a sidecar would keep it from ending": job,
    }
    return next((reason for reason, holds in reasons.items() if holds), None)


def _conflicts(shape: PodShape, settings: InjectorSettings, pod: Ref) -> Iterator[Problem]:
    """What in this pod can't be beside a sidecar."""
    refused = "the pod is refused"
    uid = settings.redirect.proxy_uid
    if shape.spec.security_context.run_as_user == uid:
        message = f"{uid} is the sidecar's user, whose connections go around the mesh; {refused}"
        yield Problem(pod, "spec.securityContext.runAsUser", message, RULE)
    groups = {"initContainers": shape.spec.init_containers, "containers": shape.spec.containers}
    for group, containers in groups.items():
        for index, container in enumerate(containers):
            where = f"spec.{group}[{index}]"
            if container.security_context.run_as_user == uid:
                message = f"{uid} is the sidecar's user, whose connections go around the mesh; {refused}"
                yield Problem(pod, f"{where}.securityContext.runAsUser", message, RULE)
            if container.name == sidecar.REDIRECT:
                yield Problem(
                    pod, f"{where}.name", f"{container.name} is the name of a container of Weft; {refused}", RULE
                )
            for number, port in enumerate(container.ports):
                if port.container_port in ports.RESERVED and port.protocol == "TCP":
                    message = f"the sidecar listens on {port.container_port}; {refused}"
                    yield Problem(pod, f"{where}.ports[{number}].containerPort", message, RULE)
    for index, volume in enumerate(shape.spec.volumes):
        if volume.name == sidecar.IDENTITY_VOLUME:
            yield Problem(
                pod, f"spec.volumes[{index}].name", f"{volume.name} is the name of a volume of Weft; {refused}", RULE
            )


def _with_sidecar(pod: RawDocument, shape: PodShape, wishes: PodWishes, settings: InjectorSettings) -> RawDocument:
    made = copy.deepcopy(pod)
    spec = made["spec"]
    redirection = sidecar.redirect_settings(settings, wishes)
    lasting = (*(container for container in shape.spec.init_containers if container.is_sidecar), *shape.spec.containers)
    turned = probes.turned(lasting, redirection.exclude_inbound_ports)
    documents = {item["name"]: item for item in (*(spec.get("initContainers") or ()), *spec["containers"])}
    for item in turned:
        probes.turn(documents[item.container], item.field, item.probe.path)
    bootstrap = replace(
        settings.bootstrap,
        ca_file=f"{IDENTITY_FOLDER}/ca/bundle.pem",
        token_file=f"{IDENTITY_FOLDER}/token",
        probes=tuple(item.probe for item in turned),
    )
    proxy = sidecar.proxy_container(settings, wishes, bootstrap)
    redirect = [sidecar.redirect_container(settings, redirection)] if settings.redirect_by_init else []
    own_init = list(spec.get("initContainers") or ())
    if settings.native_sidecar:
        # First of all: whatever the app's init containers call is called through the mesh.
        spec["initContainers"] = [*redirect, proxy, *own_init]
    else:
        # Until the proxy runs there is nothing to redirect to: init containers are outside the mesh.
        if redirect or own_init:
            spec["initContainers"] = [*own_init, *redirect]
        spec["containers"] = [proxy, *spec["containers"]]
    spec["volumes"] = [*(spec.get("volumes") or ()), sidecar.identity_volume(settings)]
    _annotate(made, shape, settings)
    return made


def _annotate(pod: RawDocument, shape: PodShape, settings: InjectorSettings) -> None:
    metadata = pod["metadata"] = pod.get("metadata") or {}
    marks = {INJECTED: "true", PROXY_VERSION: settings.version}
    # Else `kubectl logs` and `kubectl exec` would mean the first container.
    first = (
        {} if settings.native_sidecar else {"kubectl.kubernetes.io/default-container": shape.spec.containers[0].name}
    )
    metadata["annotations"] = first | dict(metadata.get("annotations") or {}) | marks
