"""Answers as kubectl asks for them: metadata only, or a table. Rule: without such an Accept header nothing changes.

Source: Kubernetes API concepts ("Receiving resources as Tables"), metav1.Table and metav1.PartialObjectMetadata.
"""

from __future__ import annotations

import calendar
import re
import time
from collections.abc import Sequence
from typing import Any

import msgspec

from tests.fakes.requests import Call, Reply

Object = dict[str, Any]

NAME = {"name": "Name", "type": "string", "format": "name", "description": "Name", "priority": 0}
CUSTOM = "Custom resource definition column (in JSONPath format)"
AGE = {"name": "Age", "type": "date", "description": "Creation time", "jsonPath": ".metadata.creationTimestamp"}
UNITS = (("d", 86400), ("h", 3600), ("m", 60), ("s", 1))


def shown(call: Call, bodies: Sequence[bytes], list_meta: Object | None) -> Reply | None:
    """The objects as the Accept header wants them; None when it wants plain JSON. `list_meta` is for a list."""
    wanted = _wanted(call.request.headers.get("accept", ""))
    if wanted is None:
        return None
    what, group_version = wanted
    objects: list[Object] = [msgspec.json.decode(each) for each in bodies]
    if what == "Table":
        return Reply.json(_table(call, objects, list_meta, group_version))
    parts = [_partial(each, group_version) for each in objects]
    if list_meta is None:
        return Reply.json(parts[0])
    head = {"kind": "PartialObjectMetadataList", "apiVersion": group_version}
    return Reply.json({**head, "metadata": list_meta, "items": parts})


def _wanted(accept: str) -> tuple[str, str] | None:
    """The first media type that we can serve: (`Table` or `PartialObjectMetadata`, group/version)."""
    for each in accept.split(","):
        media, *parameters = (part.strip() for part in each.split(";"))
        found = dict(part.split("=", 1) for part in parameters if "=" in part)
        if media not in {"application/json", "*/*", "application/*"}:
            continue
        kind = found.get("as")
        if kind is None:
            return None
        if kind in {"Table", "PartialObjectMetadata", "PartialObjectMetadataList"} and found.get("v") == "v1":
            return kind.removesuffix("List"), f"{found.get('g', 'meta.k8s.io')}/{found['v']}"
    return None


def _partial(each: Object, group_version: str) -> Object:
    return {"kind": "PartialObjectMetadata", "apiVersion": group_version, "metadata": each["metadata"]}


def _table(call: Call, objects: Sequence[Object], list_meta: Object | None, group_version: str) -> Object:
    columns, now = _columns(call), time.time()
    rows = []
    for each in objects:
        cells = [each["metadata"]["name"], *(_cell(each, column, now) for column in columns)]
        rows.append({"cells": cells, "object": _partial(each, group_version)})
    shown_columns = [
        {
            "name": column["name"],
            "type": column["type"],
            "format": column.get("format", ""),
            "description": column.get("description") or f"{CUSTOM}: {column['jsonPath']}",
            "priority": column.get("priority", 0),
        }
        for column in columns
    ]
    definitions = [NAME, *shown_columns]
    meta = list_meta if list_meta is not None else {"resourceVersion": objects[0]["metadata"]["resourceVersion"]}
    head = {"kind": "Table", "apiVersion": group_version, "metadata": meta}
    return {**head, "columnDefinitions": definitions, "rows": rows}


def _columns(call: Call) -> list[Object]:
    for version in (call.kind.crd or {}).get("spec", {}).get("versions", []):
        if version["name"] == call.kind.version:
            return version.get("additionalPrinterColumns") or [AGE]
    return [AGE]


def _cell(each: Object, column: Object, now: float) -> Any:
    """A column's value; a date is shown as the time since then."""
    found = _value(each, column["jsonPath"])
    if column["type"] != "date" or found is None:
        return found
    passed = max(0, int(now - calendar.timegm(time.strptime(found, "%Y-%m-%dT%H:%M:%SZ"))))
    unit, seconds = next((unit for unit in UNITS if passed >= 2 * unit[1]), UNITS[-1])
    return f"{passed // seconds}{unit}"


def _value(each: Object, path: str) -> Any:
    """The value at a plain JSON path (`.spec.service`, `.spec.ports[0].name`)."""
    found: Any = each
    for name, index in re.findall(r"\.([A-Za-z0-9_-]+)|\[(\d+)\]", path):
        if name and isinstance(found, dict):
            found = found.get(name)
        elif index and isinstance(found, list) and int(index) < len(found):
            found = found[int(index)]
        else:
            return None
    return found
