"""What the metrics API says it serves.

Rule: made from the one table of kinds. Source: Kubernetes page "The Kubernetes API" (discovery, aggregated discovery).
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final

from controlplane.metrics_api.paths import EDGES, GROUP, VERSIONS
from controlplane.traffic.kinds import KINDS, Kind

Document = dict[str, Any]
JSON: Final = "application/json"
_GROUP: Final[Document] = {
    "name": GROUP,
    "versions": [{"groupVersion": f"{GROUP}/{version}", "version": version} for version in VERSIONS],
    "preferredVersion": {"groupVersion": f"{GROUP}/{VERSIONS[0]}", "version": VERSIONS[0]},
}


def discovered(path: str, accept: str) -> tuple[Document, str] | None:
    """The answer to a discovery path and its content type; None for another path."""
    match path.strip("/").split("/"):
        case ["apis"]:
            return _all(accept)
        case ["apis", group] if group == GROUP:
            return {"kind": "APIGroup", "apiVersion": "v1", **_GROUP}, JSON
        case ["apis", group, version] if group == GROUP and version in VERSIONS:
            head = {"kind": "APIResourceList", "apiVersion": "v1", "groupVersion": f"{GROUP}/{version}"}
            return {**head, "resources": [line for kind in KINDS.values() for line in _lines(kind)]}, JSON
    return None


def _all(accept: str) -> tuple[Document, str]:
    """All groups, which is ours, with everything in it for those who take that."""
    for wanted in accept.replace(" ", "").split(","):
        for version in ("v2", "v2beta1"):
            if "as=APIGroupDiscoveryList" in wanted and f"v={version}" in wanted.split(";"):
                items = [{"metadata": {"name": GROUP, "creationTimestamp": None}, "versions": [*_versions()]}]
                head = {"kind": "APIGroupDiscoveryList", "apiVersion": f"apidiscovery.k8s.io/{version}", "metadata": {}}
                kind = f"{JSON};g=apidiscovery.k8s.io;v={version};as=APIGroupDiscoveryList"
                return {**head, "items": items}, kind
    return {"kind": "APIGroupList", "apiVersion": "v1", "groups": [_GROUP]}, JSON


def _lines(kind: Kind) -> Iterator[Document]:
    same = {"namespaced": kind.namespaced, "kind": "TrafficMetrics"}
    yield {"name": kind.plural, "singularName": kind.name.lower(), **same, "verbs": ["get", "list"]}
    yield {"name": f"{kind.plural}/{EDGES}", "singularName": "", **same, "kind": "TrafficMetricsList", "verbs": ["get"]}


def _versions() -> Iterator[Document]:
    for version in VERSIONS:
        yield {
            "version": version,
            "freshness": "Current",
            "resources": [_entry(kind, version) for kind in KINDS.values()],
        }


def _entry(kind: Kind, version: str) -> Document:
    answered = {"group": GROUP, "version": version}
    return {
        "resource": kind.plural,
        "responseKind": {**answered, "kind": "TrafficMetrics"},
        "scope": "Namespaced" if kind.namespaced else "Cluster",
        "singularResource": kind.name.lower(),
        "verbs": ["get", "list"],
        "subresources": [
            {"subresource": EDGES, "responseKind": {**answered, "kind": "TrafficMetricsList"}, "verbs": ["get"]}
        ],
    }
