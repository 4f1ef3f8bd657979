"""The form that all versions of a kind are converted through: one that can hold what any of them says.

Rule: into the hub and out again loses nothing. A conversion from version to version is always both steps.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from kube.objects import RawDocument
from smi.kept import Kept


@dataclass(frozen=True, slots=True)
class Hub:
    """An object of no version: its fields besides `apiVersion`, `kind` and `metadata`, as the richest version has them.

    `asides` is what even that version has no place for.
    """

    body: RawDocument
    asides: dict[str, Any] = field(default_factory=dict)


class UnconvertibleError(Exception):
    """A value that another version has no form for, not even beside its fields: `field` and the rest of a sentence."""

    def __init__(self, path: str, fault: str) -> None:
        super().__init__(f"{path} {fault}")
        self.field, self.fault = path, fault


ToHub = Callable[[str, RawDocument, Kept], Hub]
"""From a version: its fields and what was kept beside them. Raises UnconvertibleError."""

FromHub = Callable[[str, Hub, Kept], RawDocument]
"""To a version: its fields; what it has no place for goes into Kept."""
