"""Everything that is known at one moment, and how a person's words for a thing in it are understood.

Rule: nothing is decided here or by whoever looks: the Mesh has decided, and the objects say why.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import TypeVar

from kube.objects import Namespace, Pod, Service
from kube.problem import Problem, Ref
from mesh.model import Mesh, PodId, PortId, ServiceId, Workload
from mesh.reasons import PodReasons
from mesh.settings import MeshSettings
from smi.kinds import HTTPRouteGroup, TrafficSplit, TrafficTarget
from smi.resources import Anything, Resources
from xds.names import node_id
from xds.status import ProxyStatus

T = TypeVar("T", bound=Anything)


class UnknownError(LookupError):
    """What was asked about is not there; the text is a sentence."""


@dataclass(frozen=True)
class Scene:
    """`proxies` are the connected sidecars by node; None where no mesh runs and files are looked at."""

    resources: Resources
    mesh: Mesh
    settings: MeshSettings
    problems: tuple[Problem, ...] = ()
    proxies: Mapping[str, ProxyStatus] | None = field(default_factory=dict)

    def all(self, kind: type[T], namespace: str) -> list[T]:
        """The objects of a kind in a namespace, by name."""
        found = [item for item in self.resources.objects.values() if isinstance(item, kind)]
        return sorted((item for item in found if item.namespace == namespace), key=lambda item: item.name)

    def pod(self, namespace: str, name: str) -> Pod:
        """The pod of this name, or the only one whose name begins so. Raises UnknownError."""
        exact = self.resources.get(Pod, namespace, name)
        if exact is not None:
            return exact
        pods = self.all(Pod, namespace)
        matching = [pod for pod in pods if name and pod.name.startswith(name)]
        # Replicas that get the same answer are one thing to a person.
        roles = {self.mesh.proxies.get(PodId(namespace, pod.name), pod.name) for pod in matching}
        if len(roles) == 1:
            return matching[0]
        known = ", ".join(pod.name for pod in matching or pods) or "none"
        raise UnknownError(
            f"{namespace}/{name} begins the names of several pods that differ: {known}."
            if matching
            else f"There is no pod {namespace}/{name}; pods there: {known}."
        )

    def service(self, namespace: str, name: str) -> Service:
        """The Service of this name. Raises UnknownError."""
        found = self.resources.get(Service, namespace, name)
        if found is None:
            known = ", ".join(item.name for item in self.all(Service, namespace)) or "none"
            raise UnknownError(f"There is no Service {namespace}/{name}; Services there: {known}.")
        return found

    def workload(self, pod: Pod) -> Workload | None:
        """The Workload of a pod, None where it is not meshed."""
        return self.mesh.workloads.get(self.mesh.proxies.get(PodId(pod.namespace, pod.name), ""))

    def reasons(self, pod: Pod) -> PodReasons:
        """Why which modes hold in a pod."""
        return PodReasons(pod, self.resources.get(Namespace, "", pod.namespace), self.settings)

    def services_of(self, pod: Pod) -> list[Service]:
        """The Services that select a pod."""
        labels = pod.metadata.labels.items()
        return [
            service
            for service in self.all(Service, pod.namespace)
            if service.spec.selector and service.spec.selector.items() <= labels
        ]

    def leading_to(self, pod: Pod, port: int) -> list[PortId]:
        """The Service ports with an endpoint at this port of a pod."""
        found = PodId(pod.namespace, pod.name)
        own = {ServiceId(service.namespace, service.name) for service in self.services_of(pod)}
        return sorted(
            id_
            for id_, endpoints in self.mesh.endpoints.items()
            if id_.service in own and any(each.pod == found and each.port == port for each in endpoints)
        )

    def proxy(self, pod: Pod) -> ProxyStatus | None:
        """The sidecar of a pod, where it is connected."""
        return (self.proxies or {}).get(node_id(PodId(pod.namespace, pod.name)))

    def about(self, refs: Iterable[Ref]) -> list[Problem]:
        """The Problems of these objects."""
        wanted = set(refs)
        return [problem for problem in self.problems if problem.object in wanted]

    @cached_property
    def targets(self) -> Mapping[str, TrafficTarget]:
        """All TrafficTargets, by what rules call them."""
        found = (item for item in self.resources.objects.values() if isinstance(item, TrafficTarget))
        return {str(item.ref): item for item in found}

    def groups(self, target: TrafficTarget) -> list[HTTPRouteGroup]:
        """The route groups that a TrafficTarget's rules lead to."""
        found = (self.resources.get(HTTPRouteGroup, target.namespace, rule.name) for rule in target.rules)
        return [group for group in found if group is not None]

    def splits(self, service: ServiceId) -> list[TrafficSplit]:
        """The TrafficSplits in a Service's namespace."""
        return self.all(TrafficSplit, service.namespace)
