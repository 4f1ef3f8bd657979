"""Converts TrafficSplit: v1alpha1 has quantities for weights, v1alpha2 whole numbers, v1alpha3 adds `matches`.

Rule: what a canary controller reads in its version is what it wrote there, in the order it wrote it (rules V3, V4).
"""

from __future__ import annotations

from decimal import Decimal
from typing import Any, Final

from kube.objects import RawDocument
from smi.hub import Hub, UnconvertibleError
from smi.kept import Kept, without
from smi.quantity import MAX_WEIGHT, quantity, weights

_NO_MATCHES: Final = frozenset({"v1alpha1", "v1alpha2"})
_WEIGHTS: Final = "weights"
_MATCHES: Final = "matches"


def to_hub(version: str, body: RawDocument, kept: Kept) -> Hub:
    """The split with whole numbers for weights; aside, the quantities where they say it in other words."""
    spec = body.get("spec")
    if not isinstance(spec, dict):
        return Hub(body)
    asides = {}
    if version == "v1alpha1":
        spec, written = _counted(spec)
    else:
        written = kept.recall(_WEIGHTS, spec.get("backends"))
    if _fits(written, spec.get("backends")):
        asides[_WEIGHTS] = written
    if version in _NO_MATCHES:
        spec, matches = without(spec, [_MATCHES]), kept.recall(_MATCHES, None)
        if matches is not None:
            spec[_MATCHES] = matches
    return Hub({**body, "spec": spec}, asides)


def from_hub(version: str, hub: Hub, kept: Kept) -> RawDocument:
    """The split in a version."""
    spec = hub.body.get("spec")
    if not isinstance(spec, dict):
        return hub.body
    written = hub.asides.get(_WEIGHTS)
    if version == "v1alpha1":
        spec = _as_quantities(spec, written)
    elif written is not None:
        kept.keep(_WEIGHTS, spec.get("backends"), written)
    if version in _NO_MATCHES and spec.get(_MATCHES) is not None:
        kept.keep(_MATCHES, None, spec[_MATCHES])
        spec = without(spec, [_MATCHES])
    return {**hub.body, "spec": spec}


def _counted(spec: RawDocument) -> tuple[RawDocument, list[Any] | None]:
    """A spec of v1alpha1 with whole numbers, and its quantities unless those are the numbers' usual text."""
    backends = spec.get("backends")
    if not isinstance(backends, list):
        return spec, None
    values = []
    for index, backend in enumerate(backends):
        value = quantity(backend.get("weight")) if isinstance(backend, dict) else "is missing"
        if not isinstance(value, Decimal):
            raise UnconvertibleError(f"spec.backends[{index}].weight", value)
        values.append(value)
    shares = weights(values)
    if any(share > MAX_WEIGHT for share in shares):
        raise UnconvertibleError("spec.backends", "has weights that are too large to stand beside a fraction")
    written = [backend["weight"] for backend in backends]
    counted = [{**backend, "weight": share} for backend, share in zip(backends, shares, strict=True)]
    return {**spec, "backends": counted}, None if written == [str(share) for share in shares] else written


def _as_quantities(spec: RawDocument, written: list[Any] | None) -> RawDocument:
    backends = spec.get("backends")
    if not isinstance(backends, list):
        return spec
    quantities = written or [_usual(backend) for backend in backends]
    return {
        **spec,
        "backends": [
            {**backend, "weight": weight} if isinstance(backend, dict) and weight is not None else backend
            for backend, weight in zip(backends, quantities, strict=True)
        ],
    }


def _usual(backend: object) -> object:
    """A whole number as Kubernetes writes a quantity: as text. A number of thousandths stays that number (rule V4)."""
    weight = backend.get("weight") if isinstance(backend, dict) else None
    if isinstance(weight, float) and weight.is_integer():
        weight = int(weight)
    return str(weight) if isinstance(weight, int) and not isinstance(weight, bool) else weight


def _fits(written: object, backends: object) -> bool:
    """Whether these are quantities for these backends: the annotation is text that anybody may have changed."""
    return isinstance(written, list) and isinstance(backends, list) and len(written) == len(backends)
