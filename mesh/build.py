"""From Resources to the Mesh: every round works everything out, and only leaves with a new input really run.

Rule: the Builder holds nothing but remembered functions. It decides what each leaf is given, never what it means.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from itertools import chain
from typing import Any

from kube.objects import Deployment, EndpointSlice, Namespace, Pod, Service, StatefulSet
from kube.problem import Origin, Problem
from mesh import collect
from mesh.backends import Answering, ServiceBackends, answer
from mesh.collect import Key, People
from mesh.endpoints import Referred, ServiceEndpoints, Slices, Standing, by_service, read_slices, recognise, stand
from mesh.exports import Announced, limited
from mesh.inventory import Inventory
from mesh.lookup import find
from mesh.model import Identity, Mesh, Scope
from mesh.modes import Annotated, Modes, namespace_modes
from mesh.readiness import unready
from mesh.remember import Remembered, RememberedMap
from mesh.routes import Planning, RootInput, Routing, root_inputs, route
from mesh.rules import Guarded, RoleInput, guard
from mesh.scopes import (
    Acquaintance,
    Opening,
    ScopeInput,
    Standpoint,
    Surroundings,
    reaches,
    scope,
    scope_inputs,
    survey,
)
from mesh.services import MeshService, meshed_addresses, read_service, uncontested
from mesh.settings import Access, MeshSettings
from mesh.splits import Split, SplitInput, read_split, rootless
from mesh.targets import Decision, Grant, TargetInput, decide
from mesh.workloads import Census, Population, populate
from smi.kinds import TrafficSplit, TrafficTarget
from smi.resources import Resources

Services = Mapping[Key, MeshService]
Grants = Mapping[Identity, tuple[Grant, ...]]


class Builder:
    """Turns Resources into a Mesh, round after round, and remembers every leaf between rounds."""

    def __init__(self, settings: MeshSettings) -> None:
        self._settings = settings
        self._inventory = Inventory()
        self._services = RememberedMap[Key, Service, MeshService](read_service)
        self._uncontested = Remembered(uncontested)
        self._services_within = Remembered(collect.services_within)
        self._modes = RememberedMap[str, Annotated, Modes](namespace_modes)
        self._populations = RememberedMap[str, Census, Population](populate)
        self._people = Remembered(collect.people)
        self._slices_of = Remembered(by_service)
        self._slices = RememberedMap[Key, tuple[EndpointSlice, ...], Slices](read_slices)
        self._recognised = RememberedMap[Key, Referred, tuple[Identity | None, ...]](recognise)
        self._standings = RememberedMap[Key, Standing, ServiceEndpoints](stand)
        self._endpoints = Remembered(collect.endpoints)
        self._answering = RememberedMap[Key, Answering, ServiceBackends](answer)
        self._backends = Remembered(collect.backends)
        self._meshed_addresses = Remembered(meshed_addresses)
        self._splits = RememberedMap[Key, SplitInput, Split](read_split)
        self._root_inputs = Remembered(root_inputs)
        self._routings = RememberedMap[Key, RootInput, Routing](route)
        self._destinations = Remembered(collect.destinations)
        self._decisions = RememberedMap[Key, TargetInput, Decision](decide)
        self._grants = Remembered(collect.grants)
        self._guarded = RememberedMap[str, RoleInput, Guarded](guard)
        self._workloads = Remembered(collect.workloads)
        self._watches = Remembered(collect.watches)
        self._problems = RememberedMap[int, Mapping[Any, collect.Judged], tuple[Problem, ...]](collect.problems)
        self._limited = Remembered(limited)
        self._view = Remembered(survey)
        self._reaches = Remembered(reaches)
        self._scope_inputs = Remembered(scope_inputs)
        self._scopes = RememberedMap[Standpoint, ScopeInput, Scope](scope)
        self._identity_scopes = RememberedMap[Identity, Scope, Scope](_itself)

    def runs(self) -> dict[str, int]:
        """How often each remembered function really ran so far, by what it works out."""
        parts = {name.strip("_"): part for name, part in vars(self).items()}
        return {name: part.runs for name, part in parts.items() if isinstance(part, Remembered | RememberedMap)}

    def build(self, resources: Resources) -> Mesh:
        """What these objects mean. Whatever means the same as in the round before is the identical object."""
        self._inventory.take(resources)
        services = self._read_services()
        modes = self._read_modes()
        populations = self._populate(services, modes)
        people = self._people(populations)
        standings = self._stand(services, populations)
        endpoints = self._endpoints(standings)
        answering = self._answer(services, populations, standings)
        splits = self._read_splits(resources)
        routings = self._routings(self._root_inputs(Planning(services, splits)))
        decisions = self._decide(resources)
        grants = self._grants(decisions)
        guarded = self._guard(people, modes, grants)
        mesh = Mesh(
            destinations=self._destinations(routings),
            backends=self._backends(answering),
            endpoints=endpoints,
            pods=people.pods,
            workloads=self._workloads(guarded),
            proxies=people.proxies,
            meshed_addresses=self._meshed_addresses(collect.meshed(answering)),
        )
        leaves = (services, modes, populations, standings, splits, routings, decisions, guarded)
        found = self._problems(dict(enumerate(leaves)))
        late = unready(self._watches(routings), endpoints)
        problems = sorted({*chain.from_iterable(found.values()), *rootless(splits, services), *late}, key=_order)
        return replace(mesh, scopes=self._scope(mesh, modes, grants, services, people), problems=tuple(problems))

    def _read_services(self) -> Services:
        items = self._inventory.of(Service).items
        services = self._services({(item.metadata.namespace, item.metadata.name): item for item in items})
        return self._uncontested(services)

    def _read_modes(self) -> Mapping[str, Modes]:
        """The modes of every namespace that something lives in, whether or not its object is there."""
        objects = {item.name: item for item in self._inventory.of(Namespace).items}
        kinds = (Service, Pod, Deployment, StatefulSet)
        names = {*objects, *(name for kind in kinds for name in self._inventory.of(kind).by_namespace)}
        return self._modes({name: Annotated(objects.get(name), self._settings) for name in sorted(names)})

    def _populate(self, services: Services, modes: Mapping[str, Modes]) -> Mapping[str, Population]:
        within = self._services_within(services)
        namespaces = {item.name: item for item in self._inventory.of(Namespace).items}
        pods, deployments = self._inventory.of(Pod), self._inventory.of(Deployment)
        stateful_sets = self._inventory.of(StatefulSet)
        return self._populations({
            name: Census(
                namespace=name,
                trust_domain=self._settings.trust_domain,
                modes=mode,
                labels=namespaces[name].metadata.labels if name in namespaces else {},
                services=within.get(name, ()),
                pods=pods.within(name),
                templates=(*deployments.within(name), *stateful_sets.within(name)),
            )
            for name, mode in modes.items()
        })  # fmt: skip

    def _stand(self, services: Services, populations: Mapping[str, Population]) -> Mapping[Key, ServiceEndpoints]:
        by_key = self._slices_of(self._inventory.of(EndpointSlice).items)
        slices = self._slices({key: by_key.get(key, ()) for key in services})
        met = {name: population.identities for name, population in populations.items()}
        identities = self._recognised({
            key: Referred(found.pods, tuple(met[name] for name in found.namespaces if name in met))
            for key, found in slices.items()
        })  # fmt: skip
        return self._standings({
            key: Standing(service, slices[key], identities[key]) for key, service in services.items()
        })  # fmt: skip

    def _answer(
        self, services: Services, populations: Mapping[str, Population], standings: Mapping[Key, ServiceEndpoints]
    ) -> Mapping[Key, ServiceBackends]:
        return self._answering({
            key: Answering(service, populations[key[0]].members.get(key[1], ()), standings[key].identities)
            for key, service in services.items()
        })  # fmt: skip

    def _read_splits(self, resources: Resources) -> Mapping[Key, Split]:
        return self._splits({
            (split.namespace, split.name): SplitInput(
                split, find(resources, split.namespace, split.matches), self._settings.cluster_domain
            )
            for split in self._inventory.of(TrafficSplit).items
        })  # fmt: skip

    def _decide(self, resources: Resources) -> Mapping[Key, Decision]:
        return self._decisions({
            (target.namespace, target.name): TargetInput(
                target, find(resources, target.namespace, target.rules), self._settings.trust_domain
            )
            for target in self._inventory.of(TrafficTarget).items
        })  # fmt: skip

    def _guard(self, people: People, modes: Mapping[str, Modes], grants: Grants) -> Mapping[str, Guarded]:
        return self._guarded({
            name: RoleInput(
                role,
                open=modes[role.identity.namespace].access is Access.PERMISSIVE,
                grants=grants.get(role.identity, ()),
            )
            for name, role in people.roles.items()
        })  # fmt: skip

    def _scope(
        self, mesh: Mesh, modes: Mapping[str, Modes], grants: Grants, services: Services, people: People
    ) -> Mapping[Identity, Scope]:
        permissive = frozenset(name for name, mode in modes.items() if mode.access is Access.PERMISSIVE)
        announced = Announced(
            services={service.id: service.export_to for service in services.values()},
            namespaces={name: mode.export_to for name, mode in modes.items()},
        )
        surroundings = Surroundings(
            destinations=mesh.destinations,
            backends=mesh.backends,
            pods=mesh.pods,
            headless=people.headless,
            permissive=permissive,
            limited=self._limited(announced),
            kept={name: exports for name, exports in announced.namespaces.items() if exports is not None},
        )
        view = self._view(surroundings)
        reached = self._reaches(Acquaintance(mesh.workloads, grants))
        scopes = self._scopes(self._scope_inputs(Opening(view, reached)))
        return self._identity_scopes({caller: scopes[view.standpoint(caller, reached[caller])] for caller in reached})


def _itself(scope: Scope) -> Scope:
    return scope


def _order(problem: Problem) -> tuple[object, ...]:
    origin = problem.origin or Origin("", 0)
    return (problem.object, problem.field, problem.rule, problem.message, problem.severity, origin)
