"""The endpoints controller: which pods stand behind which Service.

Rule: pure, and no pod is ready before its probes say so.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from kube.objects import (
    EndpointConditions,
    EndpointEntry,
    EndpointPort,
    EndpointSlice,
    Meta,
    Pod,
    Service,
    ServicePort,
    TargetRef,
)

SERVICE_NAME = "kubernetes.io/service-name"


@dataclass(frozen=True, slots=True)
class Member:
    """A pod with an address, and how it is. `hostname` is its own name in a headless Service, where it has one."""

    pod: Pod
    ready: bool
    terminating: bool = False
    hostname: str = ""
    subdomain: str = ""


def endpoint_slices(service: Service, members: Iterable[Member]) -> list[EndpointSlice]:
    """The slices of one Service: one per set of port numbers, since a named target port may differ between pods."""
    if not service.spec.selector:
        return []
    by_ports: dict[tuple[EndpointPort, ...], list[EndpointEntry]] = {}
    for member in sorted(members, key=lambda member: member.pod.name):
        if member.pod.namespace == service.namespace and selects(service, member.pod):
            ports = tuple(_ports(service, member.pod))
            by_ports.setdefault(ports, []).append(_entry(service, member))
    return [
        EndpointSlice(
            metadata=Meta(
                name=f"{service.name}-{index}", namespace=service.namespace, labels={SERVICE_NAME: service.name}
            ),
            kind="EndpointSlice",
            api_version="discovery.k8s.io/v1",
            endpoints=tuple(entries),
            ports=ports,
        )
        for index, (ports, entries) in enumerate(by_ports.items())
    ]


def selects(service: Service, pod: Pod) -> bool:
    """Whether the Service's selector matches the pod."""
    return all(pod.metadata.labels.get(key) == value for key, value in service.spec.selector.items())


def target_port(port: ServicePort, pod: Pod) -> int | None:
    """The number a service port has in this pod, None when the pod names no such port."""
    if isinstance(port.target_port, int):
        return port.target_port or port.port
    for container in (*pod.spec.containers, *pod.spec.init_containers):
        for candidate in container.ports:
            if candidate.name == port.target_port and candidate.protocol == port.protocol:
                return candidate.container_port
    return None


def _ports(service: Service, pod: Pod) -> Iterable[EndpointPort]:
    for port in service.spec.ports:
        number = target_port(port, pod)
        if number is not None:
            yield EndpointPort(name=port.name, port=number, protocol=port.protocol, app_protocol=port.app_protocol)


def _entry(service: Service, member: Member) -> EndpointEntry:
    always = service.spec.publish_not_ready_addresses
    return EndpointEntry(
        addresses=(member.pod.status.pod_ip,),
        conditions=EndpointConditions(
            ready=always or (member.ready and not member.terminating),
            serving=member.ready,
            terminating=member.terminating,
        ),
        hostname=member.hostname if member.subdomain == service.name and member.hostname else None,
        target_ref=TargetRef(kind="Pod", namespace=member.pod.namespace, name=member.pod.name),
    )
