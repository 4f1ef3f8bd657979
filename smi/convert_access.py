"""Converts TrafficTarget between v1alpha1, which has no `spec`, v1alpha2, and the later ones, which have no ports.

Rule: a port that narrows a grant is never lost on the way (rule V7). Where an old client wrote one into a version that
has none, it is found there again (rule V9).
"""

from __future__ import annotations

from typing import Any, Final

from kube.objects import RawDocument
from smi.hub import Hub
from smi.kept import Kept, without

_FIELDS: Final = {"destination": "destination", "sources": "sources", "specs": "rules"}
"""The fields at the top of v1alpha1, and what they are called in `spec` later."""


_WRITTEN: Final = "written"
"""The piece that says that ports were written where the version has none."""


def to_hub(version: str, body: RawDocument, kept: Kept) -> Hub:
    """The target as v1alpha2 has it; aside, whether its ports were written into a version that has none."""
    if version in {"v1alpha1", "v1alpha2"}:
        asides = {_WRITTEN: True} if kept.recall(_WRITTEN, None) is True else {}
        if version == "v1alpha2":
            return Hub(body, asides)
        moved = {later: body[name] for name, later in _FIELDS.items() if name in body}
        return Hub({**without(body, _FIELDS), "spec": moved}, asides)
    spec = body.get("spec")
    if not isinstance(spec, dict):
        return Hub(body)
    destination = spec.get("destination")
    written = isinstance(destination, dict) and destination.get("port") is not None
    return Hub({**body, "spec": _ported(spec, kept, strip=False)}, {_WRITTEN: True} if written else {})


def from_hub(version: str, hub: Hub, kept: Kept) -> RawDocument:
    """The target in a version."""
    spec = hub.body.get("spec")
    if not isinstance(spec, dict):
        return hub.body
    if version in {"v1alpha1", "v1alpha2"} and _WRITTEN in hub.asides:
        kept.keep(_WRITTEN, None, True)
    if version == "v1alpha2":
        return hub.body
    if version == "v1alpha1":
        fields = {name: spec[later] for name, later in _FIELDS.items() if later in spec}
        return {**without(hub.body, ["spec"]), **fields}
    return hub.body if _WRITTEN in hub.asides else {**hub.body, "spec": _ported(spec, kept, strip=True)}


def _ported(spec: RawDocument, kept: Kept, *, strip: bool) -> RawDocument:
    """The spec without the ports of its subjects, or with them again."""
    change = kept.strip if strip else kept.restore
    changed: dict[str, Any] = {}
    if "destination" in spec:
        (changed["destination"],) = change("destination", [spec["destination"]], "port")
    if "sources" in spec:
        changed["sources"] = change("sources", spec["sources"], "port")
    return {**spec, **changed}
