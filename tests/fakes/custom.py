"""The schemas of custom kinds, as the server's core asks for them. Rule: a kind's own version decides."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from tests.fakes import schema, structural
from tests.fakes.errors import Cause
from tests.fakes.kinds import Kind
from tests.fakes.storage import Object


class StructuralSchemas:
    """Prunes, defaults and validates by the CRD of a kind."""

    def settle(self, kind: Kind, thing: Object) -> tuple[Object, list[str]]:
        """Prune and default `thing` in place; also the paths of what was pruned."""
        found = of_version(kind)
        return thing, [] if found is None else structural.settle(thing, found)

    def problems(self, kind: Kind, thing: Object, old: Object | None) -> Sequence[Cause]:
        """What breaks the schema."""
        found = of_version(kind)
        return [] if found is None else schema.problems(thing, found, old)


def of_version(kind: Kind) -> Mapping[str, Any] | None:
    """The schema of a kind in its version; None for built-in kinds."""
    for version in (kind.crd or {}).get("spec", {}).get("versions") or ():
        if version["name"] == kind.version:
            found: Mapping[str, Any] = (version.get("schema") or {}).get("openAPIV3Schema") or {}
            return found
    return None
