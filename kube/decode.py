"""Reads Kubernetes' own objects: a raw document in, a frozen Object out.

Rule: whatever the document holds, the answer is an object or Problems, never an exception. An object with a field of
the wrong shape is set aside as a whole, as the API server would refuse it as a whole.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final

import msgspec

from kube.names import label_fault, subdomain_fault
from kube.objects import (
    Deployment,
    EndpointSlice,
    Namespace,
    Object,
    Pod,
    RawDocument,
    Service,
    ServiceAccount,
    StatefulSet,
)
from kube.problem import Origin, Problem, Ref

Locate = Callable[[str], Origin | None]
"""The place of a field path in the file an object was read from; the empty path is the object itself."""

KINDS: Final[Mapping[tuple[str, str], type[Object]]] = {
    ("v1", "Namespace"): Namespace,
    ("v1", "ServiceAccount"): ServiceAccount,
    ("v1", "Service"): Service,
    ("v1", "Pod"): Pod,
    ("discovery.k8s.io/v1", "EndpointSlice"): EndpointSlice,
    ("apps/v1", "Deployment"): Deployment,
    ("apps/v1", "StatefulSet"): StatefulSet,
}
"""What is read, by apiVersion and kind."""

CLUSTER_SCOPED: Final = frozenset({"Namespace"})
"""The kinds read that live in no namespace."""

SET_ASIDE: Final = "the object is set aside"
"""What follows from a mistake in a Kubernetes object."""


@dataclass(frozen=True, slots=True)
class Decoded:
    """What a document was found to be: an object, or why it is none."""

    object: Object | None
    problems: tuple[Problem, ...] = ()


def nowhere(_field: str) -> Origin | None:
    """The `Locate` of objects that come from no file."""
    return None


def ref_of(raw: RawDocument) -> Ref:
    """How Problems name a raw document, with what it says of itself."""
    metadata = raw.get("metadata")
    known = metadata if isinstance(metadata, dict) else {}
    kind, namespace, name = (
        text if isinstance(text, str) else "" for text in (raw.get("kind"), known.get("namespace"), known.get("name"))
    )
    return Ref(kind, "" if kind in CLUSTER_SCOPED else namespace, name)


def name_faults(raw: RawDocument) -> Iterator[tuple[str, str]]:
    """What is wrong with an object's own name and namespace: pairs of field and rest of a sentence."""
    metadata = raw.get("metadata")
    if not isinstance(metadata, dict):
        yield "metadata", "is missing" if metadata is None else f"must be a map, not {described(metadata)}"
        return
    kind, name = raw.get("kind"), metadata.get("name")
    check = label_fault if kind in {"Namespace", "Service"} else subdomain_fault
    yield from _name_fault("metadata.name", name, check)
    if kind not in CLUSTER_SCOPED:
        yield from _name_fault("metadata.namespace", metadata.get("namespace"), label_fault)


def decode(raw: RawDocument, locate: Locate = nowhere) -> Decoded:
    """Read one document whose apiVersion and kind are in `KINDS`."""
    ref = ref_of(raw)
    faults = list(name_faults(raw))
    if not faults:
        read = _convert(raw, KINDS[raw["apiVersion"], raw["kind"]])
        if isinstance(read, Object):
            return Decoded(read if read.ref == ref else _without_namespace(read))
        faults = [read]
    return Decoded(
        None,
        tuple(
            Problem(ref, field, sentence(fault, SET_ASIDE), "decode", origin=locate(field)) for field, fault in faults
        ),
    )


def _without_namespace(read: Object) -> Object:
    """A cluster-scoped object lives in no namespace, whatever it says."""
    return msgspec.structs.replace(read, metadata=msgspec.structs.replace(read.metadata, namespace=""))


def sentence(fault: str, effect: str) -> str:
    """A Problem's message: what is wrong with the field it names, and what happens instead."""
    subject = "" if fault.startswith(("'", '"')) else "This "
    return f"{subject}{fault}; {effect}."


