"""Label and field selectors of lists and watches. Rule: what cannot be parsed is a 400, never ignored.

Source: Kubernetes pages "Labels and Selectors" and "Field Selectors".
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any

from tests.fakes.errors import bad_request
from tests.fakes.kinds import words

Object = Mapping[str, Any]
Test = Callable[[Object], bool]

_SET = re.compile(r"^(\S+)\s+(in|notin)\s*\(([^)]*)\)$")
_EQUAL = re.compile(r"^([^=!\s]+)\s*(==|=|!=)\s*([^=!]*)$")
_NAME = re.compile(r"^!?\s*[A-Za-z0-9]([A-Za-z0-9._/-]*[A-Za-z0-9])?$")

# What each kind can be selected by beside metadata.name and metadata.namespace.
FIELDS: dict[str, frozenset[str]] = {
    "pods": words(
        "spec.nodeName spec.restartPolicy spec.schedulerName spec.serviceAccountName spec.hostNetwork "
        "status.phase status.podIP status.nominatedNodeName"
    ),
    "secrets": frozenset({"type"}),
    "certificatesigningrequests": frozenset({"spec.signerName"}),
    "clustertrustbundles": frozenset({"spec.signerName"}),
    "namespaces": frozenset({"status.phase"}),
    "nodes": frozenset({"spec.unschedulable"}),
    "services": frozenset({"spec.clusterIP", "spec.type"}),
    "replicasets": frozenset({"status.replicas"}),
    "jobs": frozenset({"status.successful"}),
    "events": words(
        "involvedObject.kind involvedObject.namespace involvedObject.name involvedObject.uid "
        "involvedObject.apiVersion involvedObject.resourceVersion involvedObject.fieldPath reason "
        "reportingComponent source type"
    ),
}


def labels(text: str) -> Test:
    """What a labelSelector selects."""
    tests = [_label_term(term.strip()) for term in _terms(text) if term.strip()]
    return lambda each: all(test(each.get("metadata", {}).get("labels") or {}) for test in tests)


def of_selector(selector: Mapping[str, Any] | None) -> Callable[[Mapping[str, str]], bool]:
    """What a metav1.LabelSelector selects among labels; None selects nothing, an empty one everything."""
    if selector is None:
        return lambda _labels: False
    equal: Mapping[str, str] = selector.get("matchLabels") or {}
    expressions = selector.get("matchExpressions") or []

    def holds(found: Mapping[str, str]) -> bool:
        if any(found.get(name) != value for name, value in equal.items()):
            return False
        return all(_expression(each, found) for each in expressions)

    return holds


def _expression(each: Mapping[str, Any], found: Mapping[str, str]) -> bool:
    name, values = each["key"], each.get("values") or []
    match each["operator"]:
        case "In":
            return found.get(name) in values
        case "NotIn":
            return found.get(name) not in values
        case "Exists":
            return name in found
        case "DoesNotExist":
            return name not in found
    raise bad_request(f'"{each["operator"]}" is not a valid label selector operator')


def _terms(text: str) -> list[str]:
    """Split at commas outside parentheses."""
    return re.split(r",(?![^(]*\))", text)


def _label_term(term: str) -> Callable[[Mapping[str, str]], bool]:
    if found := _SET.match(term):
        name, operator, listed = found.groups()
        values = {each.strip() for each in listed.split(",")}
        if operator == "in":
            return lambda labels: labels.get(name) in values
        return lambda labels: labels.get(name) not in values
    if found := _EQUAL.match(term):
        name, operator, value = (each.strip() for each in found.groups())
        if operator == "!=":
            return lambda labels: labels.get(name) != value
        return lambda labels: labels.get(name) == value
    if not _NAME.match(term):
        raise bad_request(f"unable to parse requirement: found '{term}', expected: in, notin, =, ==, !=")
    if term.startswith("!"):
        return lambda labels: term[1:].strip() not in labels
    return lambda labels: term in labels


def fields(text: str, plural: str, custom: frozenset[str] | None = None) -> Test:
    """What a fieldSelector selects; `custom` are a CRD's selectableFields, None for a built-in kind."""
    known = {"metadata.name", "metadata.namespace"} | (FIELDS.get(plural, frozenset()) if custom is None else custom)
    tests: list[Test] = []
    for term in filter(None, text.split(",")):
        found = _EQUAL.match(term)
        if not found:
            raise bad_request(f"invalid selector: '{text}'; can't understand '{term}'")
        path, operator, value = found.groups()
        if path not in known:
            raise bad_request(_unknown_field(path, plural, custom is not None))
        tests.append(_field_term(path, value, operator != "!="))
    return lambda each: all(test(each) for test in tests)


def _unknown_field(path: str, plural: str, custom: bool) -> str:
    if plural in FIELDS or custom:
        return f"field label not supported: {path}"
    return f'"{path}" is not a known field selector: only "metadata.name", "metadata.namespace"'


def exact_name(text: str) -> str:
    """The name a fieldSelector asks for with metadata.name=…, or an empty text."""
    for term in text.split(","):
        if (found := _EQUAL.match(term)) and found.group(1) == "metadata.name" and found.group(2) != "!=":
            return found.group(3)
    return ""


def _field_term(path: str, value: str, equal: bool) -> Test:
    steps = path.split(".")

    def holds(each: Object) -> bool:
        found: Any = each
        for step in steps:
            found = (found or {}).get(step)
        text = {None: "", True: "true", False: "false"}.get(found, found) if not isinstance(found, str) else found
        if path == "spec.hostNetwork" and text == "":
            text = "false"
        return (str(text) == value) is equal

    return holds
