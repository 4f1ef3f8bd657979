"""What there is for traffic to belong to: pods with what made them, Services and splits.

Rule: a value, worked out from Resources. A pod's owner is what its ownerReferences say; where there are none, as in a
local cluster or of a pod that is gone, what its name tells. A Deployment is its ReplicaSet's name without the hash.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Final

from controlplane.traffic.embedded import Target
from controlplane.traffic.kinds import PLURALS, WORKLOADS, Resource
from kube.enrolment import injected
from kube.objects import Deployment, EndpointSlice, Pod, Service, StatefulSet
from kube.workload import workload_of
from mesh.model import PodId, ServiceId
from mesh.names import Misnamed, service_named
from smi.kinds import TrafficSplit
from smi.resources import Resources
from sources.store import Store

HASH: Final = "pod-template-hash"
"""The label of a Deployment's pods that its ReplicaSet's name ends with (Kubernetes, "Deployments")."""
SERVICE: Final = "kubernetes.io/service-name"
"""The label of an EndpointSlice that names its Service."""
ENDED: Final = frozenset({"Succeeded", "Failed"})


@dataclass(frozen=True, slots=True)
class Split:
    """A TrafficSplit as it is told of: the Service that is called, and the weights."""

    resource: Resource
    apex: ServiceId
    weights: tuple[tuple[ServiceId, int], ...]


@dataclass(frozen=True, slots=True)
class Inventory:
    """`owners` of a pod are all resources it counts for, itself first, and `workloads` the one that made it.

    `named` are workloads by the names that sidecars have for them. `pods` counts each resource's pods: those with a
    sidecar, and all.
    """

    owners: Mapping[PodId, tuple[Resource, ...]] = field(default_factory=dict)
    workloads: Mapping[PodId, Resource] = field(default_factory=dict)
    named: Mapping[ServiceId, Resource] = field(default_factory=dict)
    pods: Mapping[Resource, tuple[int, int]] = field(default_factory=dict)
    addresses: Mapping[str, ServiceId] = field(default_factory=dict)
    """Services by their own addresses."""
    splits: tuple[Split, ...] = ()
    split_version: str = "split.smi-spec.io/v1alpha4"
    """The apiVersion in which the API server has splits, as far as one was read."""

    def owners_of(self, pod: PodId) -> tuple[Resource, ...]:
        """All resources that this pod's traffic counts for, also when it is gone."""
        return self.owners.get(pod) or _guessed(pod)

    def workload_of(self, pod: PodId) -> Resource:
        """What made the pod; the pod itself where nothing did."""
        return self.workloads.get(pod) or _top(_guessed(pod))

    def workload_named(self, name: ServiceId) -> Resource:
        """The workload that a sidecar named."""
        return self.named.get(name) or Resource("deployments", name.namespace, name.name)

    def service(self, named: ServiceId | None) -> ServiceId | None:
        """The Service that a sidecar named, perhaps by its address."""
        if named is None or named.namespace:
            return named
        return self.addresses.get(named.name.strip("[]"))

    def known(self, kind: str) -> Iterator[Resource]:
        """All there are of a kind that have a pod with a sidecar; of splits all."""
        if kind == "trafficsplits":
            yield from (split.resource for split in self.splits)
        yield from (resource for resource, (meshed, _) in self.pods.items() if resource.kind == kind and meshed)


def inventory(resources: Resources, cluster_domain: str = "cluster.local") -> Inventory:
    """What these objects are."""
    living = [pod for pod in resources.of(Pod) if pod.status.phase not in ENDED]
    services, nodes = _of_slices(resources)
    owners: dict[PodId, tuple[Resource, ...]] = {}
    workloads: dict[PodId, Resource] = {}
    named: dict[ServiceId, Resource] = {}
    meshed: Counter[Resource] = Counter()
    everyone: Counter[Resource] = Counter()
    for pod in living:
        at = PodId(pod.namespace, pod.name)
        node = (Resource("nodes", "", nodes[at]),) if at in nodes else ()
        owners[at] = (*_made_by(resources, pod), Resource("namespaces", "", pod.namespace), *node)
        workloads[at] = _top(owners[at])
        named[ServiceId(pod.namespace, workload_of(pod.name).name)] = workloads[at]
        for resource in (*owners[at], *services.get(at, ())):
            everyone[resource] += 1
            meshed[resource] += injected(pod.metadata.annotations)
    counted = {resource: (meshed[resource], number) for resource, number in everyone.items()}
    addresses = {
        address: ServiceId(each.namespace, each.name)
        for each in resources.of(Service)
        for address in (each.spec.cluster_ip, *each.spec.cluster_ips)
        if address not in {"", "None"}
    }
    known = Inventory(owners, workloads, named, counted, addresses, tuple(_splits(resources, cluster_domain)))
    version = next((split.api_version for split in resources.of(TrafficSplit)), known.split_version)
    return replace(known, split_version=version)


