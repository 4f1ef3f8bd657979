"""Applies a JSON Patch step by step as RFC 6902 says: the judge of what webhook/patch.py writes."""

from __future__ import annotations

import copy
from typing import Any


def applied(document: Any, patch: list[dict[str, Any]]) -> Any:
    """The document after these steps. Raises where a step does not fit."""
    root = {"": copy.deepcopy(document)}
    for step in patch:
        *way, last = [part.replace("~1", "/").replace("~0", "~") for part in step["path"].split("/")]
        parent: Any = root
        for part in way:
            parent = parent[int(part) if isinstance(parent, list) else part]
        _take(parent, last, step)
    return root[""]


def _take(parent: Any, last: str, step: dict[str, Any]) -> None:
    if isinstance(parent, list):
        place = len(parent) if last == "-" else int(last)
        assert 0 <= place <= len(parent) - (step["op"] != "add")
        if step["op"] == "add":
            parent.insert(place, copy.deepcopy(step["value"]))
            return
        key: Any = place
    else:
        assert step["op"] == "add" or last in parent
        key = last
    if step["op"] == "remove":
        del parent[key]
    else:
        parent[key] = copy.deepcopy(step["value"])
