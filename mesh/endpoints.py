"""Which addresses stand behind a Service right now, and who answers there.

Rule: this is what changes fast, so it is apart from everything else and one Service at a time.
Source: Kubernetes API reference, discovery.k8s.io/v1 EndpointSlice.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Final

from kube.objects import EndpointEntry, EndpointSlice
from kube.problem import Problem
from mesh.model import Endpoint, Identity, PodId, PortId
from mesh.services import MeshPort, MeshService, is_address
from mesh.workloads import Members, PodName, Population

SERVICE_NAME: Final = "kubernetes.io/service-name"
"""The label by which an EndpointSlice names its Service."""

_UNNAMED: Final = ""
"""Stands in place of the namespace where an endpoint names no pod, and its address in place of the name."""


@dataclass(frozen=True, slots=True)
class Slices:
    """The EndpointSlices of one Service, and the pods they refer to in order of appearance, by name or by address.

    `namespaces` are those of the pods, sorted: hardly ever more than the Service's own. `unnamed` is the Service's own,
    where some endpoint is an address only.
    """

    slices: tuple[EndpointSlice, ...]
    pods: tuple[PodName, ...]
    namespaces: tuple[str, ...]
    unnamed: str | None = None


@dataclass(frozen=True, slots=True)
class Referred:
    """Pods, and the identities of all meshed pods in their namespaces; `nearby` those of addresses that name no pod."""

    pods: tuple[PodName, ...]
    identities: tuple[Mapping[PodName, Identity], ...]
    nearby: Mapping[str, Identity]


@dataclass(frozen=True, slots=True)
class Standing:
    """What decides about a Service's endpoints. `identities` are those of `slices.pods`; None where not meshed."""

    service: MeshService
    slices: Slices
    identities: tuple[Identity | None, ...]


@dataclass(frozen=True, slots=True)
class ServiceEndpoints:
    """The endpoints of a Service by port, all fit to take traffic, and who is found among them.

    Of a pod that is not known (yet, or any more) nothing follows about sidecars: `plain` are addresses of no pod.
    """

    ports: dict[PortId, tuple[Endpoint, ...]]
    present: Members
    problems: tuple[Problem, ...] = ()


def by_service(slices: Iterable[EndpointSlice]) -> Mapping[tuple[str, str], tuple[EndpointSlice, ...]]:
    """The slices of each Service, by its namespace and name. Those of no Service are left out."""
    found: dict[tuple[str, str], list[EndpointSlice]] = {}
    for item in slices:
        name = item.metadata.labels.get(SERVICE_NAME)
        if name:
            found.setdefault((item.metadata.namespace, name), []).append(item)
    return {key: tuple(items) for key, items in found.items()}


def listed(_service: MeshService, slices: tuple[EndpointSlice, ...] | None) -> tuple[EndpointSlice, ...]:
    """The slices of a Service, which may have none."""
    return slices or ()


def read_slices(slices: tuple[EndpointSlice, ...]) -> Slices:
    """Find out which pods the slices refer to."""
    pods = tuple(_pod(item, entry) for item in slices for entry in item.endpoints)
    namespaces = {namespace for namespace, _ in pods}
    own = slices[0].metadata.namespace if _UNNAMED in namespaces else None
    return Slices(slices, pods, tuple(sorted(namespaces - {_UNNAMED})), own)


def nearby(
    slices: Mapping[tuple[str, str], Slices], populations: Mapping[str, Population]
) -> Mapping[tuple[str, str], Mapping[str, Identity]]:
    """The meshed pods' addresses in a Service's own namespace, for the Services some of whose endpoints name no pod."""
    return {
        key: populations[item.unnamed].addresses
        for key, item in slices.items()
        if item.unnamed is not None and item.unnamed in populations
    }


def refer(
    slices: Slices,
    identities: Mapping[str, Mapping[PodName, Identity]],
    addresses: Mapping[str, Identity] | None,
) -> Referred:
    """The pods of a Service, with the identities of the namespaces they are in, and of the addresses nearby."""
    known = tuple(identities[name] for name in slices.namespaces if name in identities)
    return Referred(slices.pods, known, addresses or {})


