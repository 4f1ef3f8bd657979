"""Sets of field paths, as managedFields keeps them. Rule: a path is a tuple of steps as in fieldsV1.

Source: FieldsV1 in Kubernetes' API reference; sigs.k8s.io/structured-merge-diff/fieldpath.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Iterable, Iterator
from functools import lru_cache
from typing import Any

from tests.fakes import lists
from tests.fakes.kinds import Kind, words
from tests.fakes.storage import Object, copied

Path = tuple[str, ...]
Paths = frozenset[Path]

# Never owned by anybody.
UNOWNED = frozenset(
    {("f:apiVersion",), ("f:kind",), ("f:metadata",)}
    | {
        ("f:metadata", f"f:{name}")
        for name in words("name namespace creationTimestamp selfLink uid generation managedFields resourceVersion")
    }
)
ABSENT = object()


class Shape:
    """How the lists and maps of a kind merge: by the table of built-in kinds, or by the CRD's schema."""

    def __init__(self, kind: Kind) -> None:
        self._kind = kind.kind
        self._schema: Any = None
        for version in (kind.crd or {}).get("spec", {}).get("versions", []):
            if version["name"] == kind.version:
                self._schema = (version.get("schema") or {}).get("openAPIV3Schema") or {}

    def keys(self, names: tuple[str, ...]) -> tuple[str, ...] | None:
        """The keys of the list at `names`; none for a set, None for a list that is one value."""
        if self._schema is None or names[:1] == ("metadata",):
            return lists.apply_keys((self._kind, *names))
        schema = self._at(names)
        match schema.get("x-kubernetes-list-type"):
            case "map":
                return tuple(schema.get("x-kubernetes-list-map-keys") or ())
            case "set":
                return ()
        return None

    def is_atomic(self, names: tuple[str, ...]) -> bool:
        """Whether the map at `names` is one value."""
        if self._schema is None or names[:1] == ("metadata",):
            return names[-1] in lists.ATOMIC
        return bool(self._at(names).get("x-kubernetes-map-type") == "atomic")

    def _at(self, names: tuple[str, ...]) -> Any:
        schema = self._schema
        for name in names:
            schema = schema.get("items", schema)
            more = schema.get("additionalProperties")
            schema = (schema.get("properties") or {}).get(name) or (more if isinstance(more, dict) else {})
        return schema


def of(kind: Kind, thing: Object) -> Paths:
    """Every field an object has, except those nobody owns."""
    found = set(_walk(thing, (), (), Shape(kind)))
    return frozenset(path for path in found if path not in UNOWNED)


def _walk(value: Any, path: Path, names: tuple[str, ...], shape: Shape) -> Iterator[Path]:
    if isinstance(value, dict) and value and (not names or not shape.is_atomic(names)):
        for name, each in value.items():
            yield from _walk(each, (*path, f"f:{name}"), (*names, name), shape)
        return
    by = shape.keys(names) if isinstance(value, list) and value else None
    if by is None:
        if path:
            yield path
        return
    for each in value:
        step = _step(each, by)
        yield (*path, step)
        if by and isinstance(each, dict):
            for name, part in each.items():
                yield from _walk(part, (*path, step, f"f:{name}"), (*names, name), shape)


def _step(each: Any, by: tuple[str, ...]) -> str:
    if not by or not isinstance(each, dict):
        return f"v:{json.dumps(each, separators=(',', ':'), sort_keys=True)}"
    named = {key: each.get(key, lists.DEFAULTS.get(key)) for key in by}
    named = {key: value for key, value in named.items() if value is not None}
    return f"k:{json.dumps(named, separators=(',', ':'), sort_keys=True)}"


def value(thing: Any, path: Path) -> Any:
    """What is at a path; ABSENT when there is nothing. An item's own path stands for its presence."""
    for step in path:
        thing = _enter(thing, step)
        if thing is ABSENT:
            return ABSENT
    return True if path and path[-1][:2] in {"k:", "v:"} else thing


def has(thing: Any, path: Path) -> bool:
    return value(thing, path) is not ABSENT


