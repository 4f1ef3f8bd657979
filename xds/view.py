"""A View: what one role is offered right now, by type; the one thing the protocol machines know about the world.

Rule: a value shared by all streams of the role. A type that did not change keeps its ResourceSet from View to View.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final
from weakref import ref

from mesh.model import Identity
from xds.resource import RUNTIME
from xds.resourceset import ResourceSet

_EMPTY: Final = {RUNTIME: ResourceSet(RUNTIME, {})}
"""Of types that most proxies have nothing of: always the same set, so that comparing stays free."""


@dataclass(frozen=True, slots=True, weakref_slot=True)
class View:
    """Everything one role should have, the identity's secrets included."""

    role: str
    identity: Identity
    sets: Mapping[str, ResourceSet]
    _news: list[tuple[ref[View], frozenset[str]]] = field(default_factory=list, init=False, repr=False, compare=False)

    def news(self, before: View) -> frozenset[str]:
        """The types that changed since that View. All streams of a role ask the same."""
        if self._news:
            known, urls = self._news[0]
            if known() is before:
                return urls
        urls = frozenset(
            url for url in self.sets.keys() | before.sets.keys() if self.sets.get(url) is not before.sets.get(url)
        )
        self._news[:] = [(ref(before), urls)]
        return urls

    def offered(self, type_url: str) -> ResourceSet:
        """What there is of a type; nothing where we do not know the type (rule R6)."""
        for sets in (self.sets, _EMPTY):
            if (found := sets.get(type_url)) is not None:
                return found
        return ResourceSet(type_url, {})
