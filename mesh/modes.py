"""Which modes hold in a namespace and in a pod: access (A1), mTLS (H3), egress (H6), exports (A16), logs (A12).

Rule: a mode is decided here once and is data from then on. A word that is no mode is a Problem, and the strictest
mode holds until it is mended.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import TypeVar

from kube.enrolment import ACCESS, ACCESS_LOG, EGRESS, MTLS, PERMISSIVE_PORTS
from kube.objects import Namespace
from kube.problem import Problem, Ref
from mesh.exports import Exports, read_exports
from mesh.settings import Access, AccessLog, Egress, MeshSettings, Mtls

M = TypeVar("M", bound=StrEnum)


@dataclass(frozen=True, slots=True)
class Annotated:
    """A namespace as the modes see it: its object, if there is one, under the settings of the mesh."""

    namespace: Namespace | None
    settings: MeshSettings


@dataclass(frozen=True, slots=True)
class Modes:
    """The modes of a namespace."""

    access: Access
    mtls: Mtls
    egress: Egress
    export_to: Exports = None
    problems: tuple[Problem, ...] = ()
    access_log: AccessLog = AccessLog.OFF


@dataclass(frozen=True, slots=True)
class PodModes:
    """The modes of a pod. `permissive_ports` are container ports that take plaintext though the rest is strict."""

    mtls: Mtls
    permissive_ports: frozenset[int] = frozenset()
    problems: tuple[Problem, ...] = ()
    access_log: AccessLog = AccessLog.OFF


def namespace_modes(annotated: Annotated) -> Modes:
    """The modes of a namespace: its annotations, else the settings."""
    settings = annotated.settings
    if annotated.namespace is None:
        return Modes(settings.access, settings.mtls, settings.egress, access_log=settings.access_log)
    ref, annotations = annotated.namespace.ref, annotated.namespace.metadata.annotations
    access, bad_access = _mode(ref, annotations, ACCESS, settings.access, Access.ENFORCED)
    mtls, bad_mtls = _mode(ref, annotations, MTLS, settings.mtls, Mtls.STRICT)
    egress, bad_egress = _mode(ref, annotations, EGRESS, settings.egress, Egress.REFUSED)
    logged, bad_log = _mode(ref, annotations, ACCESS_LOG, settings.access_log, AccessLog.OFF)
    exported = read_exports(ref, annotated.namespace.name, annotations)
    problems = (*bad_access, *bad_mtls, *bad_egress, *bad_log, *exported.problems)
    return Modes(access, mtls, egress, exported.exports, problems, logged)


def pod_modes(pod: Ref, annotations: Mapping[str, str], namespace: Modes) -> PodModes:
    """The modes of a pod: its annotations, else its namespace's modes."""
    mtls, problems = _mode(pod, annotations, MTLS, namespace.mtls, Mtls.STRICT)
    logged, bad_log = _mode(pod, annotations, ACCESS_LOG, namespace.access_log, AccessLog.OFF)
    words = [word.strip() for word in annotations.get(PERMISSIVE_PORTS, "").split(",") if word.strip()]
    ports = frozenset(int(word) for word in words if _is_port(word))
    wrong = tuple(
        Problem(pod, _path(PERMISSIVE_PORTS), f"{word!r} is no port number; it is left out.", "H3")
        for word in words
        if not _is_port(word)
    )
    return PodModes(mtls, ports, (*problems, *bad_log, *wrong), logged)


def _mode(
    ref: Ref, annotations: Mapping[str, str], key: str, default: M, strictest: M
) -> tuple[M, tuple[Problem, ...]]:
    written = annotations.get(key)
    if written is None:
        return default, ()
    modes = type(strictest)
    if written in set(modes):
        return modes(written), ()
    message = f"{written!r} is not one of {', '.join(modes)}; {str(strictest)!r} holds."
    rule = {ACCESS: "A1", MTLS: "H3", EGRESS: "H6", ACCESS_LOG: "A12"}[key]
    return strictest, (Problem(ref, _path(key), message, rule),)


def _path(key: str) -> str:
    return f"metadata.annotations[{key}]"


def _is_port(word: str) -> bool:
    return word.isascii() and word.isdigit() and len(word) <= 5 and 0 < int(word) < 65536
