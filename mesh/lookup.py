"""The route objects that rules refer to, and why one can't be found.

Rule: what isn't there, can't be read or is of an unknown kind is a value like any other, and grants nothing (F2).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from enum import Enum
from typing import Final

from kube.problem import Problem, Ref
from smi.kinds import HttpMatch, HTTPRouteGroup, RuleRef, SmiObject, TCPRoute, UDPRoute

RouteObject = HTTPRouteGroup | TCPRoute | UDPRoute

KINDS: Final[Mapping[str, type[RouteObject]]] = {kind.__name__: kind for kind in (HTTPRouteGroup, TCPRoute, UDPRoute)}
"""The kinds a rule may name."""


@dataclass(frozen=True, slots=True)
class RouteObjects:
    """The objects a rule may refer to: by kind, then by namespace and name. `invalid` could not be read."""

    kinds: Mapping[str, Mapping[tuple[str, str], RouteObject]]
    invalid: frozenset[Ref]


class Absent(Enum):
    """Why a reference leads nowhere."""

    UNKNOWN = "is of a kind that is not known here"
    MISSING = "does not exist"
    INVALID = "could not be read"


Found = RouteObject | Absent


@dataclass(frozen=True, slots=True)
class Matches:
    """What a reference to an HTTPRouteGroup selects. An empty `matches` means nothing at all, never everything."""

    matches: tuple[HttpMatch, ...]
    problems: tuple[Problem, ...] = ()


def find(objects: RouteObjects, namespace: str, references: Iterable[RuleRef]) -> tuple[Found, ...]:
    """What each reference leads to."""
    return tuple(_find(objects, namespace, reference) for reference in references)


def selected(owner: SmiObject, field: str, rule: str, reference: RuleRef, group: HTTPRouteGroup) -> Matches:
    """The matches of a group that a reference selects: those it names, or all (rule A6).

    `owner` is the object the reference stands in, at `field`; `rule` is the one its Problems carry.
    """
    if not reference.matches:
        problem = Problem(owner.ref, field, f"{group.ref} has no valid match, so this matches nothing.", rule,
                          origin=owner.origin)  # fmt: skip
        return Matches(group.matches, () if group.matches else (problem,))
    by_name: dict[str, list[HttpMatch]] = {}
    for match in group.matches:
        by_name.setdefault(match.name, []).append(match)
    problems = []
    for index, name in enumerate(reference.matches):
        if name not in by_name:
            why = "is invalid" if name in group.invalid else "does not exist"
            message = f"Match {name!r} of {group.ref} {why}; nothing is matched by it."
            problems.append(Problem(owner.ref, f"{field}.matches[{index}]", message, rule, origin=owner.origin))
    found = [match for name in dict.fromkeys(reference.matches) for match in by_name.get(name, [])]
    return Matches(tuple(found), tuple(problems))


def _find(objects: RouteObjects, namespace: str, reference: RuleRef) -> Found:
    named = objects.kinds.get(reference.kind)
    if named is None:
        return Absent.UNKNOWN
    found = named.get((namespace, reference.name))
    if found is not None:
        return found
    return Absent.INVALID if Ref(reference.kind, namespace, reference.name) in objects.invalid else Absent.MISSING
