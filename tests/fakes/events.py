"""Events of both groups are one object. Rule: stored as core/v1, shown as asked.

Source: Kubernetes API reference, Event in core/v1 and events.k8s.io/v1.
"""

from __future__ import annotations

from typing import Any

from tests.fakes.kinds import Kind

# events.k8s.io/v1 name -> core/v1 name
NAMES = {
    "regarding": "involvedObject",
    "note": "message",
    "reportingController": "reportingComponent",
    "deprecatedSource": "source",
    "deprecatedFirstTimestamp": "firstTimestamp",
    "deprecatedLastTimestamp": "lastTimestamp",
    "deprecatedCount": "count",
}
BACK = {core: new for new, core in NAMES.items()}

# What core/v1 always has, as a typed client of an older time wants it.
EMPTY: dict[str, Any] = {
    "source": {},
    "firstTimestamp": None,
    "lastTimestamp": None,
    "eventTime": None,
    "reportingComponent": "",
    "reportingInstance": "",
}


def stored(thing: dict[str, Any]) -> dict[str, Any]:
    """As core/v1 keeps it."""
    if thing.get("apiVersion") != "events.k8s.io/v1":
        return {**EMPTY, **thing}
    renamed = {NAMES.get(name, name): value for name, value in thing.items()}
    return {**EMPTY, **renamed, "apiVersion": "v1"}


def shown(thing: dict[str, Any], kind: Kind, of_list: bool = False) -> dict[str, Any]:
    """As the asked group names its fields."""
    body = {name: value for name, value in thing.items() if name not in {"kind", "apiVersion"}}
    if kind.group:
        body = {BACK.get(name, name): value for name, value in body.items()}
    return body if of_list else {"kind": "Event", "apiVersion": kind.api_version, **body}
