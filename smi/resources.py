"""All objects of the world at one moment: what a source hands to the mesh.

Rule: a value. Two Resources with equal content are equal, and nothing in here ever changes after it was made.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TypeVar

from kube.objects import Deployment, EndpointSlice, Namespace, Object, Pod, Service, ServiceAccount, StatefulSet
from kube.problem import Problem, Ref
from smi.kinds import (
    EgressPolicy,
    HTTPRouteGroup,
    IdentityBinding,
    SmiObject,
    TCPRoute,
    TrafficSplit,
    TrafficTarget,
    UDPRoute,
)

Anything = Object | SmiObject
T = TypeVar("T", bound=Anything)

KINDS: tuple[type[Anything], ...] = (
    Namespace, ServiceAccount, Service, EndpointSlice, Pod, Deployment, StatefulSet,
    TrafficSplit, TrafficTarget, HTTPRouteGroup, TCPRoute, UDPRoute, IdentityBinding,
    EgressPolicy,
)  # fmt: skip
"""Every kind that is read, in no particular order."""


@dataclass(frozen=True, slots=True)
class Resources:
    """The objects by reference, and what is wrong with those that could not be read.

    `invalid` are objects that exist but could not be read: they are not in `objects`, and whoever refers to one
    must treat it as invalid rather than absent where the two differ (rule F2: either way nothing is granted).
    """

    objects: Mapping[Ref, Anything] = field(default_factory=dict)
    problems: tuple[Problem, ...] = ()
    invalid: frozenset[Ref] = frozenset()

    def of(self, kind: type[T]) -> list[T]:
        """All objects of one kind, ordered by namespace and name so that order of arrival never matters."""
        found = [item for item in self.objects.values() if isinstance(item, kind)]
        return sorted(found, key=lambda item: (item.namespace, item.name))

    def get(self, kind: type[T], namespace: str, name: str) -> T | None:
        """One object, or None."""
        found = self.objects.get(Ref(kind.__name__, namespace, name))
        return found if isinstance(found, kind) else None
