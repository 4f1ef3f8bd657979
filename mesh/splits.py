"""What one TrafficSplit asks for: its root, its backends by name, and the requests it is about (rules T1, T8, T10).

Rule: a split that can't be understood is set aside and the root Service serves; a split about requests that can't be
found matches none of them, never all.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from kube.problem import Problem, Severity
from mesh.lookup import Absent, Found, RouteObjects, find, selected
from mesh.model import ServiceId
from mesh.names import Misnamed, service_named
from mesh.services import MeshService
from smi.kinds import HttpMatch, HTTPRouteGroup, TrafficSplit

Key = tuple[str, str]
"""Namespace and name of an object."""


@dataclass(frozen=True, slots=True)
class Splitting:
    """All splits, and what their `matches` may refer to."""

    splits: Mapping[Key, TrafficSplit]
    objects: RouteObjects
    cluster_domain: str


@dataclass(frozen=True, slots=True)
class SplitInput:
    """A split and what its `matches` lead to, in the same order."""

    split: TrafficSplit
    groups: tuple[Found, ...]
    cluster_domain: str


@dataclass(frozen=True, slots=True)
class NamedBackend:
    """A backend of a split; `index` is its place in the object."""

    service: ServiceId
    weight: int
    index: int


@dataclass(frozen=True, slots=True)
class Split:
    """A TrafficSplit, understood. `root` None: it is about no Service here and has no effect.

    `matches` None: all requests. Empty: none, since what the split refers to is missing.
    """

    source: TrafficSplit
    root: ServiceId | None
    backends: tuple[NamedBackend, ...]
    matches: tuple[HttpMatch, ...] | None
    problems: tuple[Problem, ...] = ()

    @property
    def age(self) -> tuple[bool, str, str, int, str]:
        """Sorts the oldest first (rule T9): those with `matches`, by creation time, else by place in the files."""
        origin = self.source.origin
        place = (origin.file, origin.line) if origin else ("", 0)
        return (self.matches is None, self.source.created, *place, self.source.name)

    def problem(self, field: str, message: str, rule: str, severity: Severity = Severity.ERROR) -> Problem:
        """A Problem of this split."""
        return Problem(self.source.ref, field, message, rule, severity, self.source.origin)


def split_inputs(given: Splitting) -> Mapping[Key, SplitInput]:
    """Give each split what its `matches` lead to."""
    return {
        key: SplitInput(split, find(given.objects, split.namespace, split.matches), given.cluster_domain)
        for key, split in given.splits.items()
    }


def read_split(given: SplitInput) -> Split:
    """What a split says, without looking at any Service."""
    split = given.split
    root, problems = _root(given)
    backends = []
    for index, backend in enumerate(split.backends):
        named = service_named(backend.service, split.namespace, given.cluster_domain)
        if isinstance(named, Misnamed):
            message = f"{named.message} The backend is left out."
            problems.append(_problem(split, f"spec.backends[{index}].service", message, "T6"))
        else:
            backends.append(NamedBackend(named, backend.weight, index))
    matches, unmatched = _matches(given)
    return Split(split, root, tuple(backends), matches, (*problems, *unmatched))


def rootless(splits: Mapping[Key, Split], services: Mapping[Key, MeshService]) -> list[Problem]:
    """Which splits have no effect because the Service they are about is not there or can't be split."""
    problems = []
    for split in splits.values():
        if split.root is not None:
            service = services.get((split.root.namespace, split.root.name))
            why = _why_not_split(split.root, service)
            if why:
                problems.append(split.problem("spec.service", f"{why}; the split has no effect.", "T1"))
    return problems


def _why_not_split(root: ServiceId, service: MeshService | None) -> str:
    if service is None:
        return f"There is no Service {root}"
    if service.external:
        return f"Service {root} is an ExternalName Service and can't be split"
    return "" if service.ports else f"Service {root} has no TCP port"


def _root(given: SplitInput) -> tuple[ServiceId | None, list[Problem]]:
    split = given.split
    named = service_named(split.service, split.namespace, given.cluster_domain)
    if isinstance(named, Misnamed):
        return None, [_problem(split, "spec.service", f"{named.message} The split has no effect.", "T1")]
    return named, []


def _matches(given: SplitInput) -> tuple[tuple[HttpMatch, ...] | None, list[Problem]]:
    """The requests the split is about: the union of what its groups say (rule T8)."""
    if not given.split.matches:
        return None, []
    matches: dict[HttpMatch, None] = {}
    problems: list[Problem] = []
    for index, (reference, group) in enumerate(zip(given.split.matches, given.groups, strict=True)):
        field = f"spec.matches[{index}]"
        if isinstance(group, HTTPRouteGroup):
            found = selected(given.split, field, "T8", reference, group)
            matches |= dict.fromkeys(found.matches)
            problems += found.problems
        else:
            why = group.value if isinstance(group, Absent) else "is no HTTPRouteGroup"
            message = f"{reference.kind} {given.split.namespace}/{reference.name} {why}; no request is matched by it."
            problems.append(_problem(given.split, field, message, "T8"))
    return tuple(matches), problems


def _problem(split: TrafficSplit, field: str, message: str, rule: str) -> Problem:
    return Problem(split.ref, field, message, rule, origin=split.origin)
