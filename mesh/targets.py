"""What one TrafficTarget grants, to whom and on which ports (rules A3–A8, F1–F4, V7).

Rule: fail closed. Only what is there, valid and of a known kind grants anything, and a reference that can't be
followed never turns a narrow grant into a wide one: HTTP rules that come to nothing leave no request, not all.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from kube.problem import Origin, Problem, Ref, Severity
from mesh.federated import federated
from mesh.lookup import Absent, Found, RouteObjects, find, selected
from mesh.model import Identity
from mesh.subjects import Bindings, Resolved, is_read, resolve
from smi.kinds import HttpMatch, HTTPRouteGroup, Subject, TCPRoute, TrafficTarget, UDPRoute

_ROUTES: Final = {HTTPRouteGroup.__name__, TCPRoute.__name__}
"""The kinds of rule that must both hold where both are named (rule A4)."""

Ports = frozenset[int] | None
"""Container ports; None means every port."""


@dataclass(frozen=True, slots=True)
class Targeting:
    """All TrafficTargets by namespace and name, and what their rules may refer to."""

    targets: Mapping[tuple[str, str], TrafficTarget]
    objects: RouteObjects
    trust_domain: str
    bindings: Bindings | None = None
    """What IdentityBindings come to; None where the mesh does not read them."""


@dataclass(frozen=True, slots=True)
class TargetInput:
    """A TrafficTarget, what its rules lead to, in the same order, and the IdentityBindings it names."""

    target: TrafficTarget
    routes: tuple[Found, ...]
    trust_domain: str
    bindings: Bindings | None = None


@dataclass(frozen=True, slots=True)
class Grant:
    """That `sources` may call `destination` on `ports`.

    `requests` are the HTTP requests allowed there: None means every request, empty means none. `connections` says
    whether connections that are not HTTP are allowed too.
    """

    target: Ref
    origin: Origin | None
    destination: Identity
    sources: tuple[Identity, ...]
    ports: Ports
    requests: tuple[HttpMatch, ...] | None
    connections: bool

    def covers(self, port: int) -> bool:
        """Whether this is about a container port."""
        return self.ports is None or port in self.ports

    def problem(self, field: str, message: str, rule: str) -> Problem:
        """A warning about the TrafficTarget this comes from."""
        return Problem(self.target, field, message, rule, Severity.WARNING, self.origin)


@dataclass(frozen=True, slots=True)
class Decision:
    """What a TrafficTarget comes to, by the identities it opens. No grants: nobody may do anything because of it."""

    grants: tuple[Grant, ...] = ()
    problems: tuple[Problem, ...] = ()


def target_inputs(given: Targeting) -> Mapping[tuple[str, str], TargetInput]:
    """Give each TrafficTarget what its rules lead to."""
    return {
        key: TargetInput(
            target,
            find(given.objects, target.namespace, target.rules),
            given.trust_domain,
            None if given.bindings is None else given.bindings.about(target),
        )
        for key, target in given.targets.items()
    }


def decide(given: TargetInput) -> Decision:
    """What a TrafficTarget grants. Every mistake in it is a Problem, and grants nothing."""
    destinations, bad_destination = _destinations(given)
    sources, bad_sources = _sources(given)
    requests, bad_matches = _requests(given)
    problems = (*bad_destination, *bad_sources, *_dead_rules(given), *bad_matches)
    ports = _limited(_ports(given), given.target.destination.port)
    connections = _kinds(given) & _ROUTES == {TCPRoute.__name__}
    nothing = ports == frozenset() or (requests == () and not connections)
    if not sources or nothing:
        return Decision(problems=problems)
    target = given.target
    grants = (
        Grant(target.ref, target.origin, destination, sources, ports, requests, connections)
        for destination in destinations
    )
    return Decision(tuple(grants), problems)


def _kinds(given: TargetInput) -> set[str]:
    """The kinds the rules name, whether or not what they name is there."""
    return {rule.kind for rule in given.target.rules}


def _destinations(given: TargetInput) -> tuple[tuple[Identity, ...], list[Problem]]:
    target, subject = given.target, given.target.destination
    if is_read(subject.kind, given.bindings) and subject.namespace not in {"", target.namespace}:
        message = (
            f"The destination is in namespace {subject.namespace}, but a workload is opened from its own namespace "
            "only; nothing is granted."
        )
        return (), [_problem(target, "spec.destination.namespace", message, "A3")]
    found = resolve(subject, target, given.trust_domain, given.bindings)
    if found.fault:
        field = _named_by("spec.destination", subject, given)
        return (), [_problem(target, field, _fault("A destination", found), "F4")]
    own = tuple(identity for identity in found.identities if identity.trust_domain == given.trust_domain)
    if not own:
        message = "The destination names nobody of this mesh; nothing is granted."
        return (), [_problem(target, "spec.destination", message, "F4")]
    return own, []


def _sources(given: TargetInput) -> tuple[tuple[Identity, ...], list[Problem]]:
    target = given.target
    callers, problems = federated(target, given.trust_domain)
    if not target.sources and not callers and not problems:
        return (), [_problem(target, "spec.sources", "There are no sources, so nobody is granted anything.", "A7")]
    for index, source in enumerate(target.sources):
        found = resolve(source, target, given.trust_domain, given.bindings)
        callers.update(found.identities)
        if found.fault:
            field = _named_by(f"spec.sources[{index}]", source, given)
            problems.append(_problem(target, field, _fault("A source", found), "F4"))
    return tuple(sorted(callers)), problems


def _named_by(field: str, subject: Subject, given: TargetInput) -> str:
    """What is at fault of a subject: its kind, unless that is one that is read here."""
    return field if is_read(subject.kind, given.bindings) else f"{field}.kind"


def _fault(subject: str, found: Resolved) -> str:
    effect = "nothing is granted" if subject == "A destination" else "it is granted nothing"
    return f"{subject} {found.fault}; {effect}."


def _requests(given: TargetInput) -> tuple[tuple[HttpMatch, ...] | None, list[Problem]]:
    """The requests the HTTP rules allow; every request only where TCPRoutes are the only rules (rule A5).

    UDPRoutes stand alone, so they may be there too. A rule of an unknown kind may not: nobody can say that it
    wasn't meant to narrow the requests down.
    """
    if _kinds(given) - {UDPRoute.__name__} == {TCPRoute.__name__}:
        return None, []
    matches: dict[HttpMatch, None] = {}
    problems: list[Problem] = []
    for index, (reference, found) in enumerate(zip(given.target.rules, given.routes, strict=True)):
        if isinstance(found, HTTPRouteGroup):
            chosen = selected(given.target, f"spec.rules[{index}]", "A6", reference, found)
            matches |= dict.fromkeys(chosen.matches)
            problems += chosen.problems
    return tuple(matches), problems


def _ports(given: TargetInput) -> Ports:
    """The ports the rules are about. TCPRoutes that are named but not there leave no port, not every port."""
    if TCPRoute.__name__ not in _kinds(given):
        return None
    routes = [found for found in given.routes if isinstance(found, TCPRoute)]
    if any(not found.ports for found in routes):
        return None
    return frozenset(port for found in routes for port in found.ports)


def _limited(ports: Ports, limit: int | None) -> Ports:
    """Only the port that the destination names, if it names one (rule V7)."""
    if limit is None:
        return ports
    return frozenset({limit}) if ports is None or limit in ports else frozenset()


def _dead_rules(given: TargetInput) -> list[Problem]:
    """Rules that lead nowhere (rule F2), and the lack of any rule (rule A7)."""
    target = given.target
    if not target.rules:
        return [_problem(target, "spec.rules", "There are no rules, so nothing is granted.", "A7")]
    datagrams = [
        Problem(
            target.ref,
            f"spec.rules[{index}]",
            f"{found.ref} is about UDP, which passes the mesh by, unencrypted and from anybody; this changes nothing.",
            "A4",
            Severity.WARNING,
            target.origin,
        )
        for index, found in enumerate(given.routes)
        if isinstance(found, UDPRoute)
    ]
    return datagrams + [
        _problem(
            target,
            f"spec.rules[{index}]",
            f"{reference.kind} {target.namespace}/{reference.name} {found.value}; this rule grants nothing.",
            "F2",
        )
        for index, (reference, found) in enumerate(zip(target.rules, given.routes, strict=True))
        if isinstance(found, Absent)
    ]


def _problem(target: TrafficTarget, field: str, message: str, rule: str) -> Problem:
    return Problem(target.ref, field, message, rule, origin=target.origin)
