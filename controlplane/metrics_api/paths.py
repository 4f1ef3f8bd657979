"""What a path of the metrics API asks for.

Rule: read as the API server reads it, so that both ask about the same rights (k8s.io/apiserver, RequestInfo). That
reads `namespaces/NAME/edges` as the collection `edges` of that namespace.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from controlplane.traffic.kinds import KINDS, Kind
from kube.names import is_label, is_subdomain

GROUP: Final = "metrics.smi-spec.io"
VERSIONS: Final = ("v1alpha2", "v1alpha1")
"""Newest first."""
EDGES: Final = "edges"


@dataclass(frozen=True, slots=True)
class Asked:
    """A question about one kind. `name` is empty for all of them; `edges` asks for the other ends of one."""

    version: str
    kind: Kind
    namespace: str = ""
    name: str = ""
    edges: bool = False

    def attributes(self) -> dict[str, str]:
        """What has to be allowed (SubjectAccessReview, `resourceAttributes`)."""
        found = {"group": GROUP, "version": self.version, "verb": "get" if self.name else "list"}
        if not self.kind.namespaced and self.kind.plural == "namespaces" and self.name:
            if self.edges:
                return {**found, "verb": "list", "namespace": self.name, "resource": EDGES}
            return {**found, "namespace": self.name, "resource": self.kind.plural, "name": self.name}
        found |= {"namespace": self.namespace, "resource": self.kind.plural, "name": self.name}
        return {**found, "subresource": EDGES} if self.edges else found


def asked(path: str) -> Asked | None:
    """The question that a path below /apis/GROUP/VERSION/ is; None if it is none."""
    match path.strip("/").split("/"):
        case ["apis", group, version, *rest] if group == GROUP and version in VERSIONS and rest:
            return _resource(version, rest)
    return None


def _resource(version: str, rest: list[str]) -> Asked | None:
    edges = len(rest) in {3, 5} and rest[-1] == EDGES
    match rest[:-1] if edges else rest:
        case ["namespaces", namespace, plural, *names] if is_label(namespace):
            kind, inside = KINDS.get(plural), namespace
        case [plural, *names]:
            kind, inside = KINDS.get(plural), ""
        case _:
            return None
    name = names[0] if names else ""
    if kind is None or len(names) > 1 or (names and not is_subdomain(name)):
        return None
    # A name needs its namespace, and what lives in no namespace takes none.
    fits = bool(inside) <= kind.namespaced and (not name or kind.namespaced == bool(inside)) and bool(name) >= edges
    return Asked(version, kind, inside, name, edges) if fits else None
