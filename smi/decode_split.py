"""Reads split.smi-spec.io TrafficSplit, v1alpha1 to v1alpha4.

Rule: fail static. A split with one weight, backend or reference that can't be read is set aside as a whole, and the
root Service's own endpoints serve (rule T12), as if the split were not there. Leaving out only the bad backend would
hand its share to the others: with `stable: 9o` beside `canary: 1`, every request would reach the canary.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from decimal import Decimal
from typing import Final

from smi.kinds import RuleRef, SplitBackend, TrafficSplit
from smi.quantity import quantity, weights, whole
from smi.reading import Part, Reading, short

VERSIONS: Final = ("v1alpha1", "v1alpha2", "v1alpha3", "v1alpha4")

_EFFECT: Final = "the split is set aside, and the root Service's own endpoints serve"
_SERVICE: Final = re.compile(r"[A-Za-z0-9]([-A-Za-z0-9.]{0,251}[A-Za-z0-9])?\.?")


def read_split(reading: Reading) -> TrafficSplit | None:
    """The split, or None if it is set aside."""
    spec = reading.top("decode", _EFFECT).part("spec", required=True)
    spec.ignore_others(("service", "backends", "matches"))
    service = _root(spec)
    backends = _backends(spec)
    matches = _matches(spec)
    if not spec.sound or service is None or backends is None or matches is None:
        return None
    return TrafficSplit(**reading.identity(), service=service, backends=backends, matches=matches)


def _root(spec: Part) -> str | None:
    """The root as written; whether it names a Service of this namespace is for the mesh to say (rule T1)."""
    service = spec.text("service", required=True)
    if service and not _SERVICE.fullmatch(service):
        spec.refuse("service", f"{short(service)} is no name of a Service")
    return service


def _backends(spec: Part) -> tuple[SplitBackend, ...] | None:
    """The backends in the order written, None if one can't be read. An empty list stands (rule T3)."""
    if spec.value is None:
        return None
    if spec.get("backends") is None:
        spec.refuse("backends", "is missing")
    first = spec.reading.version == "v1alpha1"
    rule, read = ("V4", quantity) if first else ("V5", whole)
    pairs = [_backend(part, read) for part in spec.parts("backends", rule)]
    complete = [pair for pair in pairs if pair is not None]
    if len(complete) < len(pairs):
        return None
    shares = weights([weight for _, weight in complete])
    return tuple(SplitBackend(service=name, weight=share) for (name, _), share in zip(complete, shares, strict=True))


def _backend(part: Part, read: Callable[[object], Decimal | int | str]) -> tuple[str, Decimal] | None:
    part.ignore_others(("service", "weight"))
    service = part.text("service", required=True)
    weight: Decimal | int | str = 0
    if part.value is not None:
        written = part.get("weight")
        weight = "is missing" if written is None else read(written)
    if isinstance(weight, str):
        part.refuse("weight", weight)
        return None
    return (service, Decimal(weight)) if part.sound and service else None


def _matches(spec: Part) -> tuple[RuleRef, ...] | None:
    """The references to route groups (rule T8), None if one can't be read: a split must not widen to all requests."""
    if spec.reading.version in {"v1alpha1", "v1alpha2"}:
        if spec.get("matches") is not None:
            message = f"This is no field of {spec.reading.version}, so the split is about all requests."
            spec.reading.warn("spec.matches", message, "T8")
        return ()
    references = []
    for part in spec.parts("matches", "T8"):
        part.ignore_others(("kind", "name", "apiGroup"))
        kind, name = part.text("kind", required=True), part.text("name", required=True)
        if kind is None or name is None:
            return None
        references.append(RuleRef(kind=kind, name=name))
    return tuple(references)
