"""Who runs where: the pods of a namespace, which Services select them, and the roles their sidecars play.

Rule: a role is what replicas have in common. Its id is made of identity, ports and modes, never of rules, so that a
change of rules reaches a sidecar without giving it another role.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from hashlib import blake2b
from typing import NamedTuple

from kube.enrolment import enrolled, injected
from kube.objects import Deployment, Pod, PodTemplate, StatefulSet
from kube.problem import Problem
from mesh.inbound import RolePort, listens_on, ports_of, taken_ports
from mesh.model import Identity, PodDestination, PodId, Protocol, ServiceId
from mesh.modes import Modes, PodModes, pod_modes
from mesh.openings import BOTH, Entries, entry, says_so, together, usual
from mesh.services import MeshService, is_address
from mesh.settings import AccessLog, Egress, Mtls

PodName = tuple[str, str]
"""Namespace and name of a pod: a PodId that hashes at the speed of a plain tuple."""

Template = Deployment | StatefulSet
_Selected = list[tuple[MeshService, list[Pod]]]


class Members(NamedTuple):
    """Who stands behind a Service: the identities of those with a sidecar, sorted, and whether others have none."""

    identities: tuple[Identity, ...] = ()
    plain: bool = False


@dataclass(frozen=True, slots=True)
class Census:
    """Everything that decides about the workloads of one namespace."""

    namespace: str
    trust_domain: str
    modes: Modes
    labels: Mapping[str, str]
    services: tuple[MeshService, ...]
    pods: tuple[Pod, ...]
    templates: tuple[Template, ...]


@dataclass(frozen=True, slots=True)
class Role:
    """What all proxies with the same identity, ports and modes have in common, before any rule is looked at."""

    id: str
    identity: Identity
    egress: Egress
    mtls: Mtls
    ports: tuple[RolePort, ...]
    access_log: AccessLog = AccessLog.OFF


@dataclass(frozen=True, slots=True)
class Population:
    """Who lives in a namespace. `members` are those behind each Service that has a selector, by its name.

    `identities` are those of the meshed pods, by name and (`addresses`) by address.
    """

    roles: dict[str, Role] = field(default_factory=dict)
    proxies: dict[PodId, str] = field(default_factory=dict)
    pods: dict[PodId, tuple[PodDestination, ...]] = field(default_factory=dict)
    identities: dict[PodName, Identity] = field(default_factory=dict)
    addresses: dict[str, Identity] = field(default_factory=dict)
    members: dict[str, Members] = field(default_factory=dict)
    headless: dict[PodId, tuple[ServiceId, ...]] = field(default_factory=dict)
    """The headless Services that lead to a pod's own address, for those that have any."""
    entries: Entries = field(default_factory=Entries)
    problems: tuple[Problem, ...] = ()


def populate(census: Census) -> Population:
    """Count the pods of a namespace."""
    living = [pod for pod in census.pods if pod.status.phase not in {"Succeeded", "Failed"}]
    selected = _selected(census.services, living)
    meshed = {pod.name: pod for pod in living if injected(pod.metadata.annotations) and not pod.spec.host_network}
    identities = {name: _identity(census, pod.spec.service_account_name) for name, pod in meshed.items()}
    roles, problems = _roles(census, meshed, identities, selected)
    return Population(
        roles={role.id: role for role in roles.values()},
        proxies={PodId(census.namespace, name): role.id for name, role in roles.items()},
        pods={found[0].pod: found for name, role in roles.items() if (found := _destinations(meshed[name], role))},
        identities={(census.namespace, name): identity for name, identity in identities.items()},
        addresses={address: identities[name] for name, pod in meshed.items() for address in _addresses(pod)},
        headless=_headless(census.namespace, selected),
        members={service.id.name: _members(census, service, pods, identities) for service, pods in selected},
        entries=_entries(census, roles, selected),
        problems=problems,
    )


def _selected(services: Iterable[MeshService], pods: Iterable[Pod]) -> _Selected:
    """The pods behind each Service that has a selector. Only pods with the selector's rarest label are looked at."""
    labelled: dict[tuple[str, str], list[Pod]] = defaultdict(list)
    for pod in pods:
        for label in pod.metadata.labels.items():
            labelled[label].append(pod)
    found = []
    for service in services:
        if service.selector:
            candidates = min((labelled.get(label, []) for label in service.selector), key=len)
            found.append((service, [pod for pod in candidates if _matches(service, pod.metadata.labels)]))
    return found


def _headless(namespace: str, selected: _Selected) -> dict[PodId, tuple[ServiceId, ...]]:
    found: dict[PodId, list[ServiceId]] = defaultdict(list)
    for service, pods in selected:
        if service.headless:
            for pod in pods:
                found[PodId(namespace, pod.name)].append(service.id)
    return {pod: tuple(services) for pod, services in found.items()}


