"""A View: what one role is offered right now, by type; the one thing the protocol machines know about the world.

Rule: a value shared by all streams of the role. A type that did not change keeps its ResourceSet from View to View.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from mesh.model import Identity
from xds.resource import RUNTIME
from xds.resourceset import ResourceSet

_EMPTY: Final = {RUNTIME: ResourceSet(RUNTIME, {})}
"""Of types that most proxies have nothing of: always the same set, so that comparing stays free."""


@dataclass(frozen=True, slots=True)
class View:
    """Everything one role should have, the identity's secrets included."""

    role: str
    identity: Identity
    sets: Mapping[str, ResourceSet]

    def offered(self, type_url: str) -> ResourceSet:
        """What there is of a type; nothing where we do not know the type (rule R6)."""
        found = self.sets.get(type_url)
        return found if found is not None else _EMPTY.get(type_url) or ResourceSet(type_url, {})
