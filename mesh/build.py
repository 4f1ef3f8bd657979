"""From Resources to the Mesh: every round works everything out, and only leaves with a new input really run.

Rule: the Builder holds nothing but remembered functions. It decides what each leaf is given, never what it means.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from itertools import chain
from operator import attrgetter
from typing import Any

from kube.objects import Deployment, EndpointSlice, Namespace, Pod, Service, StatefulSet
from kube.problem import Origin, Problem
from mesh import collect
from mesh.backends import Answering, ServiceBackends, answer, asked
from mesh.bindings import BindingInput, Bound, bind, binding_inputs, switched_off
from mesh.collect import Key, People
from mesh.egress import Permit, Permitting, PolicyInput, permit, permits, policy_inputs
from mesh.endpoints import (
    Referred,
    ServiceEndpoints,
    Slices,
    Standing,
    by_service,
    listed,
    nearby,
    read_slices,
    recognise,
    refer,
    stand,
)
from mesh.exports import Announced, Written, limited
from mesh.inventory import Inventory
from mesh.lookup import KINDS, RouteObjects
from mesh.model import Destination, Identity, Mesh, PortId, Scope
from mesh.modes import Annotated, Modes, namespace_modes
from mesh.readiness import unready
from mesh.remember import Joined, Remembered, RememberedMap
from mesh.routes import Planning, RootInput, Routing, needs, route, splits_on
from mesh.rules import Guarded, Guarding, RoleInput, guard, role_inputs
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
from mesh.splits import Split, SplitInput, Splitting, read_split, rootless, split_inputs
from mesh.subjects import Bindings
from mesh.targets import Decision, Grant, Targeting, TargetInput, decide, target_inputs
from mesh.workloads import Census, Members, PodName, Population, populate
from smi.kinds import EgressPolicy, IdentityBinding, TrafficSplit, TrafficTarget
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
        self._met = RememberedMap[str, Population, Mapping[PodName, Identity]](attrgetter("identities"))
        self._slices_of = Remembered(by_service)
        self._listed = Joined[Key, tuple[EndpointSlice, ...]](listed)
        self._slices = RememberedMap[Key, tuple[EndpointSlice, ...], Slices](read_slices)
        self._referred = Joined[Key, Referred](refer)
        self._recognised = RememberedMap[Key, Referred, tuple[Identity | None, ...]](recognise)
        self._standing = Joined[Key, Standing](Standing)
        self._standings = RememberedMap[Key, Standing, ServiceEndpoints](stand)
        self._endpoints = Remembered(collect.endpoints)
        self._members = Remembered(collect.members)
        self._present = RememberedMap[Key, ServiceEndpoints, Members](attrgetter("present"))
        self._asked = Joined[Key, Answering](asked)
        self._answering = RememberedMap[Key, Answering, ServiceBackends](answer)
        self._backends = Remembered(collect.backends)
        self._meshed = Remembered(collect.meshed)
        self._meshed_addresses = Remembered(meshed_addresses)
        self._split_inputs = Remembered(split_inputs)
        self._splits = RememberedMap[Key, SplitInput, Split](read_split)
        self._splits_on = Remembered(splits_on)
        self._root_inputs = Joined[Key, RootInput](RootInput)
        self._routings = RememberedMap[Key, RootInput, Routing](route)
        self._destinations = Remembered(collect.destinations)
        self._needs = RememberedMap[PortId, Destination, frozenset[PortId]](needs)
        self._bound = RememberedMap[Key, BindingInput, Bound](bind)
        self._target_inputs = Remembered(target_inputs)
        self._decisions = RememberedMap[Key, TargetInput, Decision](decide)
        self._grants = Remembered(collect.grants)
        self._policy_inputs = Remembered(policy_inputs)
        self._permits = RememberedMap[Key, PolicyInput, Permit](permit)
        self._permitted = Remembered(permits)
        self._role_inputs = Remembered(role_inputs)
        self._guarded = RememberedMap[str, RoleInput, Guarded](guard)
        self._workloads = Remembered(collect.workloads)
        self._watches = Remembered(collect.watches)
        self._problems = RememberedMap[int, Mapping[Any, collect.Judged], tuple[Problem, ...]](collect.problems)
        self._announced = RememberedMap[Key, MeshService, Written](attrgetter("export_to"))
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
        objects = RouteObjects(
            {name: self._inventory.of(kind).named for name, kind in KINDS.items()}, resources.invalid
        )
        splits = self._read_splits(objects)
        routings = self._routings(self._root_inputs(services, self._splits_on(Planning(services, splits))))
        bound = self._bind()
        decisions = self._decide(objects, bound)
        grants = self._grants(decisions)
        guarded = self._guard(people, modes, grants)
        permitted = self._permit(objects, modes)
        mesh = Mesh(
            destinations=self._destinations(routings),
            backends=self._backends(answering),
            endpoints=endpoints,
            pods=people.pods,
            workloads=self._workloads(guarded),
            proxies=people.proxies,
            meshed_addresses=self._meshed_addresses(self._meshed(answering)),
            egress=self._permitted(permitted),
        )
        leaves = (services, modes, populations, standings, splits, routings, bound, decisions, guarded, permitted)
        found = self._problems(dict(enumerate(leaves)))
        unread = () if self._settings.identity_bindings else switched_off(self._inventory.of(IdentityBinding).items)
        late = unready(self._watches(routings), endpoints)
        problems = sorted(
            {*chain.from_iterable(found.values()), *rootless(splits, services), *late, *unread}, key=_order
        )
        return replace(mesh, scopes=self._scope(mesh, modes, grants, services, people), problems=tuple(problems))

    def _read_services(self) -> Services:
        return self._uncontested(self._services(self._inventory.of(Service).named))

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
        slices = self._slices(self._listed(services, self._slices_of(self._inventory.of(EndpointSlice).items)))
        met = dict.fromkeys(slices, self._met(populations))
        identities = self._recognised(self._referred(slices, met, nearby(slices, populations)))
        return self._standings(self._standing(services, slices, identities))

    def _answer(
        self, services: Services, populations: Mapping[str, Population], standings: Mapping[Key, ServiceEndpoints]
    ) -> Mapping[Key, ServiceBackends]:
        return self._answering(self._asked(services, self._members(populations), self._present(standings)))

    def _read_splits(self, objects: RouteObjects) -> Mapping[Key, Split]:
        splits = self._inventory.of(TrafficSplit).named
        return self._splits(self._split_inputs(Splitting(splits, objects, self._settings.cluster_domain)))

    def _bind(self) -> Mapping[Key, Bound]:
        if not self._settings.identity_bindings:
            return {}
        bindings, pods = self._inventory.of(IdentityBinding).named, self._inventory.of(Pod).by_namespace
        return self._bound(binding_inputs(bindings, pods, self._settings.trust_domain))

    def _decide(self, objects: RouteObjects, bound: Mapping[Key, Bound]) -> Mapping[Key, Decision]:
        targets = self._inventory.of(TrafficTarget).named
        bindings = Bindings(bound, objects.invalid) if self._settings.identity_bindings else None
        return self._decisions(self._target_inputs(Targeting(targets, objects, self._settings.trust_domain, bindings)))

    def _permit(self, objects: RouteObjects, modes: Mapping[str, Modes]) -> Mapping[Key, Permit]:
        policies = self._inventory.of(EgressPolicy).named
        return self._permits(self._policy_inputs(Permitting(policies, objects, modes, self._settings)))

    def _guard(self, people: People, modes: Mapping[str, Modes], grants: Grants) -> Mapping[str, Guarded]:
        return self._guarded(self._role_inputs(Guarding(people.roles, modes, grants)))

    def _scope(
        self, mesh: Mesh, modes: Mapping[str, Modes], grants: Grants, services: Services, people: People
    ) -> Mapping[Identity, Scope]:
        permissive = frozenset(name for name, mode in modes.items() if mode.access is Access.PERMISSIVE)
        announced = Announced(
            services=self._announced(services),
            namespaces={name: mode.export_to for name, mode in modes.items()},
        )
        surroundings = Surroundings(
            destinations=self._needs(mesh.destinations),
            backends=mesh.backends,
            pods=mesh.pods,
            headless=people.headless,
            entries=people.entries,
            service_entries=people.service_entries,
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
