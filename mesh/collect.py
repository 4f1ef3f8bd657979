"""Results of leaves gathered into the mappings of the Mesh. Rule: gather and index only, decide nothing."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

from kube.problem import Problem
from mesh.backends import ServiceBackends
from mesh.endpoints import ServiceEndpoints
from mesh.model import Backend, Destination, Endpoint, Identity, PodDestination, PodId, PortId, ServiceId, Workload
from mesh.openings import Entry
from mesh.routes import Routing, Watch
from mesh.rules import Guarded
from mesh.services import MeshService
from mesh.targets import Decision, Grant
from mesh.workloads import Members, Population, Role

Key = tuple[str, str]
"""Namespace and name of an object."""


class Judged(Protocol):
    """The result of a leaf that may have found something wrong."""

    @property
    def problems(self) -> tuple[Problem, ...]:
        """What it found."""


@dataclass(frozen=True, slots=True)
class People:
    """The populations of all namespaces together."""

    roles: dict[str, Role] = field(default_factory=dict)
    proxies: dict[PodId, str] = field(default_factory=dict)
    pods: dict[PodId, tuple[PodDestination, ...]] = field(default_factory=dict)
    headless: dict[PodId, tuple[ServiceId, ...]] = field(default_factory=dict)
    entries: dict[PodId, Entry] = field(default_factory=dict)
    service_entries: dict[ServiceId, Entry] = field(default_factory=dict)


def people(populations: Mapping[str, Population]) -> People:
    """Everybody, wherever they live."""
    everybody = People()
    for namespace, population in populations.items():
        entries = population.entries
        everybody.entries.update((PodId(namespace, name), found) for name, found in entries.pods.items())
        everybody.service_entries.update(
            (ServiceId(namespace, name), found) for name, found in entries.services.items()
        )
        everybody.roles.update(population.roles)
        everybody.proxies.update(population.proxies)
        everybody.pods.update(population.pods)
        everybody.headless.update(population.headless)
    return everybody


def members(populations: Mapping[str, Population]) -> Mapping[Key, Members]:
    """Who stands behind each Service that has a selector."""
    return {
        (namespace, service): found
        for namespace, population in populations.items()
        for service, found in population.members.items()
    }


def services_within(services: Mapping[Key, MeshService]) -> Mapping[str, tuple[MeshService, ...]]:
    """The Services of each namespace."""
    found: dict[str, list[MeshService]] = defaultdict(list)
    for (namespace, _), service in services.items():
        found[namespace].append(service)
    return {namespace: tuple(items) for namespace, items in found.items()}


def endpoints(services: Mapping[Key, ServiceEndpoints]) -> Mapping[PortId, tuple[Endpoint, ...]]:
    """The endpoints of every port."""
    return {port: found for service in services.values() for port, found in service.ports.items()}


def backends(services: Mapping[Key, ServiceBackends]) -> Mapping[PortId, Backend]:
    """The Backends of every Service."""
    return {backend.id: backend for service in services.values() for backend in service.backends}


def meshed(services: Mapping[Key, ServiceBackends]) -> tuple[MeshService, ...]:
    """The Services where some identity answers."""
    return tuple(found.service for found in services.values() if found.identities)


def destinations(routings: Mapping[Key, Routing]) -> Mapping[PortId, Destination]:
    """The Destinations of every Service."""
    return {item.id: item for routing in routings.values() for item in routing.destinations}


def watches(routings: Mapping[Key, Routing]) -> tuple[Watch, ...]:
    """What to watch about every Service."""
    return tuple(watch for routing in routings.values() for watch in routing.watches)


def problems(judged: Mapping[Any, Judged]) -> tuple[Problem, ...]:
    """What is wrong according to one kind of leaf."""
    return tuple(problem for item in judged.values() for problem in item.problems)


def grants(decisions: Mapping[Key, Decision]) -> Mapping[Identity, tuple[Grant, ...]]:
    """What is granted on each identity, in the order of the TrafficTargets' names."""
    found: dict[Identity, list[Grant]] = defaultdict(list)
    for decision in decisions.values():
        for grant in decision.grants:
            found[grant.destination].append(grant)
    return {identity: tuple(items) for identity, items in found.items()}


def workloads(guarded: Mapping[str, Guarded]) -> Mapping[str, Workload]:
    """The workloads with their rules, by id."""
    return {name: item.workload for name, item in guarded.items()}
