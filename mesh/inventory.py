"""Resources by kind and by namespace, sorted. Rule: a part that did not change stays the identical object."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from operator import attrgetter
from typing import Generic, TypeVar, cast

from mesh.remember import RememberedMap
from smi.resources import KINDS, Anything, Resources

T = TypeVar("T", bound=Anything)

_BY_NAME = attrgetter("namespace", "name")


@dataclass(frozen=True, slots=True)
class Shelf(Generic[T]):
    """All objects of one kind, sorted by namespace and name."""

    items: tuple[T, ...] = ()
    by_namespace: dict[str, tuple[T, ...]] = field(default_factory=dict)

    def within(self, namespace: str) -> tuple[T, ...]:
        """Those of one namespace."""
        return self.by_namespace.get(namespace, ())


class Inventory:
    """The shelves, re-arranged only where objects came, went or changed."""

    def __init__(self) -> None:
        self._arranged = RememberedMap[object, tuple[Anything, ...], Shelf[Anything]](_arrange)
        self._shelves: Mapping[object, Shelf[Anything]] = {}

    def take(self, resources: Resources) -> None:
        """Put everything in its place."""
        piles: dict[object, list[Anything]] = {kind: [] for kind in KINDS}
        for item in resources.objects.values():
            piles[type(item)].append(item)
        self._shelves = self._arranged({kind: tuple(pile) for kind, pile in piles.items()})

    def of(self, kind: type[T]) -> Shelf[T]:
        """The objects of one kind."""
        return cast(Shelf[T], self._shelves[kind])


def _arrange(pile: tuple[Anything, ...]) -> Shelf[Anything]:
    items = sorted(pile, key=_BY_NAME)
    by_namespace: dict[str, list[Anything]] = {}
    for item in items:
        by_namespace.setdefault(item.namespace, []).append(item)
    return Shelf(tuple(items), {namespace: tuple(found) for namespace, found in by_namespace.items()})
