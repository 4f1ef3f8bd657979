"""Other meshes' marks: whether a pod that was made for one of them asks for a sidecar.

Rule: each mesh's marks are read as that mesh reads them, its pod's before its namespace's, and none speaks for another.
Sources: the meshes' own pages on sidecar injection (Open Service Mesh "Sidecar Injection", Linkerd "Automatic Proxy
Injection", Istio "Installing the Sidecar", Kuma "Kubernetes annotations and labels").
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

_YES: Final = frozenset({"enabled", "true", "yes"})
_NO: Final = frozenset({"disabled", "false", "no"})

OSM_MESH: Final = "openservicemesh.io/monitored-by"
OSM: Final = "openservicemesh.io/sidecar-injection"
LINKERD: Final = "linkerd.io/inject"
ISTIO_NAMESPACE: Final = "istio-injection"
ISTIO_POD: Final = "sidecar.istio.io/inject"
KUMA: Final = "kuma.io/sidecar-injection"


@dataclass(frozen=True, slots=True)
class Marked:
    """The labels and annotations of a namespace or a pod."""

    labels: Mapping[str, str] = field(default_factory=dict)
    annotations: Mapping[str, str] = field(default_factory=dict)


def mark_of_another_mesh(namespace: Marked, pod: Marked) -> str | None:
    """The mark by which another mesh would put its sidecar into this pod; None where none would."""
    said = {
        OSM: _said(pod.annotations.get(OSM), namespace.annotations.get(OSM)) and OSM_MESH in namespace.labels,
        # `ingress` is a mode of Linkerd's sidecar for ingress controllers.
        LINKERD: _said(pod.annotations.get(LINKERD), namespace.annotations.get(LINKERD), "ingress"),
        ISTIO_NAMESPACE: _said(
            pod.labels.get(ISTIO_POD) or pod.annotations.get(ISTIO_POD), namespace.labels.get(ISTIO_NAMESPACE)
        ),
        KUMA: _said(_either(pod, KUMA), _either(namespace, KUMA)),
    }
    return next((mark for mark, asks in said.items() if asks), None)


def _said(pod: str | None, namespace: str | None, *also_yes: str) -> bool:
    """What the two say together; a pod that says neither yes nor no has said nothing."""
    own = _yes(pod, *also_yes)
    return own if own is not None else _yes(namespace, *also_yes) is True


def _yes(text: str | None, *also_yes: str) -> bool | None:
    if text in _YES or text in also_yes:
        return True
    return False if text in _NO else None


def _either(marked: Marked, name: str) -> str | None:
    """Kuma's mark is a label, and was an annotation before."""
    return marked.labels.get(name) or marked.annotations.get(name)
