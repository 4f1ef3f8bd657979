"""What the cluster adds to the manifests, as objects for the control plane: addresses, pods, endpoints.

Rule: pure; one JSON document per object, by file name.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

import msgspec

from kube.objects import EndpointSlice, Object, Pod, Service
from kube.problem import Problem
from local.addresses import ServiceKey, cluster_ips
from local.endpoints import Member, endpoint_slices
from local.names import hosts_file, pod_addresses, service_addresses
from local.plan import with_cluster_ip
from local.settings import ClusterSettings


@dataclass(frozen=True, slots=True)
class Overlay:
    """The objects of one moment, and what Services are called."""

    services: tuple[Service, ...] = ()
    pods: tuple[Pod, ...] = ()
    slices: tuple[EndpointSlice, ...] = ()
    ips: dict[ServiceKey, str] = field(default_factory=dict)
    problems: tuple[Problem, ...] = ()

    def documents(self) -> dict[str, bytes]:
        """Every object as JSON, by file name."""
        objects: Iterable[Object] = (*self.services, *self.pods, *self.slices)
        return {
            f"{item.kind.lower()}.{item.namespace}.{item.name}.json": msgspec.json.encode(item, order="deterministic")
            for item in objects
        }

    def hosts(self, pod: Pod, settings: ClusterSettings) -> str:
        """The hosts file of one of the pods."""
        gateway = str(settings.pod_network[1])
        return hosts_file(
            pod.namespace,
            (pod.status.pod_ip, pod.name),
            service_addresses(self.services, self.ips, self.slices, gateway, settings.cluster_domain),
            pod_addresses(self.slices),
            settings.cluster_domain,
        )


def overlay(services: Iterable[Service], members: Iterable[Member], settings: ClusterSettings) -> Overlay:
    """What these Services and pods mean now."""
    written = list(services)
    alive = [member for member in members if member.pod.status.phase not in {"Succeeded", "Failed"}]
    ips, problems = cluster_ips(written, settings.service_network)
    addressed = tuple(with_cluster_ip(service, ips) for service in written)
    return Overlay(
        services=addressed,
        pods=tuple(member.pod for member in alive),
        slices=tuple(item for service in addressed for item in endpoint_slices(service, alive)),
        ips=ips,
        problems=tuple(problems),
    )