def _enter(thing: Any, step: str) -> Any:
    mark, text = step[:2], step[2:]
    if mark == "f:":
        return thing.get(text, ABSENT) if isinstance(thing, dict) else ABSENT
    if not isinstance(thing, list):
        return ABSENT
    at = _index(thing, mark, text)
    return ABSENT if at is None else thing[at]


@lru_cache(maxsize=10_000)
def _said(text: str) -> Any:
    """The value in a step."""
    return json.loads(text)


def _index(thing: list[Any], mark: str, text: str) -> int | None:
    wanted = _said(text)
    for at, each in enumerate(thing):
        if mark == "v:" and each == wanted:
            return at
        if mark == "k:" and isinstance(each, dict) and _has_keys(each, wanted):
            return at
    return None


def _has_keys(each: Object, wanted: Object) -> bool:
    return all(each.get(key, lists.DEFAULTS.get(key)) == found for key, found in wanted.items())


def merged(kind: Kind, old: Object, wanted: Object) -> Object:
    """`old` with everything `wanted` says."""
    result = _merged(copied(old), copied(wanted), (), Shape(kind))
    assert isinstance(result, dict)
    return result


def _merged(old: Any, wanted: Any, names: tuple[str, ...], shape: Shape) -> Any:
    if isinstance(wanted, dict) and isinstance(old, dict) and (not names or not shape.is_atomic(names)):
        for name, each in wanted.items():
            old[name] = _merged(old.get(name), each, (*names, name), shape)
        return old
    by = shape.keys(names) if isinstance(wanted, list) else None
    if by is None or not isinstance(old, list):
        return wanted
    for each in wanted:
        step = _step(each, by)
        at = _index(old, step[:2], step[2:])
        if at is None:
            old.append(each)
        elif by:
            old[at] = _merged(old[at], each, names, shape)
    return old


def without(thing: Object, gone: Iterable[Path], kept: Collection[Path]) -> Object:
    """`thing` without the fields at `gone`, nor the maps and items that become empty by it; `kept` paths stay.

    A field stays for what others own below it; an item of a list only where another owns the item itself.
    """
    thing = copied(thing)
    for path in sorted(gone, key=len):  # an item goes as a whole, before the key that names it
        if path in kept or (path[-1].startswith("f:") and any(other[: len(path)] == path for other in kept)):
            continue
        _remove(thing, path)
        for length in range(len(path) - 1, 0, -1):
            parent = path[:length]
            if value(thing, parent) not in ({}, []) or any(other[:length] == parent for other in kept):
                break
            _remove(thing, parent)
    return thing


def _remove(thing: Any, path: Path) -> None:
    for step in path[:-1]:
        thing = _enter(thing, step)
        if thing is ABSENT:
            return
    mark, text = path[-1][:2], path[-1][2:]
    if mark == "f:" and isinstance(thing, dict):
        thing.pop(text, None)
    elif isinstance(thing, list):
        at = _index(thing, mark, text)
        if at is not None:
            del thing[at]


def encoded(paths: Paths) -> Object:
    """As fieldsV1: a tree; `.` marks an item that is owned itself."""
    tree: Object = {}
    for path in sorted(paths):
        node = tree
        for step in path:
            node = node.setdefault(step, {})
        if path[-1].startswith("k:"):
            node["."] = {}
    return tree


def decoded(tree: Object) -> Paths:
    """The paths of a fieldsV1 tree."""
    return frozenset(_leaves(tree, ()))


def _leaves(tree: Object, path: Path) -> Iterator[Path]:
    if not tree and path:
        yield path
    for step, below in tree.items():
        if step == ".":
            yield path
        else:
            yield from _leaves(below, (*path, step))


def shown(path: Path) -> str:
    """A path as conflict messages write it: `.spec.ports[port=80].name`."""
    text = ""
    for step in path:
        mark, rest = step[:2], step[2:]
        if mark == "f:":
            text += f".{rest}"
        elif mark == "k:":
            found = json.loads(rest)
            text += "[" + ",".join(f"{key}={json.dumps(each)}" for key, each in sorted(found.items())) + "]"
        else:
            text += f"[={rest}]"
    return text
