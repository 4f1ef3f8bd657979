"""Where a Service's traffic goes: its own endpoints, or what the TrafficSplits on it say (rules T2–T12).

Rule: splits are not hierarchical. A backend means that Service's endpoints, whatever splits it has itself (T4, T5).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Final

from kube.problem import Problem, Severity
from mesh.model import Destination, PortId, Protocol, Route, ServiceId, Share
from mesh.services import MeshPort, MeshService
from mesh.splits import NamedBackend, Split
from smi.kinds import HttpMatch

_MAX_WEIGHT: Final = 2**32 - 1
"""Envoy refuses a weighted cluster whose weights add up to more (WeightedCluster.total_weight is a uint32)."""


@dataclass(frozen=True, slots=True)
class Planning:
    """All Services and all splits, by namespace and name."""

    services: Mapping[tuple[str, str], MeshService]
    splits: Mapping[tuple[str, str], Split]


@dataclass(frozen=True, slots=True)
class Splits:
    """The splits on a Service, and the Services those name as backends, sorted; None where there is no such."""

    splits: tuple[Split, ...] = ()
    backends: tuple[tuple[ServiceId, MeshService | None], ...] = ()


@dataclass(frozen=True, slots=True)
class RootInput:
    """A Service and the splits on it, None where there is none."""

    service: MeshService
    on_it: Splits | None = None


@dataclass(frozen=True, slots=True)
class Watch:
    """A backend with weight > 0 whose ports should have ready endpoints (rule T13)."""

    split: Split
    backend: NamedBackend
    ports: tuple[PortId, ...]


@dataclass(frozen=True, slots=True)
class Routing:
    """A Service as callers see it, one Destination per port, and what is worth watching about it."""

    destinations: tuple[Destination, ...]
    watches: tuple[Watch, ...] = ()
    problems: tuple[Problem, ...] = ()


@dataclass(frozen=True, slots=True)
class _Plan:
    """The splits on a Service that take effect: those about some requests, oldest first, and the one about all."""

    some: tuple[Split, ...]
    rest: Split | None

    @property
    def all(self) -> tuple[Split, ...]:
        return self.some if self.rest is None else (*self.some, self.rest)

    @property
    def per_connection(self) -> Split | None:
        """The split that decides where no request can be seen (rule T7)."""
        return self.rest or next((split for split in self.some if split.matches), None)


def splits_on(planning: Planning) -> Mapping[tuple[str, str], Splits]:
    """The splits on each Service that has any, and the Services those name."""
    on_root: dict[ServiceId, list[Split]] = {}
    for split in planning.splits.values():
        if split.root is not None:
            on_root.setdefault(split.root, []).append(split)
    return {root: _splits(planning.services, tuple(splits)) for root, splits in on_root.items()}


def route(given: RootInput) -> Routing:
    """The Destinations of a Service."""
    if given.on_it is None:
        return Routing(tuple(_destination(given.service, port, _Plan((), None), {}) for port in given.service.ports))
    plan, problems = _plan(given.on_it.splits)
    services = dict(given.on_it.backends)
    destinations = tuple(_destination(given.service, port, plan, services) for port in given.service.ports)
    for split in plan.all:
        problems += _backend_problems(given.service, split, services)
    problems += _ignored_matches(given.service, plan)
    watches = tuple(watch for split in plan.all for watch in _watches(given.service, split, services))
    return Routing(destinations, watches, tuple(problems))


def needs(destination: Destination) -> frozenset[PortId]:
    """The Backends a caller of this Destination needs: the root, and every one that a route leads to."""
    shares = (share for route in destination.routes for share in route.shares)
    return frozenset({destination.id, *(share.backend for share in (*shares, *destination.tcp_shares))})


def _splits(services: Mapping[tuple[str, str], MeshService], splits: tuple[Split, ...]) -> Splits:
    named = sorted({backend.service for split in splits for backend in split.backends})
    return Splits(splits, tuple((name, services.get(name)) for name in named))


def _plan(splits: Iterable[Split]) -> tuple[_Plan, list[Problem]]:
    ordered = sorted(splits, key=lambda split: split.age)
    some = tuple(split for split in ordered if split.matches is not None)
    rest = [split for split in ordered if split.matches is None]
    problems = [
        split.problem(
            "spec.service",
            f"{rest[0].source.ref} is older and already splits all requests of this Service; this one has no effect.",
            "T9",
        )
        for split in rest[1:]
    ]
    return _Plan(some, rest[0] if rest else None), problems


def _destination(
    service: MeshService, port: MeshPort, plan: _Plan, services: Mapping[ServiceId, MeshService | None]
) -> Destination:
    root = Route((), (Share(port.id, 1),), str(service.ref))
    rest = _route((), plan.rest, port, services) if plan.rest else root
    decisive = plan.per_connection
    tcp = _route((), decisive, port, services) if decisive else root
    routes = [_route(split.matches, split, port, services) for split in plan.some if split.matches]
    looked_into = port.protocol is not Protocol.TCP
    return Destination(
        id=port.id,
        addresses=service.addresses,
        protocol=port.protocol,
        routes=(*routes, rest) if looked_into else (tcp,),
        tcp_shares=tcp.shares,
    )


def _route(
    matches: tuple[HttpMatch, ...], split: Split, port: MeshPort, services: Mapping[ServiceId, MeshService | None]
) -> Route:
    """Where requests of one split go. No backend of this port, or no weight: nowhere, with the reason (rule T3)."""
    weights: dict[PortId, int] = {}
    for backend in split.backends:
        service = services.get(backend.service)
        found = service.port(port.id.port) if service else None
        if found is not None:
            weights[found] = weights.get(found, 0) + backend.weight
    origin = str(split.source.ref)
    if not weights:
        return Route(matches, (), origin, f"{origin} has no backend with port {port.id.port}.")
    if not sum(weights.values()):
        return Route(matches, (), origin, f"{origin} gives every backend weight 0.")
    return Route(matches, _shares(weights), origin)


def _shares(weights: Mapping[PortId, int]) -> tuple[Share, ...]:
    """Weights as Envoy takes them: proportionally smaller if too large, but never 0 when they were not."""
    total = sum(weights.values())
    if total > _MAX_WEIGHT:
        room = _MAX_WEIGHT - len(weights)
        weights = {port: weight and weight * room // total + 1 for port, weight in weights.items()}
    return tuple(Share(port, weight) for port, weight in sorted(weights.items()))


def _backend_problems(
    root: MeshService, split: Split, services: Mapping[ServiceId, MeshService | None]
) -> list[Problem]:
    """Backends that are left out (rule T6), and whether any is left (rule T3)."""
    problems = []
    for backend in split.backends:
        why = _why_left_out(root, backend, services.get(backend.service))
        if why:
            field = f"spec.backends[{backend.index}].service"
            problems.append(split.problem(field, f"{why}; it is left out and the others share by weight.", "T6"))
    for port in root.ports if split.matches != () else ():
        planned = _route((), split, port, services)
        if planned.reason:
            refusal = "connections are closed" if port.protocol is Protocol.TCP else "requests are answered 503"
            problems.append(split.problem("spec.backends", f"{planned.reason} On that port {refusal}.", "T3"))
    return problems


def _why_left_out(root: MeshService, backend: NamedBackend, service: MeshService | None) -> str:
    if service is None:
        return f"There is no Service {backend.service}"
    if service.external:
        return f"Service {backend.service} is an ExternalName Service and has no endpoints"
    lacking = [str(port.id.port) for port in root.ports if service.port(port.id.port) is None]
    return f"Service {backend.service} has no port {' and no port '.join(lacking)}" if lacking else ""


def _ignored_matches(root: MeshService, plan: _Plan) -> list[Problem]:
    """On TCP ports no request can be seen, so `matches` means nothing there (rule T7)."""
    ports = ", ".join(str(port.id.port) for port in root.ports if port.protocol is Protocol.TCP)
    if not ports:
        return []
    decisive = plan.per_connection
    return [
        split.problem(
            "spec.matches",
            f"TCP port {ports} is split per connection, where no request can be matched; "
            + (
                "this split applies there to all connections."
                if split is decisive
                else "this split has no effect there."
            ),
            "T7",
            Severity.WARNING,
        )
        for split in plan.some
    ]


def _watches(root: MeshService, split: Split, services: Mapping[ServiceId, MeshService | None]) -> Iterable[Watch]:
    for backend in split.backends:
        service = services.get(backend.service)
        if service and backend.weight > 0:
            ports = (service.port(port.id.port) for port in root.ports)
            yield Watch(split, backend, tuple(found for found in ports if found is not None))
