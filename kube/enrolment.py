"""Who takes part in the mesh, and in which mode: the labels and annotations, and the one function that reads them."""

from __future__ import annotations

from collections.abc import Mapping

INJECT = "weft.dev/inject"
"""Label of a namespace or a pod: `enabled` or `disabled`; the pod's wins."""

INJECTED = "weft.dev/injected"
"""Annotation the injector leaves on a pod that has a sidecar: `"true"`."""

ACCESS = "weft.dev/access"
"""Annotation of a namespace or a pod: `enforced` (default deny) or `permissive` (rule A1); the pod's wins."""

MTLS = "weft.dev/mtls"
"""Annotation of a namespace or a pod: `strict` or `permissive` (rule H3); the pod's wins."""

PERMISSIVE_PORTS = "weft.dev/permissive-ports"
"""Annotation of a pod: container ports, comma-separated, that take plaintext though the rest is strict (H3)."""

STRICT_PORTS = "weft.dev/strict-ports"
"""Annotation of a pod: container ports that take no plaintext though the rest does (H3); wins over the former."""

OPEN_PORTS = "weft.dev/open-ports"
"""Annotation of a pod: container ports that every meshed caller may use though access is enforced (rule A1)."""

ENFORCED_PORTS = "weft.dev/enforced-ports"
"""Annotation of a pod: container ports where access is enforced though it is permissive (A1); wins over the former."""

EGRESS = "weft.dev/egress"
"""Annotation of a namespace: `allowed` or `refused` for addresses outside the mesh (rule H6)."""

ACCESS_LOG = "weft.dev/access-log"
"""Annotation of a namespace or a pod: `off`, `errors`, `sampled` or `all` of the requests it serves are logged; the
pod's wins. What is refused is logged always (rule A12)."""

EXPORT_TO = "weft.dev/export-to"
"""Annotation of a Service or a namespace: whose callers are told where access is permissive (rule A16): namespaces,
comma-separated, `.` for its own, `*` for all. The Service's wins."""

FEDERATED_SOURCES = "weft.dev/federated-sources"
"""Annotation of a TrafficTarget: SPIFFE IDs of callers in other meshes, comma-separated, that are granted the same."""

FEDERATED_IDENTITY = "weft.dev/federated-identity"
"""Annotation of a Service without selector: the SPIFFE ID, of another mesh, that answers at its endpoints."""

SIDECAR_CONTAINERS = frozenset({"weft-proxy", "weft-redirect"})
"""The containers the injector adds to a pod: what they listen on is not the app's."""

SIDECAR_PORTS = frozenset({15000, 15001, 15006, 15021, 15090})
"""The sidecar's own ports, which an app in a meshed pod can't listen on. `proxy.ports` gives each its name."""


def enrolled(namespace_labels: Mapping[str, str], pod_labels: Mapping[str, str]) -> bool:
    """Whether a pod with these labels in a namespace with those gets a sidecar. The pod's own label wins."""
    return (pod_labels.get(INJECT) or namespace_labels.get(INJECT)) == "enabled"


def injected(pod_annotations: Mapping[str, str]) -> bool:
    """Whether this pod has a sidecar, by the mark the injector left."""
    return pod_annotations.get(INJECTED) == "true"
