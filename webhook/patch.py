"""The difference of two documents as a JSON Patch (RFC 6902), as admission answers with it.

Rule: applied to the first document it makes the second, and it names only what differs; what is added to a list of
named things is added, not the list written anew.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

Operation = dict[str, Any]
"""One step: `op`, `path` (RFC 6901) and, except for `remove`, `value`."""


def json_patch(before: Any, after: Any) -> list[Operation]:
    """The steps from one JSON value to another, in the order they have to be taken."""
    return list(_steps(before, after, ""))


def _steps(before: Any, after: Any, path: str) -> Iterator[Operation]:
    if isinstance(before, dict) and isinstance(after, dict):
        yield from _members(before, after, path)
    elif isinstance(before, list) and isinstance(after, list) and _is_widened(before, after):
        yield from _items(before, after, path)
    elif not _same(before, after):
        yield {"op": "replace", "path": path, "value": after}


def _members(before: dict[str, Any], after: dict[str, Any], path: str) -> Iterator[Operation]:
    for key, value in before.items():
        where = f"{path}/{_escaped(key)}"
        if key not in after:
            yield {"op": "remove", "path": where}
        else:
            yield from _steps(value, after[key], where)
    for key, value in after.items():
        if key not in before:
            yield {"op": "add", "path": f"{path}/{_escaped(key)}", "value": value}


def _items(before: list[Any], after: list[Any], path: str) -> Iterator[Operation]:
    """Walks the wider list: what the narrower one lacks at this place is added there."""
    index = 0
    for place, value in enumerate(after):
        where = f"{path}/{place}"
        if index < len(before) and _name(before[index]) == _name(value):
            yield from _steps(before[index], value, where)
            index += 1
        else:
            yield {"op": "add", "path": where, "value": value}


def _is_widened(before: list[Any], after: list[Any]) -> bool:
    """Whether both hold named things, and the second those of the first in their order, and perhaps others."""
    names = _names(after)
    known = _names(before)
    if names is None or known is None:
        return False
    rest = iter(names)
    return all(name in rest for name in known)


def _names(items: Sequence[Any]) -> list[str] | None:
    names = [_name(item) for item in items]
    known = [name for name in names if name is not None]
    return known if len(known) == len(set(known)) == len(names) else None


def _name(item: Any) -> str | None:
    name = item.get("name") if isinstance(item, dict) else None
    return name if isinstance(name, str) else None


def _same(before: Any, after: Any) -> bool:
    """Equal as JSON, where `true` is not `1`."""
    if isinstance(before, bool) or isinstance(after, bool):
        return before is after
    if isinstance(before, list) and isinstance(after, list):
        return len(before) == len(after) and all(map(_same, before, after))
    if isinstance(before, dict) and isinstance(after, dict):
        return before.keys() == after.keys() and all(_same(value, after[key]) for key, value in before.items())
    return bool(before == after)


def _escaped(key: str) -> str:
    return key.replace("~", "~0").replace("/", "~1")