def _matches(service: MeshService, labels: Mapping[str, str]) -> bool:
    return all(labels.get(key) == value for key, value in service.selector)


def _identity(census: Census, service_account: str) -> Identity:
    return Identity(census.trust_domain, census.namespace, service_account or "default")


def _members(census: Census, service: MeshService, pods: list[Pod], identities: Mapping[str, Identity]) -> Members:
    """Who may answer for a Service. While no pod exists, those that its Deployments and StatefulSets would make."""
    if pods:
        found = [identities.get(pod.name) for pod in pods]
    else:
        templates = [item.spec.template for item in census.templates]
        found = [
            _identity(census, template.spec.service_account_name) if _would_be_meshed(census, template) else None
            for template in templates
            if _matches(service, template.metadata.labels)
        ]
    meshed = {identity for identity in found if identity is not None}
    return Members(tuple(sorted(meshed)), plain=None in found)


def _would_be_meshed(census: Census, template: PodTemplate) -> bool:
    return enrolled(census.labels, template.metadata.labels) and not template.spec.host_network


def _roles(
    census: Census,
    meshed: Mapping[str, Pod],
    identities: Mapping[str, Identity],
    selected: _Selected,
) -> tuple[dict[str, Role], tuple[Problem, ...]]:
    """The role of each meshed pod by the pod's name. Replicas are recognised by what a role is made of."""
    behind: dict[str, list[MeshService]] = defaultdict(list)
    for service, pods in selected:
        for pod in pods:
            behind[pod.name].append(service)
    known: dict[object, Role] = {}
    roles: dict[str, Role] = {}
    problems: dict[Problem, None] = {}
    for name, pod in meshed.items():
        modes = pod_modes(pod.ref, pod.metadata.annotations, census.modes)
        problems |= dict.fromkeys(modes.problems)
        services = behind.get(name, [])
        listening = listens_on(pod.spec)
        problems |= dict.fromkeys(taken_ports(pod.ref, listening))
        alike = (
            identities[name],
            modes.alike,
            listening,
            tuple(service.id for service in services),
        )
        if alike not in known:
            ports, wrong = ports_of(listening, services, modes)
            problems |= dict.fromkeys(wrong)
            known[alike] = _role(identities[name], census.modes.egress, modes, ports)
        roles[name] = known[alike]
    return roles, tuple(problems)


def _role(identity: Identity, egress: Egress, modes: PodModes, ports: tuple[RolePort, ...]) -> Role:
    parts = [str(modes.mtls), *(f"{port.number} {port.protocol} {port.mtls}" for port in ports)]
    parts += [f"{port.number} {port.access}" for port in ports if port.access is not None]
    parts += [f"{port.number} as http1" for port in ports if port.http1 and port.protocol is Protocol.DETECT]
    parts += [f"log {modes.access_log}"] if modes.access_log is not AccessLog.OFF else []
    digest = blake2b("\n".join(parts).encode(), digest_size=6).hexdigest()
    name = f"{identity.namespace}/{identity.service_account}/{digest}"
    return Role(name, identity, egress, modes.mtls, ports, modes.access_log)


def _entries(census: Census, roles: Mapping[str, Role], selected: _Selected) -> Entries:
    """Who is let in otherwise than the namespace says; a Service without pods by what its pods would say."""
    normal = usual(census.modes.access)
    own = {name: entry(role.ports, normal) for name, role in roles.items() if any(port.access for port in role.ports)}
    templates = [item.spec.template for item in census.templates if says_so(item.spec.template.metadata.annotations)]
    if not own and not templates:
        return Entries()
    services = {}
    for service, pods in selected:
        if pods:
            found = together(own.get(pod.name, normal) for pod in pods)
        else:
            found = BOTH if any(_matches(service, template.metadata.labels) for template in templates) else normal
        services[service.id.name] = found
    # Only its EndpointSlices know which pods stand behind a Service that selects none.
    services |= {service.id.name: BOTH for service in census.services if not service.selector}
    return Entries(
        {name: found for name, found in own.items() if found != normal},
        {name: found for name, found in services.items() if found != normal},
    )


def _addresses(pod: Pod) -> tuple[str, ...]:
    status = pod.status
    written = dict.fromkeys(item.ip for item in status.pod_ips) or {status.pod_ip: None}
    return tuple(address for address in written if is_address(address))


def _destinations(pod: Pod, role: Role) -> tuple[PodDestination, ...]:
    addresses = _addresses(pod)
    if not addresses:
        return ()
    own = PodId(pod.namespace, pod.name)
    return tuple(PodDestination(own, addresses, port.number, role.identity) for port in role.ports)
