"""The chart rendered for tests, and ways to pick from what came out."""

from __future__ import annotations

import copy
import json
from collections.abc import Iterator
from functools import cache
from typing import Any

import pytest

from controlplane.install.chart import manifest

Document = dict[str, Any]

FULL: Document = {
    "image": {"digest": "sha256:" + "0" * 64},
    "imagePullSecrets": [{"name": "registry"}],
    "mesh": {"trustDomain": "mesh.example", "access": "permissive", "mtls": "permissive", "egress": "refused"},
    "controlPlane": {
        "autoscaling": {"enabled": True},
        "nodeSelector": {"kubernetes.io/os": "linux"},
        "tolerations": [{"key": "control", "operator": "Exists", "effect": "NoSchedule"}],
        "affinity": {"nodeAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": {"nodeSelectorTerms": [
            {"matchExpressions": [{"key": "kubernetes.io/os", "operator": "In", "values": ["linux"]}]}]}}},
        "podLabels": {"team": "platform"},
        "podAnnotations": {"note": "yes"},
        "extraArgs": ["--log-level=debug"],
    },
    "webhook": {"autoscaling": {"enabled": True, "maxReplicas": 9}, "podDisruptionBudget": {"maxUnavailable": "50%"}},
    "injector": {"redirect": "cni", "nativeSidecars": "never", "otherMeshesMarks": True},
    "admission": {"injectFailurePolicy": "Ignore", "excludedNamespaces": ["monitoring", "kube-system"]},
    "certificates": {"webhook": "cert-manager", "issuerRef": {"kind": "ClusterIssuer", "name": "ours"}},
    "crds": {"identityBinding": True},
    "metricsApi": {"prometheusUrl": "http://prometheus.monitoring:9090"},
    "networkPolicy": {"metricsFrom": [{"namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": "mon"}}}]},
    "serviceMonitor": {"enabled": True, "labels": {"release": "prometheus"}},
    "topologySpread": {"whenUnsatisfiable": "DoNotSchedule"},
}  # fmt: skip
"""Every value away from its default that can be at the same time."""

BARE: Document = {
    "controlPlane": {"replicas": 1, "podDisruptionBudget": {"enabled": False}},
    "webhook": {"replicas": 1, "podDisruptionBudget": {"enabled": False}},
    "crds": {"install": False},
    "metricsApi": {"enabled": False},
    "networkPolicy": {"enabled": False},
    "priorityClass": {"create": False, "name": ""},
    "topologySpread": {"enabled": False},
}
"""Everything left out that can be."""

VALUES: dict[str, Document] = {"default": {}, "full": FULL, "bare": BARE}


def rendered(values: Document | None = None, namespace: str = "weft-system") -> list[Document]:
    """What an install with these values applies. Skips where Helm's engine is not installed."""
    pytest.importorskip("helm_python", reason="Helm's engine has no wheel for this machine")
    return copy.deepcopy(_rendered(json.dumps(values or {}), namespace))


@cache
def _rendered(values: str, namespace: str) -> list[Document]:
    return manifest(json.loads(values), namespace)


def one(documents: list[Document], kind: str, name: str) -> Document:
    """The only document of this kind and name."""
    (found,) = (item for item in documents if (item["kind"], item["metadata"]["name"]) == (kind, name))
    return found


def of_kind(documents: list[Document], kind: str) -> list[Document]:
    """All documents of this kind."""
    return [item for item in documents if item["kind"] == kind]


def pod_specs(documents: list[Document]) -> Iterator[tuple[str, Document]]:
    """Each Deployment's name and pod."""
    for item in of_kind(documents, "Deployment"):
        yield item["metadata"]["name"], item["spec"]["template"]["spec"]
