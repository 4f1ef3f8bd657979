"""To which namespaces a Service is told where access is permissive: the annotation `weft.dev/export-to` (rule A16).

Rule: it limits what sidecars cost and whom they call, and protects nothing: who may call is decided at the other side.
A word that is no namespace is a Problem and exports to nobody.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from kube.enrolment import EXPORT_TO
from kube.problem import Problem, Ref
from mesh.model import ServiceId

OWN: Final = "."
EVERYONE: Final = "*"
_NAMESPACE: Final = re.compile(r"[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?")  # RFC 1123 label, as Kubernetes asks for

Exports = frozenset[str] | None
"""The namespaces whose callers are told; None: all of them."""


@dataclass(frozen=True, slots=True)
class Written:
    """What the annotation says. `said` is false where there is none."""

    said: bool = False
    exports: Exports = None
    problems: tuple[Problem, ...] = ()


@dataclass(frozen=True, slots=True)
class Announced:
    """What Services say for themselves, by namespace and name, and what their namespaces say for all of theirs."""

    services: Mapping[tuple[str, str], Written]
    namespaces: Mapping[str, Exports]


UNSAID: Final = Written()


def read_exports(ref: Ref, own: str, annotations: Mapping[str, str]) -> Written:
    """What the annotation of a Service or Namespace says; `own` is the namespace that `.` stands for."""
    text = annotations.get(EXPORT_TO)
    if text is None:
        return UNSAID
    words = [word.strip() for word in text.split(",") if word.strip()]
    wrong = [word for word in words if word not in {OWN, EVERYONE} and not _NAMESPACE.fullmatch(word)]
    field = f"metadata.annotations[{EXPORT_TO}]"
    problems = [Problem(ref, field, f"{word!r} is no namespace; it is left out.", "A16") for word in wrong]
    good = frozenset(own if word == OWN else word for word in words if word not in wrong)
    if not words:
        problems.append(Problem(ref, field, "No namespace is named; it is told to its own alone.", "A16"))
    if EVERYONE in good:
        return Written(True, None, tuple(problems))
    # Somebody wanted a limit: nothing but mistakes is the narrowest one.
    return Written(True, good or frozenset({own}), tuple(problems))


def limited(announced: Announced) -> Mapping[ServiceId, frozenset[str]]:
    """The Services that are not told to everyone, and to which namespaces they are. The Service's own word wins."""
    found: dict[ServiceId, frozenset[str]] = {}
    for (namespace, name), written in announced.services.items():
        exports = written.exports if written.said else announced.namespaces.get(namespace)
        if exports is not None:
            found[ServiceId(namespace, name)] = exports
    return found
