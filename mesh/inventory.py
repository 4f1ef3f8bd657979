"""Resources by kind and by namespace, sorted. Rule: a part that did not change stays the identical object."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from operator import itemgetter
from typing import Final, Generic, TypeVar, cast

from kube.problem import Ref
from mesh.remember import RememberedMap
from smi.resources import KINDS, Anything, Resources

T = TypeVar("T", bound=Anything)
Pile = tuple[tuple[Ref, Anything], ...]
"""All objects of one kind in order of arrival."""
_REF: Final = itemgetter(0)


@dataclass(frozen=True, slots=True)
class Shelf(Generic[T]):
    """All objects of one kind, sorted by namespace and name; `named` has them by both."""

    items: tuple[T, ...] = ()
    named: dict[tuple[str, str], T] = field(default_factory=dict)
    by_namespace: dict[str, tuple[T, ...]] = field(default_factory=dict)

    def within(self, namespace: str) -> tuple[T, ...]:
        """Those of one namespace."""
        return self.by_namespace.get(namespace, ())


class Inventory:
    """The shelves, re-arranged only where objects came, went or changed."""

    def __init__(self) -> None:
        self._arranged = RememberedMap[object, Pile, Shelf[Anything]](_arrange)
        self._shelves: Mapping[object, Shelf[Anything]] = {}

    def take(self, resources: Resources) -> None:
        """Put everything in its place."""
        piles: dict[object, list[tuple[Ref, Anything]]] = {kind: [] for kind in KINDS}
        for entry in resources.objects.items():
            piles[type(entry[1])].append(entry)
        self._shelves = self._arranged({kind: tuple(pile) for kind, pile in piles.items()})

    def of(self, kind: type[T]) -> Shelf[T]:
        """The objects of one kind."""
        return cast(Shelf[T], self._shelves[kind])


def _arrange(pile: Pile) -> Shelf[Anything]:
    named: dict[tuple[str, str], Anything] = {}
    by_namespace: dict[str, list[Anything]] = {}
    for (_, namespace, name), item in sorted(pile, key=_REF):
        named[namespace, name] = item
        by_namespace.setdefault(namespace, []).append(item)
    return Shelf(tuple(named.values()), named, {namespace: tuple(found) for namespace, found in by_namespace.items()})
