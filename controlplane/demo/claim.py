"""What the demo claims, and what it measured: one value per claim, for a line and for JSON."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from controlplane.demo.shop import Shop


@dataclass(frozen=True, slots=True)
class Claim:
    """One claim with its proof. `key` is its letter, `told` the proof in a few words, `measured` all of it."""

    key: str
    sentence: str
    holds: bool
    told: str = ""
    measured: Mapping[str, Any] = field(default_factory=dict)


Proof = Callable[["Shop"], Claim]
"""Changes the running shop's manifests, asks with real requests, and says what came of it. Raises ShopError."""
