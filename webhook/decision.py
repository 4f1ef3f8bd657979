"""Whether a pod gets a sidecar, and in a sentence why not.

Rule: a pod is left alone where a sidecar would harm: it, its node, Kubernetes or the control plane.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

from kube.enrolment import INJECT, enrolled
from kube.other_meshes import Marked, mark_of_another_mesh
from webhook.settings import InjectorSettings
from webhook.shape import PodShape
from webhook.sidecar import PROXY

KUBERNETES_NAMESPACES: Final = ("kube-system", "kube-public", "kube-node-lease")

MIRROR: Final = "kubernetes.io/config.mirror"
"""Annotation of what stands for a static pod in the API (Kubernetes documentation, "Create static Pods")."""

FOREIGN: Final[Mapping[str, str]] = {
    "istio-proxy": "Istio",
    "linkerd-proxy": "Linkerd",
    "kuma-sidecar": "Kuma",
    "osm-init": "Open Service Mesh",
    "consul-dataplane": "Consul",
}
"""Containers that other meshes add: two meshes in one pod redirect each other's traffic."""


@dataclass(frozen=True, slots=True)
class NamespaceView:
    """What the injector needs to know of a pod's namespace."""

    name: str
    labels: Mapping[str, str] = field(default_factory=dict)
    annotations: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class LeftAlone:
    """Why a pod gets no sidecar. `surprising` where something asked for one, so that somebody waits for it."""

    reason: str
    surprising: bool


def left_alone(
    shape: PodShape, namespace: NamespaceView, settings: InjectorSettings, *, everything: bool
) -> LeftAlone | None:
    """Why a pod gets no sidecar; None when it gets one. `everything` also takes pods that no label enrols."""
    expected = {
        "it has its sidecar already": any(container.name == PROXY for container in shape.everyone),
        f"its label {INJECT} says disabled": shape.metadata.labels.get(INJECT) == "disabled",
        f"no label {INJECT}: enabled on it or its namespace asks for a sidecar": not everything
        and not _asked(shape, namespace, settings),
    }
    surprising = _impossible(shape, namespace, settings)
    found = next((reason for reason, holds in (expected | surprising).items() if holds), None)
    return LeftAlone(found, found in surprising) if found is not None else None


def _asked(shape: PodShape, namespace: NamespaceView, settings: InjectorSettings) -> bool:
    """Whether a label of ours asks; where none says anything and it is wanted, whether another mesh's mark does."""
    if INJECT in shape.metadata.labels or INJECT in namespace.labels or not settings.other_meshes:
        return enrolled(namespace.labels, shape.metadata.labels)
    pod = Marked(shape.metadata.labels, shape.metadata.annotations)
    return mark_of_another_mesh(Marked(namespace.labels, namespace.annotations), pod) is not None


def _impossible(shape: PodShape, namespace: NamespaceView, settings: InjectorSettings) -> dict[str, bool]:
    names = {container.name for container in shape.everyone}
    foreign = next((mesh for name, mesh in FOREIGN.items() if name in names), None)
    windows = shape.spec.os.name == "windows" or shape.spec.node_selector.get("kubernetes.io/os") == "windows"
    job = not settings.native_sidecar and shape.spec.restart_policy != "Always"
    return {
        f"namespace {namespace.name} is Kubernetes' own": namespace.name in KUBERNETES_NAMESPACES,
        f"namespace {namespace.name} is the control plane's own": namespace.name == settings.own_namespace,
        "it uses its node's network, where redirection would take the node's traffic": shape.spec.host_network,
        "its kubelet runs it from a file, which no webhook changes": MIRROR in shape.metadata.annotations,
        "it is a Windows pod, and redirection is Linux's": windows,
        f"it has a sidecar of {foreign} already": foreign is not None,
        "it has to end by itself, and before Kubernetes 1.29 a sidecar would keep it from ending": job,
    }