def described(value: object) -> str:
    """What kind of value this is, in a person's words."""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, int | float):
        return "a number"
    if value is None:
        return "empty"
    if isinstance(value, str):
        return "text"
    return "a list" if isinstance(value, list) else "a map" if isinstance(value, dict) else "something else"


def no_text(value: object) -> str:
    """Why this is no text, as the rest of a sentence, and what to do if it looks like one."""
    quoting = " (write it in quotes)" if isinstance(value, bool | int | float) else ""
    return f"must be text, not {described(value)}{quoting}"


def _name_fault(field: str, value: object, check: Callable[[str], str]) -> Iterator[tuple[str, str]]:
    if value is None or value == "":
        yield field, "is missing"
    elif not isinstance(value, str):
        yield field, no_text(value)
    elif fault := check(value):
        yield field, fault


def _convert(raw: RawDocument, kind: type[Object]) -> Object | tuple[str, str]:
    """The object, or its first faulty field and the fault. A null means the field is not there, as in Kubernetes."""
    try:
        return msgspec.convert(raw, kind)
    except msgspec.ValidationError:
        document = _without_nulls(raw)
    try:
        return msgspec.convert(document, kind)
    except msgspec.ValidationError as error:
        return _fault(str(error), document)


def _without_nulls(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _without_nulls(item) for key, item in value.items() if item is not None}
    if isinstance(value, list):
        return [_without_nulls(item) for item in value]
    return value


_REPORT: Final = re.compile(r"(?P<what>.*?)(?: - at (?:`(?P<part>key|[^`$]*)` in )?`\$(?P<path>[^`]*)`)?", re.DOTALL)
"""How msgspec words a ValidationError."""

_WORDS: Final = {
    "int": "a whole number",
    "float": "a number",
    "str": "text",
    "bool": "true or false",
    "array": "a list",
    "object": "a map",
    "null": "empty",
}


def _fault(report: str, document: RawDocument) -> tuple[str, str]:
    """The report of msgspec as a field path and the rest of a sentence."""
    found = _REPORT.fullmatch(report)
    what, path = (found["what"], found["path"] or "") if found else (report, "")
    field = path.removeprefix(".")
    if missing := re.fullmatch(r"Object missing required field `(\w+)`", what):
        return f"{field}.{missing[1]}".removeprefix("."), "is missing"
    if types := re.fullmatch(r"Expected `(.*)`, got `(.*)`", what):
        wanted, got = (" or ".join(_WORDS.get(word, word) for word in part.split(" | ")) for part in types.groups())
        field, value = _offender(field, document)
        if wanted == "text" and value is not None:
            return field, no_text(value)
        return field, f"must be {wanted}, not {described(value) if value is not None else got}"
    return field.replace("[...]", ""), f"cannot be read: {what}"


def _offender(field: str, document: RawDocument) -> tuple[str, object]:
    """The faulty value, and its path with the key where msgspec leaves it out (`labels[...]`)."""
    path, _, rest = field.partition("[...]")
    holder = value_at(document, path)
    if not field.endswith("[...]") or rest or not isinstance(holder, dict):
        return field.replace("[...]", ""), value_at(document, field)
    key = next((key for key, value in holder.items() if not isinstance(value, str)), "")
    return f"{path}[{key}]", holder.get(key)


STEP: Final = re.compile(r"\.?([^.\[\]]+)|\[([^\]]*)\]")
"""One step of a field path: a key, or an index or key in brackets."""


def value_at(document: object, path: str) -> object:
    """The value at a field path, None where there is none."""
    value = document
    for key, bracketed in STEP.findall(path):
        if isinstance(value, list):
            value = value[int(bracketed)] if bracketed.isdecimal() and int(bracketed) < len(value) else None
        else:
            value = value.get(key or bracketed) if isinstance(value, dict) else None
    return value
