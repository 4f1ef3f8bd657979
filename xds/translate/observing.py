"""How requests are observed beyond what is counted: whether they can be watched.

Rule: the operator's choice, the same for the whole mesh; with the defaults no resource has anything of it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final


@dataclass(frozen=True, slots=True, kw_only=True)
class Observing:
    """`tap`: sidecars can be told to tell their requests; their bootstrap has the cluster for it (proxy.tapping)."""

    tap: bool = False


UNOBSERVED: Final = Observing()
