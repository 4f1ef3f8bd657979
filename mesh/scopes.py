"""What each identity's sidecars are told about (rule A16).

Rule: what no grant opens to an identity is left out, which changes what its sidecars cost and never an answer:
left-out addresses of meshed Services are refused by the caller's own sidecar. Where access is permissive nothing is
left out, unless a Service is exported to some namespaces only, or pods that no headless Service leads to are too many.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Final

from mesh.model import Backend, Identity, PodDestination, PodId, PortId, Scope, ServiceId, Workload
from mesh.openings import OPEN, RULED, Entry, together
from mesh.targets import Grant

DIRECT_PODS: Final = 500
"""Pods of permissive namespaces that a sidecar is told about though no headless Service leads to them. Each costs a
listener for each port in each sidecar, so that more would make every sidecar grow with the mesh."""

Reach = frozenset[Identity]
"""The identities that one identity may call in some way."""
Standpoint = tuple[str, Reach]
"""From where a caller sees: its namespace, where that one is told more than others are (else empty), and those it
reaches behind whom there is anything."""


@dataclass(frozen=True, slots=True)
class Surroundings:
    """Everything there is to be told about.

    `destinations` have the Backends that each needs; `headless` are the headless Services that lead to a pod;
    `permissive` the namespaces open to every meshed caller, the entries what differs from its namespace; `limited` the
    Services that only some namespaces are told about, `kept` the namespaces that say so for all theirs.
    """

    destinations: Mapping[PortId, frozenset[PortId]]
    backends: Mapping[PortId, Backend]
    pods: Mapping[PodId, tuple[PodDestination, ...]]
    headless: Mapping[PodId, tuple[ServiceId, ...]]
    permissive: frozenset[str]
    entries: Mapping[PodId, Entry]
    service_entries: Mapping[ServiceId, Entry]
    limited: Mapping[ServiceId, frozenset[str]]
    kept: Mapping[str, frozenset[str]]

    def behind(self, backends: Iterable[PortId]) -> Entry:
        """How callers get in to what stands behind a destination."""
        services = {backend.service for backend in backends}
        return together(self.service_entries.get(service) or self.usual(service.namespace) for service in services)

    def usual(self, namespace: str) -> Entry:
        """The entry of what says nothing itself."""
        return OPEN if namespace in self.permissive else RULED


@dataclass(frozen=True, slots=True)
class View:
    """The surroundings, sorted: for everyone, besides that for callers of one namespace, and behind each identity."""

    public: Scope
    nearby: Mapping[str, Scope]
    behind: Mapping[Identity, Scope]

    def standpoint(self, caller: Identity, reach: Reach) -> Standpoint:
        """From where this caller sees; callers with one standpoint see the same."""
        return (caller.namespace if caller.namespace in self.nearby else "", reach.intersection(self.behind))


@dataclass(frozen=True, slots=True)
class ScopeInput:
    """What everyone is told about, and the parts that one standpoint opens."""

    public: Scope
    opened: tuple[Scope, ...]


@dataclass(frozen=True, slots=True)
class Acquaintance:
    """The workloads there are, and what is granted on each identity."""

    workloads: Mapping[str, Workload]
    grants: Mapping[Identity, tuple[Grant, ...]]


@dataclass(frozen=True, slots=True)
class Opening:
    """What there is to be told about, and whom each caller may call."""

    view: View
    reaches: Mapping[Identity, Reach]


@dataclass
class _Parts:
    """A Scope in the making."""

    destinations: set[PortId]
    pods: set[PodId]
    backends: set[PortId]

    def freeze(self) -> Scope:
        return Scope(frozenset(self.destinations), frozenset(self.pods), frozenset(self.backends))


@dataclass
class _Sorting:
    """A View in the making."""

    public: _Parts
    nearby: defaultdict[str, _Parts]
    behind: defaultdict[Identity, _Parts]

    def toward(self, namespaces: frozenset[str] | None) -> list[_Parts]:
        """The parts of those who are told: callers of these namespaces, None for everyone."""
        return [self.public] if namespaces is None else [self.nearby[name] for name in sorted(namespaces)]

    def freeze(self) -> View:
        return View(
            self.public.freeze(),
            {name: parts.freeze() for name, parts in self.nearby.items()},
            {identity: parts.freeze() for identity, parts in self.behind.items()},
        )


def survey(surroundings: Surroundings) -> View:
    """Sort everything by who is told about it."""
    sorting = _Sorting(_parts(), defaultdict(_parts), defaultdict(_parts))
    for port, backends in surroundings.destinations.items():
        for parts in _told(port, backends, surroundings, sorting):
            parts.destinations.add(port)
            parts.backends |= backends
    direct: defaultdict[str, set[PodId]] = defaultdict(set)
    for pod, ports in surroundings.pods.items():
        # Hardly ever is there an entry, and there may be 20,000 pods.
        found = (surroundings.entries and surroundings.entries.get(pod)) or surroundings.usual(pod.namespace)
        if found.ruled and ports:
            sorting.behind[ports[0].identity].pods.add(pod)
        if not found.open:
            continue
        if services := surroundings.headless.get(pod):
            for service in services:
                for parts in sorting.toward(surroundings.limited.get(service)):
                    parts.pods.add(pod)
        else:
            direct[pod.namespace].add(pod)
    _tell_direct(direct, surroundings.kept, sorting)
    return sorting.freeze()


def _tell_direct(direct: Mapping[str, set[PodId]], kept: Mapping[str, frozenset[str]], sorting: _Sorting) -> None:
    """Tell about pods that no headless Service leads to: all of them, else those of the caller's own namespace."""
    everyones = [namespace for namespace in direct if namespace not in kept]
    if sum(len(direct[namespace]) for namespace in everyones) <= DIRECT_PODS:
        for namespace in everyones:
            sorting.public.pods |= direct[namespace]
        everyones = []
    told: defaultdict[str, set[str]] = defaultdict(set)
    for namespace in everyones:
        told[namespace].add(namespace)
    for namespace in direct.keys() & kept.keys():
        for caller in kept[namespace]:
            told[caller].add(namespace)
    for caller, namespaces in told.items():
        if sum(len(direct[namespace]) for namespace in namespaces) > DIRECT_PODS:
            namespaces &= {caller}
        if sum(len(direct[namespace]) for namespace in namespaces) <= DIRECT_PODS:
            for namespace in namespaces:
                sorting.nearby[caller].pods |= direct[namespace]


