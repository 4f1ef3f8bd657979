"""The kinds of things that traffic is told of, and how people name them.

Rule: one table. Source: SMI Traffic Metrics, "Kubernetes API"; short names are kubectl's, `ts` is ours.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, NamedTuple


@dataclass(frozen=True, slots=True)
class Kind:
    """`collection` is where Kubernetes has the objects; empty for SMI kinds, whose version differs."""

    plural: str
    name: str
    collection: str
    namespaced: bool = True
    words: tuple[str, ...] = ()
    """By which people ask, besides the plural and the name."""


class Resource(NamedTuple):
    """Names one thing. `kind` is a plural; `namespace` is empty for what lives in none."""

    kind: str
    namespace: str
    name: str


_ALL: Final = (
    Kind("namespaces", "Namespace", "/api/v1", namespaced=False, words=("ns",)),
    Kind("nodes", "Node", "/api/v1", namespaced=False, words=("no",)),
    Kind("pods", "Pod", "/api/v1", words=("po",)),
    Kind("replicationcontrollers", "ReplicationController", "/api/v1", words=("rc",)),
    Kind("services", "Service", "/api/v1", words=("svc",)),
    Kind("daemonsets", "DaemonSet", "/apis/apps/v1", words=("ds",)),
    Kind("deployments", "Deployment", "/apis/apps/v1", words=("deploy",)),
    Kind("replicasets", "ReplicaSet", "/apis/apps/v1", words=("rs",)),
    Kind("statefulsets", "StatefulSet", "/apis/apps/v1", words=("sts",)),
    Kind("jobs", "Job", "/apis/batch/v1"),
    Kind("trafficsplits", "TrafficSplit", "", words=("ts",)),
)
KINDS: Final = {kind.plural: kind for kind in _ALL}
"""By plural."""

PLURALS: Final = {kind.name: kind.plural for kind in _ALL}
"""By the name of the kind."""

WORKLOADS: Final = ("deployments", "statefulsets", "daemonsets", "jobs", "replicationcontrollers")
"""What makes pods and is made by nothing else that is told of."""

_WORDS: Final = {word: kind for kind in _ALL for word in (kind.plural, kind.name.lower(), *kind.words)}


def kind_of(word: str) -> Kind | None:
    """The kind that a person means: `deploy`, `deployment`, `Deployments`."""
    return _WORDS.get(word.lower())
