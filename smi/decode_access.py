"""Reads access.smi-spec.io TrafficTarget, v1alpha1 to v1alpha3, and v1alpha4, which is a draft.

Rule: fail closed. What can't be read grants nothing: a bad source is left out, a bad rule stays as a reference that
leads nowhere, a bad destination or port sets the whole target aside. A rule is never just left out, since without its
HTTPRouteGroup a TrafficTarget's TCPRoute would open every request (rule A5).
"""

from __future__ import annotations

from typing import Final

from kube.enrolment import FEDERATED_SOURCES
from kube.names import label_fault, subdomain_fault
from smi.kinds import RuleRef, Subject, TrafficTarget
from smi.reading import Part, Reading

VERSIONS: Final = ("v1alpha1", "v1alpha2", "v1alpha3")
DRAFTS: Final = ("v1alpha4",)
"""Versions that are read, and served where a person wants it. TrafficTarget means in it what it does in v1alpha3."""

_PORTLESS: Final = frozenset({"v1alpha3", *DRAFTS})
"""The versions whose subjects have no port."""

_NOTHING: Final = "nothing is granted"
_NO_SOURCE: Final = "this source is granted nothing"
_NO_RULE: Final = "nothing is granted through this rule"
_SUBJECT: Final = ("kind", "name", "namespace", "apiGroup", "group")


def read_target(reading: Reading) -> TrafficTarget | None:
    """The target, or None if it grants nothing at all.

    v1alpha1 has `destination`, `sources` and `specs` at the top of the object, later versions have `destination`,
    `sources` and `rules` under `spec`. References of an unknown kind, foreign destinations and empty lists are kept as
    written: the mesh decides what they mean (rules A3, A7, F2, F4).
    """
    top = reading.top("decode", _NOTHING)
    old = reading.version == "v1alpha1"
    body = top if old else top.part("spec", required=True)
    rules = "specs" if old else "rules"
    known = ("destination", "sources", rules)
    body.ignore_others(("apiVersion", "kind", "metadata", "status", *known) if old else known)
    destination = _destination(body)
    sources = tuple(source for part in body.parts("sources", "F1", _NO_SOURCE) if (source := _source(part)))
    references = tuple(_reference(part) for part in body.parts(rules, "F2", _NO_RULE))
    if destination is None or not body.sound:
        return None
    return TrafficTarget(
        **reading.identity(), destination=destination, sources=sources, rules=references, federated=_federated(reading)
    )


def _federated(reading: Reading) -> str:
    """Who else is a source, by annotation: the mesh decides what that means."""
    annotations = reading.raw["metadata"].get("annotations")
    text = annotations.get(FEDERATED_SOURCES) if isinstance(annotations, dict) else None
    return text if isinstance(text, str) else ""


def _destination(body: Part) -> Subject | None:
    """The destination with its port. The port narrows the grant, so it holds in every version (rule V7)."""
    part = body.part("destination", required=True)
    part.only((*_SUBJECT, "port"))
    kind, name, namespace = _names(part)
    part.rule = "V7"
    port = part.port("port")
    if port is not None and body.reading.version in _PORTLESS:
        path = part.at("port")
        message = f"This is no field of {body.reading.version}; the grant is limited to port {port} all the same."
        body.reading.warn(path, message, "V7")
    if not part.sound or part.value is None:
        return None
    return Subject(kind=kind, name=name, namespace=namespace, port=port)


def _source(part: Part) -> Subject | None:
    part.only((*_SUBJECT, "port"))
    kind, name, namespace = _names(part)
    if part.get("port") is not None:
        path = part.at("port")
        part.reading.warn(path, "This means nothing, a source has no port; it is ignored.", "V7")
    return Subject(kind=kind, name=name, namespace=namespace) if part.sound else None


def _names(part: Part) -> tuple[str, str, str]:
    """Kind, name and namespace. Those of a ServiceAccount become a SPIFFE ID, so they must be names (rule A2)."""
    kind, name = part.text("kind", required=True) or "", part.text("name", required=True) or ""
    namespace = part.text("namespace") or ""
    if kind == "ServiceAccount":
        if name and (fault := subdomain_fault(name)):
            part.refuse("name", fault)
        if namespace and (fault := label_fault(namespace)):
            part.refuse("namespace", fault)
    return kind, name, namespace


def _reference(part: Part) -> RuleRef:
    """A rule. One that can't be read keeps its kind and has no name: it leads nowhere, and it still narrows (F2)."""
    part.only(("kind", "name", "matches", "apiGroup"))
    kind, name = part.text("kind", required=True) or "", part.text("name", required=True) or ""
    matches = part.texts("matches")
    return RuleRef(kind=kind, name=name, matches=matches) if part.sound else RuleRef(kind=kind, name="")