def reaches(known: Acquaintance) -> Mapping[Identity, Reach]:
    """Whom each caller may call. Workloads without a pod count too, so that scaling to zero changes no answer."""
    reached: dict[Identity, set[Identity]] = defaultdict(set)
    for destination, grants in known.grants.items():
        for grant in grants:
            for source in grant.sources:
                reached[source].add(destination)
    callers = {workload.identity for workload in known.workloads.values()}
    return {caller: frozenset(reached.get(caller, ())) for caller in sorted(callers)}


def scope_inputs(opening: Opening) -> Mapping[Standpoint, ScopeInput]:
    """For each standpoint the parts of the view that it opens, so that callers who see the same share one Scope."""
    view = opening.view
    standpoints = {view.standpoint(caller, reach) for caller, reach in opening.reaches.items()}
    return {
        (namespace, reach): ScopeInput(
            view.public,
            (
                *([view.nearby[namespace]] if namespace in view.nearby else []),
                *(view.behind[identity] for identity in reach),
            ),
        )
        for namespace, reach in standpoints
    }


def scope(given: ScopeInput) -> Scope:
    """What callers with one standpoint are told about."""
    parts = (given.public, *given.opened)
    return Scope(
        destinations=frozenset().union(*(part.destinations for part in parts)),
        pods=frozenset().union(*(part.pods for part in parts)),
        backends=frozenset().union(*(part.backends for part in parts)),
    )


def _parts() -> _Parts:
    return _Parts(set(), set(), set())


def _told(port: PortId, backends: Iterable[PortId], surroundings: Surroundings, sorting: _Sorting) -> list[_Parts]:
    """Who is told about a destination: everyone, whom it is exported to, or who may call one of its identities."""
    backend = surroundings.backends[port]
    if not backend.identities or backend.remote:
        # Who may call another mesh's is for that mesh to say.
        return [sorting.public]
    found = surroundings.behind(backends)
    told = sorting.toward(surroundings.limited.get(port.service)) if found.open else []
    if not found.ruled or sorting.public in told:
        return told
    identities = {identity for backend in backends for identity in surroundings.backends[backend].identities}
    return [*told, *(sorting.behind[identity] for identity in sorted(identities))]
