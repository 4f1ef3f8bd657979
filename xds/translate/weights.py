"""Weights as Envoy takes them: a total that fits 32 bits and is not 0 (rules T2, T3)."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from mesh.model import PortId, Share

MOST: Final = 0xFFFFFFFF
"""Envoy refuses weighted clusters with a larger total."""


def weighted(shares: Iterable[Share]) -> list[tuple[PortId, int]]:
    """The shares that receive anything. Larger weights than Envoy takes are scaled down, none of them to nothing."""
    positive = [(share.backend, share.weight) for share in shares if share.weight > 0]
    total = sum(weight for _, weight in positive)
    if total <= MOST:
        return positive
    room = MOST - len(positive)
    return [(backend, 1 + weight * room // total) for backend, weight in positive]