class Inventories:
    """The inventory of what a store has, worked out once for each state of it, when somebody asks."""

    def __init__(self, store: Store, cluster_domain: str) -> None:
        self._store = store
        self._cluster_domain = cluster_domain
        self._seen: Resources | None = None
        self._newest = Inventory()

    def __call__(self) -> Inventory:
        """The inventory."""
        if self._store.current is not self._seen:
            self._seen = self._store.current
            self._newest = inventory(self._seen, self._cluster_domain)
        return self._newest


def targets(resources: Resources) -> Iterator[Target]:
    """The pods whose sidecars can be asked."""
    for pod in resources.of(Pod):
        if injected(pod.metadata.annotations) and pod.status.pod_ip and pod.status.phase not in ENDED:
            yield Target(PodId(pod.namespace, pod.name), pod.metadata.uid, pod.status.pod_ip)


def _made_by(resources: Resources, pod: Pod) -> tuple[Resource, ...]:
    """The pod and what made it."""
    own = Resource("pods", pod.namespace, pod.name)
    owner = next((each for each in pod.metadata.owner_references if each.controller and each.kind in PLURALS), None)
    if owner is None:
        return own, *_by_name(resources, pod)
    made = Resource(PLURALS[owner.kind], pod.namespace, owner.name)
    ending = f"-{pod.metadata.labels.get(HASH, '')}"
    if made.kind == "replicasets" and ending != "-" and owner.name.endswith(ending):
        return own, made, Resource("deployments", pod.namespace, owner.name.removesuffix(ending))
    return own, made


def _by_name(resources: Resources, pod: Pod) -> tuple[Resource, ...]:
    """The Deployment or StatefulSet of this name, if there is one."""
    kind, name = workload_of(pod.name)
    for struct in (Deployment, StatefulSet):
        if kind == struct.__name__ and resources.get(struct, pod.namespace, name) is not None:
            return (Resource(PLURALS[kind], pod.namespace, name),)
    return ()


def _guessed(pod: PodId) -> tuple[Resource, ...]:
    """The same of a pod that is gone, by its name alone."""
    kind, name = workload_of(pod.name)
    made = (Resource(PLURALS[kind], pod.namespace, name),) if kind != "Pod" else ()
    return Resource("pods", pod.namespace, pod.name), *made, Resource("namespaces", "", pod.namespace)


def _top(owners: tuple[Resource, ...]) -> Resource:
    return next((each for each in owners if each.kind in WORKLOADS), owners[0])


def _of_slices(resources: Resources) -> tuple[dict[PodId, set[Resource]], dict[PodId, str]]:
    """The Services each pod is an endpoint of, and its node: pods of no Service are not told of by node."""
    services: dict[PodId, set[Resource]] = {}
    nodes: dict[PodId, str] = {}
    for item in resources.of(EndpointSlice):
        service = Resource("services", item.namespace, item.metadata.labels.get(SERVICE, ""))
        for endpoint in item.endpoints:
            if (ref := endpoint.target_ref) is not None and ref.kind == "Pod":
                pod = PodId(item.namespace, ref.name)
                services.setdefault(pod, set()).add(service)
                if endpoint.node_name:
                    nodes[pod] = endpoint.node_name
    return services, nodes


def _splits(resources: Resources, cluster_domain: str) -> Iterator[Split]:
    for split in resources.of(TrafficSplit):
        apex = service_named(split.service, split.namespace, cluster_domain)
        weights = [
            (named, backend.weight)
            for backend in split.backends
            if not isinstance(named := service_named(backend.service, split.namespace, cluster_domain), Misnamed)
        ]
        if not isinstance(apex, Misnamed):
            yield Split(Resource("trafficsplits", split.namespace, split.name), apex, tuple(weights))