def recognise(referred: Referred) -> tuple[Identity | None, ...]:
    """The identity of each pod, None for those not meshed."""
    return tuple(
        referred.nearby.get(pod[1])
        if pod[0] == _UNNAMED
        else next((found[pod] for found in referred.identities if pod in found), None)
        for pod in referred.pods
    )


def stand(standing: Standing) -> ServiceEndpoints:
    """The endpoints of every port of a Service."""
    service, slices = standing.service, standing.slices.slices
    identities = dict(zip(standing.slices.pods, standing.identities, strict=True))
    ports = {port.id: _endpoints(service, port, slices, identities) for port in service.ports}
    meshed = {endpoint.identity for found in ports.values() for endpoint in found if endpoint.identity is not None}
    plain = any(each.identity is None and each.pod is None for found in ports.values() for each in found)
    return ServiceEndpoints(ports, Members(tuple(sorted(meshed)), plain), _wrong_addresses(slices))


def _endpoints(
    service: MeshService,
    port: MeshPort,
    slices: tuple[EndpointSlice, ...],
    identities: Mapping[PodName, Identity | None],
) -> tuple[Endpoint, ...]:
    """Who takes traffic: all that are ready; while none is, those that terminate and still serve."""
    ready: dict[tuple[str, int], Endpoint] = {}
    leaving: dict[tuple[str, int], Endpoint] = {}
    for item, number in _on_port(port, slices):
        for entry in item.endpoints:
            fit = ready if _is_ready(service, entry) else leaving if _still_serves(entry) else None
            if fit is not None and _is_usable(entry):
                pod = _pod(item, entry)
                pod_id = None if pod[0] == _UNNAMED else PodId(*pod)
                identity = identities[pod] or (service.remote if pod_id is None else None)
                endpoint = Endpoint(entry.addresses[0], number, identity, pod=pod_id)
                fit.setdefault((endpoint.address, number), endpoint)
    taking = _of_one_family(service, ready or leaving)
    return tuple(taking[key] for key in sorted(taking))


def _of_one_family(service: MeshService, fit: Mapping[tuple[str, int], Endpoint]) -> Mapping[tuple[str, int], Endpoint]:
    """A pod of two address families once, at its address of the Service's first family.

    The slices list it in both, and an app may listen in one only; without a mesh, callers would stay in theirs.
    """
    v6 = bool(service.addresses) and _is_v6(service.addresses[0])
    first = {item.pod for item in fit.values() if _is_v6(item.address) is v6}
    if not first or all(_is_v6(item.address) is v6 for item in fit.values()):
        return fit
    return {
        key: item
        for key, item in fit.items()
        if _is_v6(item.address) is v6 or item.pod is None or item.pod not in first
    }


def _is_v6(address: str) -> bool:
    return ":" in address


def _on_port(port: MeshPort, slices: tuple[EndpointSlice, ...]) -> Iterable[tuple[EndpointSlice, int]]:
    """The slices that serve a port of the Service, and the number it has there."""
    for item in slices:
        for candidate in item.ports:
            number = candidate.port
            if candidate.protocol == "TCP" and (candidate.name or "") == port.name and number and 0 < number < 65536:
                yield item, number


def _is_ready(service: MeshService, entry: EndpointEntry) -> bool:
    return service.publish_not_ready or entry.conditions.ready is not False


def _still_serves(entry: EndpointEntry) -> bool:
    return entry.conditions.terminating is True and entry.conditions.serving is True


def _is_usable(entry: EndpointEntry) -> bool:
    """All addresses of an entry are the same pod's, and only the first is meant to be used."""
    return bool(entry.addresses) and is_address(entry.addresses[0])


def _pod(item: EndpointSlice, entry: EndpointEntry) -> PodName:
    target = entry.target_ref
    if target is None or target.kind != "Pod":
        return _UNNAMED, entry.addresses[0] if entry.addresses else ""
    return target.namespace or item.metadata.namespace, target.name


def _wrong_addresses(slices: tuple[EndpointSlice, ...]) -> tuple[Problem, ...]:
    return tuple(
        Problem(item.ref, f"endpoints[{index}].addresses[0]", "This is no IP address; the endpoint is left out.", "F6")
        for item in slices
        for index, entry in enumerate(item.endpoints)
        if not _is_usable(entry)
    )
