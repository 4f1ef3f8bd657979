"""Reads any document a person or a cluster may hand in: an SMI kind in any version, or one of Kubernetes' own.

Rule: the answer is a value whatever the document holds; a document's mistakes stay with it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Final

from kube import decode as kubernetes
from kube.decode import SET_ASIDE, Locate, name_faults, nowhere, ref_of, sentence
from kube.names import shown
from kube.objects import RawDocument
from kube.problem import Problem, Ref
from smi import decode_access, decode_binding, decode_egress, decode_specs, decode_split
from smi.convert import whole
from smi.kinds import SmiObject
from smi.reading import Reading
from smi.resources import Anything

_Reader = Callable[[Reading], SmiObject | None]

_KINDS: Final[Mapping[tuple[str, str], tuple[tuple[str, ...], _Reader]]] = {
    ("split.smi-spec.io", "TrafficSplit"): (decode_split.VERSIONS, decode_split.read_split),
    ("access.smi-spec.io", "TrafficTarget"): (
        (*decode_access.VERSIONS, *decode_access.DRAFTS),
        decode_access.read_target,
    ),
    ("access.smi-spec.io", "IdentityBinding"): (decode_binding.VERSIONS, decode_binding.read_binding),
    ("specs.smi-spec.io", "HTTPRouteGroup"): (decode_specs.VERSIONS, decode_specs.read_group),
    ("specs.smi-spec.io", "TCPRoute"): (decode_specs.VERSIONS, decode_specs.read_tcp_route),
    ("specs.smi-spec.io", "UDPRoute"): (decode_specs.VERSIONS[-1:], decode_specs.read_udp_route),
    (decode_egress.GROUP, "EgressPolicy"): (decode_egress.VERSIONS, decode_egress.read_policy),
}
"""The versions of each kind and what reads them."""

_SUFFIX: Final = ".smi-spec.io"
_NAMES: Final = frozenset(kind for _, kind in _KINDS)


@dataclass(frozen=True, slots=True)
class Read:
    """What a document was found to be.

    `object` None and not `ignored`: it is an object that is read, but not this one; `ref` names it as far as it can be
    told. `ignored`: a kind that is none of the mesh's business.
    """

    object: Anything | None
    ref: Ref | None
    problems: tuple[Problem, ...] = ()
    ignored: bool = False


def read(raw: RawDocument, locate: Locate = nowhere) -> Read:
    """Read one document; `locate` says where a field of it stands, if it comes from a file."""
    api_version, kind = raw.get("apiVersion"), raw.get("kind")
    if not isinstance(api_version, str) or not isinstance(kind, str) or not api_version or not kind:
        field = "kind" if isinstance(api_version, str) and api_version else "apiVersion"
        message = f"{field} is missing or no text, so this is no Kubernetes object; it is left out."
        ref = ref_of(raw)
        unnamed = Ref(ref.kind or "Object", ref.namespace, ref.name)
        return Read(None, None, (Problem(unnamed, field, message, "decode", origin=locate("")),))
    if (api_version, kind) in kubernetes.KINDS:
        decoded = kubernetes.decode(raw, locate)
        return Read(decoded.object, ref_of(raw), decoded.problems)
    group, _, version = api_version.rpartition("/")
    if group.endswith(_SUFFIX) or group == decode_egress.GROUP or (kind in _NAMES and not group):
        return _read_smi(raw, locate, (group, kind), version)
    return Read(None, None, ignored=True)


def _read_smi(raw: RawDocument, locate: Locate, kind: tuple[str, str], version: str) -> Read:
    ref = ref_of(raw)
    versions, reader = _KINDS.get(kind, ((), None))
    if reader is None or version not in versions:
        fault = _unknown(kind, version, versions)
        return Read(None, ref, (Problem(ref, "apiVersion", fault, "V1", origin=locate("apiVersion")),))
    reading = Reading(whole(raw), locate)
    for field, fault in name_faults(raw):
        reading.error(field, sentence(fault, SET_ASIDE), "decode")
    found = None if reading.problems else reader(reading)
    return Read(found, ref, tuple(reading.problems))


def _unknown(kind: tuple[str, str], version: str, versions: tuple[str, ...]) -> str:
    group, name = kind
    if versions:
        return f"{name} has no version {shown(version)}; there are {', '.join(versions)}. The object is set aside."
    if name in _NAMES:
        right = next(group for group, known in _KINDS if known == name)
        return f"{shown(f'{group}/{version}'.strip('/'))} has no {name}; {right} has. The object is set aside."
    return f"{shown(group)} has no kind {shown(name)} that is read; the object is set aside."
