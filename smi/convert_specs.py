"""Converts HTTPRouteGroup and TCPRoute, whose `matches` move from the top of the object into `spec`.

Rule: a match never becomes wider: headers that v1alpha1 has no field for, and ports that a TCPRoute before v1alpha4 has
none for (rule V8), are kept beside it.
"""

from __future__ import annotations

from typing import Any, Final

from kube.objects import RawDocument
from smi.hub import Hub
from smi.kept import Kept, without

_OLD: Final = frozenset({"v1alpha1", "v1alpha2"})
"""The versions with `matches` at the top."""

_NEWEST: Final = "v1alpha4"
_HOLDERS: Final = ("spec", "matches")
_PLACE: Final = "place"
_SPEC: Final = "spec"
_ALL_PORTS: Final[RawDocument] = {"spec": {"matches": {"ports": []}}}
"""A TCPRoute without a body, as v1alpha4 says it."""


def group_to_hub(version: str, body: RawDocument, kept: Kept) -> Hub:
    """The group as v1alpha4 has it, with `matches` where they were written."""
    if version not in _OLD:
        return Hub(body)
    matches = body.get("matches")
    if version == "v1alpha1":
        matches = kept.restore("headers", matches, "headers")
    rest, place = without(body, _HOLDERS), kept.recall(_PLACE, None)
    if not isinstance(place, dict):
        return Hub(rest if matches is None else {**rest, "spec": {"matches": matches}})
    fields = {name: place[name] for name in _HOLDERS if name in place}
    if matches is None:
        return Hub({**rest, **fields})
    if "matches" in fields or place.get("top") is not True:
        spec = fields.get("spec")
        return Hub({**rest, **fields, "spec": {**(spec if isinstance(spec, dict) else {}), "matches": matches}})
    return Hub({**rest, **fields, "matches": matches})


def group_from_hub(version: str, hub: Hub, kept: Kept) -> RawDocument:
    """The group in a version. Old versions have one place for matches; where else something stood is kept."""
    if version not in _OLD:
        return hub.body
    rest = without(hub.body, _HOLDERS)
    spec, top = hub.body.get("spec"), hub.body.get("matches")
    inner = spec.get("matches") if isinstance(spec, dict) else None
    matches = top if inner is None else inner
    place: dict[str, Any] = {name: hub.body[name] for name in _HOLDERS if name in hub.body}
    if inner is not None and isinstance(spec, dict):
        place["spec"] = without(spec, ["matches"])
        place = place if place["spec"] or "matches" in place else {}
    elif top is not None:
        place = {**without(place, ["matches"]), "top": True}
    if place:
        kept.keep(_PLACE, None, place)
    if version == "v1alpha1":
        matches = kept.strip("headers", matches, "headers")
    return rest if matches is None else {**rest, "matches": matches}


def route_to_hub(version: str, body: RawDocument, kept: Kept) -> Hub:
    """The route as v1alpha4 has it; aside, the `spec` that v1alpha3 has and says nothing with."""
    empty = {} if version == "v1alpha3" and body.get("spec") == {} else kept.recall(_SPEC, None)
    asides = {_SPEC: empty} if empty == {} else {}
    if version == _NEWEST:
        return Hub(body, asides)
    rest, original = without(body, _HOLDERS), kept.recall("body", None)
    if isinstance(original, dict):
        return Hub({**rest, **{name: original[name] for name in _HOLDERS if name in original}}, asides)
    if body.get("spec") or body.get("matches") is not None:  # as a person may have written it in a file
        return Hub(body, asides)
    return Hub({**rest, **_ALL_PORTS}, asides)


def route_from_hub(version: str, hub: Hub, kept: Kept) -> RawDocument:
    """The route in a version."""
    if version != "v1alpha3" and _SPEC in hub.asides:
        kept.keep(_SPEC, None, hub.asides[_SPEC])
    if version == _NEWEST:
        return hub.body
    rest = without(hub.body, _HOLDERS)
    written = {name: hub.body[name] for name in _HOLDERS if name in hub.body}
    if written != _ALL_PORTS:
        kept.keep("body", None, written)
    return {**rest, **hub.asides} if version == "v1alpha3" else rest
