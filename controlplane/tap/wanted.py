"""What somebody wants to watch: which pods, and which of their requests.

Rule: pure. Pods are chosen anew as the mesh changes, so that a rollout is followed; a wish that can't be understood is
a ValueError whose text a person reads.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

from kube.workload import workload_of
from mesh.model import PodId
from xds.told import Told

KINDS: Final = {
    "pod": "Pod", "pods": "Pod", "po": "Pod",
    "deploy": "Deployment", "deployment": "Deployment", "deployments": "Deployment",
    "sts": "StatefulSet", "statefulset": "StatefulSet", "statefulsets": "StatefulSet",
    "ns": "Namespace", "namespace": "Namespace", "namespaces": "Namespace",
}  # fmt: skip
"""As kubectl spells them."""


@dataclass(frozen=True, slots=True)
class Target:
    """Pods by name: one pod (`name` may be the beginning of its name), those of a workload, or those of a namespace."""

    kind: str
    namespace: str
    name: str

    def __str__(self) -> str:
        return f"namespace {self.name}" if self.kind == "Namespace" else f"{self.kind} {self.namespace}/{self.name}"

    def pods(self, known: Iterable[PodId]) -> frozenset[PodId]:
        """Those of the known pods that are meant."""
        if self.kind == "Pod":
            mine = [pod for pod in known if pod.namespace == self.namespace]
            exact = frozenset(pod for pod in mine if pod.name == self.name)
            return exact or frozenset(pod for pod in mine if pod.name.startswith(self.name))
        return frozenset(pod for pod in known if self._owns(pod))

    def _owns(self, pod: PodId) -> bool:
        if self.kind == "Namespace":
            return pod.namespace == self.name
        return pod.namespace == self.namespace and workload_of(pod.name) == (self.kind, self.name)


def target(text: str, namespace: str) -> Target:
    """`POD`, `NAMESPACE/POD`, `deploy/NAME`, `sts/NAME` or `ns/NAME`. Raises ValueError."""
    first, slash, rest = text.partition("/")
    if not slash:
        first, rest = "pod", text
    if not rest or "/" in rest or not first:
        raise ValueError(f"{text!r} names nothing: a POD, NAMESPACE/POD, deploy/NAME, sts/NAME or ns/NAME does")
    kind = KINDS.get(first)
    return Target("Pod", first, rest) if kind is None else Target(kind, namespace, rest)


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """Which requests. An empty field takes all.

    `path` is how the path begins; `status` a code, or a class such as `4xx`; `peer` the other side: a SPIFFE ID, its
    `NAMESPACE/SERVICEACCOUNT`, a Service as `NAMESPACE/NAME`, a namespace, or an address.
    """

    path: str = ""
    method: str = ""
    status: str = ""
    peer: str = ""
    port: int = 0

    def __post_init__(self) -> None:
        """Raises ValueError."""
        status = self.status.lower()
        if status and not (len(status) == 3 and status[0].isdigit() and (status[1:] == "xx" or status.isdigit())):
            raise ValueError(f"{self.status!r} is no status: 404 or 4xx is")

    def takes(self, request: Told) -> bool:
        """Whether this request is wanted."""
        return (
            request.path.startswith(self.path)
            and (not self.method or request.method == self.method.upper())
            and (not self.status or self._has_status(request.status))
            and (not self.peer or self.peer in _names(request.peer))
            and (not self.port or request.port == self.port)
        )

    def _has_status(self, status: int) -> bool:
        wanted = self.status.lower()
        return str(status) == wanted or (wanted.endswith("xx") and str(status // 100) == wanted[0])


def _names(peer: str) -> tuple[str, ...]:
    """Every name by which a person may mean this peer."""
    _, spiffe, rest = peer.partition("/ns/")
    if spiffe and peer.startswith("spiffe://"):
        namespace, _, account = rest.partition("/sa/")
        return (peer, f"{namespace}/{account}", namespace)
    namespace, service, *_ = [*peer.split("/"), ""]
    address = peer.rpartition(":")[0].strip("[]")
    return (peer, f"{namespace}/{service}", namespace, address) if "/" in peer else (peer, address)
