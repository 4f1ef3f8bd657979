"""What each identity's sidecars are told about (rule A16).

Rule: what no grant opens to an identity is left out, which changes what its sidecars cost and never an answer:
left-out addresses of meshed Services are refused by the caller's own sidecar.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass

from mesh.model import Backend, Destination, Identity, PodDestination, PodId, PortId, Scope, Workload
from mesh.targets import Grant

Reach = frozenset[Identity]
"""The identities that one identity may call in some way."""


@dataclass(frozen=True, slots=True)
class Surroundings:
    """Everything there is to be told about. `permissive` are the namespaces open to every meshed caller."""

    destinations: Mapping[PortId, Destination]
    backends: Mapping[PortId, Backend]
    pods: Mapping[PodId, tuple[PodDestination, ...]]
    permissive: frozenset[str]


@dataclass(frozen=True, slots=True)
class View:
    """The surroundings, sorted: the public part, which everyone is told about, and what is behind each identity."""

    public: Scope
    behind: Mapping[Identity, Scope]


@dataclass(frozen=True, slots=True)
class ScopeInput:
    """What everyone is told about, and the parts that one reach opens."""

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


def survey(surroundings: Surroundings) -> View:
    """Sort everything by the identities that answer there."""
    public, behind = _parts(), defaultdict[Identity, _Parts](_parts)
    for port, destination in surroundings.destinations.items():
        backends = _backends(destination)
        for parts in _told(port, backends, surroundings, public, behind):
            parts.destinations.add(port)
            parts.backends |= backends
    for pod, ports in surroundings.pods.items():
        if pod.namespace in surroundings.permissive:
            public.pods.add(pod)
        elif ports:
            behind[ports[0].identity].pods.add(pod)
    return View(public.freeze(), {identity: parts.freeze() for identity, parts in behind.items()})


def reaches(known: Acquaintance) -> Mapping[Identity, Reach]:
    """Whom each caller may call. Workloads without a pod count too, so that scaling to zero changes no answer."""
    reached: dict[Identity, set[Identity]] = defaultdict(set)
    for destination, grants in known.grants.items():
        for grant in grants:
            for source in grant.sources:
                reached[source].add(destination)
    callers = {workload.identity for workload in known.workloads.values()}
    return {caller: frozenset(reached.get(caller, ())) for caller in sorted(callers)}


def scope_inputs(opening: Opening) -> Mapping[Reach, ScopeInput]:
    """For each distinct reach the parts of the view that it opens, so that callers with one reach share one Scope."""
    public, behind = opening.view.public, opening.view.behind
    return {
        reach: ScopeInput(public, tuple(behind[identity] for identity in reach & behind.keys()))
        for reach in opening.reaches.values()
    }


def scope(given: ScopeInput) -> Scope:
    """What callers with one reach are told about."""
    parts = (given.public, *given.opened)
    return Scope(
        destinations=frozenset().union(*(part.destinations for part in parts)),
        pods=frozenset().union(*(part.pods for part in parts)),
        backends=frozenset().union(*(part.backends for part in parts)),
    )


def _parts() -> _Parts:
    return _Parts(set(), set(), set())


def _backends(destination: Destination) -> set[PortId]:
    """The root and every backend of its routes."""
    shares = (share for route in destination.routes for share in route.shares)
    return {destination.id, *(share.backend for share in (*shares, *destination.tcp_shares))}


def _told(
    port: PortId,
    backends: set[PortId],
    surroundings: Surroundings,
    public: _Parts,
    behind: Mapping[Identity, _Parts],
) -> list[_Parts]:
    """Who is told about a destination: everyone, or those who may call one of its identities."""
    if port.service.namespace in surroundings.permissive or not surroundings.backends[port].identities:
        return [public]
    identities = {identity for backend in backends for identity in surroundings.backends[backend].identities}
    return [behind[identity] for identity in sorted(identities)]
