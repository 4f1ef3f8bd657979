"""Which modes hold in a namespace and in a pod: access (A1), mTLS (H3), egress (H6), exports (A16), logs (A12).

Rule: a mode is decided here once and is data from then on. A word that is no mode is a Problem, and the strictest
mode holds until it is mended.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Final, TypeVar

from kube.enrolment import (
    ACCESS,
    ACCESS_LOG,
    EGRESS,
    ENFORCED_PORTS,
    MTLS,
    OPEN_PORTS,
    PERMISSIVE_PORTS,
    STRICT_PORTS,
)
from kube.objects import Namespace
from kube.problem import Problem, Ref
from mesh.exports import Exports, read_exports
from mesh.settings import Access, AccessLog, Egress, MeshSettings, Mtls

M = TypeVar("M", bound=StrEnum)
W = TypeVar("W", bound=str)


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
class PortModes:
    """Container ports that are exceptions: those where the stricter mode holds, and those where the other does.

    `unclear`: the stricter one is wanted for some port, but it can't be read which; it holds for all then.
    """

    strict: frozenset[int] = frozenset()
    lax: frozenset[int] = frozenset()
    unclear: bool = False

    def of(self, port: int, strict: W, lax: W) -> W | None:
        """Which of the two modes holds on a port; None: it is no exception."""
        return strict if self.unclear or port in self.strict else lax if port in self.lax else None


@dataclass(frozen=True, slots=True)
class PodModes:
    """The modes of a pod, with the container ports that are exceptions from them.

    `access` None: what the namespace says holds, so that a change there is no other role.
    """

    mtls: Mtls
    mtls_ports: PortModes = PortModes()
    problems: tuple[Problem, ...] = ()
    access_log: AccessLog = AccessLog.OFF
    access: Access | None = None
    access_ports: PortModes = PortModes()

    @property
    def alike(self) -> tuple[object, ...]:
        """What tells the modes of two pods apart."""
        return (self.mtls, self.mtls_ports, self.access_log, self.access, self.access_ports)

    @property
    def declared(self) -> frozenset[int]:
        """The ports that the annotations let somebody in to, whether or not a container declares them."""
        return self.mtls_ports.lax | self.access_ports.lax

    def mtls_of(self, port: int) -> Mtls:
        """The mode of a port (rule H3)."""
        return self.mtls_ports.of(port, Mtls.STRICT, Mtls.PERMISSIVE) or self.mtls

    def access_of(self, port: int) -> Access | None:
        """The mode of a port (rule A1); None: the namespace's."""
        return self.access_ports.of(port, Access.ENFORCED, Access.PERMISSIVE) or self.access


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
    """The modes of a pod: its annotations, else its namespace's modes. A port's own mode comes before the pod's."""
    mtls, bad_mtls = _mode(pod, annotations, MTLS, namespace.mtls, Mtls.STRICT)
    logged, bad_log = _mode(pod, annotations, ACCESS_LOG, namespace.access_log, AccessLog.OFF)
    access: Access | None = None
    bad_access: tuple[Problem, ...] = ()
    if ACCESS in annotations:
        access, bad_access = _mode(pod, annotations, ACCESS, namespace.access, Access.ENFORCED)
    tls = _ports(pod, annotations, _Exceptions(STRICT_PORTS, PERMISSIVE_PORTS, "H3"))
    calls = _ports(pod, annotations, _Exceptions(ENFORCED_PORTS, OPEN_PORTS, "A1"))
    problems = (*bad_mtls, *bad_log, *bad_access, *tls.problems, *calls.problems)
    return PodModes(
        mtls=mtls,
        mtls_ports=tls.ports,
        problems=problems,
        access_log=logged,
        access=access,
        access_ports=calls.ports,
    )


@dataclass(frozen=True, slots=True)
class _Exceptions:
    """The two annotations that name exceptions from a mode, and the rule it is about."""

    strict: str
    lax: str
    rule: str


@dataclass(frozen=True, slots=True)
class _Read:
    """What two such annotations say."""

    ports: PortModes = PortModes()
    problems: tuple[Problem, ...] = ()


_NO_EXCEPTION: Final = _Read()


def _ports(pod: Ref, annotations: Mapping[str, str], keys: _Exceptions) -> _Read:
    if keys.strict not in annotations and keys.lax not in annotations:
        return _NO_EXCEPTION
    strict, lax = _numbers(annotations, keys.strict), _numbers(annotations, keys.lax)
    problems = [
        Problem(pod, _path(keys.lax), f"{word!r} is no port number; it is left out.", keys.rule) for word in lax.wrong
    ]
    message = "{!r} is no port number. It can't be told which port was meant, so the stricter mode holds for all."
    problems += [Problem(pod, _path(keys.strict), message.format(word), keys.rule) for word in strict.wrong]
    for number in sorted(strict.right & lax.right):
        message = f"Port {number} is in {keys.strict} too; the stricter mode holds."
        problems.append(Problem(pod, _path(keys.lax), message, keys.rule))
    exceptions = frozenset() if strict.wrong else lax.right - strict.right
    return _Read(PortModes(strict.right, exceptions, bool(strict.wrong)), tuple(problems))


@dataclass(frozen=True, slots=True)
class _Numbers:
    right: frozenset[int]
    wrong: tuple[str, ...]


def _numbers(annotations: Mapping[str, str], key: str) -> _Numbers:
    words = [word.strip() for word in annotations.get(key, "").split(",") if word.strip()]
    right = frozenset(int(word) for word in words if _is_port(word))
    return _Numbers(right, tuple(word for word in words if not _is_port(word)))


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
