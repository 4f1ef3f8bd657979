"""What a cluster would make of manifests, without running anything: pods, their addresses, ClusterIPs, endpoints.

Rule: pure. What the manifests say themselves (a Pod with an address, an EndpointSlice) stands as it is.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import replace
from ipaddress import IPv4Network

import msgspec

from kube import enrolment
from kube.objects import Deployment, EndpointSlice, Namespace, Object, Pod, PodIP, PodStatus, Service, StatefulSet
from local.addresses import PodAddresses, ServiceKey, cluster_ips
from local.endpoints import SERVICE_NAME, Member, endpoint_slices
from local.settings import POD_NETWORK, SERVICE_NETWORK
from local.workloads import PodKey, pod_documents
from smi.resources import Resources


def planned(resources: Resources) -> Resources:
    """The same objects, and what a cluster would add to them; every pod is ready."""
    pods = list(_addressed(_pods(resources), IPv4Network(POD_NETWORK)))
    ips, problems = cluster_ips(resources.of(Service), IPv4Network(SERVICE_NETWORK))
    services = [with_cluster_ip(service, ips) for service in resources.of(Service)]
    written = {(item.namespace, item.metadata.labels.get(SERVICE_NAME)) for item in resources.of(EndpointSlice)}
    members = [Member(pod, ready=True) for pod in pods]
    slices = [
        item
        for service in services
        if (service.namespace, service.name) not in written
        for item in endpoint_slices(service, members)
    ]
    made: Iterable[Object] = (*pods, *services, *slices)
    return replace(
        resources,
        objects={**resources.objects, **{item.ref: item for item in made}},
        problems=(*resources.problems, *problems),
    )


def with_cluster_ip(service: Service, ips: dict[ServiceKey, str]) -> Service:
    """The Service with its address filled in; what it says itself in the other address family stays."""
    address = ips.get((service.namespace, service.name))
    if address is None:
        return service
    others = (written for written in service.spec.cluster_ips if ":" in written)
    spec = msgspec.structs.replace(service.spec, cluster_ip=address, cluster_ips=(address, *others))
    return msgspec.structs.replace(service, spec=spec)


def _pods(resources: Resources) -> Iterator[Pod]:
    labels = {item.name: item.metadata.labels for item in resources.of(Namespace)}
    workloads: list[Object] = [*resources.of(Deployment), *resources.of(StatefulSet), *resources.of(Pod)]
    for workload in workloads:
        for document in pod_documents(msgspec.to_builtins(workload)):
            pod = msgspec.convert(document, Pod)
            yield _enrolled(pod) if enrolment.enrolled(labels.get(pod.namespace, {}), pod.metadata.labels) else pod


def _enrolled(pod: Pod) -> Pod:
    annotations = {**pod.metadata.annotations, enrolment.INJECTED: "true"}
    return msgspec.structs.replace(pod, metadata=msgspec.structs.replace(pod.metadata, annotations=annotations))


def _addressed(pods: Iterable[Pod], network: IPv4Network) -> Iterator[Pod]:
    addresses = PodAddresses(network)
    for pod in pods:
        if pod.status.pod_ip:
            yield pod
        else:
            yield with_address(pod, addresses.take(PodKey(pod.namespace, pod.name)))


def with_address(pod: Pod, address: str, phase: str = "Running") -> Pod:
    """The pod as its status shows it once it has an address."""
    return msgspec.structs.replace(pod, status=PodStatus(pod_ip=address, pod_ips=(PodIP(address),), phase=phase))
